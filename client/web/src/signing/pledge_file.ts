// The pledge file: what a person keeps of one pledge, from the seed to the receipt. The same JSON as the command line's
// (client/headcount/pledge_file.py), so that a file begun in one is continued in the other.
import { concat, type Bytes } from "../protocol/bytes.ts";
import { publicKey, sign } from "../protocol/ed25519.ts";
import { ConfigurationError, MalformedError } from "../protocol/errors.ts";
import { canonicalise, parseJson, type Json } from "../protocol/jcs.ts";
import { Members } from "../protocol/members.ts";
import { AUTHENTICATOR_BYTES, NO_SEALED_HASH, WITHDRAWN, makePledge, nonce, type Pledge } from "../protocol/pledge.ts";
import { Policy } from "../protocol/policy.ts";
import { encodePromise, parsePromise, type LedgerPromise } from "../protocol/promise.ts";
import { MAX_SERIAL, revisionMessage, type Revision } from "../protocol/revision.ts";
import { holdsSealed, parseManifest, type Manifest } from "../protocol/scope.ts";
import { SEED_BYTES, revisionSeed } from "../protocol/seed.ts";
import { sha256 } from "../protocol/sha256.ts";
import { encodeBase64 } from "../protocol/text.ts";

const VERSION = 1;
const MAX_BYTES = 2 ** 20;
const MAX_SESSION_CHARS = 512;
const SESSION = /^[A-Za-z0-9._~+/-]+=*$/; // RFC 6750, Section 2.1: a bearer token

/** One revision of the pledge; without a promise it may have been sent or not. */
export interface Change {
  readonly serial: number;
  readonly choice: number;
  readonly promise?: LedgerPromise;
}

/** How far the pledge is with one issuer. */
export interface Step {
  readonly session?: string; // proved and not yet used
  readonly authenticator?: Bytes; // the issuer has signed
}

export interface PledgeFile {
  readonly ledger: string; // address of the published files
  readonly policy: Bytes; // the trust policy under which the terms were accepted
  readonly manifest: Manifest;
  readonly choice: number;
  readonly seed: Bytes;
  readonly checkpoint: Bytes; // the last one that was accepted, signed
  readonly steps: readonly Step[]; // by issuer, in the manifest's order
  readonly since?: number; // size of the ledger before the pledge was first sent
  readonly verifier?: string; // where the pledge was sent
  readonly promise?: LedgerPromise;
  readonly standing: number; // serial of the last revision that is known to stand
  readonly changes: readonly Change[];
  readonly blob?: Bytes; // the sealed contact, in contact scopes
  readonly after?: number; // seconds since 1970; a contact is not sent before
  readonly isDeposited?: boolean; // a store has taken the blob
}

/** What the pledge commits to: the blob, or nothing. */
export function sealedHashOf(file: PledgeFile): Bytes {
  return file.blob ? sha256(file.blob) : NO_SEALED_HASH;
}

export function isSession(session: unknown): session is string {
  return typeof session === "string" && session.length <= MAX_SESSION_CHARS && SESSION.test(session);
}

/** The Ed25519 key that may change the pledge. */
export async function revisionKey(file: PledgeFile): Promise<Bytes> {
  return publicKey(await revisionSeed(file.seed, file.manifest.scopeId));
}

/** The nonce of the tokens, under which the ledger counts the pledge once. */
export async function nullifierOf(file: PledgeFile): Promise<Bytes> {
  return nonce(file.manifest.scopeId, file.choice, await revisionKey(file), sealedHashOf(file));
}

/** Whether every issuer has signed. */
export function isProved(file: PledgeFile): boolean {
  return file.steps.every((step) => step.authenticator);
}

/** The entry for the ledger; throws ConfigurationError while an issuer's signature is missing. */
export async function pledgeOf(file: PledgeFile): Promise<Pledge> {
  const authenticators = file.steps.flatMap((step) => (step.authenticator ? [step.authenticator] : []));
  if (authenticators.length !== file.steps.length) {
    throw new ConfigurationError("the pledge is not finished: an issuer has not signed it yet");
  }
  const { manifest, choice } = file;
  const key = await revisionKey(file);
  return makePledge({ scopeId: manifest.scopeId, choice, revisionKey: key, sealedHash: sealedHashOf(file), authenticators });
}

