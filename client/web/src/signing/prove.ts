// Proving to be a person: from an opened scope to a finished pledge. The seed is kept before an issuer hears of the scope,
// every answer before the next question; called again after a reload or a crash, each step goes on where it was.
import { equal, type Bytes } from "../protocol/bytes.ts";
import { ConfigurationError, NotEligibleError } from "../protocol/errors.ts";
import type { Json } from "../protocol/jcs.ts";
import { Policy } from "../protocol/policy.ts";
import { SEED_BYTES } from "../protocol/seed.ts";
import type { Transport } from "../reader/transport.ts";
import { Conversation, type Prepared, type Session } from "./issuance.ts";
import { checkTerms, type OpenedScope } from "./open.ts";
import { nullifierOf, sealedHashOf, withStep, type PledgeFile } from "./pledge_file.ts";
import type { PledgeStore } from "./storage.ts";

/** Draws random bytes; a test passes its own. */
export type Draw = (size: number) => Bytes;

const random: Draw = (size) => crypto.getRandomValues(new Uint8Array(size));

/**
 * The pledge file of this scope and choice, a new one with a fresh seed if there is none. Throws ConfigurationError
 * where another choice was begun: its issuers would refuse a second token.
 */
export async function begin(
  store: PledgeStore, opened: OpenedScope, choice: number, day: number, draw: Draw = random,
): Promise<PledgeFile> {
  const kept = await store.load();
  const { ledger, policy, manifest, view } = opened;
  if (kept) {
    if (kept.manifest.scope !== manifest.scope || kept.choice !== choice) {
      throw new ConfigurationError("another pledge of this scope was begun here");
    }
    // Begun elsewhere, under another trust policy: that one must accept this checkpoint as well.
    if (!equal(kept.policy, policy)) await Policy.fromBytes(kept.policy).verifyCheckpoint(view.raw);
    return store.save({ ...kept, checkpoint: view.raw });
  }
  checkTerms(manifest, choice, day);
  return store.create({
    ledger,
    policy,
    manifest,
    choice,
    seed: draw(SEED_BYTES),
    checkpoint: view.raw,
    steps: manifest.issuers.map(() => ({})),
    standing: 0,
    changes: [],
  });
}

/** The first issuer that has not signed yet, undefined when all have. */
export function nextIssuer(file: PledgeFile): number | undefined {
  const index = file.steps.findIndex((step) => !step.authenticator);
  return index < 0 ? undefined : index;
}

/** The proofs of one file with one issuer; every method keeps what it got before it returns. */
export class Proof {
  readonly #store: PledgeStore;
  readonly #conversation: Conversation;
  readonly #file: PledgeFile;
  #ahead: Promise<Prepared> | undefined;
  readonly index: number;

  constructor(store: PledgeStore, file: PledgeFile, index: number, transport: Transport) {
    this.#store = store;
    this.#file = file;
    this.#conversation = new Conversation(file.manifest, index, transport);
    this.index = index;
  }

  /** The name of the check that this issuer makes; throws NotEligibleError where there are several. */
  get attester(): string {
    const { name, attesters } = this.#conversation.issuer;
    if (attesters.length !== 1) throw new NotEligibleError(`${name} asks for evidence that this program cannot give`);
    return attesters[0]!;
  }

  async #load(): Promise<PledgeFile> {
    const file = await this.#store.load();
    if (!file) throw new ConfigurationError("the pledge is not kept here any more");
    return file;
  }

  /** Begins a session with the issuer and keeps its bearer. */
  async open(evidence: { readonly [name: string]: Json }): Promise<Session> {
    const opened = await this.#conversation.open(this.attester, evidence);
    await this.#store.save(withStep(await this.#load(), this.index, { session: opened.session }));
    return opened;
  }

  /** Types what the issuer has mailed into the kept session. */
  async confirm(evidence: Json): Promise<void> {
    const { session } = (await this.#load()).steps[this.index]!;
    if (session === undefined) throw new NotEligibleError("no session was begun: begin again");
    await this.#conversation.confirm(session, evidence);
  }

  /** Begins with what signing needs besides a session, while that is being kept: the issuer is asked for its directory. */
  prepare(): void {
    this.#ahead = this.#prepare(this.#file);
    this.#ahead.catch(() => undefined); // sign says what is wrong
  }

  async #prepare(file: PledgeFile): Promise<Prepared> {
    return this.#conversation.prepare(await nullifierOf(file), file.seed);
  }

  /** Asks for the signature and keeps it; the same as before if the issuer has signed already. */
  async sign(): Promise<PledgeFile> {
    const file = await this.#load();
    const { session, authenticator } = file.steps[this.index]!;
    if (authenticator) return file;
    if (session === undefined) throw new NotEligibleError("no session was begun: begin again");
    // Another pledge may have been begun here meanwhile: its nonce is another.
    const ahead = hasSameNonce(file, this.#file) ? this.#ahead : undefined;
    this.#ahead = undefined;
    const signed = await this.#conversation.sign(session, await (ahead ?? this.#prepare(file)));
    return this.#store.save(withStep(await this.#load(), this.index, { authenticator: signed }));
  }

  /** Keeps a signature that came another way, for instance from the issuer's own page. */
  async take(authenticator: Bytes): Promise<PledgeFile> {
    return this.#store.save(withStep(await this.#load(), this.index, { authenticator }));
  }
}

function hasSameNonce(one: PledgeFile, other: PledgeFile): boolean {
  const isSame = one.manifest.scope === other.manifest.scope && one.choice === other.choice;
  return isSame && equal(one.seed, other.seed) && equal(sealedHashOf(one), sealedHashOf(other));
}
