// Quotas: what a campaign needs beside its threshold, and how totals say that it stands.
import { MalformedError } from "./errors.ts";
import { isMet, liveAt, type Quotas } from "./options.ts";
import { deadlineDay, type Manifest } from "./scope.ts";
import type { Total } from "./totals.ts";

/** Option → live pledges, as totals say; empty for a scope without quotas. Throws MalformedError. */
export function optionCounts(manifest: Manifest, totals: ReadonlyMap<string, Total>): Map<number, number> {
  if (!manifest.quotas) return new Map();
  const live = liveAt(totals, manifest.scope, manifest.options.length);
  if (!live) throw new MalformedError("the options do not come to the count of their scope");
  return new Map(live.map((number, i) => [i + 1, number]));
}

/** The fewest further pledges that would meet the quotas, counts being those of all options. */
export function missingFor(quotas: Quotas, counts: Iterable<number>): number {
  const short = Array.from(counts, (live) => Math.max(0, quotas.each - live)).sort((a, b) => a - b);
  return short.slice(0, quotas.options).reduce((sum, number) => sum + number, 0);
}

/** Whether a campaign is reached at a seal of this day, with these live pledges at its options. Protocol, Section 4.8. */
export function isEnough(manifest: Manifest, live: number, counts: ReadonlyMap<number, number>, day: number): boolean {
  return live >= manifest.threshold && day <= deadlineDay(manifest) && isMet(manifest.quotas, counts.values());
}
