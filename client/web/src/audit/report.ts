// What an audit found: the counts, the faults, and whom the number still trusts.
import { hex, type Bytes } from "../protocol/bytes.ts";
import { enoughAt } from "../protocol/options.ts";
import { titleText } from "../protocol/scope.ts";
import { formatDay } from "../protocol/text.ts";
import type { Fault } from "./fault.ts";
import type { ReceiptState } from "./receipt.ts";
import type { ScopeRecount } from "./scopes.ts";
import { sentence, type Trust } from "./trust.ts";

/** One batch, for the plot of the count over time and the sizes of batches. */
export interface BatchRow {
  readonly number: number;
  readonly first: number; // index of its first entry
  readonly size: number; // of the tree with it
  readonly day: number;
  readonly pledges: Readonly<Record<string, number>>; // valid ones of this batch, by scope
  readonly live: Readonly<Record<string, number>>; // at its seal, of the scopes that it changes
}

/** The count of one scope at the last seal, with the members of `headcount audit --json`. */
export interface ScopeCount {
  readonly count: number;
  readonly withdrawn: number;
  readonly gross: number; // valid pledges
  readonly level: string; // what was proven of each person; levels are never added together
  readonly title: string;
  readonly kind: string;
  readonly parent: string | null;
  readonly choices: Readonly<Record<string, number>>; // option → live pledges; empty without options
  readonly threshold: number;
  readonly quotas?: QuotaStanding; // where the terms have any
  readonly reached: { readonly batch: number; readonly day: string } | null;
  readonly opens: string;
  readonly closes: string;
  readonly closed: boolean; // its closing batch is there
  readonly total?: number; // the count with what the scope continues; of successors only
  readonly parts?: readonly Part[]; // of the total, the oldest first
}

/** What the terms ask for by option, and how many options have it now. */
export interface QuotaStanding {
  readonly each: number;
  readonly options: number;
  readonly enough: number;
}

/** What one scope of a chain of successors adds to the total. Protocol, Section 4.8. */
export interface Part {
  readonly scope: string;
  readonly seal: number | null; // batch from which the next one continues; null for the last: all so far
  readonly count: number;
}

function scopeCount(scope: ScopeRecount): ScopeCount {
  const { manifest, tally } = scope;
  const { quotas } = manifest;
  const { reached } = tally;
  return {
    count: scope.live,
    withdrawn: tally.withdrawn,
    gross: tally.gross,
    level: manifest.level,
    title: titleText(manifest),
    kind: manifest.kind,
    parent: manifest.parent ? hex(manifest.parent) : null,
    choices: Object.fromEntries(manifest.options.map(({ number }) => [String(number), tally.choices.get(number) ?? 0])),
    threshold: manifest.threshold,
    ...(quotas && { quotas: { ...quotas, enough: enoughAt(quotas, tally.choices.values()) } }),
    reached: reached ? { batch: reached.batch, day: formatDay(reached.day) } : null,
    opens: formatDay(manifest.opens),
    closes: formatDay(manifest.closes),
    closed: tally.closedIn !== undefined,
  };
}

/** The counts, those of scopes that continue others with the parts of their total. */
export function scopeCounts(
  scopes: ReadonlyMap<string, ScopeRecount>, rows: readonly BatchRow[],
): Record<string, ScopeCount> {
  return Object.fromEntries(
    [...scopes].map(([id, scope]) => {
      const count = scopeCount(scope);
      if (!scope.manifest.continues) return [id, count];
      const parts = partsOf(id, scopes, rows);
      return [id, { ...count, total: parts.reduce((sum, part) => sum + part.count, 0), parts }];
    }),
  );
}

function partsOf(id: string, scopes: ReadonlyMap<string, ScopeRecount>, rows: readonly BatchRow[]): Part[] {
  const parts: Part[] = [{ scope: id, seal: null, count: scopes.get(id)!.live }];
  const seen = new Set([id]);
  let continues = scopes.get(id)!.manifest.continues;
  while (continues && !seen.has(hex(continues.scope))) {
    const { seal } = continues;
    const scope = hex(continues.scope);
    seen.add(scope);
    let count = 0;
    for (const row of rows) {
      if (row.number > seal) break;
      count = row.live[scope] ?? count;
    }
    parts.push({ scope, seal, count });
    continues = scopes.get(scope)?.manifest.continues;
  }
  return parts.reverse();
}

/** The verdict on a ledger at one checkpoint. */
export class AuditReport {
  readonly origin: string = "";
  readonly size: number = 0; // entries
  readonly root: Bytes = new Uint8Array(0);
  readonly batches: number = 0;
  readonly faults: readonly Fault[] = [];
  readonly faultsOmitted: number = 0;
  readonly scopes: Readonly<Record<string, ScopeCount>> = {}; // by scope id in hex
  readonly titles: Readonly<Record<string, Readonly<Record<string, string>>>> = {}; // scope → language → title
  readonly trusts: readonly Trust[] = [];
  readonly receipts: readonly ReceiptState[] = [];
  readonly cosigners: readonly string[] = []; // witnesses of the checkpoint, by the policy's names
  readonly checkpoint: Bytes = new Uint8Array(0); // as published, for the next audit to compare with
  readonly rows: readonly BatchRow[] = [];
  readonly resumedAt: number = 0; // entries that an earlier audit on this device has recounted

  constructor(fields: Partial<AuditReport> = {}) {
    Object.assign(this, fields);
  }

  get ok(): boolean {
    return this.faults.length === 0;
  }

  /** The members of `headcount audit --json`. */
  toJSON(): object {
    const scopes = Object.entries(this.scopes).sort(([one], [other]) => (one < other ? -1 : 1));
    return {
      ok: this.ok,
      origin: this.origin,
      size: this.size,
      root: hex(this.root),
      batches: this.batches,
      cosigners: this.cosigners,
      faults: this.faults.map(({ code, batch, index, offset, detail }) => ({
        code, batch: batch ?? null, index: index ?? null, offset: offset ?? null, detail,
      })),
      faults_omitted: this.faultsOmitted,
      scopes: Object.fromEntries(scopes),
      receipts: this.receipts,
      trusts: [...new Set(this.trusts.map(sentence))],
      unchecked: [], // nothing is left out here; a sample is no report
    };
  }
}
