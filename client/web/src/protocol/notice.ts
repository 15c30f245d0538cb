// Notices: signed statements about a scope, as entries of the ledger.
import { compare, equal, hex, utf8, type Bytes } from "./bytes.ts";
import { verify } from "./ed25519.ts";
import { MalformedError, NoticeConflictError, UnknownKeyError } from "./errors.ts";
import type { Manifest } from "./scope.ts";
import { sha256 } from "./sha256.ts";
import { NO_PREVIOUS, noticeMessage, parseStatement, type Statement } from "./statement.ts";
import { MAX_ORGANISERS } from "./terms.ts";
import { decodeBase64 } from "./text.ts";
import { Reader } from "./wire.ts";
import { x25519PublicKey } from "./x25519.ts";

const HEADER = Uint8Array.of(4, 1);

export interface Notice {
  readonly kind: "notice";
  readonly statementBytes: Bytes;
  readonly signatures: readonly (readonly [key: Bytes, signature: Bytes])[]; // ascending keys
  readonly statement: Statement;
}

/** An author's last notice: its number and leaf hash. */
export type Previous = readonly [seq: number, leafHash: Bytes] | undefined;

/** Reads an entry; that the signatures verify is asked by verifyNotice. */
export function parseNotice(data: Uint8Array): Notice {
  const reader = new Reader(data);
  reader.expect(HEADER, "entry type or version");
  const statementBytes = reader.opaque16();
  const n = reader.u8();
  if (n < 1 || n > MAX_ORGANISERS) throw new MalformedError(`${n} signatures where 1 to ${MAX_ORGANISERS} may be`);
  const signatures = Array.from({ length: n }, () => [reader.take(32), reader.take(64)] as const);
  reader.finish();
  if (signatures.some(([key], i) => i > 0 && compare(signatures[i - 1]![0], key) >= 0)) {
    throw new MalformedError("the keys of the signatures are not in ascending order");
  }
  return { kind: "notice", statementBytes, signatures, statement: parseStatement(statementBytes) };
}

/** Who speaks: "organiser", "issuer:<name>", "trustee:<name>" or "ledger". */
export function author(notice: Notice, manifest: Manifest): string {
  const names = new Set(notice.signatures.map(([key]) => authorOf(notice.statement.role, key, manifest)));
  if (names.size !== 1) throw new UnknownKeyError("more than one author has signed the notice");
  return [...names][0]!;
}

/**
 * Checks that a notice is its author's next one in this scope; for a notice that carries a manifest, manifest is
 * that one.
 */
export async function verifyNotice(notice: Notice, manifest: Manifest, previous: Previous): Promise<Statement> {
  const { statement } = notice;
  if (statement.scope !== manifest.scope) throw new UnknownKeyError("the notice is of another scope");
  const name = author(notice, manifest);
  const needed = statement.role === "organiser" ? manifest.organisers.quorum : 1;
  if (notice.signatures.length < needed) throw new UnknownKeyError("the organisers' quorum is not reached");
  for (const [key, signature] of notice.signatures) await verify(key, noticeMessage(notice.statementBytes), signature);
  if (!fits(statement, name, manifest)) {
    throw new MalformedError(`the ${statement.type} notice contradicts the manifest`);
  }
  const [seq, prev] = previous ? [previous[0] + 1, previous[1]] : [0, NO_PREVIOUS];
  if (statement.seq !== seq) {
    throw new NoticeConflictError(`the author's next notice in this scope has seq ${seq}`, seq);
  }
  if (!equal(statement.prev, prev)) {
    throw new NoticeConflictError("prev is not the leaf hash of the author's notice before", seq);
  }
  return statement;
}

function authorOf(role: string, key: Bytes, manifest: Manifest): string {
  const is = (other: Bytes): boolean => equal(key, other);
  if (role === "organiser" && manifest.organisers.keys.some(is)) return role;
  if (role === "ledger" && is(manifest.ledger.key.publicKey)) return role;
  if (role === "issuer") {
    const issuer = manifest.issuers.find((item) => is(item.noticeKey));
    if (issuer) return `issuer:${issuer.name}`;
  }
  if (role === "trustee") {
    const trustee = manifest.trustees?.members.find((item) => is(item.identityKey));
    if (trustee) return `trustee:${trustee.name}`;
  }
  throw new UnknownKeyError(`a key that does not speak for the ${role} has signed the notice`);
}

/** Whether the body agrees with what the manifest says about the same thing. */
function fits(statement: Statement, name: string, manifest: Manifest): boolean {
  const { body, type } = statement;
  if (type === "text") return isTextOf(statement, manifest);
  if (type === "child") return body.scope !== manifest.scope;
  if (type === "opening") {
    const issuer = manifest.issuers.find((item) => `issuer:${item.name}` === name);
    return `issuer:${body.issuer as string}` === name && body.token_key_id === hex(issuer!.tokenKeyId);
  }
  if (type === "mailing") return manifest.contacts?.purposes.some((purpose) => purpose.name === body.purpose) ?? false;
  if (type === "pages") return manifest.origins.includes(body.site as string);
  if (type === "closing" || (statement.role === "issuer" && type === "destruction")) {
    return (body.day as number) > manifest.closes;
  }
  if (statement.role === "trustee") {
    const trustee = manifest.trustees?.members.find((item) => `trustee:${item.name}` === name);
    const key =
      "private_key" in body
        ? x25519PublicKey(decodeBase64(body.private_key as string))
        : decodeBase64(body.scope_key as string);
    return trustee !== undefined && equal(key, trustee.scopeKey);
  }
  return true;
}

/** Whether a text notice holds the text whose hash the manifest has. */
export function isTextOf(statement: Statement, manifest: Manifest): boolean {
  const language = statement.body.language as string;
  const expected = Object.hasOwn(manifest.texts, language) ? manifest.texts[language] : undefined;
  return expected !== undefined && equal(sha256(utf8(statement.body.text as string)), expected);
}
