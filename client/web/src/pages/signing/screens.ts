/** The screens on the way to a pledge: terms and button, the issuer, the moment to send. */
import { atRest, h, svg, type Child } from "../ui/dom.ts";
import type { Flow } from "./flow.ts";
import type { PledgeFile } from "../../signing/pledge_file.ts";
import { qr, qrPath } from "./qr.ts";
import { utf8 } from "../../protocol/bytes.ts";

const SOON_MINUTES = 10;

export class Screens {
  private readonly flow: Flow;

  constructor(flow: Flow) {
    this.flow = flow;
  }

  /** One: what is pledged, and the button; after a failure with what was chosen. */
  start(before?: number): void {
    const { words, panel, manifest, tongue } = this.flow;
    const radios = manifest.options.map((option) =>
      h(
        "label",
        { class: "choice" },
        h("input", { type: "radio", name: "choice", value: String(option.number), checked: option.number === before }),
        h("span", { lang: tongue, dir: "auto" }, option.label[tongue] ?? ""),
      ),
    );
    const missing = h("p", { class: "hint", role: "alert", hidden: true }, words.t("app.choose_first"));
    const form = panel.form(
      async () => {
        const chosen = form.querySelector<HTMLInputElement>("input[name=choice]:checked");
        if (radios.length && chosen === null) {
          missing.hidden = false;
          form.querySelector<HTMLInputElement>("input[name=choice]")?.focus();
          return;
        }
        await this.flow.pledge(chosen === null ? 0 : Number(chosen.value));
      },
      radios.length > 0 && h("fieldset", {}, h("legend", {}, words.t("app.choose")), ...radios),
      missing,
      h("p", { class: "actions" }, h("button", { class: "main-action" }, words.t("app.begin"))),
    );
    const issuer = manifest.issuers[0]!.name;
    panel.show(
      null,
      this.step(1),
      !this.flow.keeper.isDurable && h("p", { class: "hint" }, words.t("app.no_storage")),
      form,
      h("p", { class: "note" }, words.t("app.begin_note", { issuer })),
      this.fileButton(),
    );
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      this.flow.prepare();
    });
    seen.observe(form);
  }

  /** A link that holds a finished pledge; whoever sent it may be somebody else, whose pledge it then is. */
  received(take: () => Promise<void>): void {
    const { words, panel } = this.flow;
    panel.show(
      words.t("app.carried"),
      h("p", {}, words.t("app.carried_lead")),
      h(
        "p",
        { class: "actions" },
        panel.button(words.t("app.carried_take"), take, "main-action"),
        panel.button(words.t("app.carried_leave"), () => this.flow.refresh()),
      ),
    );
  }

  /** Two, when it was left: the same envelope goes to the issuer again. */
  started(issuer: string): void {
    const { words, panel } = this.flow;
    panel.show(
      words.t("app.step", { n: 2 }),
      h("p", {}, words.t("app.started", { issuer })),
      h(
        "p",
        { class: "actions" },
        panel.button(words.t("app.continue", { issuer }), () => this.flow.toIssuer(), "main-action"),
        panel.button(words.t("app.start_over"), () => this.flow.forget(), "plain"),
      ),
    );
  }

  /** Two, where this browser keeps nothing: the issuer opens beside. */
  beside(issuer: string, address: string): void {
    const { words, panel } = this.flow;
    const field = h("input", { type: "text", id: "paste", autocomplete: "off", spellcheck: "false", dir: "ltr" });
    const waiting = h("p", { role: "status", class: "note" });
    const link = h(
      "a",
      { class: "button main-action", href: address, target: "_blank", rel: "noopener noreferrer" },
      words.t("app.open_check", { issuer }),
    );
    link.addEventListener("click", () => (waiting.textContent = words.t("app.waiting_check", { issuer })));
    const form = panel.form(
      async () => {
        const [session = "", name = issuer, state = ""] = field.value.trim().split(" ");
        await this.flow.take({ session, issuer: name, state }, false);
      },
      h("label", { class: "field", for: "paste" }, words.t("app.paste", { issuer })),
      field,
      h("p", { class: "actions" }, h("button", {}, words.t("app.paste_go"))),
    );
    panel.show(
      words.t("app.step", { n: 2 }),
      h("p", {}, words.t("app.keep_tab")),
      h("p", { class: "actions" }, link),
      waiting,
      form,
    );
  }

  /** In the tab that came back, when the pledge lives in another. */
  carried(taken: boolean, sent: Record<string, string>): void {
    const { words, panel } = this.flow;
    const text = `${sent["session"]} ${sent["issuer"]} ${sent["state"]}`;
    panel.show(
      words.t("app.step", { n: 2 }),
      h("p", { role: "status" }, words.t("check.done_tab")),
      !taken && h("p", {}, words.t("check.copy")),
      !taken && h("pre", { dir: "ltr", tabindex: "0" }, text),
    );
  }

  /** Three: when it is sent. */
  signed(file: PledgeFile): void {
    const { words, panel } = this.flow;
    const within = h("span", { class: "note" });
    const until = h("span", { class: "note" });
    // A slow telephone looks a tenth of a second for its calendar: the screen is there before.
    atRest(() => {
      within.textContent = words.t("app.send_soon_note", { minutes: SOON_MINUTES });
      until.textContent = words.t("app.send_later_note", { date: this.flow.deadline });
    });
    const ways = [
      ["soon", "app.send_soon", within],
      ["later", "app.send_later", until],
      ["now", "app.send_now", h("span", { class: "note" }, words.t("app.send_now_note"))],
    ] as const;
    const radios = ways.map(([value, key, said]) =>
      h(
        "label",
        { class: "choice" },
        h("input", { type: "radio", name: "when", value, checked: value === "soon" }),
        h(
          "span",
          {},
          words.t(key),
          value === "soon" && h("span", { class: "tag" }, words.t("app.recommended")),
        ),
        said,
      ),
    );
    const form = panel.form(
      async () => {
        const when = form.querySelector<HTMLInputElement>("input[name=when]:checked")?.value;
        if (when === "now") await this.flow.send();
        else if (when === "later") await this.flow.keepForLater();
        else await this.flow.sendSoon();
      },
      h("fieldset", {}, h("legend", { class: "visually-hidden" }, words.t("app.signed")), ...radios),
      h("p", { class: "actions" }, h("button", { class: "main-action" }, words.t("app.paste_go"))),
    );
    panel.show(
      words.t("app.signed"),
      stamp(),
      this.step(3),
      this.choice(file.choice),
      h("p", {}, words.t("app.signed_lead")),
      form,
    );
  }

  countdown(sendAt: number): void {
    const { words, panel } = this.flow;
    panel.show(
      words.t("app.signed"),
      stamp(),
      h("p", { role: "status" }, words.t("app.countdown", { time: words.time(sendAt + 60_000) })),
      h(
        "p",
        { class: "actions" },
        panel.button(words.t("app.send_now"), () => this.flow.send()),
        panel.button(words.t("app.send_later"), () => this.flow.keepForLater()),
      ),
    );
  }

  later(file: PledgeFile): void {
    const { words, panel, deadline } = this.flow;
    const picture = h("div");
    const show = panel.button(words.t("app.show_code"), () => {
      picture.replaceChildren(picture.hasChildNodes() ? "" : this.code(this.flow.portable(file), words.t("app.code_alt")));
    });
    panel.show(
      words.t("app.later"),
      stamp(),
      this.choice(file.choice),
      h("p", {}, words.t("app.later_lead", { date: deadline })),
      h(
        "p",
        { class: "actions" },
        panel.button(words.t("app.send_now"), () => this.flow.send(), "main-action"),
        panel.button(words.t("app.save_file"), () => this.flow.save(file)),
        show,
      ),
      picture,
      this.forgetting(),
    );
  }

  failed(code: string, again: () => Promise<void>): void {
    const { words, panel } = this.flow;
    panel.show(null, h("p", { class: "actions" }, panel.button(words.t("app.retry"), again)));
    panel.fail(code);
  }

  /** What is kept cannot be read: to try again would not help. */
  damaged(): void {
    this.flow.panel.show(null, this.forgetting(true));
    this.flow.panel.fail("damaged");
  }

  /** A line above the screen that is shown. */
  say(text: string): void {
    this.flow.panel.say(text);
  }

  step(n: number): HTMLElement {
    return h("p", { class: "step" }, this.flow.words.t("app.step", { n }));
  }

  choice(choice: number): Child {
    const text = this.flow.choiceText(choice);
    return text ? h("p", {}, h("strong", {}, this.flow.words.t("app.your_choice", { choice: text }))) : null;
  }

  code(text: string, label: string): SVGElement {
    const grid = qr(utf8(text));
    const size = String(grid.length + 8);
    return svg(
      "svg",
      { class: "code-picture", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
      svg("path", { d: qrPath(grid) }),
    );
  }

  /** The way to forget everything, behind a question. */
  forgetting(open = false): HTMLElement {
    const { words, panel } = this.flow;
    return h(
      "details",
      { open },
      h("summary", {}, words.t("app.forget")),
      h("p", {}, words.t("app.forget_lead")),
      h(
        "p",
        { class: "actions" },
        panel.button(words.t("app.forget"), async () => {
          await this.flow.forget();
          this.say(words.t("app.forgotten"));
        }),
      ),
    );
  }

  private fileButton(): HTMLElement {
    const { words, panel } = this.flow;
    const input = h("input", { type: "file", accept: ".pledge,application/json", "aria-label": words.t("app.have_file") });
    input.addEventListener("change", () => {
      const [chosen] = input.files ?? [];
      if (chosen === undefined) return;
      void panel.once(null, async () => {
        await this.flow.load(chosen);
      });
      input.value = "";
    });
    return h("p", { class: "actions" }, h("span", { class: "button file" }, words.t("app.have_file"), input));
  }
}

/** The mark of a stamp: what the page shows when an issuer has signed. */
export function stamp(): SVGElement {
  return svg(
    "svg",
    { class: "stamp", viewBox: "0 0 72 72", "aria-hidden": "true" },
    svg("circle", { class: "art-stamp", cx: "36", cy: "36", r: "31" }),
    svg("circle", { class: "art-stamp", cx: "36", cy: "36", r: "24", "stroke-width": "1.5" }),
    svg("path", { class: "art-stamp", d: "M25 37l8 9 15-19", "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}
