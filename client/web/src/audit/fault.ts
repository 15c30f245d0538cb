// What an audit can find wrong, by name, and where: the codes of headcount_ledger/audit/fault.py.

// Stable; the first ten are what a dishonest host or operator would do.
export const CODES = [
  "deleted-entry", "changed-entry", "reordered-batch", "replayed-token", "foreign-key", "forked-ledger",
  "rolled-back-ledger", "swapped-terms", "edited-count", "broken-seal",
  "unreadable-file", "malformed-checkpoint", "forged-checkpoint", "witness-quorum", "broken-tile", "malformed-bundle",
  "wrong-root", "wrong-hint",
  "added-entry", "malformed-entry", "unknown-scope", "refused-terms", "missing-opening", "wrong-opening", "forged-notice",
  "notice-sequence", "forged-revision", "wrong-revision", "late-revision",
  "wrong-day", "early-entry", "late-entry", "wrong-closing", "batch-below-minimum", "wrong-issuance",
  "issuance-below-pledges", "too-many-slips", "missing-issuance",
  "broken-promise",
] as const;
export type Code = (typeof CODES)[number];

const ATTACKS: ReadonlySet<string> = new Set(CODES.slice(0, 10));
const MAX_PER_CODE = 1000; // a hostile ledger must not fill the auditor's memory

export interface Place {
  readonly batch?: number | undefined;
  readonly index?: number | undefined; // of the entry in the log
  readonly offset?: number | undefined; // byte in the file
}

/** One thing that is wrong. */
export interface Fault extends Place {
  readonly code: Code;
  readonly detail: string; // names no token, nonce or nullifier
}

/** Collects faults: each once, at most MAX_PER_CODE of one code. */
export class FaultList {
  readonly list: Fault[];
  readonly #keys = new Set<string>();
  readonly #counts = new Map<Code, number>();
  omitted: number; // found beyond MAX_PER_CODE

  constructor(list: readonly Fault[] = [], omitted = 0) {
    this.list = [];
    this.omitted = omitted;
    for (const { code, detail, ...place } of list) this.add(code, detail, place);
  }

  add(code: Code, detail: string, place: Place = {}): void {
    const { batch, index } = place;
    // Without an entry the text tells two of them apart.
    const key = JSON.stringify([code, batch ?? null, index ?? null, index === undefined ? detail : ""]);
    if (this.#keys.has(key)) return;
    const count = this.#counts.get(code) ?? 0;
    if (count >= MAX_PER_CODE) {
      this.omitted++;
      return;
    }
    this.#counts.set(code, count + 1);
    this.#keys.add(key);
    this.list.push({ code, detail, ...place });
  }

  /** The codes of all faults but the first start. */
  codesFrom(start: number): ReadonlySet<Code> {
    return new Set(this.list.slice(start).map((fault) => fault.code));
  }

  /** All of them, attacks first, in the order of the log. */
  placed(batchOf: (index: number) => number | undefined): Fault[] {
    const placed = this.list.map((fault) =>
      fault.batch === undefined && fault.index !== undefined ? { ...fault, batch: batchOf(fault.index) } : fault,
    );
    const rank = (fault: Fault): number => (ATTACKS.has(fault.code) ? 0 : 1);
    return placed.sort(
      (a, b) => rank(a) - rank(b) || (a.batch ?? -1) - (b.batch ?? -1) || (a.index ?? -1) - (b.index ?? -1),
    );
  }
}

export function quoted(title: string): string {
  return `'${title}'`;
}
