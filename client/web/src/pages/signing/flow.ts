/** From the terms to the pledge: what is asked, checked and kept in which order. */
import { equal } from "../../protocol/bytes.ts";
import { ConfigurationError, MalformedError } from "../../protocol/errors.ts";
import { deadlineDay, type Manifest } from "../../protocol/scope.ts";
import { dayOf } from "../../protocol/text.ts";
import { httpTransport } from "../../reader/transport.ts";
import { fetchTerms, openScope, policyOf, type OpenedScope } from "../../signing/open.ts";
import { sendPledge } from "../../signing/pledge.ts";
import { encodePledgeFile, isProved, isSession, parsePledgeFile, withStep, type PledgeFile } from "../../signing/pledge_file.ts";
import { Proof, begin, nextIssuer } from "../../signing/prove.ts";
import { byId, data, download } from "../ui/dom.ts";
import { dropFragment, fragment, withFragment } from "../ui/fragment.ts";
import { Panel, codeOf } from "../ui/panel.ts";
import { Words } from "../ui/words.ts";
import type { ContactPanel } from "./contact.ts";
import { Keeper, type Notes } from "./keeper.ts";
import { fromText, toText } from "./portable.ts";
import { Screens } from "./screens.ts";
import { Standing } from "./standing.ts";

export interface Page {
  scope: string; // hex
  ledger: string; // where it is read, relative to this page's origin or absolute
  language: string;
  contacts?: string; // hex: the campaign's contact scope, where it has one
}

const SOON_MS = 10 * 60_000; // the random delay is at most so long
const FRESH_MS = 5 * 60_000; // for so long what was checked ahead is as good as checked at the click
const ANSWER_MS = 1500; // in which another tab says that it has taken a session

export class Flow {
  readonly page = data<Page>("page");
  readonly words = new Words(this.page.language);
  readonly panel = new Panel(byId("app"), this.words, "h3");
  readonly transport = httpTransport;
  keeper!: Keeper;
  manifest!: Manifest;
  private readonly screens = new Screens(this);
  private readonly standing = new Standing(this);
  private contact: ContactPanel | undefined;
  private ahead: { opened: Promise<OpenedScope>; until: number } | undefined;
  private proof: Proof | undefined; // begun when a session came, for the next signature
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Find out where this pledge stands, and go on. */
  async begin(): Promise<void> {
    const sent = fragment();
    dropFragment(location.pathname.replace(/\/back$/, ""));
    if (globalThis.crypto?.subtle === undefined) return this.screens.failed("unsupported", () => this.restart());
    this.keeper = await Keeper.open(this.page.scope);
    let kept: PledgeFile | undefined;
    let isDamaged = false;
    try {
      kept = await this.keeper.load().catch((error: unknown) => {
        isDamaged = error instanceof MalformedError;
        if (!isDamaged) throw error;
        return undefined;
      });
      this.manifest = await this.terms(kept);
    } catch (error) {
      return this.screens.failed(codeOf(error), () => this.restart());
    }
    this.keeper.listen((message) => {
      if (message.session !== undefined) void this.take(message.session, true);
      else if (message.changed && this.keeper.isDurable) void this.refresh(true); // else it is the other's own
    });
    addEventListener("pageshow", (event) => void ((event as PageTransitionEvent).persisted && this.refresh()));
    addEventListener("online", () => void this.resume());
    if (isDamaged) return this.screens.damaged();
    if (this.page.contacts !== undefined) {
      const found = await import("./contact.ts").catch(() => undefined); // the pledge does not depend on it
      this.contact = await found?.ContactPanel.open(this, this.page.contacts);
    }
    const [members, contact] = [Object.fromEntries(sent), this.contact];
    if (contact && ((await contact.owns(members)) || (sent.has("code") && (await contact.isBegun())))) {
      await this.refresh();
      if (sent.has("session")) return contact.take(members);
      if (sent.has("code")) return contact.toIssuer({ code: sent.get("code") ?? "" });
    }
    if (sent.has("session")) return kept ? this.take(members, false) : this.arrive(members);
    if (sent.has("code")) return this.toIssuer({ code: sent.get("code") ?? "" });
    const carried = sent.get("pledge");
    if (carried !== undefined && !(await this.keeper.load())) {
      this.panel.wait(this.words.t("app.checking")); // so that what comes now stands in view
      return this.screens.received(() => this.receive(carried));
    }
    await this.refresh();
    if (sent.has("cancelled")) this.screens.say(this.words.t("app.cancelled"));
  }

  /** The terms: of the pledge that was begun here, else from the site; both hash to the scope id of the address. */
  private async terms(kept: PledgeFile | undefined): Promise<Manifest> {
    if (kept?.manifest.scope === this.page.scope) return kept.manifest;
    return fetchTerms(location.origin, this.page.scope, this.transport);
  }

  /** Show the screen of what is kept, of the pledge and of the contact beside it. */
  async refresh(byOther = false): Promise<void> {
    await this.show(byOther);
    await this.contact?.refresh();
  }

