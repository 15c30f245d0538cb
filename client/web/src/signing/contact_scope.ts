// A contact scope as the ledger shows it: its campaign, and what each of its trustees has said.
import { hex } from "../protocol/bytes.ts";
import type { Reached } from "../protocol/certificate.ts";
import type { Channel } from "../protocol/contact.ts";
import { NotEligibleError, NotFoundError, ScopeClosedError, UnknownKeyError } from "../protocol/errors.ts";
import type { Manifest } from "../protocol/scope.ts";
import type { ContactTerms, TrusteeTerms } from "../protocol/terms.ts";
import { findReached } from "../reader/reached.ts";
import { findScope, type ScopeView } from "../reader/scope_view.ts";
import type { LedgerView } from "../reader/view.ts";

/** A contact scope under one checkpoint. */
export interface ContactScope {
  readonly view: LedgerView;
  readonly scope: ScopeView;
  readonly manifest: Manifest;
  readonly trustees: TrusteeTerms;
  readonly contacts: ContactTerms;
  readonly reached: Reached | undefined; // of the campaign
}

/** The contact scope with this id (hex), named by the organisers of its campaign. */
export async function findContacts(view: LedgerView, id: string): Promise<ContactScope> {
  const scope = await findScope(view, id);
  const { kind, parent, trustees, contacts } = scope.manifest;
  if (kind !== "contact" || !parent || !trustees || !contacts) throw new NotFoundError("this scope takes no contacts");
  const campaign = await findScope(view, hex(parent));
  const isNamed = campaign.notices.some(({ statement: { type, body } }) => type === "child" && body.scope === id);
  if (!isNamed) throw new UnknownKeyError("the organisers of the campaign have not named this contact scope");
  const reached = await findReached(view, campaign.manifest);
  return { view, scope, manifest: scope.manifest, trustees, contacts, reached };
}

/** Checks that the trustees' keys are theirs and still closed, and that it is not too late. Protocol, Section 9.3. */
export function checkKeys(found: ContactScope): void {
  for (const { name } of found.trustees.members) {
    const author = `trustee:${name}`;
    const said = new Set(found.scope.notices.filter((n) => n.author === author).map((n) => n.statement.type));
    if (!said.has("enrolment")) throw new UnknownKeyError(`the trustee ${name} has not signed these terms`);
    if (said.has("release")) throw new UnknownKeyError(`the trustee ${name} has released the key already`);
    if (said.has("destruction")) throw new UnknownKeyError(`the trustee ${name} has destroyed the key`);
  }
  if (found.reached) throw new ScopeClosedError("the campaign was reached: contacts are no longer taken");
}

/** As checkKeys, and the organiser uses this channel. */
export function checkSealable(found: ContactScope, channel: Channel): void {
  checkKeys(found);
  if (!found.contacts.channels.includes(channel)) throw new NotEligibleError("the organiser cannot use this channel");
}
