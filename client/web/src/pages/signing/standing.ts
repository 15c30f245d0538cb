/** After the pledge: promise, receipt, change, withdrawal, and the end of it in this browser. */
import { Policy } from "../../protocol/policy.ts";
import { WITHDRAWN } from "../../protocol/pledge.ts";
import { currentChoice, type PledgeFile } from "../../signing/pledge_file.ts";
import { findReceipts, isOverdue, type Receipt } from "../../signing/receipt.ts";
import { revise } from "../../signing/revise.ts";
import { h, type Child } from "../ui/dom.ts";
import type { Flow } from "./flow.ts";
import { Screens, stamp } from "./screens.ts";

export class Standing {
  private readonly flow: Flow;

  constructor(flow: Flow) {
    this.flow = flow;
  }

  /** The pledge was accepted: what the ledger owes, and what its owner can still do. */
  show(file: PledgeFile): void {
    const { words, panel } = this.flow;
    const screens = new Screens(this.flow);
    const choice = currentChoice(file);
    const isWithdrawn = choice === WITHDRAWN;
    const found = h("div", { role: "status" });
    const look = panel.button(words.t("app.check"), () => this.look(found));
    panel.show(
      words.t("app.pledged"),
      stamp(),
      isWithdrawn ? h("p", {}, h("strong", {}, words.t("app.withdrawn"))) : screens.choice(choice ?? file.choice),
      h("p", {}, words.t("app.pledged_lead", { date: words.day(file.promise!.deadline) })),
      found,
      h(
        "p",
        { class: "actions" },
        look,
        panel.button(words.t("app.save_file"), () => this.flow.save(file)),
      ),
      this.share(screens),
      this.changing(file, choice),
      screens.forgetting(),
    );
  }

  /** Read the ledger, prove that the pledge stands in it, and say so. */
  private async look(place: HTMLElement): Promise<void> {
    const { words, keeper, transport, today } = this.flow;
    const receipts = await findReceipts(keeper.store, transport);
    const [own] = receipts;
    const lines: Child[] = [];
    if (own?.proof) {
      lines.push(h("h3", {}, words.t("app.included")));
      lines.push(h("p", {}, words.t("app.included_lead", { index: own.index ?? 0 }), " ", await this.witnessed(own)));
    } else lines.push(h("p", { class: "hint" }, words.t(own && isOverdue(own, today) ? "app.missing" : "app.not_yet")));
    const last = receipts.at(-1);
    if (last !== own && last !== undefined) {
      lines.push(h("p", {}, last.proof ? words.t("app.included_lead", { index: last.index ?? 0 }) : words.t("app.changed")));
    }
    place.replaceChildren(...lines.filter((line): line is Node => Boolean(line)));
  }

  private async witnessed(receipt: Receipt): Promise<string> {
    const file = await this.flow.keeper.load();
    if (file === undefined || receipt.proof === undefined) return "";
    const { cosignatures } = await Policy.fromBytes(file.policy).verifyCheckpoint(receipt.proof.checkpoint);
    return cosignatures.length ? this.flow.words.t("app.witnessed", { n: cosignatures.length }) : "";
  }

  private share(screens: Screens): HTMLElement {
    const { words, page } = this.flow;
    const link = `${location.origin}/sign/${page.scope}`;
    const picture = h("div");
    // A code takes a slow telephone a twentieth of a second: it is drawn for who looks.
    const draw = (): void => {
      if (!picture.hasChildNodes()) picture.append(screens.code(link, words.t("app.share")));
    };
    return h(
      "details",
      { toggle: draw },
      h("summary", {}, words.t("app.share")),
      h("p", {}, words.t("app.share_lead")),
      h("pre", { dir: "ltr", tabindex: "0" }, link),
      picture,
    );
  }

  private changing(file: PledgeFile, choice: number | undefined): Child {
    const { words, panel, manifest, today } = this.flow;
    if (today > manifest.freezes) return null;
    const buttons = manifest.options
      .filter((option) => option.number !== choice)
      .map((option) => {
        const text = words.t("app.change_to", { choice: this.flow.choiceText(option.number) });
        return panel.button(text, () => this.change(option.number));
      });
    if (choice !== WITHDRAWN) buttons.push(this.withdrawing());
    else if (!manifest.options.length) buttons.push(panel.button(words.t("app.begin"), () => this.change(file.choice)));
    return h(
      "details",
      {},
      h("summary", {}, words.t("app.change")),
      h("p", {}, words.t("app.change_lead", { date: words.day(manifest.freezes) })),
      h("p", { class: "actions" }, ...buttons),
    );
  }

  /** A button that asks once more before it withdraws. */
  private withdrawing(): HTMLButtonElement {
    const { words, panel } = this.flow;
    let sure = false;
    const button = panel.button(words.t("app.withdraw"), async () => {
      if (sure) return this.change(WITHDRAWN);
      sure = true;
      button.textContent = words.t("app.withdraw_sure");
    });
    return button;
  }

  private async change(choice: number): Promise<void> {
    const { keeper, transport, today, words } = this.flow;
    await keeper.alone(() => revise(keeper.store, choice, today, transport, location.origin));
    keeper.tell({ changed: true });
    await this.flow.refresh();
    this.flow.panel.say(words.t("app.changed"));
  }
}

