"""Acceptance of notices: all of it in the transaction, so that two cannot pass each other's checks.

Notices are few; nothing here has to be fast.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from headcount_ledger import sealed, staged
from headcount_ledger.config import MAX_NOTICES
from headcount_ledger.head import load_head
from headcount_spec import lint
from headcount_spec.errors import (
    NotEligibleError,
    NotFoundError,
    NoticeConflictError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import VerificationKey
from headcount_spec.notice import Notice, author, manifest_of, verify_notice
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest, ScopeId

RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class Admission:
    """Whose terms a ledger takes."""

    witnesses: Collection[VerificationKey] | None  # whose cosignatures they may ask for; None: anybody's
    organisers: Collection[bytes] | None  # public keys, one of which signs them; None: anybody's


ANYBODY = Admission(None, None)


def take_notice(tx: Connection, data: bytes, day: int, admission: Admission = ANYBODY) -> None:
    """Check a notice against those that stand and stage it; the same again does nothing.

    Raises:
        MalformedError, SignatureError, UnknownKeyError: it is not signed by those who must sign it.
        NotFoundError: its scope, the parent of its terms or what they continue is not in this ledger.
        NotEligibleError: the terms are not fit to be opened here.
        NoticeConflictError: another one stands in its place.
        UnavailableError: too many wait for a batch.
    """
    notice, hash = Notice.from_bytes(data), leaf_hash(data)
    statement = notice.statement
    is_manifest = statement.type == "manifest"
    manifest = manifest_of(statement) if is_manifest else find_terms(tx, statement.scope)
    name = author(notice, manifest)
    if staged.find_notice(tx, statement.scope, name, statement.seq) == hash:
        return
    last = staged.last_notice(tx, statement.scope, name)
    verify_notice(notice, manifest, None if last is None else (last.seq, last.leaf_hash))
    if statement.role == "ledger":
        raise NoticeConflictError("the ledger writes its own notices", statement.seq)
    if is_manifest:
        _check_organisers(notice, admission)
        _check_terms(tx, manifest, day, admission)
    if staged.count_notices(tx) >= MAX_NOTICES:
        raise UnavailableError("too many notices wait for a batch", RETRY_AFTER_S)
    staged.stage_notice(tx, statement.scope, name, statement.seq, statement.type, hash, data)


def find_terms(tx: Connection, scope: ScopeId) -> Manifest:
    """The manifest of a scope, sealed or staged.

    Raises:
        NotFoundError: there is none.
    """
    manifest = sealed.manifest(tx, scope) or staged.manifest(tx, scope)
    if manifest is None:
        raise NotFoundError("no such scope in this ledger")
    return manifest


def _check_organisers(notice: Notice, admission: Admission) -> None:
    """Refuse terms of strangers: a title once taken is refused to those who come later."""
    organisers = admission.organisers
    if organisers is not None and not any(key in organisers for key, _ in notice.signatures):
        raise NotEligibleError("this ledger takes the terms of organisers that its operator knows")


def _check_terms(tx: Connection, manifest: Manifest, day: int, admission: Admission) -> None:
    """Refuse terms that an audit would fault."""
    if manifest.ledger.key != VerificationKey.from_text(load_head(tx).key):
        raise NotEligibleError("the pledges of these terms count in another ledger")
    others = {**sealed.manifests(tx), **staged.manifests(tx)}
    if manifest.parent is not None and manifest.parent not in others:
        raise NotFoundError("the parent scope is not in this ledger")
    if manifest.continues is not None:
        if manifest.continues.scope not in others:
            raise NotFoundError("the scope that these terms continue is not in this ledger")
        if manifest.continues.seal >= load_head(tx).batches:
            raise NotEligibleError("the seal from which these terms continue is not there yet")
    token_keys = {issuer.token_key for other in others.values() for issuer in other.issuers}
    if any(issuer.token_key in token_keys for issuer in manifest.issuers):
        raise NotEligibleError("a token key of these terms serves another scope")
    if admission.witnesses is not None:
        asked = Policy.from_bytes(manifest.witnesses.encode())
        try:
            asked.check_quorum(w.name for w in asked.witnesses if w.key in admission.witnesses)
        except UnknownKeyError as exc:
            raise NotEligibleError("these terms ask for witnesses that the ledger does not ask") from exc
    for finding in lint.lint(manifest.json, others.values(), day):
        if finding.severity == "error":
            raise NotEligibleError(f"{finding.path}: {finding.message}")
