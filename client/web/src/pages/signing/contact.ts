/**
 * A way to be reached, left beside a pledge: asked for once the pledge is signed, sealed before anything is sent, and sent at
 * a moment of its own. A chunk that only campaigns with contacts load.
 */
import { makeContact, type Channel } from "../../protocol/contact.ts";
import { MalformedError } from "../../protocol/errors.ts";
import { Policy } from "../../protocol/policy.ts";
import { deadlineDay, type Manifest } from "../../protocol/scope.ts";
import { cached, httpFetch } from "../../reader/fetch.ts";
import { openLedger } from "../../reader/view.ts";
import { beginContact, deposit, drawWait, erase } from "../../signing/contact.ts";
import { findContacts } from "../../signing/contact_scope.ts";
import { fetchTerms, policyOf } from "../../signing/open.ts";
import { encodePledgeFile, isProved, isSession, withStep, type PledgeFile } from "../../signing/pledge_file.ts";
import { Proof, nextIssuer } from "../../signing/prove.ts";
import { byId, download, h } from "../ui/dom.ts";
import { withFragment } from "../ui/fragment.ts";
import { Panel, codeOf } from "../ui/panel.ts";
import type { Key } from "../ui/words.ts";
import type { Flow } from "./flow.ts";
import { Keeper } from "./keeper.ts";

const TYPES: Record<Channel, string> = { none: "hidden", email: "email", matrix: "text", phone: "tel" };
const MAX_TIMER_MS = 2 ** 31 - 1; // beyond, setTimeout fires at once

export class ContactPanel {
  private readonly flow: Flow;
  private readonly scope: string; // hex, of the contact scope
  private readonly keeper: Keeper;
  private readonly manifest: Manifest;
  private panel: Panel | undefined;
  private shown = ""; // what stands there: shown once more, it would take the focus
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly when = h("p", { role: "status" });

  private constructor(flow: Flow, scope: string, keeper: Keeper, manifest: Manifest) {
    this.flow = flow;
    this.scope = scope;
    this.keeper = keeper;
    this.manifest = manifest;
    keeper.listen((message) => message.changed && keeper.isDurable && void this.refresh());
    addEventListener("online", () => void this.refresh(true));
  }

  /** The panel of a contact scope; undefined where its terms cannot be had, or are no contact scope's of this campaign. */
  static async open(flow: Flow, scope: string): Promise<ContactPanel | undefined> {
    try {
      const manifest = await fetchTerms(location.origin, scope, flow.transport);
      const isOurs = manifest.kind === "contact" && manifest.parent?.join() === flow.manifest.scopeId.join();
      return isOurs ? new ContactPanel(flow, scope, await Keeper.open(scope), manifest) : undefined;
    } catch {
      return undefined; // the pledge does not depend on it
    }
  }

  /** Show where the contact stands; without one, offer it as soon as the pledge is signed. */
  async refresh(again = false): Promise<void> {
    clearTimeout(this.timer);
    const file = await this.keeper.load();
    const own = await this.flow.keeper.load();
    const { erased } = await this.keeper.notes();
    const isOpen = this.manifest.opens <= this.flow.today && this.flow.today <= this.manifest.closes;
    const state = file
      ? file.isDeposited ? "left" : erased ? "erased" : isProved(file) ? "waiting" : "started"
      : own && isProved(own) && isOpen ? "offer" : "";
    const isNew = state !== this.shown;
    if (!isNew && state !== "waiting" && !(again && state === "started")) return;
    this.shown = state;
    if (!state) return this.panel?.hide();
    this.panel ??= new Panel(byId("contact"), this.flow.words, "h3");
    if (state === "offer") this.offer();
    else if (state === "left") this.left();
    else if (state === "erased") this.erased();
    else if (state === "waiting") await this.waiting(file!, isNew);
    else await this.started(file!);
  }

  /** Whether a session that has come was asked for with this contact. */
  async owns(sent: Record<string, string>): Promise<boolean> {
    const { state } = await this.keeper.notes();
    return state !== undefined && sent["state"] === state;
  }

  /** Whether the next code or cancellation is this contact's. */
  async isBegun(): Promise<boolean> {
    const file = await this.keeper.load();
    return file !== undefined && !isProved(file);
  }

  /** Take a session, and have the contact's entry signed. */
  async take(sent: Record<string, string>): Promise<void> {
    const file = await this.keeper.load();
    const index = this.manifest.issuers.findIndex((issuer) => issuer.name === sent["issuer"]);
    if (file && index >= 0 && isSession(sent["session"]) && !file.steps[index]!.authenticator) {
      await this.keeper.store.save(withStep(file, index, { session: sent["session"] }));
    }
    await this.refresh(true);
  }

