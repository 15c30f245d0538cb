// What a page can say of a ledger that is too large to recount here: a sample, and what it is worth.
//
// Everything that is read is proven to be in the signed tree. The count is the ledger's own, from the last seal; so
// many bundles, drawn at random after the checkpoint was signed, are verified signature by signature. What no sample
// shows: that a token counts twice, and that totals follow from the entries. The report says so, and never says "proven".
import { concat, equal, type Bytes } from "../protocol/bytes.ts";
import { NotFoundError, ProofError } from "../protocol/errors.ts";
import { leafHash, nodeHash, root as rootOf, verifyInclusion } from "../protocol/merkle.ts";
import { optionId } from "../protocol/options.ts";
import type { Policy } from "../protocol/policy.ts";
import { parseSeal } from "../protocol/seal.ts";
import { sha256 } from "../protocol/sha256.ts";
import { TILE_WIDTH, type Fetch } from "../protocol/tile.ts";
import { decodeTotals, totalsPath, type Total } from "../protocol/totals.ts";
import { u16 } from "../protocol/wire.ts";
import { findScope, type ScopeView } from "../reader/scope_view.ts";
import { openLedger, type LedgerView } from "../reader/view.ts";
import { scanBundle } from "./bundle.ts";
import { ScopeJudge } from "./judge.ts";

export const FULL_AUDIT_ENTRIES = 1_000_000; // above, a page samples unless it is asked for everything

export interface SampledScope {
  readonly view: ScopeView;
  readonly gross: number; // as the ledger's last seal says
  readonly live: number;
}

export interface SampleReport {
  readonly origin: string;
  readonly size: number;
  readonly day: number; // of the last seal
  readonly batch: number;
  readonly cosigners: readonly string[];
  readonly scopes: ReadonlyMap<string, SampledScope>; // by scope id in hex
  readonly bundles: number; // that were drawn
  readonly bundlesInAll: number;
  readonly pledges: number; // in them
  readonly invalid: number; // of these
  /** If a larger share of all bundles held an invalid pledge, the sample would have met one with 99 % probability. */
  readonly largestHiddenShare: number;
}

export interface SampleOptions {
  readonly bundles?: number;
  readonly remembered?: Iterable<Bytes>; // signed checkpoints that were accepted before
  readonly progress?: (done: number, all: number) => void;
  readonly signal?: AbortSignal;
  readonly draw?: (below: number) => number; // uniform; a test passes its own
}

/** Throws ProofError, SignatureError, MisbehaviourError … where anything that is read does not hold. */
export async function sample(fetch: Fetch, policy: Policy, options: SampleOptions = {}): Promise<SampleReport> {
  const view = await openLedger(fetch, policy, options.remembered);
  const { size, root, origin } = view.checkpoint;
  const last = await view.entry(size - 1);
  const seal = parseSeal(last);
  const totals = await fetch(totalsPath(seal.batch));
  if (!equal(sha256(totals), seal.totals)) throw new ProofError("the totals are not those of the seal");
  const scopes = new Map<string, SampledScope>();
  const judges = new Map<string, ScopeJudge>();
  for (const [id, count, scope] of await scopesOf(view, decodeTotals(totals))) {
    scopes.set(id, { view: scope, ...count });
    judges.set(id, new ScopeJudge(scope.manifest));
  }
  const bundlesInAll = Math.ceil(size / TILE_WIDTH);
  const drawn = [...distinct(Math.min(options.bundles ?? 200, bundlesInAll), bundlesInAll, options.draw ?? random)];
  let [pledges, invalid] = [0, 0];
  for (const [i, number] of drawn.entries()) {
    options.signal?.throwIfAborted();
    const found = await verifyBundle(view, number, root, judges);
    pledges += found.pledges;
    invalid += found.invalid;
    options.progress?.(i + 1, drawn.length);
  }
  const n = drawn.length;
  return {
    origin,
    size,
    day: seal.day,
    batch: seal.batch,
    cosigners: view.verified.cosignatures.map(([name]) => name),
    scopes,
    bundles: n,
    bundlesInAll,
    pledges,
    invalid,
    largestHiddenShare: n === bundlesInAll ? 0 : 1 - 0.01 ** (1 / n),
  };
}

