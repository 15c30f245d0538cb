// The message catalogues at build time: complete in every language, or there is no build.
//
// A message is a text with {names}, or one text for each plural category of its language. English is the reference, and
// what the pages' scripts and templates ask for must be in it.
import { readFileSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";

type Message = string | Record<string, string>;
type Catalogue = Record<string, Message>;

const here = import.meta.dirname;
const folder = resolve(here, "../headcount/messages");

export function readCatalogues(): Record<string, Catalogue> {
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  return Object.fromEntries(
    names.map((name) => [name.slice(0, -5), JSON.parse(readFileSync(join(folder, name), "utf8")) as Catalogue]),
  );
}

/** Throws an Error that names the first message which is missing, incomplete or not asked for in this form. */
export function checkCatalogues(catalogues: Record<string, Catalogue>): void {
  const reference = catalogues["en"];
  if (!reference) throw new Error("messages/en.json is missing");
  for (const [language, messages] of Object.entries(catalogues)) {
    const categories = new Intl.PluralRules(language).resolvedOptions().pluralCategories;
    for (const key of new Set([...Object.keys(reference), ...Object.keys(messages)])) {
      const [message, expected] = [messages[key], reference[key]];
      const where = `messages/${language}.json: ${key}`;
      if (message === undefined || expected === undefined) throw new Error(`${where} is missing or unknown`);
      if (typeof message !== typeof expected) throw new Error(`${where} has plural forms in one language only`);
      const forms = typeof message === "string" ? { other: message } : message;
      if (typeof message !== "string" && [...categories].sort().join() !== Object.keys(forms).sort().join()) {
        throw new Error(`${where} needs the forms ${categories.join(", ")}`);
      }
      for (const form of Object.values(forms)) {
        if (!form.trim()) throw new Error(`${where} is empty`);
        const extra = [...namesOf(form)].filter((name) => !allNames(expected).has(name));
        // A form for one or two may say the number in a word.
        const lost = [...allNames(expected)].filter((name) => name !== "n" && !namesOf(form).has(name));
        if (extra.length || lost.length) throw new Error(`${where} has other names in braces`);
      }
    }
  }
}

/** Throws an Error that names a key which a template asks for and no catalogue has; scripts are checked by their types. */
export function checkTemplates(reference: Catalogue): void {
  const templates = resolve(here, "../../node/headcount_node/site/templates");
  let names: string[];
  try {
    names = ["site", "issuer"].flatMap((folder) => readdirSync(join(templates, folder)).map((name) => join(folder, name)));
  } catch {
    return; // the client is built by itself
  }
  for (const name of names) {
    for (const [, key] of readFileSync(join(templates, name), "utf8").matchAll(/\bt\("([a-z0-9._-]+)"/g)) {
      if (reference[key!] === undefined) throw new Error(`${name} asks for ${key}, which no catalogue has`);
    }
  }
}

function namesOf(form: string): Set<string> {
  return new Set([...form.matchAll(/\{([a-z_]+)\}/g)].map((found) => found[1]!));
}

function allNames(message: Message): Set<string> {
  return typeof message === "string" ? namesOf(message) : new Set(Object.values(message).flatMap((form) => [...namesOf(form)]));
}
