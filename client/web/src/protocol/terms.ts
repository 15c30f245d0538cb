// The parts of a scope's manifest: options, quotas, tiers, action date, issuers, organisers, trustees, contacts,
// ledger.
import { hex, type Bytes } from "./bytes.ts";
import { CHANNELS, type Channel } from "./contact.ts";
import { checkAgreementKey, checkPublicKey } from "./ed25519.ts";
import { MalformedError } from "./errors.ts";
import { MAX_PARTS, NAME_FORM } from "./level.ts";
import { LINE, checkUnique, type Labels, type Members } from "./members.ts";
import { ED25519, parseVkey, type VerificationKey } from "./note.ts";
import type { Quotas } from "./options.ts";
import { decodeTokenKey, tokenKeyId } from "./spki.ts";

export const MAX_LABEL_CHARS = 300;
export const MAX_TEXT_CHARS = 4000;
export const MAX_ORGANISERS = 16;
export const MAX_TRUSTEES = 32; // a sealed contact carries 81 bytes for each
const MAX_PURPOSES = 16;
const MAX_SLIPS = 2 ** 32 - 1;
const BLS_KEY_BYTES = 48;
export const BLS_SIGNATURE_BYTES = 96;

const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
const PORT = "[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]";
const HOST = `${LABEL}(?:\\.${LABEL})*(?::(?:${PORT}))?`;
export const SERVER_NAME = new RegExp(`^${HOST}$`); // RFC 9577, Section 2.1
export const MAX_ORIGIN_CHARS = 300;
export const ORIGIN = new RegExp(`^https?://${HOST}$`); // RFC 6454, Section 6.2
// RFC 3986 without user info, query, fragment, percent-encoding and dot segments.
export const URL_FORM = new RegExp(`^https?://${HOST}(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*$`);
const TIME_ZONE = /^UTC$|^[A-Z][A-Za-z0-9_+-]*(?:\/[A-Z][A-Za-z0-9_+-]*){1,2}$/;

export interface Option {
  readonly number: number; // from 1
  readonly label: Labels;
}
export interface Tier {
  readonly count: number;
  readonly effect: Labels;
}
export interface ActionDate {
  readonly date: number; // days since 1970, in the time zone
  readonly timeZone: string; // IANA name
  readonly what: Labels;
}
export interface IssuerTerms {
  readonly name: string; // issuer_name of its token challenge
  readonly url: string; // without a slash at the end
  readonly tokenKey: Bytes; // SPKI, of this scope alone
  readonly tokenKeyId: Bytes;
  readonly noticeKey: Bytes;
  readonly attesters: readonly string[]; // all of them are asked, or so many as the level says
  readonly slips: number | undefined; // at most so many on its code sheets
  readonly returning: readonly string[]; // ways to be recognised by who was checked at this issuer before
}
export interface OrganiserTerms {
  readonly keys: readonly Bytes[];
  readonly quorum: number;
}
export interface Trustee {
  readonly name: string;
  readonly identityKey: Bytes;
  readonly scopeKey: Bytes;
  readonly blsKey: Bytes;
  readonly blsProof: Bytes;
}
export interface TrusteeTerms {
  readonly t: number;
  readonly members: readonly Trustee[];
}
/** One thing for which people may be written to. */
export interface Purpose {
  readonly name: string; // as mailings name it
  readonly text: Labels;
}
/** To whom contacts are sealed inside the trustees' layer, and what they may be used for. */
export interface ContactTerms {
  readonly key: Bytes; // X25519, the organiser's
  readonly channels: readonly Channel[]; // those that the organiser can use
  readonly purposes: readonly Purpose[]; // nothing else is ever sent
}
export interface LedgerTerms {
  readonly origin: string;
  readonly key: VerificationKey;
}
export interface Continues {
  readonly scope: Bytes;
  readonly seal: number;
}

export function readOption(members: Members, languages: readonly string[]): Option {
  const option = {
    number: members.integer("number", 1, 0xfffd),
    label: members.labels("label", languages, MAX_LABEL_CHARS, LINE),
  };
  members.finish();
  return option;
}

