// The recount: entries in the order of the log, batch by batch, into counts and faults.
//
// Takes what bundle.ts has parsed and block.ts has found genuine; reads no bundle itself.
import { checkOrder, sortKey } from "../protocol/batch.ts";
import { diagnose } from "../protocol/blind_rsa.ts";
import { equal, hex, type Bytes } from "../protocol/bytes.ts";
import { ProtocolError, SignatureError } from "../protocol/errors.ts";
import { lintErrors } from "../protocol/lint.ts";
import { formatVkey, type VerificationKey } from "../protocol/note.ts";
import type { Pledge } from "../protocol/pledge.ts";
import type { Revision } from "../protocol/revision.ts";
import { deadlineDay, titleText, type Manifest } from "../protocol/scope.ts";
import { decodeTokenKey } from "../protocol/spki.ts";
import { formatDay } from "../protocol/text.ts";
import type { Leaf } from "./bundle.ts";
import { quoted, type Code, type FaultList, type Place } from "./fault.ts";
import { verifyRevision, type ScopeJudge } from "./judge.ts";
import { PledgeTable, type CountedPledge, type TableState } from "./pledge_table.ts";
import { ScopeRecount, type PlacedNotice, type ScopeState } from "./scopes.ts";

/** One place of the log. */
export interface Slot {
  readonly index: number;
  readonly hash: Bytes;
  readonly leaf: Leaf | undefined; // undefined if no served entry has the hash
}

/** What one batch held, for its seal to be compared with. */
export interface BatchCount {
  readonly pledges: number; // leaves, valid or not
  readonly missing: number; // places of which it is not known what stands there
  readonly isOrdered: boolean;
  readonly counted: ReadonlyMap<string, number>; // valid pledges by scope
}

export interface RecountState {
  readonly scopes: readonly ScopeState[];
  readonly spent: TableState;
  readonly uncounted: readonly string[];
  readonly unknown: readonly string[];
  readonly hasGaps: boolean;
}

type Fault = readonly [Code, string];

export class Recount {
  readonly scopes = new Map<string, ScopeRecount>(); // by scope id in hex
  readonly spent: PledgeTable;
  readonly unknown: Set<string>; // without terms, each faulted once
  hasGaps: boolean; // some entry is not served
  readonly #uncounted: Set<string>; // of invalid pledges, each faulted
  readonly #origin: string;
  readonly #logKeys: readonly string[];
  readonly #faults: FaultList;
  readonly #opened: (scope: ScopeRecount) => void;

  /** opened is told of every scope whose terms appear, so that workers can judge its pledges. */
  constructor(
    origin: string, logKeys: readonly VerificationKey[], faults: FaultList, opened: (scope: ScopeRecount) => void,
    state?: RecountState,
  ) {
    this.#origin = origin;
    this.#logKeys = logKeys.map(formatVkey);
    this.#faults = faults;
    this.#opened = opened;
    this.spent = state ? PledgeTable.from(state.spent) : new PledgeTable();
    this.unknown = new Set(state?.unknown);
    this.#uncounted = new Set(state?.uncounted);
    this.hasGaps = state?.hasGaps ?? false;
    for (const kept of state?.scopes ?? []) this.#add(ScopeRecount.from(kept));
  }

  state(): RecountState {
    return {
      scopes: structuredClone([...this.scopes.values()].map((scope) => scope.tally)),
      spent: this.spent.state(),
      uncounted: [...this.#uncounted],
      unknown: [...this.unknown],
      hasGaps: this.hasGaps,
    };
  }

  judge(scope: string): ScopeJudge | undefined {
    return this.scopes.get(scope)?.judge;
  }

  #add(scope: ScopeRecount): void {
    this.scopes.set(scope.manifest.scope, scope);
    this.#opened(scope);
  }

