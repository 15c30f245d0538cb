// The published totals of each batch against the recount.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { MalformedError } from "../protocol/errors.ts";
import { sha256 } from "../protocol/sha256.ts";
import { decodeTotals, totalsPath, type Total } from "../protocol/totals.ts";
import { quoted, type FaultList } from "./fault.ts";
import type { Files } from "./files.ts";
import type { Recount } from "./recount.ts";

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
    const counted = [...this.#recount.scopes].filter(([, scope]) => scope.tally.gross).map(([id]) => id);
    for (const id of [...new Set([...totals.keys(), ...counted])].sort()) {
      this.#compare(path, batch, id, totals.get(id) ?? { gross: 0, live: 0 }, isWhole);
    }
  }

  #compare(path: string, batch: number, id: string, said: Total, isWhole: boolean): void {
    const scope = this.#recount.scopes.get(id);
    if (!scope) {
      if (isWhole && !this.#recount.unknown.has(id)) {
        this.#faults.add("edited-count", `${path} counts scope ${id.slice(0, 16)}…, which is not here`, { batch });
      }
      return;
    }
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