  private async show(byOther: boolean): Promise<void> {
    clearTimeout(this.timer);
    const [file, notes] = await Promise.all([this.keeper.load(), this.keeper.notes()]);
    if (file === undefined) {
      if (this.isOpen) this.screens.start();
      else this.panel.hide();
    } else if (file.promise) this.standing.show(file);
    else if (isProved(file)) this.ready(file, notes);
    else await this.unfinished(file);
    if (byOther && file !== undefined) this.screens.say(this.words.t("app.other_tab"));
  }

  /** Where the terms are read, in this language; the issuer leads to a lighter page below it. */
  get address(): string {
    return `/sign/${this.page.scope}/${this.page.language}`;
  }

  get today(): number {
    return dayOf(Date.now() / 1000);
  }

  get isOpen(): boolean {
    const { kind, opens, closes } = this.manifest;
    return kind !== "contact" && opens <= this.today && this.today <= closes; // a contact is left beside a pledge
  }

  /** The language of the terms that is shown. */
  get tongue(): string {
    return this.manifest.languages.includes(this.page.language) ? this.page.language : this.manifest.language;
  }

  get deadline(): string {
    return this.words.day(this.manifest.closes);
  }

  choiceText(choice: number): string {
    return this.manifest.options.find((option) => option.number === choice)?.label[this.tongue] ?? "";
  }

  /**
   * Check everything while the person reads, so that the button has not to wait for it. Not where the ledger is on another
   * origin: that would hear of readers who never pledge.
   */
  prepare(): void {
    if (this.ahead !== undefined || new URL(this.page.ledger, location.origin).origin !== location.origin) return;
    const opened = this.open();
    const ahead = { opened, until: Date.now() + FRESH_MS };
    this.ahead = ahead;
    opened.catch(() => {
      if (this.ahead === ahead) this.ahead = undefined; // the button tries again, and says what is wrong
    });
  }

  /** What was checked a moment ago, else checked now. */
  private async opened(): Promise<OpenedScope> {
    const ahead = this.ahead;
    this.ahead = undefined;
    return ahead !== undefined && Date.now() < ahead.until ? ahead.opened : this.open();
  }

  /** Screen one's button: check everything, draw the seed, keep it, and go to the first issuer. */
  async pledge(choice: number): Promise<void> {
    this.panel.waitSoon(this.words.t("app.checking"));
    try {
      const opened = await this.opened();
      await this.keeper.alone(() =>
        Promise.all([begin(this.keeper.store, opened, choice, this.today), this.keeper.state()]),
      );
    } catch (error) {
      if (!(error instanceof ConfigurationError)) {
        this.screens.start(choice);
        throw error;
      }
      return this.refresh(true); // begun in another tab meanwhile
    }
    this.keeper.tell({ changed: true });
    await this.toIssuer();
  }

  /** Go to the page of the issuer whose turn it is; where nothing is kept, it opens beside this one. */
  async toIssuer(more: Record<string, string> = {}): Promise<void> {
    const [file, notes] = await Promise.all([this.keeper.load(), this.keeper.notes()]);
    const index = file && nextIssuer(file);
    if (file === undefined || index === undefined) return this.refresh();
    const issuer = this.manifest.issuers[index]!;
    const address = withFragment(`${issuer.url}/check/${this.page.scope}/${this.page.language}`, {
      site: location.origin,
      return: `${this.address}/back`,
      state: notes.state ?? (await this.keeper.state()),
      ...more,
    });
    if (!this.keeper.isDurable) return this.screens.beside(issuer.name, address);
    this.panel.wait(this.words.t("app.going", { issuer: issuer.name }));
    location.assign(address);
  }

  /** A session has come for a pledge that lives in another tab, which keeps nothing that this one could read. */
  private async arrive(sent: Record<string, string>): Promise<void> {
    const answered = new Promise<boolean>((resolve) => {
      this.keeper.listen((message) => message.taken && resolve(true));
      setTimeout(resolve, ANSWER_MS, false);
    });
    this.keeper.tell({ session: sent });
    this.screens.carried(await answered, sent);
  }

  /** Take a session that this browser asked for, and have the envelope signed. */
  async take(sent: Record<string, string>, byOther: boolean): Promise<void> {
    const [file, { state }] = await Promise.all([this.keeper.load(), this.keeper.notes()]);
    const index = this.manifest.issuers.findIndex((issuer) => issuer.name === sent["issuer"]);
    const asked = state !== undefined && sent["state"] === state;
    if (file === undefined || index < 0 || !asked || !isSession(sent["session"])) {
      if (!byOther) await this.refresh();
      return;
    }
    if (byOther) this.keeper.tell({ taken: true });
    if (!file.steps[index]!.authenticator) {
      this.proof = new Proof(this.keeper.store, file, index, this.transport);
      if (nextIssuer(file) === index) this.proof.prepare();
      await this.keeper.store.save(withStep(file, index, { session: sent["session"] }));
    }
    await this.refresh();
  }

