// The errors of the linter of manifests (headcount_spec/lint.py) that terms can have which read strictly.
import { equal, hex } from "./bytes.ts";
import { namesAll, neededOf, parseLevel, type Level } from "./level.ts";
import { formatVkey } from "./note.ts";
import type { Manifest } from "./scope.ts";
import type { IssuerTerms } from "./terms.ts";

const NEW_EACH_TIME = ["in-person"]; // evidence that is not the same person's in the next scope

export interface Finding {
  readonly code: string; // stable
  readonly path: string; // JSON path
  readonly message: string;
}

/** What forbids these terms beside their siblings: other scopes of the same ledger. */
export function lintErrors(manifest: Manifest, siblings: Iterable<Manifest>): Finding[] {
  const found: Finding[] = [];
  const add = (code: string, path: string, message: string): void => void found.push({ code, path, message });
  const level = parseLevel(manifest.level);
  if (!namesAll(level, manifest.issuers.map((issuer) => issuer.attesters))) {
    add("level-mixed", "$.level", "The level must name exactly the checks that the issuers make, in their order.");
  }
  manifest.issuers.forEach((issuer, i) => {
    if (issuer.slips !== undefined && !issuer.attesters.includes("in-person")) {
      add("slips-without-sheet", `$.issuers[${i}].slips`, "The issuer hands out no slips that could be counted.");
    }
    if (issuer.returning.length && issuer.attesters.every((name) => NEW_EACH_TIME.includes(name))) {
      add("returning-without-check", `$.issuers[${i}].returning`, "A slip is another one in each scope.");
    }
  });
  manifest.trustees?.members.forEach((trustee, i) => {
    if (manifest.contacts && equal(trustee.scopeKey, manifest.contacts.key)) {
      add("trustee-is-organiser", `$.trustees.members[${i}].scope_key`, "This trustee's key is the organiser's own.");
    }
  });
  const titles = new Set(Object.values(manifest.title).map(folded));
  const keys = new Set(manifest.issuers.map((issuer) => hex(issuer.tokenKey)));
  for (const sibling of siblings) {
    if (sibling.scope === manifest.scope) continue;
    if (sibling.issuers.some((issuer) => keys.has(hex(issuer.tokenKey)))) {
      add("token-key-reused", "$.issuers", "An issuer's token key already serves another scope.");
    }
    const parents = [sibling, manifest].map(({ parent }) => (parent ? hex(parent) : ""));
    const isSamePlace = sibling.kind === manifest.kind && parents[0] === parents[1];
    const continued = manifest.continues && hex(manifest.continues.scope);
    if (continued === sibling.scope) {
      for (const [code, message] of succession(manifest, sibling, isSamePlace)) add(code, "$.continues", message);
    } else if (continued && sibling.continues && continued === hex(sibling.continues.scope)) {
      add("successor-twice", "$.continues", "Another one continues the same scope already: it would be counted twice.");
    } else if (isSamePlace && Object.values(sibling.title).some((title) => titles.has(folded(title)))) {
      add("same-title", "$.title", "Another one of the same kind has this title.");
    }
  }
  for (const [code, path, message] of condition(manifest, siblings)) add(code, path, message);
  const places = [
    ...manifest.issuers.map((issuer, i) => [`$.issuers[${i}].url`, issuer.url] as const),
    ...manifest.origins.map((origin, i) => [`$.origins[${i}]`, origin] as const),
  ];
  for (const [path, url] of places) {
    const { hostname, protocol } = new URL(url);
    const isLocal = hostname === "localhost" || hostname === "127.0.0.1";
    if (protocol === "http:" && !isLocal && !hostname.endsWith(".onion")) {
      add("not-encrypted", path, "People would come here unencrypted: use https.");
    }
  }
  return found;
}

function* succession(manifest: Manifest, before: Manifest, isSamePlace: boolean): Iterable<[string, string]> {
  if (!isSamePlace || manifest.level !== before.level) {
    yield ["successor-differs", "What it continues has another kind, parent or level: the two numbers cannot be added."];
  }
  if (before.quotas) {
    yield ["successor-of-quotas", "What it continues has quotas; what is left of them cannot be said here."];
  }
  const old = new Map(before.issuers.map((issuer) => [hex(issuer.noticeKey), issuer]));
  const kept = manifest.issuers.flatMap((issuer) => {
    const found = old.get(hex(issuer.noticeKey));
    return found ? [[issuer, found] as const] : [];
  });
  // Then the parent's slips are shown, in both.
  const again = manifest.eligible === "parent-token-holders" && before.eligible === "parent-token-holders";
  const level = parseLevel(manifest.level);
  if (!kept.length) {
    yield ["successor-forgets", "No issuer of what it continues is left: nobody knows who has pledged already."];
  } else if (manifest.level === before.level && !kept.some(([now, then]) => recognises(level, now, then, again))) {
    yield ["successor-forgets", "Who has pledged in what it continues can come with other evidence, such as a new slip."];
  }
}

/** Whether any proof to an issuer shares lasting evidence with any that it has taken before. */
function recognises(level: Level, issuer: IssuerTerms, old: IssuerTerms, again: boolean): boolean {
  const asked = issuer.attesters.filter((name) => old.attesters.includes(name));
  const lasting = again ? asked : asked.filter((name) => !NEW_EACH_TIME.includes(name));
  const least = neededOf(level, asked.length) - (asked.length - lasting.length);
  return 2 * least > lasting.length;
}

/** A contact scope opens when its parent is reached: its own threshold only repeats that condition. */
function* condition(manifest: Manifest, others: Iterable<Manifest>): Iterable<[string, string, string]> {
  const parent = [...others].find(({ scopeId }) => manifest.parent && equal(scopeId, manifest.parent));
  if (manifest.kind !== "contact" || !parent) return;
  if (!["campaign", "round"].includes(parent.kind)) {
    yield ["contact-parent", "$.parent", "Contacts open when a campaign or a round is reached; the parent is neither."];
  }
  if (manifest.threshold !== parent.threshold) {
    const text = `The contacts open when the parent reaches ${parent.threshold}; say the same number here.`;
    yield ["contact-threshold", "$.threshold", text];
  }
  const ledgers = [manifest, parent].map(({ ledger }) => `${ledger.origin} ${formatVkey(ledger.key)}`);
  if (ledgers[0] !== ledgers[1]) {
    yield ["contact-ledger", "$.ledger", "The parent is in another ledger: one audit could not say when it is reached."];
  }
}

/** What the eye takes for the same: without case, width and spacing. */
function folded(title: string): string {
  // ECMAScript has no case folding; upper case first unfolds what folds into several letters.
  return title.normalize("NFKC").toUpperCase().toLowerCase().split(/\s+/).filter(Boolean).join(" ");
}