  /** Forget the contact in this browser; in the store it stays, unless it was erased before. */
  async forget(): Promise<void> {
    clearTimeout(this.timer);
    await this.keeper.forget();
    await this.refresh();
  }

  /** Go to the page of the issuer whose turn it is. */
  async toIssuer(more: Record<string, string> = {}): Promise<void> {
    const file = await this.keeper.load();
    const index = file && nextIssuer(file);
    if (index === undefined) return this.refresh();
    const { name, url } = this.manifest.issuers[index]!;
    const address = withFragment(`${url}/check/${this.scope}/${this.flow.page.language}`, {
      site: location.origin, return: `${this.flow.address}/back`, state: await this.keeper.state(), ...more,
    });
    this.shown = ""; // whoever comes back by the back button finds more than this line
    this.panel?.wait(this.flow.words.t("app.going", { issuer: name }));
    location.assign(address);
  }

  private offer(): void {
    const { words, manifest: campaign, tongue } = this.flow;
    const panel = this.panel!;
    const { trustees, contacts, issuers } = this.manifest;
    if (!trustees || !contacts) return;
    if (!this.keeper.isDurable) return panel.show(words.t("contact.heading"), h("p", {}, words.t("contact.no_storage")));
    const language = this.manifest.languages.includes(tongue) ? tongue : this.manifest.language;
    const value = h("input", { id: "contact-value", autocomplete: "off", spellcheck: "false", dir: "ltr", "aria-describedby": "contact-note" });
    const label = h("label", { class: "field", for: "contact-value" });
    const note = h("p", { class: "note", id: "contact-note" }, words.t("contact.value_note"));
    const wrong = h("p", { class: "hint", role: "alert", hidden: true }, words.t("contact.wrong"));
    const chosen = (): Channel => form.querySelector<HTMLInputElement>("input[name=channel]:checked")!.value as Channel;
    const choose = (): void => {
      const channel = chosen();
      for (const part of [label, value, note]) part.hidden = channel === "none";
      value.type = TYPES[channel];
      label.textContent = words.t(`contact.${channel}` as Key);
    };
    const radios = contacts.channels.map((channel, i) =>
      h(
        "label",
        { class: "choice" },
        h("input", { type: "radio", name: "channel", value: channel, checked: i === 0, change: choose }),
        h("span", {}, words.t(`contact.${channel}` as Key)),
      ),
    );
    const form = panel.form(
      async () => {
        const channel = chosen();
        wrong.hidden = true;
        try {
          await this.seal(channel, channel === "none" ? "" : value.value.trim().normalize("NFC"));
        } catch (error) {
          if (!(error instanceof WrongContact)) throw error;
          wrong.hidden = false;
          value.focus();
        }
      },
      h("fieldset", {}, h("legend", {}, words.t("contact.channel")), ...radios),
      label,
      value,
      note,
      wrong,
      h("p", { class: "actions" }, h("button", { class: "main-action" }, words.t("contact.seal"))),
    );
    choose();
    const names = trustees.members.map((trustee) => h("li", {}, h("bdi", {}, trustee.name)));
    const purposes = contacts.purposes.map((purpose) => h("li", {}, h("span", { lang: language, dir: "auto" }, purpose.text[language] ?? "")));
    const [t, n] = [trustees.t, trustees.members.length];
    panel.show(
      words.t("contact.heading"),
      h("p", {}, words.t("contact.lead")),
      h("p", {}, words.t("contact.who", { threshold: campaign.threshold, t, total: n })),
      campaign.quotas && h("p", {}, words.t("quotas.needed", { ...campaign.quotas, total: campaign.options.length })),
      h("ul", {}, ...names),
      h("p", {}, words.t("contact.never", { date: words.day(deadlineDay(campaign)) })),
      h("p", {}, words.t("contact.purposes")),
      h("ul", {}, ...purposes),
      form,
      h("p", { class: "note" }, words.t("contact.apart", { issuer: issuers[0]!.name })),
      h("p", { class: "note" }, words.t("contact.limits", { t })),
    );
  }

  /** Check the terms, the trustees and the ledger; only then seal. */
  private async seal(channel: Channel, value: string): Promise<void> {
    const { transport, page, keeper } = this.flow;
    let contact;
    try {
      contact = makeContact(channel, value);
    } catch (error) {
      if (error instanceof MalformedError) throw new WrongContact();
      throw error;
    }
    const policy = policyOf(this.manifest);
    const ledger = new URL(page.ledger, location.origin).href;
    const remembered = await keeper.memory.checkpoints();
    const view = await openLedger(cached(httpFetch(ledger, transport)), Policy.fromBytes(policy), remembered);
    const found = await findContacts(view, this.scope);
    const now = Math.floor(Date.now() / 1000);
    await this.keeper.alone(() => beginContact(this.keeper.store, found, contact, { ledger, policy }, now));
    this.keeper.tell({ changed: true });
    await this.toIssuer();
  }

