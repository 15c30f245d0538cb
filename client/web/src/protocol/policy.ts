// Whom to trust about the ledger: logs, witnesses and a quorum, c2sp.org/tlog-policy.
import { hex, utf8, type Bytes } from "./bytes.ts";
import { parseCheckpoint, type SignedCheckpoint } from "./checkpoint.ts";
import { verifyCosignature } from "./cosignature.ts";
import { MalformedError, UnknownKeyError } from "./errors.ts";
import {
  COSIGNATURE_V1, ED25519, MLDSA44, findSignatures, formatVkey, parseVkey, verifyNote, type VerificationKey,
} from "./note.ts";
import { parseDecimal } from "./text.ts";

const MAX_POLICY_BYTES = 1 << 20;
export const NO_QUORUM = "none"; // the predefined name

export interface Log {
  readonly key: VerificationKey;
  readonly url: string | undefined;
}
export interface Witness {
  readonly name: string; // means something in its policy only
  readonly key: VerificationKey;
  readonly url: string | undefined;
}
export interface Group {
  readonly name: string;
  readonly k: number; // 1 to the number of members
  readonly members: readonly string[]; // witnesses or groups defined before this one
}
/** The policy's witness name and a time in seconds since 1970. */
export type Cosignature = readonly [name: string, time: number];

export interface VerifiedCheckpoint {
  readonly signed: SignedCheckpoint;
  readonly cosignatures: readonly Cosignature[];
}

export class Policy {
  readonly logs: Log[] = [];
  readonly witnesses: Witness[] = [];
  readonly groups: Group[] = [];
  quorum = NO_QUORUM; // a witness, a group, or none

  /** The policy of a file. Throws MalformedError. */
  static fromBytes(data: Uint8Array): Policy {
    if (data.length > MAX_POLICY_BYTES) throw new MalformedError(`policy longer than ${MAX_POLICY_BYTES} bytes`);
    if (data.some((byte) => (byte < 0x20 && byte !== 9 && byte !== 10) || byte === 0x7f)) {
      throw new MalformedError("control character in a policy");
    }
    if (data.length && data[data.length - 1] !== 10) throw new MalformedError("the last line of a policy has no newline");
    const parser = new Parser();
    lines(data).forEach((fields, i) => {
      if (!fields.length || fields[0]!.startsWith("#")) return;
      try {
        parser.add(fields);
      } catch (error) {
        if (error instanceof MalformedError) throw new MalformedError(`policy line ${i + 1}: ${error.message}`);
        throw error;
      }
    });
    return parser.finish();
  }

  static fromText(text: string): Policy {
    return Policy.fromBytes(utf8(text));
  }

  /** The keys of the log with this origin line; a log that changes its key has two for a while. */
  logKeys(origin: string): VerificationKey[] {
    return this.logs.filter((log) => log.key.name === origin).map((log) => log.key);
  }

  /** Throws UnknownKeyError where the policy does not list the log. */
  checkLog(origin: string): void {
    if (!this.logKeys(origin).length) throw new UnknownKeyError("log is not in the policy");
  }

  /** The checkpoint of a signed note: by one of the logs, cosigned by the quorum. */
  async verifyCheckpoint(raw: Bytes): Promise<VerifiedCheckpoint> {
    const signed = parseCheckpoint(raw);
    this.checkLog(signed.checkpoint.origin);
    await verifyNote(signed.note, this.logKeys(signed.checkpoint.origin));
    return { signed, cosignatures: await this.verifyCosignatures(signed) };
  }

  /** The cosignatures by witnesses that the policy knows, however few. */
  async knownCosignatures(signed: SignedCheckpoint): Promise<Cosignature[]> {
    const found = findSignatures(signed.note, this.witnesses.map((witness) => witness.key));
    const cosignatures: Cosignature[] = [];
    for (const [key, signature] of found) {
      const name = this.witnesses.find((witness) => witness.key === key)!.name;
      cosignatures.push([name, await verifyCosignature(signed.checkpoint, signature, key)]);
    }
    return cosignatures;
  }

  /** As knownCosignatures; they reach the quorum. The log's own signature is not looked at. */
  async verifyCosignatures(signed: SignedCheckpoint): Promise<Cosignature[]> {
    const cosignatures = await this.knownCosignatures(signed);
    this.checkQuorum(cosignatures.map(([name]) => name));
    return cosignatures;
  }

  /** Throws UnknownKeyError where these witnesses are not enough. */
  checkQuorum(witnesses: readonly string[]): void {
    const witnessed = new Set([NO_QUORUM, ...witnesses]);
    for (const group of this.groups) {
      if (group.members.filter((member) => witnessed.has(member)).length >= group.k) witnessed.add(group.name);
    }
    if (!witnessed.has(this.quorum)) throw new UnknownKeyError("witness quorum not reached");
  }
}

