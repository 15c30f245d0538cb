// The audit of a ledger from its published files: one pass over the entry bundles, in order, as
// headcount_ledger/audit/engine.py, with the same codes, places and counts.
//
// Each block of 256 entries is read and settled and merged into the recount; seals are judged as they come. Bundles are
// fetched and scanned ahead, in workers. At the end of full blocks the whole state can be kept (snapshot) and
// continued, by another tab or on another day, at the cost of the new entries.
import { equal, hex, type Bytes } from "../protocol/bytes.ts";
import { parseCheckpoint, type Checkpoint, type SignedCheckpoint } from "../protocol/checkpoint.ts";
import { UnavailableError } from "../protocol/errors.ts";
import { root as rootOf } from "../protocol/merkle.ts";
import type { Policy } from "../protocol/policy.ts";
import type { Manifest } from "../protocol/scope.ts";
import type { Seal } from "../protocol/seal.ts";
import { TILE_WIDTH, partialTiles, tilePath, type Fetch } from "../protocol/tile.ts";
import { totalsPath } from "../protocol/totals.ts";
import { Archive, checkScopeQuorum, judgeCheckpoint, type JudgedCheckpoint } from "./archive.ts";
import { NO_HASH, isServedWhole, settle, type Accept, type Block } from "./block.ts";
import { EMPTY_SCAN, scanBundle, type BundleScan, type Leaf } from "./bundle.ts";
import { FaultList, type Fault } from "./fault.ts";
import { Ahead, Files } from "./files.ts";
import { checkHints } from "./hint.ts";
import { checkReceipt, compareReceipt, type HeldReceipt, type Receipt, type ReceiptState } from "./receipt.ts";
import { Recount, type RecountState, type Slot } from "./recount.ts";
import { AuditReport, scopeCounts, type BatchRow } from "./report.ts";
import { InlineScanner, type Scanner } from "./scanner.ts";
import { SealAudit, type SealsState } from "./seals.ts";
import { Differences, type DifferencesState } from "./strangers.ts";
import { TotalsAudit, type TotalsState } from "./totals_audit.ts";
import { TreeRecount, type TreeState } from "./tree.ts";
import { trusts } from "./trust.ts";

const MAX_GAPS = 16; // blocks in a row without any file: the rest is not there either
const SNAPSHOT_BLOCKS = 256; // 65,536 entries
const MAX_WAITING = 96; // files that were asked for ahead; a ledger of small batches has many
const AHEAD = 4; // so many times a scanner's width are blocks read and scanned before they are counted

/** What is kept between two runs; it goes through structuredClone (IndexedDB) and is trusted: it never leaves the device. */
export interface Snapshot {
  readonly version: 2;
  readonly origin: string;
  readonly checkpoint: Bytes; // to be remembered: under which it was made, an earlier one until that is met again
  readonly block: number; // the next one
  readonly faults: readonly Fault[];
  readonly omitted: number;
  readonly tree: TreeState;
  readonly recount: RecountState;
  readonly seals: SealsState;
  readonly totals: TotalsState;
  readonly differences: DifferencesState;
  readonly pending: readonly Slot[];
  readonly starts: readonly number[];
  readonly numbers: readonly number[];
  readonly rows: readonly BatchRow[];
  readonly rootBefore: Uint8Array;
  readonly isWhole: boolean;
}

export interface AuditOptions {
  /** Checkpoints that the caller has verified before, of this log or of others. */
  readonly remembered?: readonly Checkpoint[];
  readonly receipts?: readonly Receipt[];
  readonly scanner?: Scanner;
  readonly progress?: (done: number, size: number) => void;
  /** What an earlier run kept; without receipts, since they may be of entries that were passed. */
  readonly resume?: Snapshot;
  /** Recount what the earlier run has recounted too. */
  readonly anew?: boolean;
  /** Is given the state from time to time, and at the end. */
  readonly keep?: (snapshot: Snapshot) => Promise<void> | void;
  readonly signal?: AbortSignal;
}

