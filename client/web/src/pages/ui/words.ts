/** The words of the page's language, which stand in the page; numbers and dates by Intl. */
import type english from "../../../../headcount/messages/en.json";
import { LOCALES, smallNumber } from "./digits.ts";
import { data } from "./dom.ts";

export type Key = keyof typeof english;
type Message = string | Record<string, string>;

export class Words {
  readonly locale: string;
  private readonly messages: Record<string, Message>;
  private plural: Intl.PluralRules | undefined;

  constructor(language: string, messages: Record<string, Message> = data("messages")) {
    this.locale = LOCALES[language] ?? language;
    this.messages = messages;
  }

  /** A message; `n` chooses the plural form. A name that is not given is a bug and shows as itself. */
  t(key: Key, names: Record<string, string | number> = {}): string {
    const message = this.messages[key] ?? key;
    const n = typeof names["n"] === "number" ? names["n"] : 0;
    const text = typeof message === "string" ? message : (message[this.form(n)] ?? message["other"] ?? key);
    return text.replace(/\{([a-z_]+)\}/g, (whole, name: string) => {
      const value = names[name];
      return value === undefined ? whole : typeof value === "number" ? this.number(value) : value;
    });
  }

  /** Whether the page has this message. */
  has(key: string): key is Key {
    return key in this.messages;
  }

  number(value: number): string {
    return smallNumber(value, this.locale) ?? new Intl.NumberFormat(this.locale).format(value);
  }

  /** The plural form of a number. */
  private form(n: number): string {
    this.plural ??= new Intl.PluralRules(this.locale);
    return this.plural.select(n);
  }

  /** A day since 1970, as a date in words. */
  day(day: number): string {
    return new Intl.DateTimeFormat(this.locale, { dateStyle: "long", timeZone: "UTC" }).format(day * 86_400_000);
  }

  /** A moment of today, by the reader's clock. */
  time(at: number): string {
    return new Intl.DateTimeFormat(this.locale, { timeStyle: "short" }).format(at);
  }

  /** A moment within some days, by the reader's clock. */
  moment(at: number): string {
    return new Intl.DateTimeFormat(this.locale, { dateStyle: "medium", timeStyle: "short" }).format(at);
  }

  /** What an error's code means to a person. */
  error(code: string): string {
    const key = `error.${code}`;
    return this.has(key) ? this.t(key) : this.t("error.other", { code });
  }
}
