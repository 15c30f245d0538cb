// Opening a scope: everything that is checked before a seed is drawn or a message blinded.
//
// The scope id comes from the link; it is the hash of the terms, which name the ledger's key, the witnesses and the
// issuers' keys. So a page needs no other trust policy than the terms', and takes a stricter one if there is one.
import { concat, utf8, type Bytes } from "../protocol/bytes.ts";
import { NotEligibleError, UnknownKeyError } from "../protocol/errors.ts";
import { formatVkey } from "../protocol/note.ts";
import { Policy } from "../protocol/policy.ts";
import { checkOpen, holdsSealed, isChoice, parseManifest, type Manifest } from "../protocol/scope.ts";
import { cached, httpFetch } from "../reader/fetch.ts";
import { findScope, type ScopeView } from "../reader/scope_view.ts";
import { check, join, type Transport } from "../reader/transport.ts";
import { openLedger, type LedgerView, type Progress } from "../reader/view.ts";

const MAX_MANIFEST_BYTES = 60_000;

export interface OpenedScope {
  readonly ledger: string;
  readonly policy: Bytes;
  readonly view: LedgerView;
  readonly scope: ScopeView;
  readonly manifest: Manifest;
}

export interface Opening {
  readonly ledger: string; // address of the published files
  readonly scope: string; // hex, from the link
  readonly policy: Bytes; // a tlog-policy file
  readonly transport: Transport;
  readonly remembered?: Iterable<Bytes>; // signed checkpoints that were accepted before
  readonly progress?: Progress;
}

/**
 * The scope as the ledger publishes it: its manifest hashes to the id, is in a checkpoint that the policy accepts and
 * the terms' witnesses have signed, and every issuer has opened it with its key.
 */
export async function openScope(opening: Opening): Promise<OpenedScope> {
  const { ledger, policy, transport, remembered = [], progress } = opening;
  const fetch = cached(httpFetch(ledger, transport));
  const view = await openLedger(fetch, Policy.fromBytes(policy), remembered);
  const scope = await findScope(view, opening.scope, progress);
  return { ledger, policy, view, scope, manifest: scope.manifest };
}

/** The terms by themselves, from a verifier: bound by the scope id, and not yet proven to be in any ledger. */
export async function fetchTerms(verifier: string, scope: string, transport: Transport): Promise<Manifest> {
  const answer = await transport("GET", join(verifier, `scopes/${scope}`), { maxBytes: MAX_MANIFEST_BYTES });
  const manifest = parseManifest(check(answer, "the site", "application/json"));
  if (manifest.scope !== scope) throw new UnknownKeyError("the site shows other terms than the link names");
  return manifest;
}

/** The trust policy that the terms themselves make: the ledger's key, and their witnesses. */
export function policyOf(manifest: Manifest): Bytes {
  return concat(utf8(`log ${formatVkey(manifest.ledger.key)}\n`), utf8(manifest.witnesses));
}

/** Refuses what cannot be pledged here today; day is today's UTC day. */
export function checkTerms(manifest: Manifest, choice: number, day: number, hasContact = false): void {
  checkOpen(manifest, day);
  if (holdsSealed(manifest) && manifest.kind !== "contact") {
    throw new NotEligibleError("the scope takes sealed votes, which this program cannot make");
  }
  if (holdsSealed(manifest) && !hasContact) throw new NotEligibleError("the scope takes contacts, and none is given");
  if (!isChoice(manifest, choice)) throw new NotEligibleError("the scope does not offer this choice");
}
