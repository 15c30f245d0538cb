// Sending a finished pledge: what the verifier relays, and what the ledger promises for it.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { parseCheckpoint } from "../protocol/checkpoint.ts";
import { ENTRY_TYPE } from "../protocol/entry.ts";
import { ConfigurationError, NotEligibleError, SignatureError } from "../protocol/errors.ts";
import { leafHash } from "../protocol/merkle.ts";
import { encodePledge, type Pledge } from "../protocol/pledge.ts";
import { Policy } from "../protocol/policy.ts";
import { KIND_PLEDGE, KIND_REVISION, PROMISE_TYPE, parsePromise, verifyPromise, type LedgerPromise } from "../protocol/promise.ts";
import { encodeRevision, type Revision } from "../protocol/revision.ts";
import { deadlineDay, type Manifest } from "../protocol/scope.ts";
import { httpFetch } from "../reader/fetch.ts";
import { check, join, originOf, type Transport } from "../reader/transport.ts";
import { openLedger } from "../reader/view.ts";
import { pledgeOf, type PledgeFile } from "./pledge_file.ts";
import type { PledgeStore } from "./storage.ts";

export interface Sending {
  readonly transport: Transport;
  readonly verifier?: string; // an address on one of the manifest's origins
  readonly remembered?: Iterable<Bytes>;
  readonly look?: boolean; // at the ledger first; unless false
}

/**
 * Sends the pledge of the store and keeps the ledger's promise. Sending it again is harmless: the same pledge gets the
 * same promise. The ledger is looked at first: one that was rolled back meanwhile gets no pledge, and the receipt is
 * sought from here on.
 */
export async function sendPledge(store: PledgeStore, sending: Sending): Promise<PledgeFile> {
  let file = await store.load();
  if (!file) throw new ConfigurationError("the pledge is not kept here any more");
  const entry = await pledgeOf(file);
  const verifier = chooseVerifier(file, sending.verifier);
  if (file.promise && file.verifier === verifier) return file;
  let size = parseCheckpoint(file.checkpoint).checkpoint.size;
  if (sending.look !== false) {
    const remembered = [...(sending.remembered ?? []), file.checkpoint];
    const view = await openLedger(httpFetch(file.ledger, sending.transport), Policy.fromBytes(file.policy), remembered);
    file = { ...file, checkpoint: view.raw };
    size = view.size;
  }
  // Never moved forward: the first attempt may have arrived although no answer came.
  file = await store.save({ ...file, since: file.since ?? size, verifier });
  const promise = await send(entry, verifier, file.manifest, sending.transport);
  return store.save({ ...file, promise });
}

/** The address to send to: the one given, the one used before, or the manifest's first origin. */
export function chooseVerifier(file: PledgeFile, verifier: string | undefined): string {
  if (verifier === undefined) return file.verifier ?? file.manifest.origins[0]!;
  if (!file.manifest.origins.includes(originOf(verifier))) {
    throw new NotEligibleError("the terms do not list this verifier");
  }
  return verifier.replace(/\/+$/, "");
}

/** The promise for an entry, verified to be the ledger's and to be for this entry. */
export async function send(
  entry: Pledge | Revision, verifier: string, manifest: Manifest, transport: Transport,
): Promise<LedgerPromise> {
  const isPledge = entry.kind === "pledge";
  const body = isPledge ? encodePledge(entry) : encodeRevision(entry);
  const url = join(verifier, isPledge ? "pledges" : "revisions");
  const answer = await transport("POST", url, { body, headers: { "Content-Type": ENTRY_TYPE, Accept: PROMISE_TYPE } });
  const promise = parsePromise(check(answer, originOf(verifier), PROMISE_TYPE));
  await verifyPromise(promise, manifest.ledger.key);
  // A pledge stands once under its nullifier, and another valid authenticator may have come first (whoever has an
  // issuer's key can make one); it says the same, so the promise is as good.
  const isForIt =
    promise.kind === (isPledge ? KIND_PLEDGE : KIND_REVISION) &&
    equal(promise.nullifier, entry.nullifier) &&
    promise.serial === (isPledge ? 0 : entry.serial) &&
    (isPledge || equal(promise.leafHash, leafHash(body)));
  if (!isForIt) throw new SignatureError("the answer is the ledger's promise for another entry");
  if (promise.deadline > deadlineDay(manifest)) {
    throw new SignatureError("the ledger promises a later day than the terms allow");
  }
  return promise;
}
