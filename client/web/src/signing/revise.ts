// Changing and withdrawing a pledge: revisions, signed by the key that only the pledge file can make.
import { ConfigurationError, NotEligibleError, RevisionConflictError } from "../protocol/errors.ts";
import { WITHDRAWN } from "../protocol/pledge.ts";
import { MAX_SERIAL } from "../protocol/revision.ts";
import { checkChange, isChoice } from "../protocol/scope.ts";
import type { Transport } from "../reader/transport.ts";
import { chooseVerifier, send } from "./pledge.ts";
import { currentChoice, revisionOf, type Change, type PledgeFile } from "./pledge_file.ts";
import type { PledgeStore } from "./storage.ts";

/**
 * Changes the pledge to another choice; WITHDRAWN withdraws it until the next change. The change is kept before it is sent;
 * one that was sent without an answer is sent again first, since it may stand. The ledger takes one change a batch.
 */
export async function revise(
  store: PledgeStore, choice: number, day: number, transport: Transport, verifier?: string,
): Promise<PledgeFile> {
  let file = await store.load();
  if (!file?.promise) throw new ConfigurationError("the pledge was not sent yet, so there is nothing to change");
  if (choice !== WITHDRAWN && !isChoice(file.manifest, choice)) {
    throw new NotEligibleError("the scope does not offer this choice");
  }
  checkChange(file.manifest, day);
  const address = chooseVerifier(file, verifier);
  const unanswered = file.changes.at(-1);
  if (unanswered && !unanswered.promise) {
    file = await deliver(store, file, unanswered, address, transport);
    if (unanswered.choice === choice) return file;
  }
  if (currentChoice(file) === choice) return file;
  const change = { serial: file.standing + 1, choice };
  if (change.serial > MAX_SERIAL) {
    throw new NotEligibleError(`a pledge can be changed ${MAX_SERIAL} times, and this one was`);
  }
  file = await store.save({ ...file, changes: [...file.changes, change] });
  return deliver(store, file, change, address, transport);
}

export function withdraw(
  store: PledgeStore, day: number, transport: Transport, verifier?: string,
): Promise<PledgeFile> {
  return revise(store, WITHDRAWN, day, transport, verifier);
}

async function deliver(
  store: PledgeStore, file: PledgeFile, change: Change, address: string, transport: Transport,
): Promise<PledgeFile> {
  const before = file.changes.slice(0, -1);
  try {
    const promise = await send(await revisionOf(file, change), address, file.manifest, transport);
    return await store.save({ ...file, changes: [...before, { ...change, promise }], standing: change.serial });
  } catch (error) {
    if (!(error instanceof RevisionConflictError)) throw error;
    // Not this change: the one that stands is remembered, so that the next try comes after it.
    const standing = Math.min(Math.max(file.standing, error.serial), MAX_SERIAL);
    await store.save({ ...file, changes: before, standing });
    const text =
      standing === change.serial
        ? "another change was accepted first, from another device or copy of the file"
        : standing < change.serial
          ? "the change before this one waits to be published; try again after the next batch"
          : "this pledge was changed elsewhere since; the file now knows, try again";
    throw new RevisionConflictError(text, error.serial);
  }
}
