// The growth of one scope's count, from all seals since its manifest and the totals that they carry.
//
// Whether the totals are true is asked by an audit; here, whether every seal is there, each follows from the one
// before, and the numbers that they name only move as numbers of pledges can.
import { equal, hex, type Bytes } from "./bytes.ts";
import { MalformedError, ProofError } from "./errors.ts";
import { leafHash } from "./merkle.ts";
import { optionId } from "./options.ts";
import { optionCounts } from "./quotas.ts";
import type { Manifest } from "./scope.ts";
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
  readonly options: ReadonlyMap<number, number>; // live pledges of each; only with quotas
}

type Row = Total & Pick<CountAt, "options">;

/**
 * The count of a scope at each of these seals, the last of which ends the tree of this size. totals are the distinct
 * totals files, in the order in which the seals first name them. Throws MalformedError or ProofError.
 */
export function follow(
  seals: readonly PlacedSeal[], totals: readonly Bytes[], manifest: Manifest, size: number,
): CountAt[] {
  if (seals.at(-1)?.index !== size - 1) throw new ProofError("the last seal does not end the tree");
  for (let i = 1; i < seals.length; i++) checkNext(seals[i - 1]!, seals[i]!);
  const rows = totalsAt(seals, totals, manifest);
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

function totalsAt(seals: readonly PlacedSeal[], totals: readonly Bytes[], manifest: Manifest): Row[] {
  const known = new Map<string, Row>();
  let next = 0;
  const rows = seals.map(({ batch, seal }) => {
    const name = hex(seal.totals);
    let row = known.get(name);
    if (!row) {
      const data = totals[next++];
      if (!data) throw new ProofError(`the totals of batch ${batch} are missing`);
      if (!equal(sha256(data), seal.totals)) throw new ProofError(`other totals than the seal of batch ${batch} carries`);
      row = totalOf(data, batch, seal.pledgesTotal, manifest);
      known.set(name, row);
    }
    return row;
  });
  if (next < totals.length) throw new ProofError("totals that no seal carries");
  return rows;
}

function totalOf(data: Bytes, batch: number, pledges: number, manifest: Manifest): Row {
  let counts: Map<string, Total>;
  let options: Map<number, number>;
  try {
    counts = decodeTotals(data);
    options = optionCounts(manifest, counts);
  } catch (error) {
    if (error instanceof MalformedError) throw new MalformedError(`totals of batch ${batch}: ${error.message}`);
    throw error;
  }
  const own = counts.get(manifest.scope) ?? { gross: 0, live: 0 };
  if (!isPossible(counts, manifest, own.gross, pledges)) {
    throw new ProofError(`the totals of batch ${batch} are more than all pledges`);
  }
  return { ...own, options };
}

/**
 * Whether these are counts of so many pledges, of which gross are this scope's. A pledge of another scope stands in one
 * row, or in two where that scope has quotas: which these are is not known here.
 */
function isPossible(counts: ReadonlyMap<string, Total>, manifest: Manifest, gross: number, pledges: number): boolean {
  const own = new Set([manifest.scope]);
  if (manifest.quotas) for (const { number } of manifest.options) own.add(optionId(manifest.scope, number));
  const others = [...counts].reduce((all, [row, total]) => (own.has(row) ? all : all + total.gross), 0);
  return gross <= pledges && others <= 2 * (pledges - gross);
}
