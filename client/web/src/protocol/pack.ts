// The proof pack: terms, count, growth, witnesses and proofs of one scope in one file. Protocol, Section 4.12.
//
// It shows what the ledger has published and sealed; that the pledges are valid is shown by an audit.
import { checkClosing, readArchived, type Archived, type Judged } from "./archived.ts";
import { equal, hex, utf8, type Bytes } from "./bytes.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { MAX_ENTRY_BYTES } from "./entry.ts";
import { MalformedError, ProofError, UnknownKeyError } from "./errors.ts";
import { follow, type CountAt, type PlacedSeal } from "./growth.ts";
import { canonicalise, parseCanonical, type Json } from "./jcs.ts";
import { Members } from "./members.ts";
import { HASH_BYTES, leafHash } from "./merkle.ts";
import { rootFromLeaves } from "./multiproof.ts";
import { formatVkey } from "./note.ts";
import { parseNotice } from "./notice.ts";
import { Policy, type Cosignature } from "./policy.ts";
import { isEnough } from "./quotas.ts";
import { deadlineDay, type Manifest } from "./scope.ts";
import { parseSeal } from "./seal.ts";
import { issuerOf, manifestAmong, readNotices, type PlacedNotice, type Said } from "./sequence.ts";
import { decodeBase64, encodeBase64 } from "./text.ts";

const MAX_PACK_BYTES = 2 ** 26;
const VERSION = 1;

/** The contents of a file; verified only by verifyPack. */
export interface Pack {
  readonly scope: string; // hex
  readonly leaves: readonly { readonly index: number; readonly entry: Bytes }[]; // ascending
  readonly hashes: readonly Bytes[];
  readonly totals: readonly Bytes[]; // distinct files, as the seals first name them
  readonly archived: readonly Archived[]; // ascending batches
  readonly checkpoint: Bytes; // the signed note
}

/** A count, and when witnesses saw it. */
export interface Witnessed {
  readonly count: CountAt;
  readonly cosignatures: readonly Cosignature[];
}

/** What a pack shows. */
export interface VerifiedPack {
  readonly manifest: Manifest;
  readonly checkpoint: Checkpoint;
  readonly cosigners: readonly Cosignature[];
  readonly growth: readonly CountAt[]; // at every seal from the batch of the manifest on
  readonly texts: ReadonlyMap<string, string>; // language → full text
  readonly opened: ReadonlyMap<string, number>; // issuer → batch
  readonly issued: ReadonlyMap<string, Said>; // issuer → its last issuance notice
  readonly reached: Witnessed | undefined; // the first seal with enough pledges in time
  readonly closed: Witnessed | undefined;
}

/** Reads a file; checkpoints and entries are parsed by verifyPack. Throws MalformedError. */
export function parsePack(data: Bytes): Pack {
  const members = new Members(parseCanonical(data, MAX_PACK_BYTES), "pack");
  members.integer("headcount_pack", VERSION, VERSION);
  const pack = {
    scope: hex(members.hex32("scope")),
    leaves: list(members, "leaves").map((item, i) => readLeaf(item, `pack.leaves[${i}]`)),
    hashes: list(members, "hashes").map((item) => base64(item, HASH_BYTES)),
    totals: list(members, "totals").map((item) => base64(item)),
    archived: list(members, "archived").map((item, i) => readKept(item, `pack.archived[${i}]`)),
    checkpoint: note(members),
  };
  members.finish();
  if (!pack.leaves.length || pack.leaves.some(({ index }, i) => i > 0 && index <= pack.leaves[i - 1]!.index)) {
    throw new MalformedError("pack.leaves: none, or they do not ascend");
  }
  if (pack.archived.some(({ batch }, i) => i > 0 && batch <= pack.archived[i - 1]!.batch)) {
    throw new MalformedError("pack.archived: the batches do not ascend");
  }
  return pack;
}