  /** Sealed and not signed by all: use a session that is kept, else show where to go on. */
  private async started(file: PledgeFile): Promise<void> {
    const { words, transport } = this.flow;
    const panel = this.panel!;
    const index = nextIssuer(file)!;
    const { name } = this.manifest.issuers[index]!;
    let failed = "";
    if (file.steps[index]!.session !== undefined) {
      panel.wait(words.t("app.checking"));
      try {
        await this.keeper.alone(() => new Proof(this.keeper.store, file, index, transport).sign());
        this.keeper.tell({ changed: true });
        const signed = await this.keeper.load();
        return signed && isProved(signed) ? this.refresh() : this.toIssuer();
      } catch (error) {
        failed = codeOf(error);
        if (["not-eligible", "already-issued"].includes(failed)) {
          await this.keeper.store.save(withStep(file, index, {}));
        }
      }
    }
    panel.show(
      words.t("contact.heading"),
      h("p", {}, words.t("contact.started", { issuer: name })),
      h(
        "p",
        { class: "actions" },
        panel.button(words.t("app.continue", { issuer: name }), () => this.toIssuer(), "main-action"),
        panel.button(words.t("contact.drop"), () => this.forget(), "plain"),
      ),
    );
    if (failed) panel.fail(failed);
  }

  /** Signed by all: send it when its moment has come. */
  private async waiting(file: PledgeFile, isNew: boolean): Promise<void> {
    const { words } = this.flow;
    const panel = this.panel!;
    const at = (file.after ?? 0) * 1000;
    const left = at - Date.now();
    this.when.textContent = words.t("contact.waiting", { time: words.moment(at) });
    if (isNew || left <= 0) {
      panel.show(
        words.t("contact.heading"),
        this.when,
        h(
          "p",
          { class: "actions" },
          left <= 0 && panel.button(words.t("app.retry"), () => this.send()),
          panel.button(words.t("contact.save"), () => this.save(file)),
          panel.button(words.t("contact.drop"), () => this.forget(), "plain"),
        ),
      );
    }
    if (left > 0) {
      this.timer = setTimeout(() => void this.refresh(), Math.min(left, MAX_TIMER_MS));
      return;
    }
    // A pledge whose moment has come goes first, and puts the contact off.
    const { sendAt, later } = await this.flow.keeper.notes();
    const own = await this.flow.keeper.load();
    if (own && !own.promise && sendAt !== undefined && !later) return;
    await panel.once(null, () => this.send());
  }

  /** The pledge was sent just now: the contact draws its moment anew. */
  async postpone(): Promise<void> {
    await this.keeper.alone(async () => {
      const file = await this.keeper.load();
      if (!file || file.promise) return;
      const after = Math.max(file.after ?? 0, Math.floor(Date.now() / 1000) + drawWait());
      await this.keeper.store.save({ ...file, after });
    });
  }

  private async send(): Promise<void> {
    const { transport, keeper } = this.flow;
    const remembered = await keeper.memory.checkpoints();
    const sending = { transport, verifier: location.origin, remembered };
    const now = Math.floor(Date.now() / 1000);
    await this.keeper.alone(() => deposit(this.keeper.store, sending, now));
    this.keeper.tell({ changed: true });
    await this.refresh();
  }

  private left(): void {
    const { words } = this.flow;
    const panel = this.panel!;
    let sure = false;
    const erasing = panel.button(words.t("contact.erase"), async () => {
      if (sure) return this.erase();
      sure = true;
      erasing.textContent = words.t("contact.erase_sure");
    });
    const saving = panel.button(words.t("contact.save"), async () => {
      const file = await this.keeper.load();
      if (file) this.save(file);
    });
    panel.show(
      words.t("contact.left"),
      h("p", {}, words.t("contact.left_lead")),
      h("p", { class: "actions" }, erasing, saving),
      h("p", { class: "note" }, words.t("contact.erase_first")),
    );
  }

  private async erase(): Promise<void> {
    const { transport } = this.flow;
    await this.keeper.alone(() => erase(this.keeper.store, { transport, verifier: location.origin }));
    await this.keeper.note({ erased: true });
    this.keeper.tell({ changed: true });
    await this.refresh();
  }

  private erased(): void {
    const { words } = this.flow;
    this.panel!.show(words.t("contact.erased"), h("p", {}, words.t("contact.erased_lead")));
  }

  private save(file: PledgeFile): void {
    download("headcount-contact.pledge", encodePledgeFile(file), "application/json");
  }
}

/** What was typed is no contact of this kind; it is said beside the field. */
class WrongContact extends Error {}