/** The rows of scopes, with their terms; the others must be those of their options. */
async function scopesOf(view: LedgerView, totals: ReadonlyMap<string, Total>): Promise<[string, Total, ScopeView][]> {
  const found: [string, Total, ScopeView][] = [];
  const options = new Set<string>();
  let missing: [string, unknown][] = [];
  // No option has more pledges than its scope, so terms are asked for before their options come.
  for (const [id, count] of [...totals].sort(([, one], [, other]) => other.gross - one.gross)) {
    if (options.has(id)) continue;
    try {
      const scope = await findScope(view, id);
      found.push([id, count, scope]);
      if (scope.manifest.quotas) for (const { number } of scope.manifest.options) options.add(optionId(id, number));
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      missing.push([id, error]);
    }
  }
  missing = missing.filter(([id]) => !options.has(id));
  if (missing.length) throw missing[0]![1];
  return found;
}

async function verifyBundle(
  view: LedgerView, number: number, root: Uint8Array, judges: ReadonlyMap<string, ScopeJudge>,
): Promise<{ pledges: number; invalid: number }> {
  const entries = await view.reader.bundle(number);
  const hashes = entries.map(leafHash);
  if (hashes.length === TILE_WIDTH) await proveSubtree(view, number, rootOf(hashes), root);
  else {
    // The last, partial one: each entry by itself.
    for (const [i, hash] of hashes.entries()) {
      const index = number * TILE_WIDTH + i;
      verifyInclusion(await view.reader.inclusionProof(index), index, view.size, hash, root);
    }
  }
  const data = concat(...entries.flatMap((entry) => [u16(entry.length), entry]));
  const { leaves } = await scanBundle(data, entries.length, judges);
  const pledges = leaves.filter((leaf) => leaf.entry?.kind === "pledge");
  const isSound = (leaf: (typeof pledges)[number]): boolean => leaf.verdict !== undefined && !leaf.verdict.code;
  const malformed = leaves.filter((leaf) => !leaf.entry);
  return { pledges: pledges.length, invalid: malformed.length + pledges.filter((leaf) => !isSound(leaf)).length };
}

/** Checks that the full bundle with this root stands at its place in the tree. */
async function proveSubtree(view: LedgerView, number: number, top: Uint8Array, root: Uint8Array): Promise<void> {
  // The proof of the bundle's first leaf: its lowest eight hashes are inside the bundle, the others lead on.
  const proof = (await view.reader.inclusionProof(number * TILE_WIDTH)).slice(8);
  let [node, fn, sn] = [top, number, Math.ceil(view.size / TILE_WIDTH) - 1];
  // A partial last bundle is one node more on the levels above, as RFC 9162 counts leaves.
  for (const p of proof) {
    if (fn % 2 === 1 || fn === sn) {
      node = nodeHash(p, node);
      while (fn % 2 === 0 && fn) [fn, sn] = [fn / 2, Math.floor(sn / 2)];
    } else {
      node = nodeHash(node, p);
    }
    [fn, sn] = [Math.floor(fn / 2), Math.floor(sn / 2)];
  }
  if (sn || !equal(node, root)) {
    throw new ProofError(`bundle ${number} is not in the tree that the ledger signed`);
  }
}

function random(below: number): number {
  // 2^53 is large beside any number of bundles: the bias is below 2^-20.
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return Math.floor((((high! & 0x1fffff) * 2 ** 32 + low!) / 2 ** 53) * below);
}

function distinct(number: number, below: number, draw: (below: number) => number): Set<number> {
  const found = new Set<number>();
  while (found.size < number) found.add(draw(below));
  return found;
}