  /** Judges and counts the entries of one batch, the seal not among them. */
  async takeBatch(slots: readonly Slot[], batch: number, day: number): Promise<BatchCount> {
    const present = slots.filter((slot): slot is Slot & { leaf: Leaf } => slot.leaf !== undefined);
    const isOrdered = this.#checkOrder(present, batch);
    this.hasGaps ||= present.length < slots.length;
    for (const scope of this.scopes.values()) scope.tally.hasGaps = this.hasGaps;
    const notices: PlacedNotice[] = [];
    const leaves = new Map<string, number>();
    const counted = new Map<string, number>();
    const pledges: [Slot & { leaf: Leaf }, Pledge][] = [];
    const revisions: [Slot & { leaf: Leaf }, Revision][] = [];
    for (const slot of present) {
      const { entry, offset, hash, verdict } = slot.leaf;
      if (entry?.kind === "pledge") {
        pledges.push([slot, entry]);
        increase(leaves, nameOf(entry.scopeId));
      } else if (entry?.kind === "revision") revisions.push([slot, entry]);
      else if (entry?.kind === "notice") notices.push({ index: slot.index, offset, hash, notice: entry });
      else if (verdict?.code) this.#faults.add(verdict.code, verdict.detail, { batch, index: slot.index, offset });
    }
    // Notices first: a manifest and its notices may stand in one batch in any order.
    await this.#takeNotices(notices, batch, day);
    for (const [slot, pledge] of pledges) {
      if (await this.#takePledge(slot, pledge, batch, day)) increase(counted, nameOf(pledge.scopeId));
    }
    for (const [slot, revision] of revisions) await this.#takeRevision(slot, revision, batch, day);
    for (const [id, scope] of this.scopes) {
      scope.seal(batch, day, leaves.get(id) ?? 0, counted.get(id) ?? 0, this.#faults);
    }
    const missing = slots.length - present.filter((slot) => slot.leaf.entry).length;
    return { pledges: pledges.length, missing, isOrdered, counted };
  }

  #checkOrder(present: readonly (Slot & { leaf: Leaf })[], batch: number): boolean {
    const entries = present.filter((slot) => slot.leaf.entry);
    const at = checkOrder(entries.map((slot) => sortKey(slot.leaf.entry!, slot.leaf.hash)));
    if (at === undefined) return true;
    const { index, leaf } = entries[at]!;
    const text = "the entry does not stand behind the one before it";
    this.#faults.add("reordered-batch", text, { batch, index, offset: leaf.offset });
    return false;
  }

  async #takeNotices(notices: readonly PlacedNotice[], batch: number, day: number): Promise<void> {
    const byScope = new Map<string, PlacedNotice[]>();
    for (const placed of notices) {
      const { scope, manifest } = placed.notice.statement;
      byScope.set(scope, [...(byScope.get(scope) ?? []), placed]);
      if (manifest && !this.scopes.has(scope)) this.#open(placed, manifest, batch);
    }
    for (const [id, theirs] of byScope) {
      const scope = this.scopes.get(id);
      const { index, offset } = theirs[0]!;
      if (scope) await scope.takeNotices(theirs, batch, day, this.#faults);
      else this.#addUnknown(id, "notices", { batch, index, offset });
    }
  }

  #open(placed: PlacedNotice, manifest: Manifest, batch: number): void {
    const others = [...this.scopes.values()].map((scope) => scope.manifest);
    const problems = lintErrors(manifest, others).map(({ path, message }) => `${path}: ${message}`);
    const { origin, key } = manifest.ledger;
    if (origin !== this.#origin || !this.#logKeys.includes(formatVkey(key))) {
      problems.push("its pledges count in another ledger");
    }
    if (manifest.continues) {
      const { scope, seal } = manifest.continues;
      const before = this.scopes.get(hex(scope));
      if (!before || before.tally.batch > seal || seal >= batch) {
        problems.push("it continues a scope, or from a seal, that was not there");
      }
    }
    if (problems.length) {
      const place = { batch, index: placed.index, offset: placed.offset };
      this.#faults.add("refused-terms", `${quoted(titleText(manifest))}: ${problems.join("; ")}`, place);
    }
    this.#add(ScopeRecount.open(manifest, this.scopes.size, batch, this.hasGaps));
  }

