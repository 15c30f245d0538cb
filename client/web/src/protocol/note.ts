// Signed text with a line per signature, c2sp.org/signed-note: keys, the format, and plain Ed25519 signatures.
import { concat, equal, fromUtf8, hex, utf8, type Bytes } from "./bytes.ts";
import { checkPublicKey, verify } from "./ed25519.ts";
import { MalformedError, SignatureError, UnknownKeyError } from "./errors.ts";
import { sha256 } from "./sha256.ts";
import { decodeBase64, decodeHex, encodeBase64, hasLoneSurrogate } from "./text.ts";

export const ED25519 = 0x01; // signed-note, "Signature types"
export const COSIGNATURE_V1 = 0x04;
export const MLDSA44 = 0x06;
const KEY_BYTES: Readonly<Record<number, number>> = { [ED25519]: 32, [COSIGNATURE_V1]: 32, [MLDSA44]: 1312 };

export const MAX_NOTE_BYTES = 65536;
const MAX_SIGNATURES = 100;
const KEY_ID_BYTES = 4;
const DASH = "\u2014 ";
// A plus, the control characters below a space, and what Unicode calls white space.
const NOT_IN_NAME = /[+\u0000-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

/** A public key with its name and signature type: a vkey. */
export interface VerificationKey {
  readonly name: string; // of a log: its origin line
  readonly type: number; // ED25519, COSIGNATURE_V1 or MLDSA44
  readonly publicKey: Bytes;
  readonly keyId: Bytes; // first 4 bytes of a SHA-256; finds a key, proves nothing
}

export function checkName(name: string): void {
  if (!name || NOT_IN_NAME.test(name)) throw new MalformedError("not a key name");
  if (hasLoneSurrogate(name)) throw new MalformedError("text is not UTF-8");
}

export function makeKey(name: string, type: number, publicKey: Bytes): VerificationKey {
  checkName(name);
  if (!(type in KEY_BYTES)) throw new MalformedError("unsupported signature type");
  if (publicKey.length !== KEY_BYTES[type]) throw new MalformedError("public key has another length");
  if (type !== MLDSA44) checkPublicKey(publicKey);
  const id = sha256(concat(utf8(`${name}\n`), Uint8Array.of(type), publicKey));
  return { name, type, publicKey, keyId: id.slice(0, KEY_ID_BYTES) };
}

/** The key of `<name>+<hex key id>+<base64(type || public key)>`. */
export function parseVkey(text: string): VerificationKey {
  const found = /^([^+]*)\+([^+]*)\+([^]*)$/.exec(text);
  if (!found) throw new MalformedError("not a vkey");
  const [, name, keyId, material] = found;
  const id = decodeHex(keyId!, KEY_ID_BYTES);
  const data = decodeBase64(material!);
  const key = makeKey(name!, data[0] ?? 0, data.slice(1));
  if (!equal(key.keyId, id)) throw new MalformedError("key id does not belong to the key");
  return key;
}

export function formatVkey(key: VerificationKey): string {
  return `${key.name}+${hex(key.keyId)}+${encodeBase64(concat(Uint8Array.of(key.type), key.publicKey))}`;
}

/** One signature line of a note. */
export interface NoteSignature {
  readonly name: string;
  readonly keyId: Bytes;
  readonly signature: Bytes; // as long as its type says; a cosignature begins with its time
}

function parseLine(line: string): NoteSignature {
  const space = line.indexOf(" ", DASH.length);
  if (!line.startsWith(DASH) || space < 0) throw new MalformedError("not a signature line");
  const name = line.slice(DASH.length, space);
  checkName(name);
  const data = decodeBase64(line.slice(space + 1));
  if (data.length <= KEY_ID_BYTES) throw new MalformedError("signature line without a signature");
  return { name, keyId: data.slice(0, KEY_ID_BYTES), signature: data.slice(KEY_ID_BYTES) };
}

/** A text, with its final newline, and its signatures; verified only by verifyNote. */
export interface Note {
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export function parseNote(data: Uint8Array): Note {
  if (data.length > MAX_NOTE_BYTES) throw new MalformedError(`note longer than ${MAX_NOTE_BYTES} bytes`);
  const whole = fromUtf8(data);
  if (/[\u0000-\u0009\u000b-\u001f]/.test(whole)) throw new MalformedError("control character in a note");
  // The text may contain empty lines: the last one separates it from the signatures.
  const cut = whole.lastIndexOf("\n\n");
  if (cut < 0 || !whole.endsWith("\n") || cut + 2 >= whole.length) throw new MalformedError("not a signed note");
  const lines = whole.slice(cut + 2, -1).split("\n");
  if (lines.length > MAX_SIGNATURES) throw new MalformedError(`note with more than ${MAX_SIGNATURES} signatures`);
  return { text: whole.slice(0, cut + 1), signatures: lines.map(parseLine) };
}

export function encodeNote(note: Note): Bytes {
  const lines = note.signatures.map((s) => `${DASH}${s.name} ${encodeBase64(concat(s.keyId, s.signature))}\n`);
  return utf8(`${note.text}\n${lines.join("")}`);
}

export function sameKey(one: { name: string; keyId: Bytes }, other: { name: string; keyId: Bytes }): boolean {
  return one.name === other.name && equal(one.keyId, other.keyId);
}

/** The signature lines that claim to be by one of these keys, not yet verified. */
export function findSignatures(note: Note, keys: readonly VerificationKey[]): [VerificationKey, NoteSignature][] {
  const found: [VerificationKey, NoteSignature][] = [];
  for (const signature of note.signatures) {
    if (found.some(([, other]) => sameKey(other, signature))) {
      throw new SignatureError(`two signatures of ${signature.name}`);
    }
    const key = keys.find((candidate) => sameKey(candidate, signature));
    if (key) found.push([key, signature]);
  }
  return found;
}

export function verifyEd25519(key: VerificationKey, message: Bytes, signature: Bytes): Promise<void> {
  return verify(key.publicKey, message, signature, `signature of ${key.name} does not verify`);
}

/** Checks a note against Ed25519 keys; the signatures that are by them, at least one. */
export async function verifyNote(note: Note, keys: readonly VerificationKey[]): Promise<NoteSignature[]> {
  const found = findSignatures(note, keys);
  if (!found.length) throw new UnknownKeyError("no signature by a known key");
  for (const [key, signature] of found) await verifyEd25519(key, utf8(note.text), signature.signature);
  return found.map(([, signature]) => signature);
}

/** The name and private seed of `PRIVATE+KEY+<name>+<hex key id>+<base64(0x01 || seed)>`; the key id is not looked at. */
export function parsePrivateKey(text: string): { name: string; keyId: Bytes; seed: Bytes } {
  const found = /^PRIVATE\+KEY\+([^+]*)\+([^+]*)\+([^]*)$/.exec(text);
  if (!found) throw new MalformedError("not a private note key");
  const keyId = decodeHex(found[2]!, KEY_ID_BYTES);
  const material = decodeBase64(found[3]!, 33);
  if (material[0] !== ED25519) throw new MalformedError("unsupported signature type");
  checkName(found[1]!);
  return { name: found[1]!, keyId, seed: material.slice(1) };
}
