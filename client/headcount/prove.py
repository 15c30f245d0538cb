"""Proving to be a person: from a scope's id to a finished pledge in a file.

The terms are checked before anything is blinded; the seed is on the disk before an issuer hears of
the scope; every answer is on the disk before the next question. Called again, it goes on where it was.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

from headcount.contact_scope import find_contacts
from headcount.issuance import Conversation
from headcount.pledge_file import PledgeFile, PledgeStore, Step
from headcount.question import Ask
from headcount.scope_view import ScopeView, find_scope
from headcount_engine.hpke import seal_box
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import Transport
from headcount_ledger.reader.view import LedgerView, Progress, open_ledger
from headcount_spec import sealed, signature
from headcount_spec.contact import Contact
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    UnavailableError,
)
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seed import SEED_BYTES, revision_seed


def prove(
    place: Path | PledgeStore,
    ledger: str,
    scope_id: ScopeId,
    *,
    policy: bytes,
    transport: Transport,
    ask: Ask,
    day: int,
    choice: int = 0,
    contact: Contact | None = None,
    after: int | None = None,
    remembered: Iterable[bytes] = (),
    progress: Progress | None = None,
    accepted: Callable[[LedgerView, ScopeView], None] | None = None,
    issuers: Collection[str] | None = None,
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> PledgeFile:
    """Ask every listed issuer to sign the same pledge, and keep it in the file.

    ledger is an address or a folder, policy the bytes of a tlog-policy file, day today's UTC day,
    remembered the signed checkpoints of earlier runs. In a contact scope, contact is sealed before the first
    request, and is in the file from then on in no other form; after is when it may be sent, in seconds since
    1970. accepted is told what was found and is trusted from then on, before a person is asked anything.
    issuers are the names of those to ask this time: all, unless the person wants to go to some of them on
    another day, or from elsewhere. The pledge is finished when all have signed.

    Raises:
        NotFoundError: one of issuers is none of the scope's.
        ConfigurationError: the file is there and holds another pledge, or cannot be written.
        NotFoundError: the ledger has no such scope.
        ScopeClosedError: it is not open today.
        NotEligibleError: it has no such choice, or demands evidence that this program cannot give.
        VerificationError: the terms, a key, the ledger or an issuer's signature does not hold; it stops.
        MisbehaviourError: the ledger contradicts itself; carries the evidence.
        UnavailableError: a party does not answer; the next call goes on from here.
    """
    store = PledgeStore.at(place)
    content = store.load() if store.exists() else None
    if content is not None:
        _check_same(content, ledger, scope_id, policy, choice)
        if content.is_proved:
            return content
        remembered = (*remembered, content.checkpoint)
    view = open_ledger(open_fetch(ledger, transport), Policy.from_bytes(policy), remembered)
    scope = find_scope(view, scope_id, progress=progress)
    _check_terms(scope, choice, day, content is not None or contact is not None)
    unlisted = set(issuers or ()) - {issuer.name for issuer in scope.manifest.issuers}
    if unlisted:
        raise NotFoundError(f"the scope has no issuer {min(unlisted)}")
    if content is None and contact is not None:
        find_contacts(view, scope_id).check_sealable(contact)
    if accepted is not None:
        accepted(view, scope)
    if content is None:
        content = _begin(store, scope, view, ledger, policy, choice, draw(SEED_BYTES), contact, after)
    else:
        content = store.save(replace(content, checkpoint=view.raw))
    names = [issuer.name for issuer in content.manifest.issuers] if issuers is None else issuers
    return _ask_all(store, content, transport, ask, names)


def _ask_all(
    store: PledgeStore,
    content: PledgeFile,
    transport: Transport,
    ask: Ask,
    names: Collection[str],
) -> PledgeFile:
    """Ask one issuer after the other; one that does not answer keeps nobody from asking the next."""
    away: list[tuple[str, UnavailableError]] = []
    for index, issuer in enumerate(content.manifest.issuers):
        if issuer.name in names and content.steps[index].authenticator is None:
            try:
                content = _step(store, content, index, transport, ask)
            except UnavailableError as exc:
                content = store.load()  # a session may be in it
                away.append((issuer.name, exc))
    if len(away) == 1 and len(content.manifest.issuers) == 1:
        raise away[0][1]
    if away:
        missing = ", ".join(name for name, _ in away)
        signed = sum(step.authenticator is not None for step in content.steps)
        raise UnavailableError(
            f"{signed} of {len(content.steps)} issuers have signed; no answer from {missing}: "
            f"{away[0][1]}; what is signed is kept",
            max(exc.retry_after_s for _, exc in away),
        ) from away[0][1]
    return content


def _check_same(content: PledgeFile, ledger: str, scope_id: ScopeId, policy: bytes, choice: int) -> None:
    if content.manifest.scope_id != scope_id or content.choice != choice:
        raise ConfigurationError("the file holds another pledge; choose another file for this one")
    if content.ledger != ledger or content.policy != policy:
        raise ConfigurationError("the pledge in the file was begun with another ledger address or policy")


def _check_terms(scope: ScopeView, choice: int, day: int, has_contact: bool) -> None:
    manifest = scope.manifest
    manifest.check_open(day)
    if manifest.holds_sealed and manifest.kind != "contact":
        raise NotEligibleError("the scope takes sealed votes, which this program cannot make")
    if manifest.holds_sealed and not has_contact:
        raise NotEligibleError("the scope takes contacts: say how you want to be reached")
    if not manifest.valid_choice(choice):
        raise NotEligibleError("the scope does not offer this choice")


def _begin(
    store: PledgeStore,
    scope: ScopeView,
    view: LedgerView,
    ledger: str,
    policy: bytes,
    choice: int,
    seed: bytes,
    contact: Contact | None,
    after: int | None,
) -> PledgeFile:
    steps = tuple(Step() for _ in scope.manifest.issuers)
    blob = None if contact is None else _seal(scope.manifest, contact, seed)
    content = PledgeFile(
        ledger, policy, scope.manifest, choice, seed, view.raw, steps, blob=blob, after=after
    )
    try:
        return store.create(content)
    except MalformedError as exc:
        raise ConfigurationError(f"this cannot be kept in a pledge file: {exc}") from exc


def _seal(manifest: Manifest, contact: Contact, seed: bytes) -> bytes:
    if manifest.contacts is None or manifest.trustees is None:
        raise NotEligibleError("the scope takes no contacts")
    revision_key = signature.public_key(revision_seed(seed, manifest.scope_id))
    return sealed.seal(
        contact,
        sealed.context(manifest.scope_id, revision_key),
        manifest.contacts.key,
        [trustee.scope_key for trustee in manifest.trustees.members],
        manifest.trustees.t,
        seed,
        seal_box,
    )


def _step(store: PledgeStore, content: PledgeFile, index: int, transport: Transport, ask: Ask) -> PledgeFile:
    def keep(session: str | None) -> None:
        nonlocal content
        content = store.save(content.with_step(index, Step(session=session)))

    conversation = Conversation(content.manifest, index, transport, ask)
    authenticator = conversation.obtain(content.steps[index].session, keep, content.nullifier, content.seed)
    return store.save(content.with_step(index, Step(authenticator=authenticator)))
