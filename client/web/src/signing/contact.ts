// Leaving a way to be reached: sealed before an issuer hears of it, sent some time after its token, erased at any time.
//
// Nothing of a deposit names the pledge: another scope, another token, another revision key, another moment. The contact
// itself is kept nowhere: from the beginning on the file holds the blob alone.
import type { Bytes } from "../protocol/bytes.ts";
import type { Contact } from "../protocol/contact.ts";
import { DEPOSIT_TYPE, ERASURE_TYPE, encodeDeposit, encodeErasure, erasureMessage } from "../protocol/deposit.ts";
import { publicKey, sign } from "../protocol/ed25519.ts";
import { ConfigurationError, NotEligibleError } from "../protocol/errors.ts";
import { sealBox } from "../protocol/hpke.ts";
import { PLAIN } from "../protocol/pledge.ts";
import { Policy } from "../protocol/policy.ts";
import { seal, sealingContext } from "../protocol/sealed.ts";
import { SEED_BYTES, revisionSeed } from "../protocol/seed.ts";
import { cached, httpFetch } from "../reader/fetch.ts";
import { errorOf, join, originOf } from "../reader/transport.ts";
import { openLedger } from "../reader/view.ts";
import { checkKeys, checkSealable, findContacts, type ContactScope } from "./contact_scope.ts";
import { checkTerms } from "./open.ts";
import { chooseVerifier, sendPledge, type Sending } from "./pledge.ts";
import { nullifierOf, revisionKey, sealedHashOf, type PledgeFile } from "./pledge_file.ts";
import type { Draw } from "./prove.ts";
import type { PledgeStore } from "./storage.ts";

const WAIT_S = [600, 4200] as const; // between the token and the deposit: at least and at most

const random: Draw = (size) => crypto.getRandomValues(new Uint8Array(size));

/** How long to wait before a deposit, in seconds; apart from the pledge, and while a page may still be open. */
export function drawWait(draw: Draw = random): number {
  const [low, high] = [draw(2), WAIT_S[1] - WAIT_S[0]];
  return WAIT_S[0] + Math.floor((((low[0]! << 8) | low[1]!) / 65536) * high);
}

/**
 * The pledge file of a contact, sealed to the trustees and the organiser and kept before an issuer is asked; after is the
 * wait until it may be sent, now in seconds since 1970.
 */
export async function beginContact(
  store: PledgeStore, found: ContactScope, contact: Contact, place: { ledger: string; policy: Bytes }, now: number,
  draw: Draw = random,
): Promise<PledgeFile> {
  if (await store.load()) throw new ConfigurationError("a contact was left or begun here already");
  const { manifest, trustees, contacts, view } = found;
  checkTerms(manifest, PLAIN, Math.floor(now / 86_400), true);
  checkSealable(found, contact.channel);
  const seed = draw(SEED_BYTES);
  const ctx = sealingContext(manifest.scopeId, await publicKey(await revisionSeed(seed, manifest.scopeId)));
  const keys = trustees.members.map((trustee) => trustee.scopeKey);
  const boxer = (key: Bytes, info: Bytes, text: Bytes): Promise<Bytes> => sealBox(key, info, text, draw(32));
  const blob = await seal(contact, ctx, contacts.key, keys, trustees.t, seed, boxer);
  return store.create({
    ...place,
    manifest,
    choice: PLAIN,
    seed,
    checkpoint: view.raw,
    steps: manifest.issuers.map(() => ({})),
    standing: 0,
    changes: [],
    blob,
    after: now + drawWait(draw),
  });
}

/**
 * Sends the entry, then the blob to the verifier's store; called again it goes on where it was. The trustees are looked at
 * once more: nothing goes to a store whose keys are already out.
 */
export async function deposit(store: PledgeStore, sending: Sending, now: number): Promise<PledgeFile> {
  let file = await store.load();
  if (!file?.blob) throw new ConfigurationError("no contact is kept here");
  if (file.isDeposited) return file;
  if (file.after !== undefined && now < file.after) {
    throw new NotEligibleError("it is too early: sent now, it could be connected with the pledge");
  }
  const remembered = [...(sending.remembered ?? []), file.checkpoint];
  const fetch = cached(httpFetch(file.ledger, sending.transport));
  const view = await openLedger(fetch, Policy.fromBytes(file.policy), remembered);
  checkKeys(await findContacts(view, file.manifest.scope));
  file = await sendPledge(store, { ...sending, look: false });
  const { manifest, promise, verifier, blob } = file;
  if (!promise || verifier === undefined || !blob) throw new ConfigurationError("the contact was not sent");
  const body = encodeDeposit({ scopeId: manifest.scopeId, revisionKey: await revisionKey(file), promise, blob });
  await post(sending, verifier, "contacts", body, DEPOSIT_TYPE);
  return store.save({ ...file, isDeposited: true });
}

/** Has the blob of this file erased from the store; whether there was one is not said. */
export async function erase(store: PledgeStore, sending: Sending): Promise<PledgeFile> {
  const file = await store.load();
  if (!file?.blob) throw new ConfigurationError("no contact is kept here");
  const { scopeId } = file.manifest;
  const message = erasureMessage(scopeId, await nullifierOf(file));
  const body = encodeErasure({
    scopeId,
    revisionKey: await revisionKey(file),
    sealedHash: sealedHashOf(file),
    signature: await sign(await revisionSeed(file.seed, scopeId), message),
  });
  await post(sending, chooseVerifier(file, sending.verifier), "erasures", body, ERASURE_TYPE);
  return store.save({ ...file, isDeposited: false });
}

async function post(sending: Sending, verifier: string, path: string, body: Bytes, type: string): Promise<void> {
  const answer = await sending.transport("POST", join(verifier, path), { body, headers: { "Content-Type": type } });
  if (answer.status !== 204) throw errorOf(answer, originOf(verifier));
}
