// Scopes and their manifests: where one human counts once. Bytes are taken as they are or refused.
import { equal, hex, type Bytes } from "./bytes.ts";
import { MalformedError, ScopeClosedError } from "./errors.ts";
import { parseCanonical, type Json } from "./jcs.ts";
import { parseLevel } from "./level.ts";
import { LANGUAGE, LINE, Members, checkUnique, type Labels } from "./members.ts";
import type { Quotas } from "./options.ts";
import { MAX_ISSUERS, NO_SEALED_HASH, PLAIN, SEALED } from "./pledge.ts";
import { Policy } from "./policy.ts";
import { scopeHash } from "./scope_id.ts";
import {
  MAX_LABEL_CHARS, MAX_ORIGIN_CHARS, MAX_TEXT_CHARS, ORIGIN, readAction, readContacts, readContinues, readIssuer, readLedger, readOption,
  readOrganisers, readQuotas, readTier, readTrustees, type ActionDate, type ContactTerms, type Continues, type IssuerTerms,
  type LedgerTerms, type Option, type OrganiserTerms, type Tier, type TrusteeTerms,
} from "./terms.ts";
import { formatDay } from "./text.ts";
import { TOKEN_TYPE, challengeDigest, tokenInput, type TokenChallenge } from "./token.ts";

const MAX_MANIFEST_BYTES = 60_000;
const KINDS = ["campaign", "round", "checkin", "contact"];
const ELIGIBLE = ["anyone", "parent-token-holders"];

/** The terms of a scope, read strictly; two are equal exactly if their bytes are. */
export interface Manifest {
  readonly raw: Bytes; // RFC 8785
  readonly json: Json;
  readonly scopeId: Bytes;
  readonly scope: string; // the same in hex
  readonly kind: string;
  readonly parent: Bytes | undefined;
  readonly eligible: string;
  readonly language: string; // in which the others are checked
  readonly languages: readonly string[];
  readonly title: Labels;
  readonly texts: Readonly<Record<string, Bytes>>; // language → SHA-256 of the full text's UTF-8 bytes
  readonly options: readonly Option[];
  readonly addressee: Labels;
  readonly opens: number; // day, the first of acceptance
  readonly freezes: number; // day, the last for changes
  readonly closes: number; // day, the last of acceptance
  readonly threshold: number;
  readonly quotas: Quotas | undefined;
  readonly tiers: readonly Tier[];
  readonly action: ActionDate | undefined;
  readonly level: string; // level.parseLevel reads it
  readonly issuers: readonly IssuerTerms[];
  readonly organisers: OrganiserTerms;
  readonly trustees: TrusteeTerms | undefined;
  readonly contacts: ContactTerms | undefined;
  readonly ledger: LedgerTerms;
  readonly witnesses: string; // tlog-policy without logs
  readonly origins: readonly string[];
  readonly minBatch: number;
  readonly maxHold: number; // days
  readonly dataUse: Labels;
  readonly endOfLife: Labels;
  readonly continues: Continues | undefined;
}

let last: { readonly data: Bytes; readonly manifest: Manifest } | undefined; // one visit reads the same terms many times

/** Reads the bytes of a manifest; throws MalformedError. */
export function parseManifest(data: Bytes): Manifest {
  if (!last || !equal(last.data, data)) last = { manifest: read(data), data: data.slice() };
  return last.manifest;
}

function read(data: Bytes): Manifest {
  const json = parseCanonical(data, MAX_MANIFEST_BYTES);
  const members = new Members(json, "manifest");
  members.integer("headcount", 1, 1);
  const title = members.labels("title", undefined, MAX_LABEL_CHARS, LINE);
  const languages = Object.keys(title).sort();
  const options = readOptions(members, languages);
  const id = scopeHash(data);
  const manifest: Manifest = {
    raw: data,
    json,
    scopeId: id,
    scope: hex(id),
    kind: oneOf(members, "kind", KINDS),
    parent: members.has("parent") ? members.hex32("parent") : undefined,
    eligible: oneOf(members, "eligible", ELIGIBLE),
    language: members.text("language", 35, LANGUAGE),
    languages,
    title,
    texts: members.hashes("texts", languages),
    options,
    addressee: members.labels("addressee", languages, MAX_LABEL_CHARS, LINE),
    opens: members.day("opens"),
    freezes: members.day("freezes"),
    closes: members.day("closes"),
    threshold: members.integer("threshold", 1),
    quotas: members.has("quotas") ? readQuotas(members.object("quotas"), options.length) : undefined,
    tiers: readTiers(members, languages),
    action: members.has("action") ? readAction(members.object("action"), languages) : undefined,
    level: members.decoded("level", (text) => (parseLevel(text), text)),
    issuers: readIssuers(members),
    organisers: readOrganisers(members.object("organisers")),
    trustees: members.has("trustees") ? readTrustees(members.object("trustees")) : undefined,
    contacts: members.has("contacts") ? readContacts(members.object("contacts"), languages) : undefined,
    ledger: readLedger(members.object("ledger")),
    witnesses: readWitnesses(members),
    origins: members.texts("origins", 1, 64, MAX_ORIGIN_CHARS, ORIGIN),
    minBatch: members.integer("min_batch", 1),
    maxHold: members.integer("max_hold", 0, 31),
    dataUse: members.labels("data_use", languages, MAX_TEXT_CHARS),
    endOfLife: members.labels("end_of_life", languages, MAX_TEXT_CHARS),
    continues: members.has("continues") ? readContinues(members.object("continues")) : undefined,
  };
  members.finish();
  check(manifest);
  return manifest;
}