/** Recounts everything that a log has published. Throws ProofError for a receipt that does not verify in itself. */
export async function audit(fetch: Fetch, policy: Policy, options: AuditOptions = {}): Promise<AuditReport> {
  const { resume, keep } = options;
  let last = resume;
  const keeping: AuditOptions = !keep ? options : {
    ...options,
    keep: (snapshot) => {
      // A host that stops to answer does not cost what was recounted before.
      if (resume?.origin === snapshot.origin && snapshot.tree.size < resume.tree.size) return undefined;
      last = snapshot;
      return keep(snapshot);
    },
  };
  const usable = options.anew || options.receipts?.length ? undefined : resume;
  let report = usable && (await new Audit(fetch, policy, keeping, usable).run());
  // What was kept may be what is wrong: only a whole run says which fault it is.
  if (!report?.ok) report = (await new Audit(fetch, policy, keeping, undefined).run())!;
  // The last checkpoint that was found good is what the next one must continue.
  if (report.ok && keep && last?.origin === report.origin) await keep({ ...last, checkpoint: report.checkpoint });
  return report;
}

class Audit {
  readonly #options: AuditOptions;
  readonly #policy: Policy;
  readonly #ahead: Ahead;
  readonly #scanner: Scanner;
  readonly #faults: FaultList;
  readonly #files: Files;
  readonly #differences: Differences;
  readonly #resume: Snapshot | undefined;
  readonly #starts: number[]; // first index of each batch
  readonly #numbers: number[]; // and its number
  readonly #rows: BatchRow[];
  readonly #roots = new Map<number, Uint8Array>(); // at the sizes that somebody remembers
  readonly #places = new Map<string, number>(); // of the entries that somebody holds a receipt of
  readonly #leavesAt = new Map<number, Uint8Array>();
  readonly #scans = new Map<string, Promise<{ data: Bytes; scan: BundleScan }>>();
  #pending: Slot[]; // of the batch whose seal has not come
  #remembered: readonly Checkpoint[];
  #before: SignedCheckpoint | undefined; // what an earlier run has kept of this ledger
  #held: readonly HeldReceipt[] = [];
  #states: readonly ReceiptState[] = [];
  #marks = new Set<number>();
  #wanted = new Set<string>();
  #wantedAt = new Set<number>();
  #isWhole: boolean; // every block could be read
  readonly #known = new Set<string>(); // scopes whose terms the scanner has
  #counted = 0; // the block that is counted now
  #started = 0; // the next block to be read and scanned
  #scanning = 0; // how many are now
  #rootBefore!: Uint8Array;
  #tree!: TreeRecount;
  #recount!: Recount;
  #seals!: SealAudit;
  #totals!: TotalsAudit;

  constructor(fetch: Fetch, policy: Policy, options: AuditOptions, resume: Snapshot | undefined) {
    this.#options = options;
    this.#policy = policy;
    this.#ahead = new Ahead(fetch);
    this.#scanner = options.scanner ?? new InlineScanner();
    this.#faults = new FaultList(resume?.faults, resume?.omitted);
    this.#files = new Files(this.#ahead.fetch, this.#faults);
    this.#differences = new Differences(resume?.differences);
    this.#resume = resume;
    this.#starts = [...(resume?.starts ?? [])];
    this.#numbers = [...(resume?.numbers ?? [])];
    this.#rows = [...(resume?.rows ?? [])];
    this.#pending = [...(resume?.pending ?? [])];
    this.#isWhole = resume?.isWhole ?? true;
    this.#remembered = options.remembered ?? [];
  }

