// The errors of the linter of manifests (headcount_spec/lint.py) that terms can have which read strictly.
import { hex } from "./bytes.ts";
import type { Manifest } from "./scope.ts";

export interface Finding {
  readonly code: string; // stable
  readonly path: string; // JSON path
  readonly message: string;
}

/** What forbids these terms beside their siblings: other scopes of the same ledger. */
export function lintErrors(manifest: Manifest, siblings: Iterable<Manifest>): Finding[] {
  const found: Finding[] = [];
  const add = (code: string, path: string, message: string): void => void found.push({ code, path, message });
  const parts = [...new Set(manifest.level.split("+"))].sort();
  const asked = [...new Set(manifest.issuers.flatMap((issuer) => issuer.attesters))].sort();
  if (parts.join() !== asked.join()) {
    add("level-mixed", "$.level", "The level must name exactly the checks that the issuers make.");
  }
  const titles = new Set(Object.values(manifest.title).map(folded));
  const keys = new Set(manifest.issuers.map((issuer) => hex(issuer.tokenKey)));
  for (const sibling of siblings) {
    if (sibling.scope === manifest.scope) continue;
    if (sibling.issuers.some((issuer) => keys.has(hex(issuer.tokenKey)))) {
      add("token-key-reused", "$.issuers", "An issuer's token key already serves another scope.");
    }
    const parents = [sibling, manifest].map(({ parent }) => (parent ? hex(parent) : ""));
    const isSamePlace = sibling.kind === manifest.kind && parents[0] === parents[1];
    if (isSamePlace && Object.values(sibling.title).some((title) => titles.has(folded(title)))) {
      add("same-title", "$.title", "Another one of the same kind has this title.");
    }
  }
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

/** What the eye takes for the same: without case, width and spacing. */
function folded(title: string): string {
  // ECMAScript has no case folding; upper case first unfolds what folds into several letters.
  return title.normalize("NFKC").toUpperCase().toLowerCase().split(/\s+/).filter(Boolean).join(" ");
}
