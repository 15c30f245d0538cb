// Checkpoints as an auditor judges them: the current one, and the archived one of each batch.
import type { Bytes } from "../protocol/bytes.ts";
import { parseCheckpoint, type SignedCheckpoint } from "../protocol/checkpoint.ts";
import { MalformedError, SignatureError, UnknownKeyError } from "../protocol/errors.ts";
import { verifyNote } from "../protocol/note.ts";
import { Policy, type Cosignature } from "../protocol/policy.ts";
import { deadlineDay, titleText, type Manifest } from "../protocol/scope.ts";
import { sha256 } from "../protocol/sha256.ts";
import { dayOf } from "../protocol/text.ts";
import { quoted, type FaultList } from "./fault.ts";
import type { Files } from "./files.ts";

/** A checkpoint and who has signed it. */
export interface JudgedCheckpoint {
  readonly signed: SignedCheckpoint;
  readonly isByLog: boolean;
  readonly cosignatures: readonly Cosignature[];
  readonly hash: Bytes; // what the next seal carries
}

/** Day of the median cosignature, undefined without any. */
export function medianDay(judged: JudgedCheckpoint): number | undefined {
  const times = judged.cosignatures.map(([, time]) => time).sort((a, b) => a - b);
  return times.length ? dayOf(times[Math.floor((times.length - 1) / 2)]!) : undefined;
}

/** Verifies a checkpoint under a policy; what is wrong is a fault. Undefined if it does not parse. */
export async function judgeCheckpoint(
  path: string, raw: Bytes, policy: Policy, faults: FaultList, batch?: number, quorum = true,
): Promise<JudgedCheckpoint | undefined> {
  let signed: SignedCheckpoint;
  try {
    signed = parseCheckpoint(raw);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    faults.add("malformed-checkpoint", `${path}: ${error.message}`, { batch });
    return undefined;
  }
  let isByLog = true;
  let cosignatures: readonly Cosignature[] = [];
  try {
    policy.checkLog(signed.checkpoint.origin);
    await verifyNote(signed.note, policy.logKeys(signed.checkpoint.origin));
  } catch (error) {
    if (!(error instanceof SignatureError || error instanceof UnknownKeyError)) throw error;
    faults.add("forged-checkpoint", `${path}: ${error.message}`, { batch });
    isByLog = false;
  }
  try {
    cosignatures = await policy.knownCosignatures(signed);
    if (quorum) policy.checkQuorum(cosignatures.map(([name]) => name));
  } catch (error) {
    if (error instanceof SignatureError) faults.add("forged-checkpoint", `${path}: ${error.message}`, { batch });
    else if (!(error instanceof UnknownKeyError)) throw error;
    else if (isByLog) faults.add("witness-quorum", `${path}: ${error.message}`, { batch });
  }
  return { signed, isByLog, cosignatures, hash: sha256(raw) };
}

/** The archived checkpoints, checkpoints/<batch>, each read once. */
export class Archive {
  readonly #files: Files;
  readonly #policy: Policy;
  readonly #faults: FaultList;
  #last: { batch: number; judged: JudgedCheckpoint | undefined } = { batch: -1, judged: undefined };

  constructor(files: Files, policy: Policy, faults: FaultList) {
    this.#files = files;
    this.#policy = policy;
    this.#faults = faults;
  }

  /** The checkpoint that was published with a batch; undefined if it is missing or not the log's. */
  async read(batch: number): Promise<JudgedCheckpoint | undefined> {
    if (this.#last.batch !== batch) {
      const path = `checkpoints/${batch}`;
      const raw = await this.#files.read(path, batch);
      // Later checkpoints cover the earlier: only the current one needs today's quorum.
      const judged = raw && (await judgeCheckpoint(path, raw, this.#policy, this.#faults, batch, false));
      this.#last = { batch, judged: judged?.isByLog ? judged : undefined };
    }
    return this.#last.judged;
  }
}

/**
 * The witnesses that a scope's own terms ask for, besides those of the auditor's policy. The checkpoint of its closing
 * batch they must have signed by the deadline day.
 */
export async function checkScopeQuorum(
  manifest: Manifest, judged: JudgedCheckpoint, faults: FaultList, closingBatch?: number,
): Promise<void> {
  const policy = Policy.fromText(manifest.witnesses);
  const isClosing = closingBatch !== undefined;
  const path = isClosing ? `checkpoints/${closingBatch}, the closing` : "checkpoint, for the terms";
  try {
    const cosigned = await policy.knownCosignatures(judged.signed);
    const inTime = cosigned.filter(([, time]) => !isClosing || dayOf(time) <= deadlineDay(manifest));
    policy.checkQuorum(inTime.map(([name]) => name));
  } catch (error) {
    if (!(error instanceof SignatureError || error instanceof UnknownKeyError)) throw error;
    const of = `${path} of ${quoted(titleText(manifest))}`;
    faults.add("witness-quorum", `${of}: ${error.message}`, { batch: closingBatch });
  }
}
