"""What a trustee does: enrol in a contact scope, check the count, release the key or destroy it.

The whole ledger is audited on the trustee's own machine, under the trustee's own policy and memory, before
anything is signed about it.
"""

from __future__ import annotations

from collections.abc import Callable

from headcount import notice as notices
from headcount.contact_audit import Checked
from headcount.contact_scope import ContactScope, Release, find_contacts
from headcount.trustee_keys import Identity, ScopeSecret, TrusteeFolder, member
from headcount_engine import bls
from headcount_ledger.reader.transport import Transport
from headcount_ledger.reader.view import LedgerView
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.jcs import JSON
from headcount_spec.notice import Notice, sign_statement, verify_notice
from headcount_spec.scope import Manifest
from headcount_spec.statement import NO_PREVIOUS, Statement
from headcount_spec.text import encode_base64


def enrol_draft(
    folder: TrusteeFolder, draft: dict[str, JSON], passphrase: Callable[[], str]
) -> dict[str, JSON] | None:
    """The draft with the trustee's keys in it; None if they are there already.

    Raises:
        ConfigurationError: it is no draft of a contact scope, or the folder cannot be written.
    """
    identity = folder.identity()
    trustees = draft.get("trustees")
    if draft.get("kind") != "contact" or not isinstance(trustees, dict):
        raise ConfigurationError("this is no draft of a contact scope: it has no trustees")
    members = trustees.get("members")
    if not isinstance(members, list):
        raise ConfigurationError("the draft's trustees are no list")
    own = encode_base64(identity.public_key)
    if any(isinstance(item, dict) and item.get("identity_key") == own for item in members):
        return None
    added = member(identity, folder.new_secret(passphrase()))
    return {**draft, "trustees": {**trustees, "members": [*members, added]}}


def enrolment(folder: TrusteeFolder, contacts: Manifest, view: LedgerView) -> Notice | None:
    """The signature on the final terms, as a notice; None if it is in the ledger already.

    Raises:
        UnknownKeyError: the terms do not have this trustee's keys, or the ledger not these terms.
        SignatureError: a trustee's BLS key comes without a proof of possession.
    """
    identity, i, secret = _own(folder, contacts)
    if secret is None:  # whoever holds that key would open in this trustee's name
        raise UnknownKeyError(
            "the terms have another key than this trustee's (restore a lost one: headcount trustee restore)"
        )
    scope = find_contacts(view, contacts.scope_id)
    for trustee in scope.trustees.members:
        try:
            bls.verify_possession(trustee.bls_key, trustee.bls_proof)
        except SignatureError as exc:
            raise SignatureError(f"{trustee.name}: {exc}") from exc
    if scope.said(i, "enrolment") is not None:
        return None
    return _notice(scope, identity, i, "enrolment", {"scope_key": encode_base64(contacts_key(contacts, i))})


def release(folder: TrusteeFolder, checked: Checked, day: int) -> Notice | None:
    """The notice that gives the key away and certifies the count; None if it is in the ledger already.

    day is this machine's UTC day.

    Raises:
        NotEligibleError: the campaign is not reached, or the days do not fit.
        UnknownKeyError: the terms do not have this trustee's keys, or they were never signed.
        ConfigurationError: the key is not in the folder.
    """
    scope = checked.scope
    identity, i, secret = _own(folder, scope.manifest)
    if scope.reached is None:
        raise NotEligibleError(f"the key stays closed: {checked.sentence}")
    if scope.said(i, "release") is not None:
        return None
    if scope.said(i, "enrolment") is None:
        raise UnknownKeyError("this trustee has never signed these terms")
    reached = scope.reached.reached
    if reached.day > day + 1:
        raise NotEligibleError("the seal is of a day that is still to come on this machine's clock")
    if secret is None:
        raise ConfigurationError("the key of this scope is not here: headcount trustee restore")
    body: dict[str, JSON] = {
        "private_key": encode_base64(secret.private_key),
        "seal": reached.batch,
        "live": reached.live,
        "signature": encode_base64(bls.sign(secret.bls_seed, reached.message)),
    }
    return _notice(scope, identity, i, "release", body)


def destroy(folder: TrusteeFolder, checked: Checked, day: int) -> Notice | None:
    """Destroy the key after the campaign has failed; the notice that says so, None if it is there already.

    day is this machine's UTC day: a ledger whose clock runs ahead destroys nothing. Copies of the backup
    elsewhere are the trustee's to destroy.

    Raises:
        NotEligibleError: the campaign may still be reached, or was, or the days do not fit.
        UnknownKeyError: the terms do not have this trustee's keys.
    """
    scope = checked.scope
    identity, i, _ = _own(folder, scope.manifest)
    if not checked.is_over:
        raise NotEligibleError(f"the key may still be needed: {checked.sentence}")
    campaign = scope.campaign.manifest
    is_closed = checked.report.scopes[campaign.scope_id].closed
    if day <= (campaign.closes if is_closed else campaign.deadline_day):
        raise NotEligibleError("the ledger says that it has ended, but this machine's clock does not")
    key = contacts_key(scope.manifest, i)
    folder.destroy(key)
    if scope.said(i, "destruction") is not None:
        return None
    return _notice(scope, identity, i, "destruction", {"scope_key": encode_base64(key)})


def post(notice: Notice, ledger: str, transport: Transport) -> None:
    """Hand the notice to the ledger.

    Raises:
        ProtocolError: as notice.post.
    """
    notices.post(notice, ledger, transport)


def contacts_key(contacts: Manifest, i: int) -> bytes:
    """The scope key of trustee i, from 1."""
    assert contacts.trustees is not None  # noqa: S101 a contact scope has them
    return contacts.trustees.members[i - 1].scope_key


def misfits(checked: Checked) -> dict[str, Release]:
    """Releases before the campaign was reached, or of another seal: proof against whoever signed them."""
    scope = checked.scope
    return {scope.name(i): found for i, found in scope.releases.items() if not found.matches(scope.reached)}


def _own(folder: TrusteeFolder, contacts: Manifest) -> tuple[Identity, int, ScopeSecret | None]:
    identity = folder.identity()
    members = contacts.trustees.members if contacts.trustees is not None else ()
    for i, trustee in enumerate(members, 1):
        if trustee.identity_key == identity.public_key:
            secret = folder.secret(trustee.scope_key)
            if secret is not None and trustee.bls_key != bls.public_key(secret.bls_seed):
                raise UnknownKeyError("the terms have another BLS key than this trustee's")
            return identity, i, secret
    raise UnknownKeyError(f"{identity.name} is no trustee of this scope")


def _notice(scope: ContactScope, identity: Identity, i: int, type: str, body: dict[str, JSON]) -> Notice:
    last = scope.view.last(f"trustee:{scope.name(i)}")
    previous = None if last is None else (last.statement.seq, last.leaf_hash)
    seq, prev = (0, NO_PREVIOUS) if previous is None else (previous[0] + 1, previous[1])
    statement = Statement("trustee", scope.manifest.scope_id, seq, prev, type, dict(body))
    signed = sign_statement(statement, [identity.seed])
    try:
        verify_notice(signed, scope.manifest, previous)
    except MalformedError as exc:
        raise UnknownKeyError("the terms have another key than this trustee's") from exc
    return signed