  /** Begun and not signed by all: use a session that is kept, else show where to go on. */
  private async unfinished(file: PledgeFile): Promise<void> {
    const index = nextIssuer(file)!;
    const { name } = this.manifest.issuers[index]!;
    if (file.steps[index]!.session === undefined) return this.screens.started(name);
    this.panel.waitSoon(this.words.t("app.checking"));
    let signed: PledgeFile;
    let notes: Notes;
    try {
      const begun = this.proof?.index === index ? this.proof : undefined;
      const proof = begun ?? new Proof(this.keeper.store, file, index, this.transport);
      this.proof = undefined;
      [signed, notes] = await Promise.all([this.keeper.alone(() => proof.sign()), this.keeper.notes()]);
    } catch (error) {
      const code = codeOf(error);
      if (["not-eligible", "already-issued"].includes(code)) await this.keeper.store.save(withStep(file, index, {}));
      this.screens.started(name);
      return this.panel.fail(code);
    }
    this.keeper.tell({ changed: true });
    if (!isProved(signed)) return this.toIssuer();
    this.ready(signed, notes);
  }

  /** Signed by all: wait for the chosen moment, or ask for one. */
  private ready(file: PledgeFile, { sendAt, later }: Notes): void {
    if (later) return this.screens.later(file);
    if (sendAt === undefined) return this.screens.signed(file);
    this.screens.countdown(sendAt);
    this.timer = setTimeout(() => void this.resume(), Math.max(0, sendAt - Date.now()));
  }

  /** Send what waits for its moment, if that has come. */
  private async resume(): Promise<void> {
    const file = await this.keeper.load();
    const { sendAt } = await this.keeper.notes();
    if (!file || file.promise || sendAt === undefined || Date.now() < sendAt || !isProved(file)) return;
    await this.panel.once(null, () => this.send());
  }

  async sendSoon(): Promise<void> {
    const [drawn] = crypto.getRandomValues(new Uint32Array(1));
    await this.keeper.note({ sendAt: Date.now() + Math.floor((drawn! / 2 ** 32) * SOON_MS), later: false });
    await this.refresh();
  }

  async keepForLater(): Promise<void> {
    await this.keeper.note({ later: true, sendAt: undefined }); // nor at the moment that was drawn before
    await this.refresh();
  }

  /** Send the pledge to this page's own origin, and keep the ledger's promise. */
  async send(): Promise<void> {
    this.panel.waitSoon(this.words.t("app.sending"));
    try {
      const checkpoints = this.keeper.memory.checkpoints();
      const file = await this.keeper.alone(async () => {
        const sending = { transport: this.transport, verifier: location.origin, remembered: await checkpoints };
        return sendPledge(this.keeper.store, sending);
      });
      await Promise.all([
        this.keeper.memory.remember(file.manifest.ledger.origin, file.checkpoint),
        this.contact?.postpone(),
      ]);
    } catch (error) {
      await this.keeper.note({ later: true });
      await this.refresh();
      throw error;
    }
    this.keeper.tell({ changed: true });
    await this.refresh();
  }

  async forget(): Promise<void> {
    clearTimeout(this.timer);
    await this.keeper.alone(() => this.keeper.forget());
    await this.contact?.forget();
    await this.refresh();
  }

  save(file: PledgeFile): void {
    download("headcount.pledge", encodePledgeFile(file), "application/json");
  }

  /** The address that opens a finished pledge on another device; the part behind the # goes to no server. */
  portable(file: PledgeFile): string {
    return withFragment(location.origin + this.address, { pledge: toText(file) });
  }

  /** Take a pledge file that a person has kept. */
  async load(chosen: File): Promise<void> {
    let file: PledgeFile;
    try {
      file = parsePledgeFile(new Uint8Array(await chosen.arrayBuffer()));
    } catch {
      throw Object.assign(new Error("not a pledge file"), { code: "file-wrong" });
    }
    if (!equal(file.manifest.raw, this.manifest.raw)) throw Object.assign(new Error("another scope"), { code: "file-wrong" });
    await this.keeper.store.create(file);
    this.keeper.tell({ changed: true });
    await this.refresh();
    this.screens.say(this.words.t("app.file_loaded"));
  }

  /** Take a finished pledge from a QR code. */
  private async receive(text: string): Promise<void> {
    this.panel.wait(this.words.t("app.checking"));
    try {
      await this.keeper.store.create(await fromText(text, await this.open()));
      await this.keeper.note({ later: true });
    } catch (error) {
      return this.screens.failed(codeOf(error), () => this.receive(text));
    }
    await this.refresh();
  }

  private async open(): Promise<OpenedScope> {
    return openScope({
      ledger: new URL(this.page.ledger, location.origin).href,
      scope: this.page.scope,
      policy: policyOf(this.manifest),
      transport: this.transport,
      remembered: await this.keeper.memory.checkpoints(),
    });
  }

  private async restart(): Promise<void> {
    location.reload();
  }

  /** The last day on which the ledger may keep its promise. */
  get promiseDay(): number {
    return deadlineDay(this.manifest);
  }
}
