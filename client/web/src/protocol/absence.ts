// That an entry is in none of the batches in which it may stand, shown by few leaves. Protocol, Section 4.10.
//
// That the leaves are in a signed tree is not asked here (accusation.ts).
import { BEFORE_ALL, compareKeys, sortKey, type Key } from "./batch.ts";
import { equal, hex, type Bytes } from "./bytes.ts";
import { parseEntry, type Entry } from "./entry.ts";
import { MalformedError, NoticeConflictError, ProofError, VerificationError } from "./errors.ts";
import { leafHash } from "./merkle.ts";
import { verifyNotice } from "./notice.ts";
import { KIND_PLEDGE, type LedgerPromise } from "./promise.ts";
import type { Manifest } from "./scope.ts";
import type { Seal } from "./seal.ts";

export type Leaf = readonly [index: number, entry: Bytes];

export interface Absence {
  readonly manifest: Manifest;
  readonly firstBatch: number;
  readonly lastBatch: number;
  readonly firstIndex: number; // of the first leaf of the first batch
  readonly endIndex: number; // behind the last seal
  readonly isClosing: boolean; // the last batch closes the scope
  readonly isReplaced: boolean; // another entry stands where the promised one belongs
}

interface Item {
  readonly index: number;
  readonly hash: Bytes;
  readonly entry: Entry;
}

/** Checks that these leaves, by ascending index, show that a ledger does not hold what it promised. */
export async function checkAbsence(leaves: readonly Leaf[], promise: LedgerPromise, scopeId: Bytes): Promise<Absence> {
  const items = leaves.map(([index, data]) => ({ index, hash: leafHash(data), entry: parseEntry(data) }));
  const [head, opening] = items;
  if (!head || !opening) throw new ProofError("no batch is shown");
  const manifest = await manifestIn(head.entry);
  if (!manifest || manifest.scope !== hex(scopeId)) {
    throw new ProofError("the first leaf is not the manifest of the scope");
  }
  let last: Item = opening;
  if (last.entry.kind !== "seal" || last.entry.firstIndex > head.index || head.index >= last.index) {
    throw new ProofError("the batch of the manifest is not shown");
  }
  let seal: Seal = last.entry;
  const firstBatch = seal.batch + 1;
  const firstIndex = last.index + 1;
  let [isClosing, isReplaced, isOver] = [false, false, false];
  for (const window of windows(items.slice(2))) {
    const ending: Item = window[window.length - 1]!;
    const following = ending.entry as Seal;
    const follows =
      following.batch === seal.batch + 1 && following.firstIndex === last.index + 1 && equal(following.prevSeal, last.hash);
    if (!follows) throw new ProofError("a seal does not follow the one before it");
    seal = following;
    isReplaced = checkWindow([last, ...window], promise) || isReplaced;
    isClosing = false;
    for (const item of window) isClosing ||= await closes(item.entry, manifest);
    last = ending;
    isOver = isClosing || seal.day > promise.deadline;
    if (isOver) break;
  }
  if (!isOver) throw new ProofError("the batches that are shown end before the deadline has passed");
  if (last !== items[items.length - 1]) throw new ProofError("leaves are shown behind the last batch");
  return { manifest, firstBatch, lastBatch: seal.batch, firstIndex, endIndex: last.index + 1, isClosing, isReplaced };
}

/** The manifest of a notice by its organisers; of each scope an honest ledger has one. */
async function manifestIn(entry: Entry): Promise<Manifest | undefined> {
  const manifest = entry.kind === "notice" ? entry.statement.manifest : undefined;
  return manifest && (await isVerified(entry, manifest)) ? manifest : undefined;
}

/** Whether the entry is the notice with which the ledger closes the scope; it says nothing else in a scope. */
async function closes(entry: Entry, manifest: Manifest): Promise<boolean> {
  if (entry.kind !== "notice" || entry.statement.type !== "closing") return false;
  return entry.statement.scope === manifest.scope && isVerified(entry, manifest);
}

async function isVerified(entry: Entry, manifest: Manifest): Promise<boolean> {
  if (entry.kind !== "notice") return false;
  try {
    await verifyNotice(entry, manifest, undefined);
    return true;
  } catch (error) {
    const isSaidByAStranger =
      error instanceof VerificationError || error instanceof NoticeConflictError || error instanceof MalformedError;
    if (isSaidByAStranger) return false;
    throw error;
  }
}

/** The leaves of each batch, the seal last; a window without its seal throws when it is reached. */
function* windows(items: readonly Item[]): Generator<Item[]> {
  let window: Item[] = [];
  for (const item of items) {
    window.push(item);
    if (item.entry.kind !== "seal") continue;
    yield window;
    window = [];
  }
  if (window.length) throw new ProofError("a batch is shown without its seal");
}

/** Whether another entry stands in the promised one's place; window begins with the seal before. */
function checkWindow(window: readonly Item[], promise: LedgerPromise): boolean {
  const wanted: Key = [promise.kind === KIND_PLEDGE ? 1 : 2, promise.nullifier, promise.serial];
  let end: number | undefined; // of the run of consecutive leaves that begins with one below the wanted
  let isReplaced = false;
  for (const [i, item] of window.entries()) {
    const order = compareKeys(i === 0 ? BEFORE_ALL : sortKey(item.entry, item.hash), wanted);
    if (order < 0) {
      end = item.index;
      isReplaced = false;
    } else if (end !== undefined && item.index === end + 1) {
      if (order > 0) return isReplaced;
      if (equal(item.hash, promise.leafHash)) break;
      end = item.index;
      isReplaced = true;
    } else {
      end = undefined;
    }
  }
  if (window.some((item) => equal(item.hash, promise.leafHash))) throw new ProofError("the promised entry is there");
  throw new ProofError("a batch is not shown to be without the entry");
}
