// A ledger as one client sees it: a checkpoint that its policy accepts, and what is proven under it.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { openCheckpoint, type Checkpoint, type SignedCheckpoint } from "../protocol/checkpoint.ts";
import { MisbehaviourError, ProofError, ProtocolError, UnknownKeyError } from "../protocol/errors.ts";
import {
  CompactRange, consistencyPath, leafHash, rootFromSubtrees, verifyConsistency, verifyInclusion,
} from "../protocol/merkle.ts";
import { formatVkey } from "../protocol/note.ts";
import { Policy, type VerifiedCheckpoint } from "../protocol/policy.ts";
import type { Manifest } from "../protocol/scope.ts";
import { TILE_WIDTH, TileReader, type Fetch } from "../protocol/tile.ts";

/** Entries done, entries in all. */
export type Progress = (done: number, size: number) => void;

/** The published tree of one checkpoint; what is read here is checked against its root. */
export class LedgerView {
  readonly verified: VerifiedCheckpoint;
  readonly policy: Policy;
  readonly fetch: Fetch;
  readonly reader: TileReader;

  constructor(verified: VerifiedCheckpoint, policy: Policy, fetch: Fetch) {
    this.verified = verified;
    this.policy = policy;
    this.fetch = fetch;
    this.reader = new TileReader(fetch, verified.signed.checkpoint.size);
  }

  get checkpoint(): Checkpoint {
    return this.verified.signed.checkpoint;
  }

  /** The signed checkpoint as it was published. */
  get raw(): Bytes {
    return this.verified.signed.raw;
  }

  get size(): number {
    return this.checkpoint.size;
  }

  /** Whether the policy demands witnesses, and has found them. */
  get isWitnessed(): boolean {
    return this.verified.cosignatures.length > 0;
  }

  /** The entry at a leaf index, proven to be in the tree. */
  async entry(index: number): Promise<Uint8Array> {
    const data = await this.reader.entry(index);
    const proof = await this.reader.inclusionProof(index);
    verifyInclusion(proof, index, this.size, leafHash(data), this.checkpoint.root);
    return data;
  }

  /** All entries with their leaf indices; what they lead to is checked after the last one. */
  async *entries(progress?: Progress): AsyncGenerator<readonly [number, Uint8Array]> {
    const tree = new CompactRange();
    for await (const item of this.scan(0, progress)) {
      tree.append(leafHash(item[1]));
      yield item;
    }
    if (!equal(tree.root(), this.checkpoint.root)) {
      throw new ProofError("the published entries are not those that the ledger signed");
    }
  }

  /** The entries from a leaf index on, by whole bundles, not proven: to find, not to count. */
  async *scan(start: number, progress?: Progress): AsyncGenerator<readonly [number, Uint8Array]> {
    for (let bundle = Math.floor(start / TILE_WIDTH); bundle * TILE_WIDTH < this.size; bundle++) {
      for (const [offset, data] of (await this.reader.bundle(bundle)).entries()) {
        if (bundle * TILE_WIDTH + offset >= start) yield [bundle * TILE_WIDTH + offset, data];
      }
      progress?.(Math.min((bundle + 1) * TILE_WIDTH, this.size), this.size);
    }
  }

  /** Checks that this is the ledger of the manifest, witnessed as the manifest demands. */
  async checkTerms(manifest: Manifest): Promise<void> {
    const { origin, key } = manifest.ledger;
    if (!this.policy.logKeys(origin).some((known) => formatVkey(known) === formatVkey(key))) {
      throw new UnknownKeyError("the scope names a ledger that the trust policy does not list");
    }
    await openCheckpoint(this.raw, key);
    await Policy.fromText(manifest.witnesses).verifyCosignatures(this.verified.signed);
  }
}

/** The ledger of its current checkpoint, which must continue every remembered one (signed, accepted before). */
export async function openLedger(fetch: Fetch, policy: Policy, remembered: Iterable<Bytes> = []): Promise<LedgerView> {
  const verified = await policy.verifyCheckpoint(await fetch("checkpoint"));
  const view = new LedgerView(verified, policy, fetch);
  for (const raw of remembered) {
    const old = await own(raw, policy, view.checkpoint.origin);
    if (old) await checkContinues(view, old);
  }
  return view;
}

async function own(raw: Bytes, policy: Policy, origin: string): Promise<SignedCheckpoint | undefined> {
  for (const key of policy.logKeys(origin)) {
    try {
      return await openCheckpoint(raw, key);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error; // else of another log, or of its other key
    }
  }
  return undefined;
}

async function checkContinues(view: LedgerView, old: SignedCheckpoint): Promise<void> {
  const [then, now] = [old.checkpoint, view.checkpoint];
  const evidence = [old.raw, view.raw];
  if (then.size > now.size) {
    throw new MisbehaviourError(`the ledger went back from ${then.size} entries to ${now.size}`, evidence);
  }
  if (then.size === now.size && !equal(then.root, now.root)) {
    throw new MisbehaviourError(`the ledger signed two histories of ${now.size} entries`, evidence);
  }
  if (then.size === now.size || then.size === 0) return;
  const proof = await consistencyPath(view.reader.hash, then.size, now.size);
  const root = await rootFromSubtrees(view.reader.hash, then.size);
  // The tiles are authentic if they lead to the signed root: only then is another old root a fork.
  verifyConsistency(proof, then.size, now.size, root, now.root);
  if (!equal(root, then.root)) {
    throw new MisbehaviourError(`the ledger signed another history of its first ${then.size} entries`, evidence);
  }
}