/** The entry of a change. */
export async function revisionOf(file: PledgeFile, change: Change): Promise<Revision> {
  const { serial, choice } = change;
  const { scopeId } = file.manifest;
  const sealedHash = choice === WITHDRAWN ? NO_SEALED_HASH : sealedHashOf(file);
  const fields = { scopeId, nullifier: await nullifierOf(file), serial, choice, sealedHash };
  const signature = await sign(await revisionSeed(file.seed, scopeId), revisionMessage(fields));
  return { kind: "revision", ...fields, signature };
}

export function withStep(file: PledgeFile, issuer: number, step: Step): PledgeFile {
  return { ...file, steps: file.steps.map((known, i) => (i === issuer ? step : known)) };
}

/** The choice that stands as far as this file knows; undefined if another device has changed it since. */
export function currentChoice(file: PledgeFile): number | undefined {
  if (file.standing === 0) return file.choice;
  return file.changes.find((change) => change.serial === file.standing)?.choice;
}

export function encodePledgeFile(file: PledgeFile): Bytes {
  return canonicalise({
    headcount_pledge: VERSION,
    ledger: file.ledger,
    policy: encodeBase64(file.policy),
    manifest: encodeBase64(file.manifest.raw),
    choice: file.choice,
    seed: encodeBase64(file.seed),
    checkpoint: encodeBase64(file.checkpoint),
    issuers: file.steps.map(({ session, authenticator }) => ({
      ...(session === undefined ? {} : { session }),
      ...(authenticator ? { authenticator: encodeBase64(authenticator) } : {}),
    })),
    standing: file.standing,
    changes: file.changes.map(({ serial, choice, promise }) => ({ serial, choice, ...promised(promise) })),
    ...(file.since === undefined ? {} : { since: file.since }),
    ...(file.verifier === undefined ? {} : { verifier: file.verifier }),
    ...(file.after === undefined ? {} : { after: file.after }),
    ...(file.blob ? { blob: encodeBase64(file.blob) } : {}),
    ...(file.isDeposited ? { deposited: true } : {}),
    ...promised(file.promise),
  });
}

function promised(promise: LedgerPromise | undefined): { [name: string]: Json } {
  return promise ? { promise: encodeBase64(encodePromise(promise)) } : {};
}

/** Reads the bytes of a pledge file; throws MalformedError. */
export function parsePledgeFile(data: Uint8Array): PledgeFile {
  const members = new Members(parseJson(data, MAX_BYTES), "pledge file");
  members.integer("headcount_pledge", VERSION, VERSION);
  const manifest = members.base64("manifest", parseManifest);
  const n = manifest.issuers.length;
  const file: PledgeFile = {
    ledger: members.text("ledger", 4096),
    policy: members.base64("policy", (policy) => {
      Policy.fromBytes(policy);
      return policy;
    }),
    manifest,
    choice: members.integer("choice", 0, 0xffff),
    seed: members.sized("seed", SEED_BYTES),
    checkpoint: members.base64("checkpoint", (raw) => concat(raw)),
    steps: members.objects("issuers", n, n).map(readStep),
    ...(members.has("since") ? { since: members.integer("since", 0) } : {}),
    ...(members.has("verifier") ? { verifier: members.text("verifier", 500) } : {}),
    ...readPromise(members),
    standing: members.integer("standing", 0, MAX_SERIAL),
    changes: members.objects("changes", 0, MAX_SERIAL).map((item) => {
      const change = { serial: item.integer("serial", 1, MAX_SERIAL), choice: item.integer("choice", 0, 0xffff) };
      const whole = { ...change, ...readPromise(item) };
      item.finish();
      return whole;
    }),
    ...(members.has("blob") ? { blob: members.base64("blob", (blob) => concat(blob)) } : {}),
    ...(members.has("after") ? { after: members.integer("after", 0) } : {}),
    ...(members.has("deposited") ? { isDeposited: members.take("deposited") === true } : {}),
  };
  members.finish();
  if ((file.blob !== undefined) !== holdsSealed(manifest)) {
    throw new MalformedError("pledge file.blob: in contact scopes and only there");
  }
  return file;
}

function readPromise(members: Members): { promise?: LedgerPromise } {
  return members.has("promise") ? { promise: members.base64("promise", parsePromise) } : {};
}

function readStep(members: Members): Step {
  const step: Step = {
    ...(members.has("session") ? { session: members.text("session", MAX_SESSION_CHARS, SESSION) } : {}),
    ...(members.has("authenticator") ? { authenticator: members.sized("authenticator", AUTHENTICATOR_BYTES) } : {}),
  };
  members.finish();
  return step;
}