/** The bytes of the file: one spelling. */
export function encodePack(pack: Pack): Bytes {
  const text = (data: Bytes): string => new TextDecoder("utf-8", { ignoreBOM: true }).decode(data);
  return canonicalise({
    archived: pack.archived.map(({ batch, checkpoint }) => ({ batch, checkpoint: text(checkpoint) })),
    checkpoint: text(pack.checkpoint),
    hashes: pack.hashes.map(encodeBase64),
    headcount_pack: VERSION,
    leaves: pack.leaves.map(({ index, entry }) => ({ entry: encodeBase64(entry), index })),
    scope: pack.scope,
    totals: pack.totals.map(encodeBase64),
  });
}

/** Checks that everything in a pack stands under a checkpoint that the policy accepts; needs no ledger and no clock. */
export async function verifyPack(pack: Pack, policy: Policy): Promise<VerifiedPack> {
  // 1. The checkpoint is the log's, and cosigned as the policy asks.
  const { signed, cosignatures } = await policy.verifyCheckpoint(pack.checkpoint);
  const { checkpoint } = signed;
  // 2. The leaves are in its tree.
  const leaves = pack.leaves.map(({ index, entry }) => [index, leafHash(entry)] as const);
  if (!equal(rootFromLeaves(pack.hashes, leaves, checkpoint.size), checkpoint.root)) {
    throw new ProofError("the leaves lead to another root");
  }
  // 3. Notices of the scope, each author's in sequence; the terms are the scope's.
  const { notices, seals } = sorted(pack);
  const [first, manifest] = manifestAmong(notices, pack.scope);
  const ledgerKey = formatVkey(manifest.ledger.key);
  if (!policy.logKeys(checkpoint.origin).some((key) => formatVkey(key) === ledgerKey)) {
    throw new UnknownKeyError("the pledges of the scope count in another ledger");
  }
  const said = await readNotices(manifest, notices, seals);
  const own = Policy.fromText(manifest.witnesses);
  await own.verifyCosignatures(signed);
  // 4., 5. Every seal since, and the totals that they carry.
  const head = seals[0];
  if (!head || head.seal.firstIndex > first || first >= head.index) {
    throw new ProofError("the first seal is not that of the manifest's batch");
  }
  const counts = follow(seals, pack.totals, manifest, checkpoint.size);
  // 6., 7. The openings, and what the issuers say that they have signed.
  const opened = openings(said, manifest);
  checkOpened(opened, manifest, counts);
  const issued = issuance(said, counts);
  // 8., 9. When it was enough, and when it ended, with the checkpoints of those batches.
  const last = counts.at(-1)!;
  const kept = [...pack.archived, { batch: last.batch, checkpoint: pack.checkpoint }];
  const judged = await readArchived(kept, seals, policy, checkpoint.origin);
  const deadline = deadlineDay(manifest);
  const reached = counts.find((count) => isEnough(manifest, count.live, count.options, count.day));
  const ends = new Set(said.filter((item) => item.type === "closing").map((item) => item.batch));
  const closed = counts.find((count) => ends.has(count.batch));
  checkClosed(closed, counts, manifest);
  const wanted = new Set([reached, closed].flatMap((count) => (count && count.batch !== last.batch ? [count.batch] : [])));
  const found = new Set(pack.archived.map((item) => item.batch));
  if (found.size !== wanted.size || [...wanted].some((batch) => !found.has(batch))) {
    throw new ProofError("other checkpoints are kept than those of the batches that matter");
  }
  if (closed) await checkClosing(judged.get(closed.batch)!, own, deadline);
  const texts = said.filter((item) => item.type === "text");
  return {
    manifest, checkpoint, cosigners: cosignatures, growth: counts, opened, issued,
    texts: new Map(texts.map(({ body }) => [body.language as string, body.text as string])),
    reached: witnessed(reached, judged),
    closed: witnessed(closed, judged),
  };
}

/** The policy that the pack's own terms name, for who compares the scope id with the one that the campaign published. */
export function ownPolicy(pack: Pack): Policy {
  let manifest: Manifest;
  try {
    [, manifest] = manifestAmong(sorted(pack).notices, pack.scope);
  } catch (error) {
    if (error instanceof ProofError) throw new MalformedError(`pack.leaves: ${error.message}`);
    throw error;
  }
  return Policy.fromText(`log ${formatVkey(manifest.ledger.key)}\n${manifest.witnesses}`);
}

