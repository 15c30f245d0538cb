// Seals: whether each follows from the entries, the seal, the tree and the checkpoint before it.
//
// After a fault the audit takes what the seal claims as the new base, so that one fault is reported once and a later one
// is still seen.
import { equal, fromUtf8, type Bytes } from "../protocol/bytes.ts";
import { GENESIS, chainExtend, chainStart, type Seal } from "../protocol/seal.ts";
import { formatDay } from "../protocol/text.ts";
import { checkScopeQuorum, medianDay, type Archive, type JudgedCheckpoint } from "./archive.ts";
import type { Code, FaultList } from "./fault.ts";
import type { BatchCount, Recount, Slot } from "./recount.ts";
import type { TotalsAudit } from "./totals_audit.ts";

// With one of these found in a batch, its broken chain needs no other explanation. A foreign key is none: a changed
// authenticator looks the same.
const EXPLAINS: readonly Code[] = [
  "changed-entry", "replayed-token", "swapped-terms", "malformed-entry", "forged-notice", "forged-revision",
];

/** One batch as it stands in the log, with the trees before and behind it. */
export interface SealedBatch {
  readonly number: number;
  readonly slots: readonly Slot[]; // without the seal
  readonly sealSlot: Slot;
  readonly seal: Seal;
  readonly count: BatchCount;
  readonly codes: ReadonlySet<Code>; // faults found among its entries
  readonly rootBefore: Uint8Array;
  readonly rootAfter: Uint8Array;
}

/** What is kept of a batch whose archived checkpoint is over another tree. */
interface Suspect {
  readonly number: number;
  readonly end: number;
  readonly archived: JudgedCheckpoint;
}

/** The seal before. */
interface Last {
  readonly number: number;
  readonly seal: Seal;
  readonly hash: Bytes;
  readonly index: number;
  readonly chain: Bytes; // recomputed, over every leaf before it
  readonly checkpoint: JudgedCheckpoint | undefined;
}

export interface SealsState {
  last: Last | undefined;
  shift: number; // what the seals say of an index, less what it is
  altered: boolean; // some batch is not the one that was sealed
  jumped: boolean; // batches are missing before this one
  pledges: number; // leaves so far
  doubt: number | undefined; // batch whose chain is wrong although its entries are good
  suspect: Suspect | undefined; // archived with another tree
  readonly lost: Set<number>; // batches known to have lost entries
  readonly roots: Map<number, Uint8Array>; // size at the end of a batch → root
}

const firstOf = (batch: SealedBatch): number => batch.slots[0]?.index ?? batch.sealSlot.index;
const endOf = (batch: SealedBatch): number => batch.sealSlot.index + 1;
const doesExplain = (codes: ReadonlySet<Code>): boolean => EXPLAINS.some((code) => codes.has(code));

/** Follows the seals of a log. */
export class SealAudit {
  readonly #origin: string;
  readonly #archive: Archive;
  readonly #totals: TotalsAudit;
  readonly #recount: Recount;
  readonly #faults: FaultList;
  readonly #s: SealsState;

