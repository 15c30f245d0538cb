// One entry bundle: cut into entries, hashed, parsed and its pledges verified.
//
// A worker answers with the little that takes long to find out (findings): to send it every field of every entry would
// take as long as to verify a signature. Who asked has the bytes, and reads the fields there.
import { fromUtf8, hex, type Bytes } from "../protocol/bytes.ts";
import { parseEntry, type Entry } from "../protocol/entry.ts";
import { MalformedError } from "../protocol/errors.ts";
import { HASH_BYTES, leafHash } from "../protocol/merkle.ts";
import { parsePledge } from "../protocol/pledge.ts";
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

/** What takes long to find out about the entries of a bundle, in their order. */
export interface Findings {
  readonly hashes: Bytes; // 32 bytes an entry
  readonly nullifiers: Bytes; // 32 bytes an entry; of no meaning where it is no pledge
  readonly verdicts: readonly (Verdict | undefined)[];
}

interface Cut {
  readonly entries: readonly Bytes[];
  readonly ends: readonly number[];
  readonly problem: string;
  readonly problemOffset: number;
}

export const EMPTY_SCAN: BundleScan = { leaves: [], ends: [], problem: "", problemOffset: 0 };

/** Cuts a bundle of width entries and looks at each; judges are by scope id in hex. */
export async function scanBundle(
  data: Bytes, width: number, judges: ReadonlyMap<string, ScopeJudge>,
): Promise<BundleScan> {
  return readScan(data, width, await findOut(data, judges));
}

/** The worker's part. */
export async function findOut(data: Bytes, judges: ReadonlyMap<string, ScopeJudge>): Promise<Findings> {
  const { entries } = cut(data, TILE_WIDTH);
  const hashes = new Uint8Array(HASH_BYTES * entries.length);
  const nullifiers = new Uint8Array(HASH_BYTES * entries.length);
  let id = "";
  let judge: ScopeJudge | undefined; // most entries in a row are of one scope
  const verdicts = entries.map((raw, place): Verdict | undefined | Promise<Verdict> => {
    hashes.set(leafHash(raw), HASH_BYTES * place);
    let entry: Entry;
    try {
      entry = parseEntry(raw);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      return nameMalformed(raw, error.message);
    }
    if (entry.kind !== "pledge") return undefined;
    nullifiers.set(entry.nullifier, HASH_BYTES * place);
    const name = hex(entry.scopeId);
    if (name !== id) [id, judge] = [name, judges.get(name)];
    return judge?.judge(entry);
  });
  return { hashes, nullifiers, verdicts: await Promise.all(verdicts) };
}

/** The entries of a bundle with what was found out about them. */
export function readScan(data: Bytes, width: number, findings: Findings): BundleScan {
  const { entries, ends, problem, problemOffset } = cut(data, width);
  const { hashes, nullifiers, verdicts } = findings;
  const leaves = entries.map((raw, place): Leaf => {
    const [from, to] = [HASH_BYTES * place, HASH_BYTES * (place + 1)];
    const entry = readEntry(raw, nullifiers.subarray(from, to));
    const offset = ends[place]! - raw.length - 2;
    return { offset, hash: hashes.subarray(from, to), kind: raw[0] ?? -1, entry, verdict: verdicts[place] };
  });
  return { leaves, ends, problem, problemOffset };
}

function readEntry(raw: Bytes, nullifier: Bytes): Entry | undefined {
  try {
    return raw[0] === 1 && raw[1] === 1 ? parsePledge(raw, nullifier) : parseEntry(raw);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return undefined;
  }
}

function cut(data: Bytes, width: number): Cut {
  const entries: Bytes[] = [];
  const ends: number[] = [];
  let at = 0;
  let problem = "";
  while (at < data.length) {
    if (entries.length === TILE_WIDTH) {
      problem = `${data.length - at} bytes follow the last entry`;
      break;
    }
    const size = (data[at]! << 8) | (data[at + 1] ?? 0);
    const end = at + 2 + size;
    if (at + 2 > data.length || end > data.length) {
      problem = `the bundle ends inside entry ${entries.length} of ${width}`;
      break;
    }
    entries.push(data.subarray(at + 2, end));
    ends.push(end);
    at = end;
  }
  if (!problem && entries.length !== width) problem = `${entries.length} entries where ${width} must be`;
  return { entries, ends, problem, problemOffset: at };
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
