"""Leaving a way to be reached: a deposit in the campaign's contact scope, and its erasure.

The token comes from prove, with a contact; here the finished entry and its blob are sent, some time later.
Nothing of it names the pledge: another scope, another token, another revision key, another moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from headcount import pledge
from headcount.contact_scope import ContactScope, find_contacts
from headcount.pledge_file import PledgeFile, PledgeStore
from headcount.scope_view import find_scope
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import Transport, error_of, join, origin_of
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec import signature
from headcount_spec.deposit import DEPOSIT_TYPE, ERASURE_TYPE, Deposit, Erasure, erasure_message
from headcount_spec.errors import ConfigurationError, NotEligibleError, NotFoundError
from headcount_spec.scope import ScopeId

WAIT_S = (3600, 48 * 3600)  # between the token and the deposit: at least and at most


def draw_wait(draw: Callable[[int], int]) -> int:
    """How long to wait before a deposit, in seconds; draw(n) gives a number below n."""
    shortest, longest = WAIT_S
    return shortest + draw(longest - shortest)


def find_child(view: LedgerView, campaign: ScopeId) -> ContactScope:
    """The contact scope that the organisers of a campaign have named.

    Raises:
        NotFoundError: there is none.
        NotEligibleError: there are several.
    """
    found = find_scope(view, campaign, need_openings=False)
    ids = {n.statement.body["scope"] for n in found.notices if n.statement.type == "child"}
    children = []
    for child in sorted(ids):
        try:
            children.append(find_contacts(view, ScopeId(bytes.fromhex(child))))
        except NotFoundError:
            continue  # a round or a check-in, or not published yet
    if not children:
        raise NotFoundError("this campaign takes no contacts")
    if len(children) > 1:
        raise NotEligibleError("this campaign has several contact scopes; say which one")
    return children[0]


def deposit(
    place: Path | PledgeStore,
    *,
    transport: Transport,
    now: int,
    verifier: str | None = None,
    remembered: Iterable[bytes] = (),
) -> PledgeFile:
    """Send the entry of a contact, then its blob to the verifier's store; again it goes on where it was.

    The trustees are looked at once more: nothing goes to a store whose keys are already out. now is in
    seconds since 1970.

    Raises:
        NotEligibleError: it is not time yet, or the verifier is not an origin of the manifest.
        ConfigurationError: the file holds no contact, or is not finished.
        ScopeClosedError, UnknownKeyError: the campaign was reached, or a trustee has given the key away.
        MisbehaviourError: the ledger contradicts itself; carries the evidence.
        RefusedError, UnavailableError: what the verifier answers, or nothing.
    """
    store = PledgeStore.at(place)
    content = store.load()
    if content.blob is None:
        raise ConfigurationError("the file holds no contact")
    if content.is_deposited:
        return content
    if content.after is not None and now < content.after:
        raise NotEligibleError("it is too early: sent now, it could be connected with your pledge")
    view = open_ledger(
        open_fetch(content.ledger, transport), content.trust(), (*remembered, content.checkpoint)
    )
    find_contacts(view, content.manifest.scope_id).check_keys()
    content = pledge.submit(store, transport=transport, verifier=verifier, look=False)
    if content.promise is None or content.verifier is None or content.blob is None:
        raise ConfigurationError("the contact was not sent")
    sent = Deposit(content.manifest.scope_id, content.revision_key, content.promise, content.blob)
    _post(transport, content.verifier, "contacts", sent.to_bytes(), DEPOSIT_TYPE)
    return store.save(replace(content, is_deposited=True))


def erase(place: Path | PledgeStore, *, transport: Transport, verifier: str | None = None) -> PledgeFile:
    """Have the blob of this file erased from the store.

    Raises:
        ConfigurationError: the file holds no contact.
        NotEligibleError: the verifier is not an origin of the manifest.
        RefusedError, UnavailableError: what the verifier answers, or nothing.
    """
    store = PledgeStore.at(place)
    content = store.load()
    if content.blob is None:
        raise ConfigurationError("the file holds no contact")
    scope_id = content.manifest.scope_id
    value = signature.sign(content.private_seed, erasure_message(scope_id, content.nullifier))
    sent = Erasure(scope_id, content.revision_key, content.sealed_hash, value)
    address = pledge.choose_verifier(content, verifier)
    _post(transport, address, "erasures", sent.to_bytes(), ERASURE_TYPE)
    return store.save(replace(content, is_deposited=False))


def _post(transport: Transport, verifier: str, path: str, body: bytes, media_type: str) -> None:
    answer = transport("POST", join(verifier, path), body=body, headers={"Content-Type": media_type})
    if answer.status != 204:
        raise error_of(answer, origin_of(verifier))