  async #takePledge(slot: Slot & { leaf: Leaf }, pledge: Pledge, batch: number, day: number): Promise<boolean> {
    const place = { batch, index: slot.index, offset: slot.leaf.offset };
    const scope = this.scopes.get(nameOf(pledge.scopeId));
    if (!scope || scope.tally.batch >= batch) {
      await this.#miss(pledge, place, !scope);
      return false;
    }
    const fault = await this.#judge(pledge, slot.leaf, scope, batch, day);
    if (fault) {
      this.#faults.add(...fault, place);
      scope.tally.uncountedPledges++;
      this.#uncounted.add(hex(pledge.nullifier));
      return false;
    }
    const { revisionKey, choice } = pledge;
    const counted = { index: slot.index, batch, scope: scope.tally.place, revisionKey, choice, serial: 0, revisedIn: -1 };
    this.spent.add(pledge.nullifier, counted);
    scope.count(choice);
    return true;
  }

  /** Why a pledge does not count, undefined if it does. */
  async #judge(
    pledge: Pledge, leaf: Leaf, scope: ScopeRecount, batch: number, day: number,
  ): Promise<Fault | undefined> {
    const before = this.spent.find(pledge.nullifier);
    if (before !== undefined) {
      return ["replayed-token", `it has counted already as entry ${this.spent.read(before).index}`];
    }
    const verdict = leaf.verdict ?? (await scope.judge.judge(pledge));
    if (verdict.code) return [verdict.code, verdict.detail];
    const { manifest, tally } = scope;
    if (!scope.isOpenedBefore(batch) && !this.hasGaps) {
      return ["missing-opening", `not every issuer has opened ${quoted(scope.title)}`];
    }
    if (day < manifest.opens) return ["early-entry", `${quoted(scope.title)} opens on ${formatDay(manifest.opens)}`];
    if (day > deadlineDay(manifest) || (tally.closedIn !== undefined && tally.closedIn < batch)) {
      return ["late-entry", `${quoted(scope.title)} closed on ${formatDay(manifest.closes)}`];
    }
    return undefined;
  }

  /** A pledge whose terms are not there: has somebody put other terms in their place? */
  async #miss(pledge: Pledge, place: Place, swapped: boolean): Promise<void> {
    const id = hex(pledge.scopeId);
    if (this.unknown.has(id)) return;
    for (const scope of swapped ? this.scopes.values() : []) {
      for (const issuer of scope.manifest.issuers) {
        // The token input does not matter: whose signature it is shows in its structure.
        const key = decodeTokenKey(issuer.tokenKey);
        for (const authenticator of pledge.authenticators) {
          if ((await diagnose(key, new Uint8Array(0), authenticator)) !== "other-message") continue;
          const text =
            `pledges of scope ${id.slice(0, 16)}… are signed by the token key of ${quoted(scope.title)}, ` +
            "whose terms are others";
          this.#faults.add("swapped-terms", text, place);
          this.unknown.add(id);
          return;
        }
      }
    }
    this.#addUnknown(id, "pledges", place);
  }

  async #takeRevision(slot: Slot & { leaf: Leaf }, revision: Revision, batch: number, day: number): Promise<void> {
    const place = { batch, index: slot.index, offset: slot.leaf.offset };
    const scope = this.scopes.get(hex(revision.scopeId));
    if (!scope) {
      this.#addUnknown(hex(revision.scopeId), "revisions", place);
      return;
    }
    const row = this.spent.find(revision.nullifier);
    const pledge = row === undefined ? undefined : this.spent.read(row);
    if (row === undefined || pledge?.scope !== scope.tally.place) {
      // That its pledge does not count, or is not served, is a fault already.
      if (!this.hasGaps && !this.#uncounted.has(hex(revision.nullifier))) {
        this.#faults.add("wrong-revision", "there is no such pledge in the scope", place);
      }
      scope.tally.uncountedRevisions++;
      return;
    }
    const fault = await judgeRevision(revision, pledge, scope, batch, day);
    if (fault) {
      scope.tally.uncountedRevisions++;
      this.#faults.add(...fault, place);
      return;
    }
    scope.change(pledge.choice, revision.choice);
    this.spent.write(row, { ...pledge, serial: revision.serial, revisedIn: batch, choice: revision.choice });
  }

  /** A scope whose terms are not there is one fault, however many entries it has. */
  #addUnknown(id: string, what: string, place: Place): void {
    if (this.unknown.has(id)) return;
    this.unknown.add(id);
    this.#faults.add("unknown-scope", `${what} of scope ${id.slice(0, 16)}…, the first of them here`, place);
  }
}

async function judgeRevision(
  revision: Revision, pledge: CountedPledge, scope: ScopeRecount, batch: number, day: number,
): Promise<Fault | undefined> {
  const { manifest, tally } = scope;
  try {
    await verifyRevision(manifest, revision, pledge.revisionKey, pledge.serial);
  } catch (error) {
    if (error instanceof SignatureError) return ["forged-revision", error.message];
    if (error instanceof ProtocolError) return ["wrong-revision", error.message];
    throw error;
  }
  if (pledge.revisedIn === batch) return ["wrong-revision", "the second of this pledge in one batch"];
  if (tally.closedIn !== undefined && tally.closedIn < batch) {
    return ["late-entry", `${quoted(scope.title)} closed on ${formatDay(manifest.closes)}`];
  }
  // One accepted on the freeze day may be published a tick later, and with its pledge later still.
  if (day > manifest.freezes + 1 && pledge.batch !== batch) {
    return ["late-revision", `changes ended on ${formatDay(manifest.freezes)}`];
  }
  return undefined;
}

let lastId: Uint8Array | undefined;
let lastName = "";

/** The name of a scope id; most entries in a row are of one scope. */
function nameOf(id: Uint8Array): string {
  if (!lastId || !equal(lastId, id)) {
    lastName = hex(id);
    lastId = id;
  }
  return lastName;
}

function increase(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
