// One entry bundle: cut into entries, hashed, parsed and its pledges verified; what a worker does.
import { fromUtf8, hex, type Bytes } from "../protocol/bytes.ts";
import { parseEntry, type Entry } from "../protocol/entry.ts";
import { MalformedError } from "../protocol/errors.ts";
import { leafHash } from "../protocol/merkle.ts";
import { TILE_WIDTH } from "../protocol/tile.ts";
import { Reader } from "../protocol/wire.ts";
import type { ScopeJudge, Verdict } from "./judge.ts";

/** One entry as it is served. */
export interface Leaf {
  readonly offset: number; // of its length field in the bundle
  readonly hash: Bytes;
  readonly kind: number; // first byte, -1 if empty
  readonly entry: Entry | undefined; // undefined if it does not parse
  readonly verdict: Verdict | undefined; // why it does not parse, or of a pledge whose scope was known
}

/** One bundle as it is served. */
export interface BundleScan {
  readonly leaves: readonly Leaf[];
  readonly ends: readonly number[]; // offset behind each entry
  readonly problem: string; // why it does not parse to its end
  readonly problemOffset: number;
}

export const EMPTY_SCAN: BundleScan = { leaves: [], ends: [], problem: "", problemOffset: 0 };

/** Cuts a bundle of width entries and looks at each; judges are by scope id in hex. */
export async function scanBundle(
  data: Bytes, width: number, judges: ReadonlyMap<string, ScopeJudge>,
): Promise<BundleScan> {
  const looks: Promise<Leaf>[] = [];
  const ends: number[] = [];
  let at = 0;
  let problem = "";
  while (at < data.length) {
    if (looks.length === TILE_WIDTH) {
      problem = `${data.length - at} bytes follow the last entry`;
      break;
    }
    const size = (data[at]! << 8) | (data[at + 1] ?? 0);
    const end = at + 2 + size;
    if (at + 2 > data.length || end > data.length) {
      problem = `the bundle ends inside entry ${looks.length} of ${width}`;
      break;
    }
    looks.push(look(data.subarray(at + 2, end), at, judges));
    ends.push(end);
    at = end;
  }
  const leaves = await Promise.all(looks);
  if (!problem && leaves.length !== width) problem = `${leaves.length} entries where ${width} must be`;
  return { leaves, ends, problem, problemOffset: at };
}

async function look(data: Bytes, offset: number, judges: ReadonlyMap<string, ScopeJudge>): Promise<Leaf> {
  let entry: Entry | undefined;
  let verdict: Verdict | undefined;
  try {
    entry = parseEntry(data);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    verdict = nameMalformed(data, error.message);
  }
  const hash = leafHash(data);
  if (entry?.kind === "pledge") verdict = await judges.get(hex(entry.scopeId))?.judge(entry);
  return { offset, hash, kind: data[0] ?? -1, entry, verdict };
}

function nameMalformed(data: Bytes, detail: string): Verdict {
  // A manifest that is not the one of its scope id does not even parse; that has a name of its own.
  const [type, version] = data;
  if (type === 4 && version === 1) {
    let kind: unknown;
    try {
      const statement: unknown = JSON.parse(fromUtf8(new Reader(data.subarray(2)).opaque16()));
      kind = (statement as { type?: unknown } | null)?.type;
    } catch {
      return { code: "malformed-entry", detail };
    }
    if (kind === "manifest") {
      return { code: "swapped-terms", detail: `the published manifest is not the scope's: ${detail}` };
    }
    if (kind === "issuance") return { code: "wrong-issuance", detail };
  }
  return { code: type === 2 && version === 1 ? "broken-seal" : "malformed-entry", detail };
}
