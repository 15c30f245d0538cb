// What a notice says: {body, prev, role, scope, seq, type} in the form of RFC 8785, and the bodies by role and type.
import { concat, equal, hex, utf8, type Bytes } from "./bytes.ts";
import { KEY_BYTES, checkAgreementKey } from "./ed25519.ts";
import { MalformedError } from "./errors.ts";
import { canonicalise, parseCanonical, type Json } from "./jcs.ts";
import { LANGUAGE, LINE, Members } from "./members.ts";
import { parseManifest, type Manifest } from "./scope.ts";
import { BLS_SIGNATURE_BYTES, MAX_LABEL_CHARS, MAX_ORIGIN_CHARS, ORIGIN, SERVER_NAME } from "./terms.ts";

const MAX_STATEMENT_BYTES = 63_900; // with sixteen signatures the entry stays below 65,535
const ISSUANCE_STEP = 16;
const MAX_BUNDLES = 8; // right at one site at a time: while it is updated, the old and the new
const HASH = /^[0-9a-f]{64}$/;
const DESTRUCTIBLE = ['["tag"]', '["token"]', '["tag","token"]']; // an issuer's keys of a scope
export const NO_PREVIOUS: Bytes = new Uint8Array(32);

export interface Statement {
  readonly role: string;
  readonly scope: string; // hex
  readonly seq: number;
  readonly prev: Bytes; // leaf hash of the same author's notice before, zeros at seq 0
  readonly type: string;
  readonly body: { readonly [name: string]: Json };
  readonly manifest: Manifest | undefined; // of a statement of type manifest
}

export function parseStatement(data: Bytes): Statement {
  const members = new Members(parseCanonical(data, MAX_STATEMENT_BYTES), "statement");
  const body = members.take("body");
  if (body === null || typeof body !== "object" || Array.isArray(body)) {
    throw new MalformedError("statement.body: not an object");
  }
  const role = members.text("role", 32);
  const scope = hex(members.hex32("scope"));
  const seq = members.integer("seq", 0);
  const prev = members.hex32("prev");
  const type = members.text("type", 32);
  members.finish();
  if ((seq === 0) !== equal(prev, NO_PREVIOUS)) {
    throw new MalformedError("statement.prev: zeros at seq 0 and only there");
  }
  if ((type === "manifest") !== (role === "organiser" && seq === 0)) {
    throw new MalformedError("statement.type: a manifest is the organisers' seq 0 and only that");
  }
  const check = BODIES[`${role} ${type}`];
  if (!check) throw new MalformedError("statement.type: unknown for this role");
  const inner = new Members(body, "body");
  const manifest = check(inner);
  inner.finish();
  if (manifest && manifest.scope !== scope) throw new MalformedError("statement.scope: not the hash of the manifest");
  return { role, scope, seq, prev, type, body, manifest: manifest ?? undefined };
}

type Check = (members: Members) => Manifest | void;

const scopeKey: Check = (members) => void members.base64("scope_key", checkAgreementKey);
const hash = (name: string): Check => (members) => void members.hex32(name);

const BODIES: Readonly<Record<string, Check>> = Object.assign(Object.create(null) as object, {
  "organiser manifest": (members) => parseManifest(canonicalise(members.take("manifest"))),
  "organiser text": (members) => {
    members.text("language", 35, LANGUAGE);
    members.text("text", MAX_STATEMENT_BYTES);
  },
  "organiser child": hash("scope"),
  "organiser update": (members) => {
    const title = members.labels("title", undefined, MAX_LABEL_CHARS, LINE);
    members.labels("text", Object.keys(title).sort(), MAX_STATEMENT_BYTES);
  },
  "organiser mailing": (members) => {
    members.hex32("template");
    members.integer("number", 1);
    members.text("purpose", MAX_LABEL_CHARS, LINE);
  },
  "organiser pages": (members) => {
    members.text("site", MAX_ORIGIN_CHARS, ORIGIN);
    members.texts("bundles", 1, MAX_BUNDLES, 64, HASH);
  },
  "issuer opening": (members) => {
    members.text("issuer", 253, SERVER_NAME);
    members.hex32("token_key_id");
  },
  "issuer issuance": (members) => {
    members.integer("day", 0, 2 ** 32 - 1);
    if (members.integer("issued", 0) % ISSUANCE_STEP) {
      throw new MalformedError(`body.issued: no multiple of ${ISSUANCE_STEP}`);
    }
  },
  "issuer codes": (members) => {
    members.hex32("root");
    members.integer("number", 1);
  },
  "issuer destruction": (members) => {
    members.integer("day", 0, 2 ** 32 - 1);
    const keys = members.take("keys");
    if (!DESTRUCTIBLE.includes(JSON.stringify(keys))) {
      throw new MalformedError("body.keys: not tag, token or both in this order");
    }
  },
  "trustee enrolment": scopeKey,
  "trustee release": (members) => {
    members.sized("private_key", KEY_BYTES);
    members.integer("seal", 0);
    members.integer("live", 1);
    members.sized("signature", BLS_SIGNATURE_BYTES);
  },
  "trustee destruction": scopeKey,
  "ledger closing": (members) => void members.integer("day", 0, 2 ** 32 - 1),
} satisfies Record<string, Check>) as Record<string, Check>;

export const NOTICE_DOMAIN = utf8("headcount/notice/v1\0");

/** What notices are signed over. Protocol, Section 4.2. */
export function noticeMessage(statement: Uint8Array): Bytes {
  return concat(NOTICE_DOMAIN, statement);
}
