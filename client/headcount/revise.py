"""Changing and withdrawing a pledge: revisions, signed by the key that only the pledge file can make."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from headcount.pledge import choose_verifier, send
from headcount.pledge_file import Change, PledgeFile, PledgeStore
from headcount_ledger.reader.transport import Transport
from headcount_spec.errors import ConfigurationError, NotEligibleError, RevisionConflictError
from headcount_spec.revision import MAX_SERIAL
from headcount_spec.scope import WITHDRAWN


def revise(
    place: Path | PledgeStore,
    choice: int,
    *,
    transport: Transport,
    day: int,
    verifier: str | None = None,
    again: bool = False,
) -> PledgeFile:
    """Change the pledge of the file to another choice; WITHDRAWN withdraws it until the next change.

    With again, the choice that stands is said once more, instead of nothing.

    The change is saved before it is sent. One that was sent without an answer is sent again first,
    since it may stand. The ledger takes one change a batch: a second waits for the next one.

    Raises:
        ConfigurationError: nothing was pledged yet, or the file cannot be read or written.
        NotEligibleError: the scope has no such choice, or sixteen changes were made.
        ScopeClosedError: changes have ended.
        RevisionConflictError: another change stands, or waits to be published; the file knows its serial.
        SignatureError: the answer is not the ledger's promise for this change.
        RefusedError, UnavailableError: what the verifier answers, or nothing.
    """
    store = PledgeStore.at(place)
    content = store.load()
    if content.promise is None:
        raise ConfigurationError("the pledge was not sent yet, so there is nothing to change")
    manifest = content.manifest
    if choice != WITHDRAWN and not manifest.valid_choice(choice):
        raise NotEligibleError("the scope does not offer this choice")
    manifest.check_change(day)
    address = choose_verifier(content, verifier)
    if content.changes and content.changes[-1].promise is None:
        unanswered = content.changes[-1]
        content = _deliver(store, content, unanswered, address, transport)
        if unanswered.choice == choice:
            return content
    if _current(content) == choice and not again:
        return content
    change = Change(content.standing + 1, choice)
    if change.serial > MAX_SERIAL:
        raise NotEligibleError(f"a pledge can be changed {MAX_SERIAL} times, and this one was")
    content = store.save(replace(content, changes=(*content.changes, change)))
    return _deliver(store, content, change, address, transport)


def withdraw(
    place: Path | PledgeStore, *, transport: Transport, day: int, verifier: str | None = None
) -> PledgeFile:
    """Withdraw the pledge of the file: it stays in the ledger and no longer counts.

    Raises:
        ProtocolError: as revise.
    """
    return revise(place, WITHDRAWN, transport=transport, day=day, verifier=verifier)


def reaffirm(
    place: Path | PledgeStore, *, transport: Transport, day: int, verifier: str | None = None
) -> PledgeFile:
    """Say that the pledge of the file still stands, by a revision to the same choice.

    Raises:
        NotEligibleError: it was withdrawn, or changed on another device to what this file does not know.
        ProtocolError: as revise.
    """
    content = PledgeStore.at(place).load()
    if content.promise is not None and _current(content) in (None, WITHDRAWN):
        raise NotEligibleError("the pledge does not stand as this file knows it; revise says a choice")
    current = _current(content)
    choice = content.choice if current is None else current
    return revise(place, choice, transport=transport, day=day, verifier=verifier, again=True)


def _current(content: PledgeFile) -> int | None:
    """The choice that stands as far as this file knows; None if another device has changed it since."""
    if content.standing == 0:
        return content.choice
    return next((c.choice for c in content.changes if c.serial == content.standing), None)


def _deliver(
    store: PledgeStore, content: PledgeFile, change: Change, address: str, transport: Transport
) -> PledgeFile:
    try:
        promise = send(content.revision(change), address, content.manifest, transport)
    except RevisionConflictError as error:
        # Not this change: the one that stands is remembered, so that the next try comes after it.
        standing = min(max(content.standing, error.serial), MAX_SERIAL)
        store.save(replace(content, changes=content.changes[:-1], standing=standing))
        if standing == change.serial:
            message = "another change was accepted first, from another device or copy of the file"
        elif standing < change.serial:
            message = "the change before this one waits to be published; try again after the next batch"
        else:
            message = "this pledge was changed elsewhere since; the file now knows, try again"
        raise RevisionConflictError(message, error.serial) from error
    changes = (*content.changes[:-1], replace(change, promise=promise))
    return store.save(replace(content, changes=changes, standing=change.serial))