/** The policy file in one spelling: logs, witnesses, groups, quorum. */
export function encodePolicy(policy: Policy): Bytes {
  const join = (...fields: (string | undefined)[]): string => `${fields.filter((f) => f !== undefined).join(" ")}\n`;
  return encode(
    [
      ...policy.logs.map((log) => join("log", formatVkey(log.key), log.url)),
      ...policy.witnesses.map((w) => join("witness", w.name, formatVkey(w.key), w.url)),
      ...policy.groups.map((g) => join("group", g.name, String(g.k), ...g.members)),
      join("quorum", policy.quorum),
    ].join(""),
  );
}

class Parser {
  readonly policy = new Policy();
  readonly #names = new Set<string>();
  readonly #members = new Set<string>();
  readonly #seen = new Set<string>(); // public keys and key ids, of logs and of witnesses
  #hasQuorum = false;

  add(line: readonly string[]): void {
    const [keyword, ...fields] = line;
    if (keyword === "log") this.#log(fields);
    else if (keyword === "witness") this.#witness(fields);
    else if (keyword === "group") this.#group(fields);
    else if (keyword === "quorum") this.#quorum(fields);
    else throw new MalformedError("unknown keyword");
  }

  finish(): Policy {
    if (!this.#hasQuorum) throw new MalformedError("policy without a quorum");
    return this.policy;
  }

  #log(fields: readonly string[]): void {
    if (fields.length < 1 || fields.length > 2) throw new MalformedError("log <vkey> [<url>]");
    this.policy.logs.push({ key: this.#key(fields[0]!, [ED25519]), url: fields[1] });
  }

  #witness(fields: readonly string[]): void {
    if (fields.length < 2 || fields.length > 3) throw new MalformedError("witness <name> <vkey> [<url>]");
    const key = this.#key(fields[1]!, [COSIGNATURE_V1, MLDSA44]);
    this.#define(fields[0]!);
    this.policy.witnesses.push({ name: fields[0]!, key, url: fields[2] });
  }

  #group(fields: readonly string[]): void {
    if (fields.length < 3) throw new MalformedError("group <name> all|any|<k> <member>...");
    const [name, threshold, ...members] = fields;
    for (const member of members) {
      if (!this.#names.has(member)) throw new MalformedError("group member is not defined above");
      if (this.#members.has(member)) throw new MalformedError("group member is listed twice");
      this.#members.add(member);
    }
    const k = threshold === "all" ? members.length : threshold === "any" ? 1 : parseDecimal(threshold!);
    if (k < 1 || k > members.length) throw new MalformedError("group threshold out of range");
    this.#define(name!);
    this.policy.groups.push({ name: name!, k, members });
  }

  #quorum(fields: readonly string[]): void {
    if (fields.length !== 1) throw new MalformedError("quorum <name>|none");
    if (this.#hasQuorum) throw new MalformedError("a second quorum");
    if (fields[0] !== NO_QUORUM && !this.#names.has(fields[0]!)) throw new MalformedError("quorum is not defined above");
    this.policy.quorum = fields[0]!;
    this.#hasQuorum = true;
  }

  #define(name: string): void {
    if (name === NO_QUORUM || this.#names.has(name)) throw new MalformedError("name is defined already");
    this.#names.add(name);
  }

  #key(text: string, types: readonly number[]): VerificationKey {
    const key = parseVkey(text);
    if (!types.includes(key.type)) throw new MalformedError("vkey of another signature type");
    // A log's key may be a witness's too: the two sign different messages.
    const marks = [`${types} ${hex(key.publicKey)}`, `${types} ${key.name} ${hex(key.keyId)}`];
    if (marks.some((mark) => this.#seen.has(mark))) throw new MalformedError("duplicate public key");
    marks.forEach((mark) => this.#seen.add(mark));
    return key;
  }
}

/** The fields of each line. What is not UTF-8 stands as lone surrogates, U+DC00 and the octet. */
function lines(data: Uint8Array): string[][] {
  const found: string[][] = [];
  let start = 0;
  for (let at = 0; at <= data.length; at++) {
    if (at < data.length && data[at] !== 10) continue;
    const line = data.subarray(start, at);
    found.push(decode(line).split(/[ \t]+/).filter(Boolean));
    start = at + 1;
  }
  return found;
}

function decode(line: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(line);
  } catch {
    return Array.from(line, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

function encode(text: string): Bytes {
  const bytes: number[] = [];
  for (const char of text) {
    const point = char.codePointAt(0)!;
    if (point >= 0xdc80 && point <= 0xdcff) bytes.push(point - 0xdc00);
    else bytes.push(...utf8(char));
  }
  return Uint8Array.from(bytes);
}
