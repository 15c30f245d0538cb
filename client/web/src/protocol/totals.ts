// Totals: both counts of every scope at a seal, in a static file whose hash the seal carries.
import { compare, concat, fromHex, hex, type Bytes } from "./bytes.ts";
import { MalformedError } from "./errors.ts";
import { Reader, u64 } from "./wire.ts";

export interface Total {
  readonly gross: number;
  readonly live: number;
}

export function totalsPath(batch: number): string {
  return `totals/${batch}`;
}

/** The bytes of the file, from scope ids in hex. */
export function encodeTotals(totals: ReadonlyMap<string, Total>): Bytes {
  const rows = [...totals].sort(([one], [other]) => (one < other ? -1 : 1));
  return concat(...rows.map(([scope, { gross, live }]) => concat(fromHex(scope), u64(gross), u64(live))));
}

/** Scope id in hex → counts; throws MalformedError. */
export function decodeTotals(data: Uint8Array): Map<string, Total> {
  if (data.length % 48) throw new MalformedError("totals are no multiple of 48 bytes");
  const reader = new Reader(data);
  const totals = new Map<string, Total>();
  let last: Uint8Array = new Uint8Array(0);
  while (reader.left) {
    const [scope, gross, live] = [reader.take(32), reader.u64(), reader.u64()];
    if (compare(scope, last) <= 0) throw new MalformedError("totals are not in ascending order of scope ids");
    if (live > gross) throw new MalformedError("more live than gross pledges");
    totals.set(hex(scope), { gross, live });
    last = scope;
  }
  return totals;
}