export function readQuotas(members: Members, options: number): Quotas {
  const quotas = { each: members.integer("each", 1), options: members.integer("options", 1, options) };
  members.finish();
  return quotas;
}

export function readTier(members: Members, languages: readonly string[]): Tier {
  const tier = { count: members.integer("count", 1), effect: members.labels("effect", languages, MAX_TEXT_CHARS) };
  members.finish();
  return tier;
}

export function readAction(members: Members, languages: readonly string[]): ActionDate {
  const action = {
    date: members.day("date"),
    timeZone: members.text("time_zone", 64, TIME_ZONE),
    what: members.labels("what", languages, MAX_TEXT_CHARS),
  };
  members.finish();
  return action;
}

export function readIssuer(members: Members): IssuerTerms {
  const tokenKey = members.base64("token_key", (data) => {
    decodeTokenKey(data);
    return data;
  });
  const issuer = {
    name: members.text("name", 253, SERVER_NAME),
    url: members.text("url", 500, URL_FORM),
    tokenKey,
    tokenKeyId: tokenKeyId(tokenKey),
    noticeKey: members.base64("notice_key", checkPublicKey),
    attesters: members.texts("attesters", 1, MAX_PARTS, 32, NAME_FORM),
    slips: members.has("slips") ? members.integer("slips", 1, MAX_SLIPS) : undefined,
    returning: members.has("returning") ? members.texts("returning", 1, MAX_PARTS, 32, NAME_FORM) : [],
  };
  members.finish();
  return issuer;
}

export function readOrganisers(members: Members): OrganiserTerms {
  const keys = members.base64List("keys", 1, MAX_ORGANISERS, checkPublicKey);
  const organisers = { keys, quorum: members.integer("quorum", 1, keys.length) };
  members.finish();
  return organisers;
}

export function readTrustees(members: Members): TrusteeTerms {
  const trustees = members.objects("members", 1, MAX_TRUSTEES).map((item) => {
    const trustee = {
      name: item.text("name", 100, LINE),
      identityKey: item.base64("identity_key", checkPublicKey),
      scopeKey: item.base64("scope_key", checkAgreementKey),
      blsKey: item.sized("bls_key", BLS_KEY_BYTES),
      blsProof: item.sized("bls_proof", BLS_SIGNATURE_BYTES),
    };
    item.finish();
    return trustee;
  });
  const path = `${members.path}.members`;
  checkUnique(trustees.map((trustee) => trustee.name), path);
  for (const field of ["identityKey", "scopeKey", "blsKey"] as const) {
    checkUnique(trustees.map((trustee) => hex(trustee[field])), path);
  }
  const terms = { t: members.integer("t", 1, trustees.length), members: trustees };
  members.finish();
  return terms;
}

export function readContacts(members: Members, languages: readonly string[]): ContactTerms {
  const key = members.base64("key", checkAgreementKey);
  const channels = members.texts("channels", 1, CHANNELS.length, 32, NAME_FORM).map((name) => {
    const channel = CHANNELS.find((known) => known === name);
    if (channel === undefined) throw new MalformedError(`${members.path}.channels: unknown`);
    return channel;
  });
  const purposes = members.objects("purposes", 1, MAX_PURPOSES).map((item) => {
    const purpose = {
      name: item.text("name", 32, NAME_FORM),
      text: item.labels("text", languages, MAX_LABEL_CHARS, LINE),
    };
    item.finish();
    return purpose;
  });
  checkUnique(purposes.map((purpose) => purpose.name), `${members.path}.purposes`);
  members.finish();
  return { key, channels, purposes };
}

export function readLedger(members: Members): LedgerTerms {
  const origin = members.text("origin", 253);
  const key = members.decoded("key", parseVkey);
  if (key.name !== origin || key.type !== ED25519) {
    throw new MalformedError(`${members.path}.key: not an Ed25519 key with the name of the origin line`);
  }
  members.finish();
  return { origin, key };
}

export function readContinues(members: Members): Continues {
  const continues = { scope: members.hex32("scope"), seal: members.integer("seal", 0) };
  members.finish();
  return continues;
}
