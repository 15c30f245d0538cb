// Archived checkpoints: what was published with a batch, tied to the ledger by the seal after it.
//
// Their cosignatures say when witnesses saw a batch, which the day in a seal, the ledger's own word, does not.
import { equal, type Bytes } from "./bytes.ts";
import { parseCheckpoint, type SignedCheckpoint } from "./checkpoint.ts";
import { ProofError, UnknownKeyError } from "./errors.ts";
import type { PlacedSeal } from "./growth.ts";
import { verifyNote } from "./note.ts";
import type { Cosignature, Policy } from "./policy.ts";
import { sha256 } from "./sha256.ts";
import { dayOf } from "./text.ts";

/** The file checkpoints/<batch>. */
export interface Archived {
  readonly batch: number;
  readonly checkpoint: Bytes; // the signed note as it was published
}

/** An archived checkpoint by the log itself. */
export interface Judged {
  readonly signed: SignedCheckpoint;
  readonly cosignatures: readonly Cosignature[]; // of those that the policy knows, however few
}

/** Verifies archived checkpoints of batches that end with these seals. */
export async function readArchived(
  items: readonly Archived[], seals: readonly PlacedSeal[], policy: Policy, origin: string,
): Promise<Map<number, Judged>> {
  const found = new Map<number, Judged>();
  for (const { batch, checkpoint } of items) {
    const place = seals.findIndex((seal) => seal.batch === batch);
    const signed = parseCheckpoint(checkpoint);
    if (signed.checkpoint.origin !== origin) throw new UnknownKeyError("a kept checkpoint is another log's");
    await verifyNote(signed.note, policy.logKeys(origin));
    if (place < 0 || signed.checkpoint.size !== seals[place]!.index + 1) {
      throw new ProofError(`not the checkpoint of batch ${batch}`);
    }
    const following = seals[place + 1]?.seal;
    if (following && !equal(following.prevCheckpoint, sha256(checkpoint))) {
      throw new ProofError(`not the checkpoint that was published with batch ${batch}`);
    }
    if (following && !equal(following.prevRoot, signed.checkpoint.root)) {
      throw new ProofError(`the seal after batch ${batch} has another root before it`);
    }
    const cosignatures = await policy.knownCosignatures(signed);
    checkDay(batch, seals[place]!.seal.day, cosignatures);
    found.set(batch, { signed, cosignatures });
  }
  return found;
}

/** The day of a seal is, give or take one, that of the median cosignature. Protocol, Section 4.7. */
function checkDay(batch: number, day: number, cosignatures: readonly Cosignature[]): void {
  const times = cosignatures.map(([, time]) => time).sort((a, b) => a - b);
  const median = times[Math.floor((times.length - 1) / 2)];
  if (median !== undefined && Math.abs(dayOf(median) - day) > 1) {
    throw new ProofError(`witnesses saw batch ${batch} on another day than its seal says`);
  }
}

/** Checks that the witnesses of the terms cosigned the closing batch by the deadline day. */
export async function checkClosing(judged: Judged, terms: Policy, deadline: number): Promise<void> {
  const found = await terms.knownCosignatures(judged.signed);
  terms.checkQuorum(found.filter(([, time]) => dayOf(time) <= deadline).map(([name]) => name));
}
