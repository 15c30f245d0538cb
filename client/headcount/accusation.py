"""Accusing a ledger of a broken promise, and judging such an accusation without the ledger.

The file shows the promise, the pledge's nullifier and few entries around its place; it names nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headcount import private_file, receipt
from headcount.pledge_file import PledgeFile, PledgeStore
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import Transport
from headcount_ledger.reader.view import LedgerView, Progress, open_ledger
from headcount_spec import accusation as accusations
from headcount_spec.accusation import Accusation, Preimage, VerifiedAccusation, verify_accusation
from headcount_spec.entry import parse_entry
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotFoundError,
    ProofError,
    UnavailableError,
    VerificationError,
)
from headcount_spec.notice import Notice
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise
from headcount_spec.scope import ScopeId
from headcount_spec.text import format_day, parse_decimal
from headcount_spec.tlog_proof import TlogProof, VerifiedInclusion

SUFFIX = ".accusation"
_MAX_HINTS = 64  # the manifest is among a scope's first notices


@dataclass(frozen=True, slots=True)
class Accused:
    """One promise that was broken."""

    verified: VerifiedAccusation
    path: Path  # where the accusation was written

    @property
    def serial(self) -> int:
        """0 the pledge, from 1 its changes."""
        return self.verified.promise.serial


def accuse(
    place: Path | PledgeStore, *, transport: Transport, day: int, progress: Progress | None = None
) -> tuple[Accused, ...]:
    """Accuse the ledger of each promise to the file's pledge that it has broken, in files beside it.

    ``me.pledge`` gets ``me.accusation``, and ``me.1.accusation`` for its first change.

    Raises:
        ConfigurationError: nothing was sent yet, or a file cannot be read or written.
        UnavailableError: the deadline has not passed, or the ledger cannot be read.
        ProofError: the promises were kept, or the ledger's files do not show that one was not.
        MisbehaviourError: the ledger contradicts itself; carries the evidence.
        VerificationError: the ledger's checkpoint is not one that the file's policy accepts.
    """
    store = PledgeStore.at(place)
    content = store.load()
    if content.promise is None:
        raise ConfigurationError("the pledge was not sent yet")
    if day <= content.promise.deadline:
        deadline = format_day(content.promise.deadline)
        raise UnavailableError(f"the ledger may keep its promise until the end of {deadline}")
    view = open_ledger(open_fetch(content.ledger, transport), content.trust(), (content.checkpoint,))
    broken = [item.promise for item in receipt.find(content, view, progress) if item.proof is None]
    if not broken:
        raise ProofError("the ledger has kept its promise; headcount receipt writes the proof")
    first = find_manifest(view, content.manifest.scope_id)
    return tuple(_accuse(promise, content, view, first, store.path) for promise in broken)


def build(
    promise: Promise, preimage: Preimage, view: LedgerView, first: int
) -> tuple[Accusation, VerifiedAccusation]:
    """The accusation for one promise; first is the leaf index of the scope's manifest.

    Raises:
        ProofError: the promise was kept, or the files do not show that it was not.
    """
    made = accusations.accuse(promise, preimage, view.scan(first), view.reader.hash, view.raw)
    return made, verify_accusation(made, view.policy)


def judge(
    accusation: Accusation, policy: Policy, refuting: TlogProof | None = None
) -> tuple[VerifiedAccusation, VerifiedInclusion | None]:
    """Check an accusation, and that the receipt, if one is given, refutes it.

    Raises:
        ProtocolError: as accusation.verify_accusation and accusation.refute of the specification.
    """
    verified = verify_accusation(accusation, policy)
    return verified, None if refuting is None else accusations.refute(verified, refuting, policy)


def find_manifest(view: LedgerView, scope_id: ScopeId) -> int:
    """The leaf index of a scope's manifest: by the ledger's hint, or by reading everything.

    Raises:
        NotFoundError: the ledger does not have it.
    """
    for entries in (_hinted(view, scope_id), view.scan(0)):
        for index, data in entries:
            if _is_manifest(data, scope_id):
                return index
    raise NotFoundError("the ledger has no scope with this id")


def _hinted(view: LedgerView, scope_id: ScopeId) -> Iterator[tuple[int, bytes]]:
    try:
        lines = view.fetch(f"scopes/{scope_id.hex()}").decode("ascii").splitlines()[:_MAX_HINTS]
        for index in map(parse_decimal, lines):
            if index < view.size:
                yield index, view.entry(index)
    except (UnicodeDecodeError, MalformedError, NotFoundError, VerificationError):
        return  # a hint that leads nowhere costs time, no safety


def _is_manifest(data: bytes, scope_id: ScopeId) -> bool:
    try:
        entry = parse_entry(data)
    except MalformedError:
        return False
    if not isinstance(entry, Notice):
        return False
    return entry.statement.type == "manifest" and entry.statement.scope == scope_id


def _accuse(promise: Promise, content: PledgeFile, view: LedgerView, first: int, pledge: Path) -> Accused:
    preimage = Preimage(content.manifest.scope_id, content.choice, content.revision_key, content.sealed_hash)
    made, verified = build(promise, preimage, view, first)
    middle = f".{promise.serial}" if promise.serial else ""
    path = pledge.with_name(f"{pledge.stem}{middle}{SUFFIX}")
    private_file.write(path, made.to_bytes())
    return Accused(verified, path)
