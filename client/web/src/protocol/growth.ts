// The growth of one scope's count, from all seals since its manifest and the totals that they carry.
//
// Whether the totals are true is asked by an audit; here, whether every seal is there, each follows from the one
// before, and the numbers that they name only move as numbers of pledges can.
import { equal, hex, type Bytes } from "./bytes.ts";
import { MalformedError, ProofError } from "./errors.ts";
import { leafHash } from "./merkle.ts";
import type { Seal } from "./seal.ts";
import { sha256 } from "./sha256.ts";
import { decodeTotals, type Total } from "./totals.ts";

/** A seal with its entry and its leaf index. */
export interface PlacedSeal {
  readonly index: number;
  readonly batch: number;
  readonly entry: Bytes;
  readonly seal: Seal;
}

/** What the ledger has sealed about a scope at the end of one batch. */
export interface CountAt extends Total {
  readonly batch: number;
  readonly index: number; // of the seal
  readonly day: number;
  readonly pledges: number; // of all scopes, up to this seal
}

/**
 * The count of a scope (hex) at each of these seals, the last of which ends the tree of this size. totals are the distinct
 * totals files, in the order in which the seals first name them. Throws MalformedError or ProofError.
 */
export function follow(seals: readonly PlacedSeal[], totals: readonly Bytes[], scope: string, size: number): CountAt[] {
  if (seals.at(-1)?.index !== size - 1) throw new ProofError("the last seal does not end the tree");
  for (let i = 1; i < seals.length; i++) checkNext(seals[i - 1]!, seals[i]!);
  const rows = totalsAt(seals, totals, scope);
  const growth = seals.map(({ index, batch, seal }, i) => ({
    batch, index, day: seal.day, pledges: seal.pledgesTotal, ...rows[i]!,
  }));
  for (let i = 1; i < growth.length; i++) {
    const [before, after] = [growth[i - 1]!, growth[i]!];
    const grown = after.gross - before.gross;
    if (grown < 0 || grown > after.pledges - before.pledges) {
      throw new ProofError(`the count at batch ${after.batch} does not follow from the one before`);
    }
  }
  return growth;
}

function checkNext(before: PlacedSeal, after: PlacedSeal): void {
  const [seal, following] = [before.seal, after.seal];
  if (following.batch !== seal.batch + 1 || following.firstIndex !== before.index + 1) {
    throw new ProofError(`a seal is missing after batch ${seal.batch}`);
  }
  if (!equal(following.prevSeal, leafHash(before.entry))) {
    throw new ProofError(`the seal of batch ${following.batch} does not follow the one before`);
  }
  if (following.day < seal.day) throw new ProofError(`the day falls at batch ${following.batch}`);
  if (following.pledgesTotal !== seal.pledgesTotal + following.pledgesInBatch) {
    throw new ProofError(`the numbers of pledges do not add up at batch ${following.batch}`);
  }
  if (after.index - following.firstIndex < following.pledgesInBatch) {
    throw new ProofError(`batch ${following.batch} has not so many entries as it says pledges`);
  }
}

function totalsAt(seals: readonly PlacedSeal[], totals: readonly Bytes[], scope: string): Total[] {
  const known = new Map<string, Total>();
  let next = 0;
  const rows = seals.map(({ batch, seal }) => {
    const name = hex(seal.totals);
    let row = known.get(name);
    if (!row) {
      const data = totals[next++];
      if (!data) throw new ProofError(`the totals of batch ${batch} are missing`);
      if (!equal(sha256(data), seal.totals)) throw new ProofError(`other totals than the seal of batch ${batch} carries`);
      row = totalOf(data, batch, seal.pledgesTotal, scope);
      known.set(name, row);
    }
    return row;
  });
  if (next < totals.length) throw new ProofError("totals that no seal carries");
  return rows;
}

function totalOf(data: Bytes, batch: number, pledges: number, scope: string): Total {
  let counts: Map<string, Total>;
  try {
    counts = decodeTotals(data);
  } catch (error) {
    if (error instanceof MalformedError) throw new MalformedError(`totals of batch ${batch}: ${error.message}`);
    throw error;
  }
  const sum = [...counts.values()].reduce((all, { gross }) => all + gross, 0);
  if (sum > pledges) throw new ProofError(`the totals of batch ${batch} are more than all pledges`);
  return counts.get(scope) ?? { gross: 0, live: 0 };
}
