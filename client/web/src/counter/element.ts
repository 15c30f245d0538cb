/**
 * `<headcount-counter href="https://…/sign/SCOPE">a plain link</headcount-counter>`: the count of a campaign on anybody's page.
 *
 * It shows a number only after it has verified, in the reader's browser, the terms against the scope id of the link, the
 * ledger's signed checkpoint, its witnesses as the terms demand them, the last seal's inclusion, the totals file and its line. The
 * only requests are for the ledger's public files. Attribute `ledger` names another place of these files, `lang` the
 * language; the colours are custom properties. What stands inside is the fallback without script.
 */
import { isAvailable } from "../protocol/ed25519.ts";
import { enoughAt, isMet } from "../protocol/options.ts";
import { bareFetch } from "../reader/bare_fetch.ts";
import { readCount, type VerifiedCount } from "../reader/count.ts";

const LANGUAGES = ["en", "fr", "de", "es", "it", "nl", "ru", "ar"];
const HERE = import.meta.url; // the words stand beside this file, one file a language
const STYLE =
  ":host{display:inline-block;color-scheme:light dark;font:1rem/1.4 system-ui,sans-serif;padding:.8em 1.1em;border:1px solid;" +
  "border-radius:.5em;color:var(--headcount-ink,light-dark(#17262d,#efe8da));background:var(--headcount-paper,light-dark(#fffdf8,#17232a))}" +
  "p{margin:0}strong{font:600 2.4em Georgia,serif;color:var(--headcount-accent,light-dark(#9a3412,#f5a68a))}a{color:inherit}";

type Words = Record<string, string & Record<string, string>>;

class HeadcountCounter extends HTMLElement {
  connectedCallback(): void {
    const shadow = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    shadow.replaceChildren(document.createElement("slot")); // the link inside, should this browser know no more
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE); // a style sheet made so needs no permission of the page's CSP
    shadow.adoptedStyleSheets = [style];
    this.refresh().catch(() => shadow.replaceChildren(document.createElement("slot"))); // without words, the link inside
  }

  /** Read and verify the count again. */
  async refresh(): Promise<void> {
    const tag = (this.lang || this.closest<HTMLElement>("[lang]")?.lang || navigator.language).slice(0, 2);
    const language = LANGUAGES.includes(tag) ? tag : "en";
    const from = new URL(`counter/${language}.json`, HERE);
    const answer = await fetch(from, { credentials: "omit", referrerPolicy: "no-referrer" });
    const words = (await answer.json()) as Words;
    const part = document.createElement("div");
    part.lang = language;
    part.dir = language === "ar" ? "rtl" : "ltr";
    part.setAttribute("role", "status");
    this.shadowRoot!.replaceChildren(part);
    line(part, words["counter.checking"]!);
    const { href, origin, pathname } = new URL(this.getAttribute("href")!, HERE);
    let state = "failed";
    try {
      if (await isAvailable()) {
        const scope = /\/sign\/([0-9a-f]{64})/.exec(pathname)![1]!;
        const count = await readCount(bareFetch(this.getAttribute("ledger") ?? `${origin}/ledger`), scope);
        part.replaceChildren();
        show(part, count, words, language);
        state = "verified";
      } else state = "unsupported";
    } catch (error) {
      part.title = (error as { code?: string }).code ?? "";
    }
    if (state !== "verified") part.replaceChildren();
    line(part, words[`counter.${state}`]!);
    const link = document.createElement("a");
    link.href = href;
    link.rel = "noreferrer";
    link.textContent = words["counter.link"]!;
    line(part, "").append(link);
    this.dataset["state"] = state;
    this.dispatchEvent(new Event("headcount", { bubbles: true }));
  }
}

function show(part: HTMLElement, count: VerifiedCount, words: Words, language: string): void {
  const locale = language === "ar" ? "ar-EG" : language;
  const number = (value: number): string => new Intl.NumberFormat(locale).format(value);
  const { title, level, threshold, quotas } = count.terms;
  line(part, title[language] ?? title[count.terms.language] ?? "").dir = "auto";
  const main = line(part, "");
  const strong = document.createElement("strong");
  strong.textContent = number(count.live);
  const forms = words[`level.${level}`] ?? words["level.other"]!;
  main.append(strong, ` ${forms[new Intl.PluralRules(locale).select(count.live)]!.replace("{level}", level)}`);
  line(part, words["count.of"]!.replace("{threshold}", number(threshold)));
  if (quotas) {
    const { each, options } = quotas;
    line(part, words["quotas.standing"]!.replace(/{(\w+)}/g, (_, name) =>
      number({ each, options, n: enoughAt(quotas, count.options) }[name as "n"]),
    ));
  }
  const isOver = new Date().toISOString().slice(0, 10) > count.terms.closes;
  const isReached = count.live >= threshold && isMet(quotas, count.options);
  if (isReached || isOver) line(part, words[isReached ? "counter.reached" : "counter.over"]!);
}

function line(part: HTMLElement, text: string): HTMLElement {
  const element = document.createElement("p");
  element.textContent = text;
  part.append(element);
  return element;
}

if (!customElements.get("headcount-counter")) customElements.define("headcount-counter", HeadcountCounter);