  /** The report; undefined if what was kept is not of this ledger, or of more than it has. */
  async run(): Promise<AuditReport | undefined> {
    const raw = await this.#files.read("checkpoint");
    const judged = raw && (await judgeCheckpoint("checkpoint", raw, this.#policy, this.#faults));
    if (!judged) return new AuditReport(this.#fields(undefined));
    const { checkpoint } = judged.signed;
    const { origin, size } = checkpoint;
    const resume = this.#resume;
    if (resume && (resume.origin !== origin || resume.tree.size > size)) return undefined;
    this.#remembered = this.#remembered.filter((old) => old.origin === origin);
    this.#held = await Promise.all(
      (this.#options.receipts ?? []).map((receipt) => checkReceipt(receipt, origin, this.#policy)),
    );
    const kept = this.#options.resume && parseCheckpoint(this.#options.resume.checkpoint);
    if (kept?.checkpoint.origin === origin) this.#before = kept;
    this.#prepareMarks();
    this.#tree = new TreeRecount(this.#files, size, this.#faults, resume?.tree);
    this.#roots.set(this.#tree.size, this.#tree.root());
    const keys = this.#policy.logKeys(origin);
    this.#recount = new Recount(
      origin, keys, this.#faults, (scope) => this.#know(scope.manifest), resume?.recount,
    );
    const archive = new Archive(this.#files, this.#policy, this.#faults);
    this.#totals = new TotalsAudit(this.#files, this.#recount, this.#faults, resume?.totals);
    const seals = resume && structuredClone(resume.seals);
    this.#seals = new SealAudit(origin, archive, this.#totals, this.#recount, this.#faults, seals);
    this.#rootBefore = resume?.rootBefore ?? this.#tree.root();
    try {
      await this.#readBlocks(judged);
      await this.#finish(judged);
    } catch (error) {
      if (!(error instanceof UnavailableError)) throw error;
      const text = `the host has stopped to answer: ${error.message}`;
      this.#faults.add("unreadable-file", text, { index: this.#tree.size });
    }
    return new AuditReport(this.#fields(judged));
  }

  #prepareMarks(): void {
    const sizes = this.#remembered.map((old) => old.size);
    for (const { checkpoints } of this.#held) sizes.push(...checkpoints.map((checkpoint) => checkpoint.size));
    if (this.#before) sizes.push(this.#before.checkpoint.size);
    this.#marks = new Set([0, ...sizes]);
    for (const { receipt } of this.#held) {
      if (receipt.leafHash) this.#wanted.add(hex(receipt.leafHash));
      if (receipt.promise) this.#wanted.add(hex(receipt.promise.leafHash));
      if (receipt.proof) this.#wantedAt.add(receipt.proof.index);
    }
  }

  async #readBlocks(judged: JudgedCheckpoint): Promise<void> {
    const { size, root } = judged.signed.checkpoint;
    const blocks = Math.ceil(size / TILE_WIDTH);
    let gaps = 0;
    this.#started = this.#resume?.block ?? 0;
    for (let number = this.#started; number < blocks; number++) {
      this.#options.signal?.throwIfAborted();
      const width = Math.min(TILE_WIDTH, size - number * TILE_WIDTH);
      const isLast = number + 1 === blocks;
      const isDue = number % SNAPSHOT_BLOCKS === 0 || isLast;
      if (this.#options.keep && isDue && number > (this.#resume?.block ?? -1) && this.#isWhole) {
        const checkpoint = this.#toRemember(judged);
        if (checkpoint) await this.#options.keep(this.#snapshot(judged, checkpoint, number));
      }
      this.#counted = number;
      this.#startScans();
      const first = number * TILE_WIDTH;
      const { data, scan } = await this.#readBundle(number, width);
      const tile = await this.#tree.servedHashes(number, width);
      gaps = !data && !tile ? gaps + 1 : 0;
      if (gaps === MAX_GAPS) {
        this.#isWhole = false;
        this.#faults.add("unreadable-file", `the files of entries ${first} to ${size - 1} are missing`);
        return;
      }
      const accept: Accept = isLast
        ? (hashes) => equal(this.#tree.rootWith(hashes), root)
        : async (hashes) => {
            const parent = await this.#tree.parent(number);
            return parent !== undefined && equal(rootOf(hashes), parent);
          };
      const block = await settle(first, width, scan, tile, accept);
      this.#judgeBlock(block, scan, !tile, data, number);
      await this.#takeBlock(block, scan, data);
      this.#options.progress?.(this.#tree.size, size);
    }
  }

  /** Keeps the scanner busy, also while a batch is closed. */
  #startScans(): void {
    const { width, finalSize } = { width: this.#scanner.width, finalSize: this.#tree.finalSize };
    const end = Math.min(Math.ceil(finalSize / TILE_WIDTH), this.#counted + AHEAD * width);
    for (; this.#started < end && this.#scanning < width && !this.#options.signal?.aborted; this.#started++) {
      this.#startScan(this.#started, Math.min(TILE_WIDTH, finalSize - this.#started * TILE_WIDTH));
    }
  }

  #startScan(number: number, width: number): void {
    const path = tilePath({ level: "entries", index: number, width });
    this.#ahead.start(tilePath({ level: 0, index: number, width }));
    const scanned = this.#ahead.start(path).then(async (data) => {
      let scan = await this.#scanner.scan(data, width);
      for (const { entry } of scan.leaves) if (entry?.kind === "notice") this.#know(entry.statement.manifest);
      // Scanned beside the block that its terms are in.
      if (scan.leaves.some((leaf) => this.#isUnjudged(leaf))) scan = await this.#scanner.scan(data, width);
      return { data, scan };
    });
    this.#scanning++;
    const done = (): void => {
      this.#scanning--;
      this.#startScans();
    };
    scanned.then(({ scan }) => {
      this.#startSeals(number, scan);
      done();
    }, done); // what went wrong is told to whoever asks
    this.#scans.set(path, scanned);
  }

  /** Has the pledges of these terms judged where they are scanned; whether they count is decided in the order of the log. */
  #know(manifest: Manifest | undefined): void {
    if (!manifest || this.#known.has(manifest.scope)) return;
    this.#known.add(manifest.scope);
    this.#scanner.know(manifest.raw);
  }

  #isUnjudged({ entry, verdict }: Leaf): boolean {
    return entry?.kind === "pledge" && !verdict && this.#known.size > 0 && this.#known.has(hex(entry.scopeId));
  }

  /** Starts reading what will be compared at the seals of a block. */
  #startSeals(number: number, { leaves }: BundleScan): void {
    for (const [place, { entry }] of leaves.entries()) {
      if (entry?.kind !== "seal" || this.#ahead.waiting > MAX_WAITING) continue;
      const paths = [`checkpoints/${entry.batch}`, totalsPath(entry.batch)];
      const size = number * TILE_WIDTH + place + 1;
      if (size < this.#tree.finalSize) paths.push(...partialTiles(size).map(tilePath));
      for (const path of paths) this.#ahead.start(path);
    }
  }

  /** The bundle, cut to the entries of this size if only the full one is left. */
  async #readBundle(number: number, width: number): Promise<{ data: Bytes | undefined; scan: BundleScan }> {
    const path = tilePath({ level: "entries", index: number, width });
    const scanned = this.#scans.get(path);
    this.#scans.delete(path);
    let data = await this.#files.find(path);
    if (data && scanned) return scanned;
    if (!data && width < TILE_WIDTH) {
      data = await this.#files.find(tilePath({ level: "entries", index: number, width: TILE_WIDTH }));
      if (data) {
        const { ends } = await scanBundle(data, TILE_WIDTH, new Map());
        if (ends.length >= width) data = data.slice(0, ends[width - 1]);
      }
    }
    if (!data) {
      this.#faults.add("unreadable-file", `${path} is missing`, { index: number * TILE_WIDTH });
      return { data, scan: EMPTY_SCAN };
    }
    return { data, scan: await this.#scanner.scan(data, width) };
  }

  #judgeBlock(
    block: Block, scan: BundleScan, isTileMissing: boolean, data: Bytes | undefined, number: number,
  ): void {
    if (block.tileIsWrong) {
      this.#faults.add("broken-tile", `the tile of level 0 with number ${number} is not over its entries`);
    }
    if (block.hashes.some((hash) => equal(hash, NO_HASH))) this.#isWhole = false;
    if (!data) return;
    const isCutWell = scan.problemOffset === data.length && (scan.ends.at(-1) ?? 0) === data.length;
    if (scan.problem && (!isCutWell || isTileMissing)) {
      const place = { index: block.first, offset: scan.problemOffset };
      this.#faults.add("malformed-bundle", `bundle ${number}: ${scan.problem}`, place);
    }
    if (block.misplaced !== undefined) {
      const offset = block.leaves[block.misplaced - block.first]?.offset;
      const text = "the entry is served at another place than it has in the tree";
      this.#faults.add("reordered-batch", text, { index: block.misplaced, offset });
    }
    if (!isTileMissing) this.#differences.add(block, data.length);
  }

  async #takeBlock(block: Block, scan: BundleScan, data: Bytes | undefined): Promise<void> {
    const strangers = new Map(block.strangers.map((stranger) => [stranger.index, stranger.leaf]));
    const isWhole = isServedWhole(block);
    let cut = 0;
    for (const [place, hash] of block.hashes.entries()) {
      const index = block.first + place;
      const leaf = block.leaves[place];
      const slot: Slot = { index, hash: hash as Bytes, leaf };
      if (this.#wanted.size) {
        const name = hex(hash);
        if (this.#wanted.has(name) && !this.#places.has(name)) this.#places.set(name, index);
      }
      if (this.#wantedAt.has(index)) this.#leavesAt.set(index, hash);
      // A changed seal still ends its batch.
      const here = (leaf ?? strangers.get(index))?.entry;
      const seal = here?.kind === "seal" ? here : undefined;
      if (seal || this.#marks.has(index + 1)) {
        await this.#tree.extend(block.hashes.slice(cut, place + 1));
        cut = place + 1;
        if (this.#marks.has(index + 1)) this.#roots.set(index + 1, this.#tree.root());
      }
      if (seal) await this.#closeBatch(slot, seal, data && isWhole ? data.subarray(0, scan.ends[place]) : undefined);
      else this.#pending.push(slot);
    }
    await this.#tree.extend(block.hashes.slice(cut));
  }

  async #closeBatch(slot: Slot, seal: Seal, part: Bytes | undefined): Promise<void> {
    if (this.#isWhole && slot.index + 1 < this.#tree.finalSize) await this.#tree.checkPartials(part);
    let [number, day] = [this.#seals.nextBatch, Math.max(seal.day, this.#seals.lastDay)];
    if (slot.leaf) {
      const missing = this.#pending.filter((other) => !other.leaf).length;
      number = this.#seals.number(slot, seal, missing);
      day = seal.day;
    }
    this.#starts.push(this.#pending[0]?.index ?? slot.index);
    this.#numbers.push(number);
    const known = this.#faults.list.length;
    const before = new Map(Array.from(this.#recount.scopes, ([id, scope]) => [id, scope.live]));
    const count = await this.#recount.takeBatch(this.#pending, number, day);
    const rootAfter = this.#tree.root();
    const changed = [...this.#recount.scopes].filter(
      ([id, scope]) => count.counted.has(id) || scope.live !== (before.get(id) ?? 0),
    );
    this.#rows.push({
      number,
      first: this.#starts.at(-1)!,
      size: slot.index + 1,
      day,
      pledges: Object.fromEntries(count.counted),
      live: Object.fromEntries(changed.map(([id, scope]) => [id, scope.live])),
    });
    const batch = {
      number,
      slots: this.#pending,
      sealSlot: slot,
      seal,
      count,
      codes: this.#faults.codesFrom(known),
      rootBefore: this.#rootBefore,
      rootAfter,
    };
    if (slot.leaf) await this.#seals.close(batch);
    else await this.#seals.lose(batch);
    this.#rootBefore = rootAfter;
    this.#pending = [];
  }

  async #finish(judged: JudgedCheckpoint): Promise<void> {
    const { checkpoint } = judged.signed;
    const faults = this.#faults;
    if (this.#pending.length) {
      const [{ index }, number] = [this.#pending[0]!, this.#seals.nextBatch];
      this.#starts.push(index);
      this.#numbers.push(number);
      await this.#recount.takeBatch(this.#pending, number, this.#seals.lastDay);
      if (this.#pending.every((slot) => slot.leaf)) {
        const text = `${this.#pending.length} entries follow the last seal`;
        faults.add("broken-seal", text, { batch: number, index });
      }
    }
    this.#seals.finish(judged);
    await this.#tree.finish();
    const root = this.#tree.root();
    this.#roots.set(this.#tree.size, root);
    const isCoherent = this.#isWhole && equal(root, checkpoint.root);
    if (this.#isWhole && !isCoherent) {
      const [made, signed] = [hex(root).slice(0, 16), hex(checkpoint.root).slice(0, 16)];
      faults.add("wrong-root", `they lead to ${made}… and ${signed}… is signed`);
    }
    for (const scope of this.#recount.scopes.values()) await checkScopeQuorum(scope.manifest, judged, faults);
    await this.#differences.name(this.#recount, faults);
    if (isCoherent && !this.#recount.hasGaps) {
      await checkHints(this.#files, this.#recount.scopes, this.#tree.size, faults);
    }
    for (const old of this.#remembered) this.#checkRemembered(old, judged, isCoherent);
    const held = new Set(this.#held.flatMap(({ checkpoints }) => checkpoints));
    for (const { size } of held) {
      if (size > checkpoint.size) {
        const text = `${checkpoint.size} entries are left of ${size} that it had signed`;
        faults.add("rolled-back-ledger", text);
      }
    }
    const roots = isCoherent ? this.#roots : new Map<number, Uint8Array>();
    const found = { places: this.#places, leaves: this.#leavesAt, roots, lastDay: this.#seals.lastDay };
    this.#states = this.#held.map((one) => compareReceipt(one, found, faults));
  }

  #checkRemembered(old: Checkpoint, judged: JudgedCheckpoint, isCoherent: boolean): void {
    const now = judged.signed.checkpoint;
    if (now.size < old.size) {
      this.#faults.add("rolled-back-ledger", `${now.size} entries are left of ${old.size}`);
      return;
    }
    let root: Uint8Array | undefined;
    if (isCoherent) root = this.#roots.get(old.size);
    // The files contradict their checkpoint; only the signed one itself can accuse.
    else if (now.size === old.size && judged.isByLog) root = now.root;
    if (root && !equal(root, old.root)) {
      const text = `its first ${old.size} entries are others than when they were last audited`;
      this.#faults.add("forked-ledger", text);
    }
  }

  #batchOf(index: number): number | undefined {
    let at = this.#starts.length - 1;
    while (at >= 0 && this.#starts[at]! > index) at--;
    return at >= 0 ? this.#numbers[at] : undefined;
  }

  /**
   * The checkpoint that a snapshot is kept with. One that was kept before is replaced only once the entries have led to
   * it: else a fork or a rollback would be told once, and be what the next run goes on from. Undefined: keep nothing.
   */
  #toRemember({ signed }: JudgedCheckpoint): Bytes | undefined {
    if (!this.#before) return signed.raw;
    const { raw, checkpoint } = this.#before;
    if (checkpoint.size > this.#tree.size) return raw;
    const root = this.#roots.get(checkpoint.size);
    return root && equal(root, checkpoint.root) ? signed.raw : undefined;
  }

  #snapshot(judged: JudgedCheckpoint, checkpoint: Bytes, block: number): Snapshot {
    return {
      version: 2,
      origin: judged.signed.checkpoint.origin,
      checkpoint,
      block,
      faults: [...this.#faults.list],
      omitted: this.#faults.omitted,
      tree: this.#tree.state(),
      recount: this.#recount.state(),
      seals: this.#seals.state(),
      totals: this.#totals.state(),
      differences: this.#differences.state(),
      pending: structuredClone(this.#pending),
      starts: [...this.#starts],
      numbers: [...this.#numbers],
      rows: [...this.#rows],
      rootBefore: this.#rootBefore,
      isWhole: this.#isWhole,
    };
  }

  #fields(judged: JudgedCheckpoint | undefined): Partial<AuditReport> {
    if (!judged) return { faults: this.#faults.placed(() => undefined), trusts: this.#trusts([]) };
    const { checkpoint, raw } = judged.signed;
    const cosigners = judged.cosignatures.map(([name]) => name);
    const scopes = [...this.#recount.scopes];
    return {
      origin: checkpoint.origin,
      size: checkpoint.size,
      root: checkpoint.root,
      batches: this.#seals.nextBatch,
      faults: this.#faults.placed((index) => this.#batchOf(index)),
      faultsOmitted: this.#faults.omitted,
      scopes: scopeCounts(new Map(scopes), this.#rows),
      titles: Object.fromEntries(scopes.map(([id, scope]) => [id, scope.manifest.title])),
      trusts: this.#trusts(cosigners),
      receipts: this.#states,
      cosigners,
      checkpoint: raw,
      rows: this.#rows,
      resumedAt: this.#resume?.tree.size ?? 0,
    };
  }

  #trusts(cosigners: readonly string[]): ReturnType<typeof trusts> {
    const scopes = this.#recount?.scopes ?? new Map();
    return trusts(scopes, this.#policy, cosigners, this.#remembered.length > 0);
  }
}
