// One scope in the recount: its terms, its notices, its pledges and what they come to.
import type { Bytes } from "../protocol/bytes.ts";
import { MalformedError, NoticeConflictError, SignatureError, UnknownKeyError } from "../protocol/errors.ts";
import { author, isTextOf, verifyNotice, type Notice, type Previous } from "../protocol/notice.ts";
import { WITHDRAWN } from "../protocol/pledge.ts";
import { isEnough } from "../protocol/quotas.ts";
import { deadlineDay, parseManifest, titleText, type Manifest } from "../protocol/scope.ts";
import { formatDay } from "../protocol/text.ts";
import { quoted, type Code, type FaultList, type Place } from "./fault.ts";
import { ScopeJudge } from "./judge.ts";

const ISSUANCE_PATIENCE_DAYS = 7; // Protocol, Section 4.8

/** The first seal at which the threshold was reached and the quotas met; it is permanent. */
export interface Reached {
  readonly batch: number;
  readonly day: number;
}

/** A notice with its place in the log. */
export interface PlacedNotice {
  readonly index: number;
  readonly offset: number;
  readonly hash: Bytes;
  readonly notice: Notice;
}

/** What can be kept and continued; manifest and judge are made of its bytes. */
interface Tally {
  readonly raw: Bytes; // of the manifest
  readonly place: number; // among the scopes
  readonly batch: number; // of the manifest
  gross: number;
  withdrawn: number;
  uncountedPledges: number; // invalid leaves, each with a fault of its own
  uncountedRevisions: number;
  reached: Reached | undefined;
  closedIn: number | undefined; // batch
  hasGaps: boolean; // entries of the log are not served, so that what is missing proves nothing
  readonly choices: Map<number, number>; // of live pledges
  readonly texts: Set<string>;
  readonly children: Set<string>; // hex
  readonly openings: Map<string, number>; // issuer → batch
  readonly issued: Map<string, number>; // issuer → last published number
  readonly destroyed: Map<string, Set<string>>; // issuer → keys of its that it says are gone
  readonly slips: Map<string, number>; // issuer → on all of its code sheets
  readonly notices: number[]; // indices
  readonly previous: Map<string, Previous>; // author → seq, leaf hash
  readonly resumed: Set<string>; // authors whose last notice was a fault
  readonly issuanceDay: Map<string, number>;
  readonly unjudgedSince: Map<string, number>; // issuer → day of a seal
  readonly overdue: Set<string>; // issuers already faulted
}

export type ScopeState = Tally;

function tally(raw: Bytes, place: number, batch: number, hasGaps: boolean): Tally {
  return {
    raw, place, batch, hasGaps, gross: 0, withdrawn: 0, uncountedPledges: 0, uncountedRevisions: 0, reached: undefined,
    closedIn: undefined, choices: new Map(), texts: new Set(), children: new Set(), openings: new Map(),
    issued: new Map(), destroyed: new Map(), slips: new Map(), notices: [], previous: new Map(), resumed: new Set(), issuanceDay: new Map(),
    unjudgedSince: new Map(), overdue: new Set(),
  };
}

export class ScopeRecount {
  readonly manifest: Manifest;
  readonly judge: ScopeJudge;
  readonly tally: Tally;

  private constructor(manifest: Manifest, state: Tally) {
    this.manifest = manifest;
    this.judge = new ScopeJudge(manifest);
    this.tally = state;
  }

  static open(manifest: Manifest, place: number, batch: number, hasGaps: boolean): ScopeRecount {
    return new ScopeRecount(manifest, tally(manifest.raw, place, batch, hasGaps));
  }

  static from(state: ScopeState): ScopeRecount {
    return new ScopeRecount(parseManifest(state.raw), state);
  }

  get title(): string {
    return titleText(this.manifest);
  }

  /** Counted pledges that are not withdrawn. */
  get live(): number {
    return this.tally.gross - this.tally.withdrawn;
  }

  get issuerNames(): string[] {
    return this.manifest.issuers.map((issuer) => issuer.name);
  }

  /** Whether the terms and every issuer's opening stand in an earlier batch. */
  isOpenedBefore(batch: number): boolean {
    return (
      this.tally.batch < batch && this.issuerNames.every((name) => (this.tally.openings.get(name) ?? batch) < batch)
    );
  }

