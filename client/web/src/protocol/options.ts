// Options in totals, and the rule of quotas. Apart from quotas.ts, so that a counter loads no more than this.
import { concat, fromHex, hex, utf8 } from "./bytes.ts";
import { sha256 } from "./sha256.ts";
import type { Total } from "./totals.ts";
import { u16 } from "./wire.ts";

/** Not only so many in all, but so many at each of several options. */
export interface Quotas {
  readonly each: number; // live pledges that are enough at one option
  readonly options: number; // how many different options must have enough
}

/** The name under which totals have an option of a scope (both hex). Protocol, Section 4.5. */
export function optionId(scope: string, option: number): string {
  return hex(sha256(concat(utf8("headcount/option/v1\0"), fromHex(scope), u16(option))));
}

/** The live pledges of the options 1 to n of a scope (hex), as totals say; undefined if they do not come to its count. */
export function liveAt(totals: ReadonlyMap<string, Total>, scope: string, n: number): number[] | undefined {
  const rows = Array.from({ length: n }, (_, i) => totals.get(optionId(scope, i + 1)) ?? { gross: 0, live: 0 });
  const sum = rows.reduce((all, { live }) => all + live, 0);
  return rows.every(({ gross, live }) => gross === live) && sum === (totals.get(scope)?.live ?? 0)
    ? rows.map(({ live }) => live)
    : undefined;
}

/** How many options have enough live pledges. */
export function enoughAt(quotas: Quotas, counts: Iterable<number>): number {
  return [...counts].filter((live) => live >= quotas.each).length;
}

/** Whether as many options have enough as must; always without quotas. */
export function isMet(quotas: Quotas | undefined, counts: Iterable<number>): boolean {
  return !quotas || enoughAt(quotas, counts) >= quotas.options;
}
