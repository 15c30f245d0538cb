// The verified count of one scope, for the counter: checkpoint, the last seal's inclusion, the totals file, the line.
//
// The scope id is the hash of the terms, which name the ledger's key and witnesses: nothing else has to be trusted.
import { equal, fromAscii, fromUtf8, hex, utf8, type Bytes } from "../protocol/bytes.ts";
import { MalformedError, NotFoundError, ProofError, SignatureError, UnknownKeyError } from "../protocol/errors.ts";
import { isAvailable } from "../protocol/ed25519.ts";
import { inclusionPath, leafHash, verifyInclusion } from "../protocol/merkle.ts";
import { parseVkey, verifyNote } from "../protocol/note.ts";
import { Policy, type Cosignature } from "../protocol/policy.ts";
import { parseCheckpoint } from "../protocol/checkpoint.ts";
import { liveAt, type Quotas } from "../protocol/options.ts";
import { parseSeal } from "../protocol/seal.ts";
import { scopeHash } from "../protocol/scope_id.ts";
import { sha256 } from "../protocol/sha256.ts";
import { TileReader, type Fetch } from "../protocol/tile.ts";
import { decodeTotals, totalsPath } from "../protocol/totals.ts";

/** What the terms say that a counter shows; they are hashed, not read strictly. */
export interface CountedTerms {
  readonly title: Readonly<Record<string, string>>;
  readonly language: string;
  readonly level: string;
  readonly threshold: number;
  readonly quotas?: Quotas;
  readonly options?: readonly unknown[];
  readonly opens: string;
  readonly closes: string;
  readonly min_batch: number;
}

export interface VerifiedCount {
  readonly live: number;
  readonly gross: number;
  readonly batch: number;
  readonly day: number; // UTC day of the seal
  readonly size: number; // entries in the ledger
  readonly cosigners: readonly Cosignature[];
  readonly options: readonly number[]; // live pledges of each, where the terms have quotas
  readonly terms: CountedTerms;
}

interface Terms extends CountedTerms {
  readonly ledger: { readonly key: string };
  readonly witnesses: string;
}

/** The terms of a scope id, from bytes that anybody has sent. */
function termsOf(manifest: Uint8Array, scope: string): Terms {
  if (hex(scopeHash(manifest)) !== scope) throw new UnknownKeyError("these are other terms than the scope id names");
  return JSON.parse(fromUtf8(manifest)) as Terms;
}

/** The terms in the ledger's own files: the hint's first notice that holds a manifest of this hash. */
export async function termsFromLedger(fetch: Fetch, scope: string, reader: TileReader): Promise<Uint8Array> {
  for (const line of fromAscii(await fetch(`scopes/${scope}`)).split("\n").filter(Boolean)) {
    const entry = await reader.entry(Number(line));
    if (entry[0] !== 4) continue;
    const statement = fromUtf8(entry.subarray(4, 4 + ((entry[2]! << 8) | entry[3]!)));
    // In canonical JSON the manifest stands between these two, byte for byte.
    const found = /^\{"body":\{"manifest":(\{[^]*\})\},"prev":"0{64}","role":"organiser",/.exec(statement);
    const manifest = found && utf8(found[1]!);
    if (manifest && hex(scopeHash(manifest)) === scope) return manifest;
  }
  throw new NotFoundError("the ledger has no scope with this id");
}

/**
 * The count of a scope at the ledger's last seal. Throws SignatureError, UnknownKeyError, ProofError or MalformedError
 * where something does not verify, NotFoundError for a scope without pledges or terms.
 */
export async function readCount(fetch: Fetch, scope: string, manifest?: Uint8Array): Promise<VerifiedCount> {
  if (!(await isAvailable())) throw new SignatureError("this browser cannot verify Ed25519 signatures");
  const signed = parseCheckpoint(await fetch("checkpoint"));
  const { size, root, origin } = signed.checkpoint;
  const reader = new TileReader(fetch, size);
  const terms = termsOf(manifest ?? (await termsFromLedger(fetch, scope, reader)), scope);
  const key = parseVkey(terms.ledger.key);
  if (key.name !== origin) throw new UnknownKeyError("checkpoint of another log");
  await verifyNote(signed.note, [key]);
  const cosigners = await Policy.fromText(terms.witnesses).verifyCosignatures(signed);
  if (!size) throw new NotFoundError("the ledger is empty");
  const data = await reader.entry(size - 1);
  verifyInclusion(await inclusionPath(reader.hash, size - 1, size), size - 1, size, leafHash(data), root);
  const seal = parseSeal(data);
  const file: Bytes = await fetch(totalsPath(seal.batch));
  if (!equal(sha256(file), seal.totals)) throw new ProofError("the totals are not those of the seal");
  const totals = decodeTotals(file);
  const { live, gross } = totals.get(scope) ?? { live: 0, gross: 0 };
  const options = terms.quotas ? liveAt(totals, scope, terms.options!.length) : [];
  if (!options) throw new ProofError("the options do not come to the count");
  if (typeof terms.level !== "string") throw new MalformedError("the terms name no level");
  return { live, gross, batch: seal.batch, day: seal.day, size, cosigners, options, terms };
}
