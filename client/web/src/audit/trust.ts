// Whom a number still trusts after an audit found nothing wrong: never hidden.
//
// As data, so that a page can say it in the reader's language; sentence() says it as the command line does.
import { hex } from "../protocol/bytes.ts";
import { NO_QUORUM, type Policy } from "../protocol/policy.ts";
import type { ScopeRecount } from "./scopes.ts";

export type Trust =
  | { readonly kind: "sole-issuer" | "issuers"; readonly title: string; readonly issuers: readonly string[] }
  | { readonly kind: "key-destroyed"; readonly title: string; readonly issuers: readonly string[] }
  | { readonly kind: "organiser-is-issuer" | "options"; readonly title: string }
  | { readonly kind: "text-absent"; readonly title: string; readonly languages: readonly string[] }
  | { readonly kind: "unnamed-child"; readonly title: string; readonly parent: string }
  | { readonly kind: "no-witness" }
  | { readonly kind: "witnesses"; readonly witnesses: readonly string[] }
  | { readonly kind: "nothing-remembered" };

/** What must be believed, the gravest first. */
export function trusts(
  scopes: ReadonlyMap<string, ScopeRecount>, policy: Policy, cosigners: readonly string[], remembered: boolean,
): Trust[] {
  const found: Trust[] = [];
  for (const scope of scopes.values()) found.push(...about(scope, scopes));
  const witnesses = [...new Set(cosigners)].sort();
  found.push(policy.quorum === NO_QUORUM ? { kind: "no-witness" } : { kind: "witnesses", witnesses });
  if (!remembered) found.push({ kind: "nothing-remembered" });
  return found;
}

function about(scope: ScopeRecount, known: ReadonlyMap<string, ScopeRecount>): Trust[] {
  const { manifest, title, issuerNames: issuers } = scope;
  const found: Trust[] = [{ kind: issuers.length === 1 ? "sole-issuer" : "issuers", title, issuers }];
  const gone = [...scope.tally.destroyed].filter(([, keys]) => keys.has("tag")).map(([name]) => name);
  if (gone.length) found.push({ kind: "key-destroyed", title, issuers: gone.sort() });
  const organisers = new Set(manifest.organisers.keys.map(hex));
  if (manifest.issuers.some((issuer) => organisers.has(hex(issuer.noticeKey)))) {
    found.push({ kind: "organiser-is-issuer", title });
  }
  const languages = manifest.languages.filter((language) => !scope.tally.texts.has(language));
  if (languages.length && scope.tally.gross) found.push({ kind: "text-absent", title, languages });
  if (manifest.quotas) found.push({ kind: "options", title });
  const parent = manifest.parent && known.get(hex(manifest.parent));
  if (parent && !parent.tally.children.has(manifest.scope)) {
    found.push({ kind: "unnamed-child", title, parent: parent.title });
  }
  return found;
}

export function sentence(trust: Trust): string {
  switch (trust.kind) {
    case "sole-issuer":
      return (
        `${trust.title}: ${trust.issuers[0]!} is the sole issuer and is trusted for the count: ` +
        "it could sign pledges of nobody."
      );
    case "issuers":
      return `${trust.title}: the issuers ${trust.issuers.join(", ")} would all have to collude to sign pledges of nobody.`;
    case "key-destroyed":
      return (
        `${trust.title}: that the key which tells who took part is destroyed is only the word of ` +
        `${trust.issuers.join(", ")}.`
      );
    case "organiser-is-issuer":
      return `${trust.title}: the organiser is an issuer too.`;
    case "text-absent":
      return `${trust.title}: of the text in ${trust.languages.join(", ")} the ledger holds only the hash.`;
    case "options":
      return (
        `${trust.title}: to which option somebody belongs is only what they say themselves; ` +
        "nobody has checked it."
      );
    case "unnamed-child":
      return `${trust.title}: ${trust.parent} does not name it among its scopes.`;
    case "no-witness":
      return (
        "No witness is asked for: the operator of the ledger could show others another history, which " +
        "only a remembered checkpoint or a receipt would reveal."
      );
    case "witnesses":
      return `The witnesses ${trust.witnesses.join(", ")} saw no other history, if they are honest.`;
    case "nothing-remembered":
      return "Nothing was remembered from an earlier audit: a history rewritten before today would not show.";
  }
}