/** The notices and the seals; anything else is malformed here. */
function sorted(pack: Pack): { notices: PlacedNotice[]; seals: PlacedSeal[] } {
  const notices: PlacedNotice[] = [];
  const seals: PlacedSeal[] = [];
  for (const { index, entry } of pack.leaves) {
    if (entry[0] === 2 && entry[1] === 1) {
      const seal = parseSeal(entry);
      seals.push({ index, entry, seal, batch: seal.batch });
    } else {
      notices.push({ index, entry, notice: parseNotice(entry) });
    }
  }
  return { notices, seals };
}

function witnessed(count: CountAt | undefined, judged: ReadonlyMap<number, Judged>): Witnessed | undefined {
  return count && { count, cosignatures: judged.get(count.batch)!.cosignatures };
}

function openings(said: readonly Said[], manifest: Manifest): Map<string, number> {
  const found = new Map<string, number>();
  for (const { name } of manifest.issuers) {
    const opening = said.find((item) => item.type === "opening" && issuerOf(item) === name);
    if (opening) found.set(name, opening.batch);
  }
  return found;
}

function checkOpened(opened: ReadonlyMap<string, number>, manifest: Manifest, counts: readonly CountAt[]): void {
  const first = counts.find((count) => count.gross > 0);
  if (!first) return;
  if (counts[0]!.gross || manifest.issuers.some(({ name }) => (opened.get(name) ?? first.batch) >= first.batch)) {
    throw new ProofError("pledges were counted before every issuer had opened the scope");
  }
}

function issuance(said: readonly Said[], counts: readonly CountAt[]): Map<string, Said> {
  const last = new Map<string, Said>();
  const ordered = said.filter((item) => item.type === "issuance").sort((a, b) => a.seq - b.seq);
  for (const item of ordered) {
    const name = issuerOf(item);
    const issued = item.body.issued as number;
    const before = last.get(name);
    if (before && issued < (before.body.issued as number)) throw new ProofError(`the number of tokens of ${name} falls`);
    const at = counts[item.batch - counts[0]!.batch - 1];
    if (at && at.gross > issued) {
      throw new ProofError(`there are more pledges than ${name} says it has signed tokens for`);
    }
    last.set(name, item);
  }
  return last;
}

function checkClosed(closed: CountAt | undefined, counts: readonly CountAt[], manifest: Manifest): void {
  const deadline = deadlineDay(manifest);
  const end = counts.at(-1)!;
  if (closed && (closed.day <= manifest.closes || closed.day > deadline)) {
    throw new ProofError("the scope was not closed in the days that its terms give");
  }
  const isSame = (count: CountAt): boolean =>
    count.gross === end.gross && count.live === end.live && [...count.options].every(([i, n]) => end.options.get(i) === n);
  if (closed && !isSame(closed)) {
    throw new ProofError("the count has changed after the scope was closed");
  }
  const inTime = counts.filter((count) => count.day <= deadline).at(-1);
  if (end.day > deadline && end.gross !== (inTime?.gross ?? 0)) {
    throw new ProofError("pledges were counted after the deadline day");
  }
}

function readLeaf(value: Json, path: string): { index: number; entry: Bytes } {
  const members = new Members(value, path);
  const leaf = { index: members.integer("index", 0), entry: base64(members.take("entry")) };
  members.finish();
  if (leaf.entry.length > MAX_ENTRY_BYTES) throw new MalformedError(`${path}: entry longer than ${MAX_ENTRY_BYTES} bytes`);
  return leaf;
}

function readKept(value: Json, path: string): Archived {
  const members = new Members(value, path);
  const item = { batch: members.integer("batch", 0), checkpoint: note(members) };
  members.finish();
  return item;
}

function list(members: Members, name: string): Json[] {
  const value = members.take(name);
  if (!Array.isArray(value)) throw new MalformedError(`${members.path}.${name}: not a list`);
  return value;
}

function base64(value: Json, size?: number): Bytes {
  if (typeof value !== "string") throw new MalformedError("pack: not a string");
  return decodeBase64(value, size);
}

function note(members: Members): Bytes {
  const value = members.take("checkpoint");
  if (typeof value !== "string") throw new MalformedError(`${members.path}.checkpoint: not a string`);
  return utf8(value);
}