  count(choice: number): void {
    this.tally.gross++;
    this.#add(choice, 1);
  }

  #add(choice: number, number: number): void {
    this.tally.choices.set(choice, (this.tally.choices.get(choice) ?? 0) + number);
  }

  /** Counts a revision of a pledge. */
  change(before: number, after: number): void {
    if (before === WITHDRAWN) this.tally.withdrawn--;
    else this.#add(before, -1);
    if (after === WITHDRAWN) this.tally.withdrawn++;
    else this.#add(after, 1);
  }

  /** Verifies one batch's notices of this scope, each author's in sequence. */
  async takeNotices(notices: readonly PlacedNotice[], batch: number, day: number, faults: FaultList): Promise<void> {
    const key = ({ notice: { statement } }: PlacedNotice): [string, number] => [statement.role, statement.seq];
    const inOrder = [...notices].sort((a, b) => {
      const [[roleA, seqA], [roleB, seqB]] = [key(a), key(b)];
      return roleA === roleB ? seqA - seqB : roleA < roleB ? -1 : 1;
    });
    for (const placed of inOrder) {
      this.tally.notices.push(placed.index);
      if (await this.#verify(placed, faults)) this.#take(placed, batch, day, faults);
    }
    this.tally.notices.sort((a, b) => a - b);
  }

  async #verify(placed: PlacedNotice, faults: FaultList): Promise<boolean> {
    const { notice } = placed;
    const { statement } = notice;
    const { previous: known, resumed } = this.tally;
    const place = { index: placed.index, offset: placed.offset };
    const name = `the ${statement.type} notice`;
    let who: string;
    try {
      who = author(notice, this.manifest);
    } catch (error) {
      if (!(error instanceof UnknownKeyError)) throw error;
      faults.add("forged-notice", `${name}: ${error.message}`, place);
      return false;
    }
    let previous = known.get(who);
    if (resumed.delete(who)) {
      // The notice before was a fault: the sequence goes on from what this one says.
      previous = statement.seq ? [statement.seq - 1, statement.prev] : undefined;
    }
    try {
      await verifyNotice(notice, this.manifest, previous);
    } catch (error) {
      if (error instanceof NoticeConflictError) {
        if (!(this.tally.hasGaps && statement.seq >= error.seq)) {
          faults.add("notice-sequence", `${name} of ${who}: ${error.message}`, place);
        }
        known.set(who, [statement.seq, placed.hash]);
        return statement.type !== "manifest";
      }
      const isFault =
        error instanceof MalformedError || error instanceof SignatureError || error instanceof UnknownKeyError;
      if (!isFault) throw error;
      faults.add(this.#code(notice, error), `${name}: ${error.message}`, place);
      resumed.add(who);
      return false;
    }
    known.set(who, [statement.seq, placed.hash]);
    return true;
  }

  #code(notice: Notice, error: Error): Code {
    const { type } = notice.statement;
    if (type === "text" && !isTextOf(notice.statement, this.manifest)) return "swapped-terms";
    if (error instanceof MalformedError && type === "opening") return "wrong-opening";
    if (error instanceof MalformedError && type === "closing") return "wrong-closing";
    return "forged-notice";
  }

  #take(placed: PlacedNotice, batch: number, day: number, faults: FaultList): void {
    const { type, body } = placed.notice.statement;
    if (type === "text") this.tally.texts.add(body.language as string);
    else if (type === "child") this.tally.children.add(body.scope as string);
    else if (type === "opening") {
      const issuer = body.issuer as string;
      if (!this.tally.openings.has(issuer)) this.tally.openings.set(issuer, batch);
    } else if (type === "issuance") this.#takeIssuance(placed, body.issued as number, body.day as number, faults);
    else if (type === "codes") this.#takeSheet(placed, body.number as number, faults);
    else if (type === "destruction" && placed.notice.statement.role === "issuer") {
      const name = this.#issuer(placed);
      const keys = this.tally.destroyed.get(name) ?? new Set<string>();
      for (const key of body.keys as string[]) keys.add(key);
      this.tally.destroyed.set(name, keys);
    } else if (type === "closing") this.#close(placed, body.day as number, batch, day, faults);
  }

  #takeIssuance(placed: PlacedNotice, issued: number, day: number, faults: FaultList): void {
    const place = { index: placed.index, offset: placed.offset };
    const name = this.#issuer(placed);
    const before = this.tally.issued.get(name) ?? 0;
    if (issued < before || day < (this.tally.issuanceDay.get(name) ?? 0)) {
      faults.add("wrong-issuance", `${name} says ${issued} after ${before}`, place);
    } else if (issued > before && this.tally.destroyed.get(name)?.has("token")) {
      faults.add("wrong-issuance", `${name} says ${issued} after it destroyed its key`, place);
    }
    // Counted here are the pledges up to the seal before: this batch's follow.
    if (this.tally.gross > issued) {
      const text = `${this.tally.gross} pledges stand before the notice in which ${name} says ${issued}`;
      faults.add("issuance-below-pledges", text, place);
    }
    this.tally.issued.set(name, issued);
    this.tally.issuanceDay.set(name, day);
    this.tally.unjudgedSince.delete(name);
    this.tally.overdue.delete(name);
  }

  #takeSheet(placed: PlacedNotice, number: number, faults: FaultList): void {
    const name = this.#issuer(placed);
    const cap = this.manifest.issuers.find((issuer) => issuer.name === name)!.slips;
    const slips = (this.tally.slips.get(name) ?? 0) + number;
    this.tally.slips.set(name, slips);
    if (cap !== undefined && slips > cap) {
      const text = `${name} has ${slips} slips where the terms allow ${cap}`;
      faults.add("too-many-slips", text, { index: placed.index, offset: placed.offset });
    }
  }

  #issuer(placed: PlacedNotice): string {
    return author(placed.notice, this.manifest).slice("issuer:".length);
  }

  #close(placed: PlacedNotice, saidDay: number, batch: number, day: number, faults: FaultList): void {
    const place = { index: placed.index, offset: placed.offset };
    const { closes } = this.manifest;
    const deadline = deadlineDay(this.manifest);
    if (this.tally.closedIn !== undefined) {
      faults.add("wrong-closing", "the scope was closed before", place);
      return;
    }
    this.tally.closedIn = batch;
    if (saidDay !== day || day <= closes || day > deadline) {
      const text =
        `the notice says ${formatDay(saidDay)}, the seal ${formatDay(day)}, the terms after ` +
        `${formatDay(closes)} and by ${formatDay(deadline)}`;
      faults.add("wrong-closing", text, place);
    }
  }

  /** Judges the scope at a seal: so many of the batch's leaves are its pledges, so many count. */
  seal(batch: number, day: number, pledges: number, counted: number, faults: FaultList): void {
    const { manifest, tally: t } = this;
    const place: Place = { batch };
    const deadline = deadlineDay(manifest);
    if (pledges > 0 && pledges < manifest.minBatch && t.closedIn !== batch && !t.hasGaps) {
      const text = `${pledges} pledges of ${quoted(this.title)} where ${manifest.minBatch} must be`;
      faults.add("batch-below-minimum", text, place);
    }
    if (t.closedIn === undefined && day > deadline && !t.overdue.has("closing")) {
      t.overdue.add("closing");
      const text = `${quoted(this.title)} is not closed although ${formatDay(deadline)} has passed`;
      faults.add("wrong-closing", text, place);
    }
    for (const name of this.issuerNames) {
      if (counted && !t.unjudgedSince.has(name)) t.unjudgedSince.set(name, day);
      const since = t.unjudgedSince.get(name) ?? day;
      if (day - since > ISSUANCE_PATIENCE_DAYS && !t.overdue.has(name) && !t.hasGaps) {
        t.overdue.add(name);
        const text = `${name} has published no number since the pledges of ${formatDay(since)}`;
        faults.add("missing-issuance", text, place);
      }
    }
    // What opens contacts is that their parent is reached; how many were left is no condition.
    const counts = manifest.kind !== "contact";
    if (counts && !t.reached && isEnough(manifest, this.live, t.choices, day)) t.reached = { batch, day };
  }
}
