/** The one part of a page that changes: a heading that takes the focus, and whatever stands below it. */
import { type Child, afterPaint, h } from "./dom.ts";
import type { Words } from "./words.ts";

const SOON_MS = 250; // what is done by then needs no line that says so

export class Panel {
  private readonly root: HTMLElement;
  private readonly words: Words;
  private readonly heading: "h2" | "h3"; // what comes below the page's own
  private alert: HTMLElement | null = null;
  private busy = false;
  private soon: ReturnType<typeof setTimeout> | undefined;

  constructor(root: HTMLElement, words: Words, heading: "h2" | "h3" = "h2") {
    this.root = root;
    this.words = words;
    this.heading = heading;
    document.querySelector(".late")?.remove(); // it is for browsers that cannot run this
    root.hidden = false;
  }

  /** Show a screen; unless it is the first, its heading is read out and stands in view. */
  show(heading: string | null, ...children: Child[]): void {
    clearTimeout(this.soon);
    this.root.hidden = false;
    const first = !this.root.hasChildNodes();
    this.alert = null;
    const title = heading === null ? null : h(this.heading, { tabindex: "-1" }, heading);
    this.root.replaceChildren(...[title, ...children].filter((child): child is Node | string => Boolean(child)));
    if (first) return;
    const target = title ?? this.root;
    if (title === null) this.root.tabIndex = -1;
    target.focus({ preventScroll: true });
    const place = this.root.getBoundingClientRect();
    if (place.top < 0 || place.top > innerHeight * 0.6) this.root.scrollIntoView({ block: "start" });
  }

  /** One line that says what is being done, read out without taking the focus. */
  wait(text: string): void {
    clearTimeout(this.soon);
    if (this.root.textContent !== text) this.root.replaceChildren(status("", text)); // the page itself may say so
  }

  /** The same, unless it is done in a moment: on a slow telephone the line would be half of the waiting. */
  waitSoon(text: string): void {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.wait(text), SOON_MS);
  }

  /** Nothing can be done here. */
  hide(): void {
    clearTimeout(this.soon);
    this.root.replaceChildren();
    this.root.hidden = true;
  }

  /** A line above whatever stands there, read out. */
  say(text: string): void {
    this.root.hidden = false;
    this.alert?.remove();
    this.alert = status("hint", text);
    this.root.prepend(this.alert);
  }

  /** Say what went wrong, above whatever stands there. */
  fail(code: string): void {
    clearTimeout(this.soon);
    this.alert?.remove();
    this.alert = h(
      "div",
      { class: "alert", role: "alert" },
      h(this.heading, {}, this.words.t("error.heading")),
      h("p", {}, this.words.error(code)),
    );
    this.root.prepend(this.alert);
    this.alert.scrollIntoView({ block: "nearest" });
  }

  /** Do what a button or a form is for, once at a time; an error is told, and the button works again. */
  async once(button: HTMLElement | null, act: () => Promise<void>): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    button?.setAttribute("aria-disabled", "true");
    try {
      this.alert?.remove();
      await act();
    } catch (error) {
      this.fail(codeOf(error));
    } finally {
      this.busy = false;
      button?.removeAttribute("aria-disabled");
    }
  }

  /** A button that does this once at a time. */
  button(text: string, act: () => Promise<void> | void, kind = ""): HTMLButtonElement {
    const button = h("button", { type: "button", class: kind }, text);
    button.addEventListener("click", () => void this.once(button, async () => act()));
    return button;
  }

  /** A form that does this once at a time. */
  form(act: () => Promise<void>, ...children: Child[]): HTMLFormElement {
    const form = h("form", { novalidate: true }, ...children);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.once(form.querySelector("button"), act);
    });
    return form;
  }
}

/** A line that is read out: a screen reader hears of a change in what it knows, not of what comes with its text. */
function status(kind: string, text: string): HTMLElement {
  const line = h("p", { class: kind, role: "status" });
  afterPaint(() => (line.textContent = text));
  return line;
}

/** The stable code of an error of ours, or what the browser means by its own. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string" && code !== "unavailable") return code;
  if (!navigator.onLine) return "offline";
  if (typeof code === "string") return "unavailable";
  return error instanceof Error ? error.name : "unknown"; // a bug, named without its text
}
