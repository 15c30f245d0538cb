// Where a campaign was reached: its first seal with enough live pledges, and the quotas met where the terms have any, read
// from the end of a ledger.
//
// Each seal is proven to be in the tree, names the batch before it by its hash, and has the hash of the totals. That the
// totals are what the entries give is the audit's question.
import { equal, type Bytes } from "../protocol/bytes.ts";
import type { Reached } from "../protocol/certificate.ts";
import { ProofError } from "../protocol/errors.ts";
import { leafHash } from "../protocol/merkle.ts";
import { isEnough, optionCounts } from "../protocol/quotas.ts";
import type { Manifest } from "../protocol/scope.ts";
import { parseSeal, type Seal } from "../protocol/seal.ts";
import { sha256 } from "../protocol/sha256.ts";
import { decodeTotals, totalsPath, type Total } from "../protocol/totals.ts";
import type { LedgerView } from "./view.ts";

/** The seals of all batches with their leaf hashes, the newest first. */
async function* sealsOf(view: LedgerView): AsyncGenerator<readonly [Bytes, Seal]> {
  let newer: Seal | undefined;
  for (let index = view.size - 1; index >= 0; ) {
    const data = await view.entry(index);
    const [hash, seal] = [leafHash(data), parseSeal(data)];
    if (newer && (seal.batch + 1 !== newer.batch || !equal(newer.prevSeal, hash))) {
      throw new ProofError("a seal does not name the one before it");
    }
    if (seal.firstIndex > index || (seal.batch === 0) !== (seal.firstIndex === 0)) {
      throw new ProofError("a seal contradicts its place in the ledger");
    }
    yield [hash, seal];
    newer = seal;
    index = seal.firstIndex - 1;
  }
}

/** Both counts of every scope (hex) at a seal. */
async function totalsAt(view: LedgerView, seal: Seal): Promise<Map<string, Total>> {
  const data = await view.fetch(totalsPath(seal.batch));
  if (!equal(sha256(data), seal.totals)) throw new ProofError("a file of totals is not the one that was sealed");
  return decodeTotals(data);
}

/** The first seal at which a campaign was reached in time; undefined while it was not. Protocol, Section 4.8. */
export async function findReached(view: LedgerView, manifest: Manifest): Promise<Reached | undefined> {
  let first: Reached | undefined;
  for await (const [hash, seal] of sealsOf(view)) {
    const totals = await totalsAt(view, seal);
    const { gross, live } = totals.get(manifest.scope) ?? { gross: 0, live: 0 };
    if (!gross) break; // it never falls, so there were none before either
    if (isEnough(manifest, live, optionCounts(manifest, totals), seal.day)) {
      first = { scope: manifest.scope, seal: hash, batch: seal.batch, live, day: seal.day };
    }
  }
  return first;
}
