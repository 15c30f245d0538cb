// The published totals of each batch against the recount.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { MalformedError } from "../protocol/errors.ts";
import { optionId } from "../protocol/options.ts";
import { sha256 } from "../protocol/sha256.ts";
import { decodeTotals, totalsPath, type Total } from "../protocol/totals.ts";
import { quoted, type FaultList } from "./fault.ts";
import type { Files } from "./files.ts";
import type { Recount } from "./recount.ts";
import type { ScopeRecount } from "./scopes.ts";

const MAX_OPTIONS = 256;

interface Explained {
  readonly gross: number; // by how much totals and recount differ for a reason that has a fault of its own
  readonly live: number;
  readonly pledges: number; // how many were invalid then
  readonly revisions: number;
}

const NOTHING: Explained = { gross: 0, live: 0, pledges: 0, revisions: 0 };

export type TotalsState = ReadonlyMap<string, Explained>;

export class TotalsAudit {
  readonly #files: Files;
  readonly #recount: Recount;
  readonly #faults: FaultList;
  readonly #explained: Map<string, Explained>;
  readonly #options = new Map<string, Map<string, number>>(); // scope → row → option

  constructor(files: Files, recount: Recount, faults: FaultList, state?: TotalsState) {
    this.#files = files;
    this.#recount = recount;
    this.#faults = faults;
    this.#explained = new Map(state);
  }

  state(): TotalsState {
    return new Map(this.#explained);
  }

  /** Judges one file; isWhole unless entries of the batch are missing or changed. */
  async check(batch: number, expectedHash: Bytes, isWhole: boolean): Promise<void> {
    const path = totalsPath(batch);
    const data = await this.#files.read(path, batch);
    if (!data) return;
    if (!equal(sha256(data), expectedHash)) {
      this.#faults.add("edited-count", `${path} is not the file whose hash the seal has`, { batch });
      return;
    }
    let totals: Map<string, Total>;
    try {
      totals = decodeTotals(data);
    } catch (error) {
      if (!(error instanceof MalformedError)) throw error;
      this.#faults.add("edited-count", `${path}: ${error.message}`, { batch });
      return;
    }
    const counted = [...this.#recount.scopes].filter(([, scope]) => scope.tally.gross);
    const options = new Map<string, readonly [ScopeRecount, number]>();
    for (const [id, scope] of counted) {
      if (!scope.manifest.quotas) continue;
      for (const [row, option] of this.#optionsOf(id)) {
        if (totals.has(row) || scope.tally.choices.get(option)) options.set(row, [scope, option]);
      }
    }
    for (const id of [...new Set([...totals.keys(), ...counted.map(([id]) => id), ...options.keys()])].sort()) {
      const said = totals.get(id) ?? { gross: 0, live: 0 };
      const option = options.get(id);
      const scope = this.#recount.scopes.get(id);
      if (option) this.#compareOption(path, batch, id, said, ...option, isWhole);
      else if (scope) this.#compare(path, batch, id, said, scope, isWhole);
      else if (isWhole && !this.#isOfUnknown(id)) {
        this.#faults.add("edited-count", `${path} counts scope ${id.slice(0, 16)}…, which is not here`, { batch });
      }
    }
  }

  /** The rows that the options of a scope have. */
  #optionsOf(scope: string): ReadonlyMap<string, number> {
    let rows = this.#options.get(scope);
    if (!rows) {
      rows = new Map(Array.from({ length: MAX_OPTIONS }, (_, i) => [optionId(scope, i + 1), i + 1]));
      this.#options.set(scope, rows);
    }
    return rows;
  }

  /** Whether it is a scope without terms, or may be an option of one: these are faulted already. */
  #isOfUnknown(row: string): boolean {
    return [...this.#recount.unknown].some((scope) => row === scope || this.#optionsOf(scope).has(row));
  }

  #compareOption(
    path: string, batch: number, row: string, said: Total, scope: ScopeRecount, option: number, isWhole: boolean,
  ): void {
    const before = this.#explained.get(row) ?? NOTHING;
    const { choices, uncountedPledges, uncountedRevisions } = scope.tally;
    const live = choices.get(option) ?? 0;
    const differs = { gross: said.gross - live, live: said.live - live };
    this.#explained.set(row, { ...differs, pledges: uncountedPledges, revisions: uncountedRevisions });
    const isSame = differs.gross === before.gross && differs.live === before.live;
    if (isSame || (differs.gross === 0 && differs.live === 0)) return;
    // As below: what the ledger has counted of invalid entries.
    const more = differs.gross - before.gross;
    const [pledges, revisions] = [uncountedPledges - before.pledges, uncountedRevisions - before.revisions];
    const isExplained = said.gross === said.live && -revisions <= more && more <= pledges + revisions;
    if (isWhole && !isExplained) {
      const text =
        `${path} says ${said.gross} and ${said.live} at option ${option} of ${quoted(scope.title)} ` +
        `where ${live} are live`;
      this.#faults.add("edited-count", text, { batch });
    }
  }

  #compare(path: string, batch: number, id: string, said: Total, scope: ScopeRecount, isWhole: boolean): void {
    const before = this.#explained.get(id) ?? NOTHING;
    const { gross, uncountedPledges, uncountedRevisions } = scope.tally;
    const differs = { gross: said.gross - gross, live: said.live - scope.live };
    this.#explained.set(id, { ...differs, pledges: uncountedPledges, revisions: uncountedRevisions });
    const isSame = differs.gross === before.gross && differs.live === before.live;
    if (isSame || (differs.gross === 0 && differs.live === 0)) return;
    // A ledger that took invalid entries has counted them; that fault is named already.
    const [newGross, newLive] = [differs.gross - before.gross, differs.live - before.live];
    const [pledges, revisions] = [uncountedPledges - before.pledges, uncountedRevisions - before.revisions];
    const countedAll = (newGross === 0 || newGross === pledges) && Math.abs(newLive - newGross) <= revisions;
    if (isWhole && !countedAll) {
      const text =
        `${path} says ${said.gross} pledges and ${said.live} live of ${quoted(scope.title)} ` +
        `where ${gross} and ${scope.live} are`;
      this.#faults.add("edited-count", text, { batch });
    }
  }
}