  constructor(
    origin: string, archive: Archive, totals: TotalsAudit, recount: Recount, faults: FaultList, state?: SealsState,
  ) {
    this.#origin = origin;
    this.#archive = archive;
    this.#totals = totals;
    this.#recount = recount;
    this.#faults = faults;
    this.#s = state ?? {
      last: undefined, shift: 0, altered: false, jumped: false, pledges: 0, doubt: undefined, suspect: undefined,
      lost: new Set(), roots: new Map(),
    };
  }

  state(): SealsState {
    return structuredClone(this.#s);
  }

  /** The number that the next seal must have. */
  get nextBatch(): number {
    return this.#s.last ? this.#s.last.number + 1 : 0;
  }

  /** Day of the seal before. */
  get lastDay(): number {
    return this.#s.last?.seal.day ?? 0;
  }

  /** Which batch a seal ends; seals that were skipped are a fault. */
  number(slot: Slot, seal: Seal, missing: number): number {
    const expected = this.nextBatch;
    this.#s.jumped = false;
    if (seal.batch === expected) return expected;
    const follows = equal(seal.prevSeal, this.#s.last?.hash ?? GENESIS);
    if (seal.batch > expected && (missing || !follows)) {
      this.#s.jumped = true;
      this.#s.altered = true;
      if (!missing) {
        const isOne = seal.batch === expected + 1;
        const batches = isOne ? `batch ${expected}` : `batches ${expected} to ${seal.batch - 1}`;
        this.#faults.add("deleted-entry", `${batches} with its seal is missing`, { batch: expected });
      }
      return seal.batch;
    }
    this.#broken(slot, expected, `it says batch ${seal.batch} where ${expected} is next`);
    return expected;
  }

  /** Judges a seal against its batch and everything before. */
  async close(batch: SealedBatch): Promise<void> {
    const s = this.#s;
    const { number, seal, sealSlot, rootAfter } = batch;
    const archived = await this.#archive.read(number);
    const [chain, isChained] = this.#checkChain(batch);
    this.#checkFirstIndex(batch);
    this.#checkPrevious(batch);
    const lostBefore = s.lost.size;
    if (!isChained) {
      s.altered = true;
      this.#explainChain(batch, archived);
    }
    this.#checkNumbers(batch, isChained);
    this.#checkDay(batch, archived);
    const isWhole = isChained && !batch.count.missing && !s.jumped;
    await this.#totals.check(number, seal.totals, isWhole && s.lost.size === lostBefore);
    s.roots.set(endOf(batch), rootAfter);
    if (archived) {
      const { size, root } = archived.signed.checkpoint;
      if (!s.altered && (size !== endOf(batch) || !equal(root, rootAfter))) {
        s.suspect = { number, end: endOf(batch), archived };
      }
      for (const scope of this.#recount.scopes.values()) {
        if (scope.tally.closedIn === number) await checkScopeQuorum(scope.manifest, archived, this.#faults, number);
      }
    }
    s.last = { number, seal, hash: sealSlot.hash, index: sealSlot.index, chain, checkpoint: archived };
  }

  /** Passes a seal that is not served: what it must have said stands in for it. */
  async lose(batch: SealedBatch): Promise<void> {
    const s = this.#s;
    const { number, sealSlot, count } = batch;
    const [chain] = this.#checkChain(batch);
    s.pledges += count.pledges;
    s.doubt = undefined;
    s.suspect = undefined;
    const before = s.last?.seal.pledgesTotal ?? 0;
    const seal = {
      ...batch.seal, batch: number, pledgesInBatch: count.pledges, pledgesTotal: before + count.pledges, chain,
    };
    s.roots.set(endOf(batch), batch.rootAfter);
    const checkpoint = await this.#archive.read(number);
    s.last = { number, seal, hash: sealSlot.hash, index: sealSlot.index, chain, checkpoint };
  }

  /** Settles what only later seals could have explained, and compares with the current checkpoint. */
  finish(head: JudgedCheckpoint): void {
    const { doubt, suspect, last, altered } = this.#s;
    if (doubt !== undefined) {
      this.#faults.add("broken-seal", "its chain is not over the entries before it", { batch: doubt });
    }
    if (suspect) this.#accuse(suspect);
    const archived = last?.checkpoint;
    if (!archived || !head.isByLog) return;
    if (!equal(archived.hash, head.hash) && sortedLines(archived) === sortedLines(head)) {
      // Lines of a note may stand in any order, but the next seal is over this one.
      this.#faults.add("malformed-checkpoint", "it differs from its archived copy in the order of lines");
    }
    const [old, now] = [archived.signed.checkpoint, head.signed.checkpoint];
    if (!altered && old.size === now.size && !equal(old.root, now.root)) {
      const batch = this.nextBatch - 1;
      const text = `checkpoint and checkpoints/${batch} are signed over different entries`;
      this.#faults.add("forked-ledger", text, { batch });
    }
  }

  #checkChain(batch: SealedBatch): readonly [Bytes, boolean] {
    const { last, jumped } = this.#s;
    const starts: Bytes[] = [];
    if (!last) starts.push(chainStart(this.#origin));
    else {
      // Genuine first; then from what the two seals claim, if one of them or its chain was changed.
      for (const chain of [last.chain, last.seal.chain]) {
        for (const leaf of [last.hash, batch.seal.prevSeal]) starts.push(chainExtend(chain, leaf));
      }
    }
    const extend = (start: Bytes): Bytes => batch.slots.reduce((chain, slot) => chainExtend(chain, slot.hash), start);
    const chain = extend(starts[0]!);
    if (equal(chain, batch.seal.chain) || jumped) return [batch.seal.chain, true];
    const others = starts.slice(1).filter((start) => !equal(start, starts[0]!));
    return [chain, others.some((start) => equal(extend(start), batch.seal.chain))];
  }

  #checkFirstIndex(batch: SealedBatch): void {
    const s = this.#s;
    const gap = batch.seal.firstIndex - (firstOf(batch) + s.shift);
    if (s.jumped) {
      s.shift += gap;
    } else if (gap) {
      const before = s.last?.checkpoint?.signed.checkpoint.size;
      if (!s.last || before === firstOf(batch) + s.shift) {
        const text = `it says that the batch begins at ${batch.seal.firstIndex}, not at ${firstOf(batch)}`;
        this.#broken(batch.sealSlot, batch.number, text);
      } else {
        s.shift += gap;
        s.altered = true;
        this.#changeInNumber(s.last.number, gap, new Set());
      }
    }
  }

  #explainChain(batch: SealedBatch, archived: JudgedCheckpoint | undefined): void {
    const s = this.#s;
    const { number, count, seal, codes } = batch;
    if (archived) {
      const gap = archived.signed.checkpoint.size - (endOf(batch) + s.shift);
      if (gap) {
        s.shift += gap;
        this.#changeInNumber(number, gap, codes);
        return;
      }
    }
    if (seal.pledgesInBatch > count.pledges + count.missing) {
      this.#changeInNumber(number, seal.pledgesInBatch - count.pledges, codes);
    } else if (count.isOrdered && !doesExplain(codes)) {
      if (archived && equal(archived.signed.checkpoint.root, batch.rootAfter)) {
        // So it was published: the seal never fitted.
        this.#broken(batch.sealSlot, number, "its chain is not over the entries before it");
      } else {
        s.doubt = number;
      }
    }
  }

  #changeInNumber(batch: number, gap: number, codes: ReadonlySet<Code>): void {
    if (gap > 0 && !this.#s.lost.has(batch)) {
      this.#s.lost.add(batch);
      const entries = gap === 1 ? "an entry is" : `${gap} entries are`;
      this.#faults.add("deleted-entry", `${entries} missing from the batch`, { batch });
    } else if (gap < 0 && !doesExplain(codes)) {
      this.#faults.add("added-entry", `the batch has ${-gap} more entries than were sealed`, { batch });
    }
  }

  #checkPrevious(batch: SealedBatch): void {
    const s = this.#s;
    const { seal, sealSlot, number } = batch;
    const { last } = s;
    if (s.jumped) {
      s.doubt = undefined;
      s.suspect = undefined;
      return;
    }
    if (!last) {
      const fields = { prev_seal: seal.prevSeal, prev_root: seal.prevRoot, prev_checkpoint: seal.prevCheckpoint };
      for (const [name, value] of Object.entries(fields)) {
        if (!equal(value, GENESIS)) this.#broken(sealSlot, number, `${name} of the first seal is not zero`);
      }
      return;
    }
    const isSameSeal = equal(seal.prevSeal, last.hash);
    if (s.doubt !== undefined) {
      // This seal knows the seal before as it is, so that the entries below it were changed.
      const place = { batch: s.doubt };
      if (isSameSeal) this.#faults.add("changed-entry", "its seal was made over other entries", place);
      else this.#faults.add("broken-seal", "its chain is not over the entries before it", place);
      s.doubt = undefined;
    } else if (!isSameSeal) {
      s.altered = true;
      if (s.suspect) {
        const place = { batch: last.number, index: last.index };
        this.#faults.add("broken-seal", "it is not the seal that the next one follows", place);
      } else {
        this.#broken(sealSlot, number, `it does not follow the seal of batch ${last.number}`);
      }
    }
    if (!isSameSeal) s.suspect = undefined;
    let archived = last.checkpoint;
    if (s.suspect) {
      s.altered = true;
      this.#accuse(s.suspect);
      s.suspect = undefined;
      archived = undefined;
    }
    if (!equal(seal.prevRoot, batch.rootBefore)) {
      const known = archived?.signed.checkpoint.root;
      // In a tree that was altered below, the archived checkpoint knows the root.
      if (!s.altered || (known && !equal(seal.prevRoot, known))) {
        this.#broken(sealSlot, number, "prev_root is not the root before the batch");
      }
    }
    if (archived && !equal(seal.prevCheckpoint, archived.hash)) {
      this.#broken(sealSlot, number, `prev_checkpoint is not the hash of checkpoints/${last.number}`);
    }
  }

  /** The checkpoint that was published with a batch is over another tree than this one. */
  #accuse({ number, end, archived }: Suspect): void {
    const { size, root } = archived.signed.checkpoint;
    const known = this.#s.roots.get(size);
    const place = { batch: number };
    if (known && equal(known, root)) {
      this.#faults.add("broken-seal", `checkpoints/${number} is the checkpoint of another batch`, place);
    } else if (size > end) {
      this.#changeInNumber(number, size - end, new Set());
    } else {
      const text = `checkpoints/${number} is signed over ${size} other entries than these`;
      this.#faults.add("forked-ledger", text, place);
    }
  }

  #checkNumbers(batch: SealedBatch, isChained: boolean): void {
    const s = this.#s;
    const { seal, count } = batch;
    const place = { batch: batch.number, index: batch.sealSlot.index };
    const spare = seal.pledgesInBatch - count.pledges;
    if (isChained && (spare < 0 || spare > count.missing)) {
      const text = `the seal says ${seal.pledgesInBatch} pledges in the batch where ${count.pledges} are`;
      this.#faults.add("edited-count", text, place);
    }
    const before = s.last?.seal.pledgesTotal ?? 0;
    const counted = s.pledges;
    s.pledges += count.pledges;
    // If the seal before lied, its fault is named there.
    if (!s.jumped && ![before, counted].includes(seal.pledgesTotal - seal.pledgesInBatch)) {
      const text =
        `the seal says ${seal.pledgesTotal} pledges in all where ${before} and ${seal.pledgesInBatch} are`;
      this.#faults.add("edited-count", text, place);
    }
  }

  #checkDay(batch: SealedBatch, archived: JudgedCheckpoint | undefined): void {
    const { day } = batch.seal;
    const place = { batch: batch.number, index: batch.sealSlot.index };
    if (day < this.lastDay) this.#faults.add("wrong-day", "it is before the day of the seal before", place);
    const median = archived && medianDay(archived);
    if (median !== undefined && Math.abs(day - median) > 1) {
      const text = `the witnesses signed on ${formatDay(median)}, ${Math.abs(day - median)} days apart`;
      this.#faults.add("wrong-day", text, place);
    }
  }

  #broken(slot: Slot, batch: number, detail: string): void {
    this.#faults.add("broken-seal", detail, { batch, index: slot.index, offset: slot.leaf?.offset });
  }
}

function sortedLines(judged: JudgedCheckpoint): string {
  return fromUtf8(judged.signed.raw).split("\n").sort().join("\n");
}