function check(manifest: Manifest): void {
  if (!manifest.languages.includes(manifest.language)) {
    throw new MalformedError("manifest.language: not a language of the title");
  }
  if (manifest.opens > manifest.freezes || manifest.freezes > manifest.closes) {
    throw new MalformedError("manifest: opens, freezes and closes are not in this order");
  }
  const needsParent = ["checkin", "contact"].includes(manifest.kind) || manifest.eligible === "parent-token-holders";
  if (!manifest.parent && needsParent) throw new MalformedError("manifest.parent: missing");
  if (manifest.kind === "contact" && (!manifest.trustees || manifest.options.length)) {
    throw new MalformedError("manifest: a contact scope has trustees and no options");
  }
  if ((manifest.kind === "contact") !== (manifest.contacts !== undefined)) {
    throw new MalformedError("manifest.contacts: in a contact scope and only there");
  }
  if (!manifest.quotas) return;
  if (!["campaign", "round"].includes(manifest.kind)) {
    throw new MalformedError("manifest.quotas: only in a campaign or a round");
  }
  if (holdsSealed(manifest)) {
    throw new MalformedError("manifest.quotas: nobody can count the options of a sealed round");
  }
  if (manifest.continues) throw new MalformedError("manifest.quotas: not in a scope that continues another");
}

function oneOf(members: Members, name: string, values: readonly string[]): string {
  const value = members.text(name, 32);
  if (!values.includes(value)) throw new MalformedError(`${members.path}.${name}: unknown`);
  return value;
}

function readOptions(members: Members, languages: readonly string[]): Option[] {
  if (!members.has("options")) return [];
  const options = members.objects("options", 1, 256).map((item) => readOption(item, languages));
  if (options.some((option, i) => option.number !== i + 1)) {
    throw new MalformedError("manifest.options: not numbered 1, 2, 3 …");
  }
  return options;
}

function readTiers(members: Members, languages: readonly string[]): Tier[] {
  if (!members.has("tiers")) return [];
  const tiers = members.objects("tiers", 1, 32).map((item) => readTier(item, languages));
  if (tiers.some((tier, i) => i > 0 && tiers[i - 1]!.count >= tier.count)) {
    throw new MalformedError("manifest.tiers: not in ascending order");
  }
  return tiers;
}

function readIssuers(members: Members): IssuerTerms[] {
  const issuers = members.objects("issuers", 1, MAX_ISSUERS).map(readIssuer);
  checkUnique(issuers.map((issuer) => issuer.name), "manifest.issuers");
  checkUnique(issuers.map((issuer) => hex(issuer.tokenKey)), "manifest.issuers");
  checkUnique(issuers.map((issuer) => hex(issuer.noticeKey)), "manifest.issuers");
  return issuers;
}

function readWitnesses(members: Members): string {
  const witnesses = members.text("witnesses", 20_000);
  const policy = Policy.fromText(witnesses);
  if (policy.logs.length) throw new MalformedError(`${members.path}.witnesses: names a log; the log is in ledger`);
  return witnesses;
}

export function titleText(manifest: Manifest): string {
  return manifest.title[manifest.language]!;
}

/** The last day on which an accepted entry may still be published. */
export function deadlineDay(manifest: Manifest): number {
  return manifest.closes + manifest.maxHold + 1;
}

/** Whether every pledge commits to a sealed blob: contacts, and rounds that have trustees. */
export function holdsSealed(manifest: Manifest): boolean {
  return manifest.kind === "contact" || (manifest.kind === "round" && manifest.trustees !== undefined);
}

/** The token challenge of the issuer with this index. RFC 9577, Section 2.1. */
export function challengeOf(manifest: Manifest, issuer: number): TokenChallenge {
  const issuerName = manifest.issuers[issuer]!.name;
  return { tokenType: TOKEN_TYPE, issuerName, redemptionContext: manifest.scopeId, originInfo: "" };
}

/** What each issuer's authenticator signs, in the order of the issuers. RFC 9578, Section 6.1. */
export function tokenInputs(manifest: Manifest, nonce: Uint8Array): Bytes[] {
  return manifest.issuers.map((issuer, i) =>
    tokenInput(nonce, challengeDigest(challengeOf(manifest, i)), issuer.tokenKeyId),
  );
}

/** Whether a pledge here may make this choice; a revision may withdraw besides. */
export function isChoice(manifest: Manifest, choice: number): boolean {
  if (manifest.kind === "round" && holdsSealed(manifest)) return choice === SEALED;
  if (manifest.options.length) return 1 <= choice && choice <= manifest.options.length;
  return choice === PLAIN;
}

/** Whether a pledge here may commit to this blob: some blob or none, as the kind demands. */
export function isSealedHash(manifest: Manifest, sealedHash: Uint8Array): boolean {
  return !equal(sealedHash, NO_SEALED_HASH) === holdsSealed(manifest);
}

/** Refuses a pledge outside the days of acceptance. */
export function checkOpen(manifest: Manifest, day: number): void {
  if (day < manifest.opens) throw new ScopeClosedError(`the scope opens on ${formatDay(manifest.opens)}`);
  if (day > manifest.closes) throw new ScopeClosedError(`the scope closed on ${formatDay(manifest.closes)}`);
}

/** Refuses a revision outside the days of changes. */
export function checkChange(manifest: Manifest, day: number): void {
  checkOpen(manifest, day);
  if (day > manifest.freezes) throw new ScopeClosedError(`changes ended on ${formatDay(manifest.freezes)}`);
}
