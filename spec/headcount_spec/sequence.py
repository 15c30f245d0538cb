"""All notices of one scope in their places: who has said what, in which batch, and in which order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headcount_spec.errors import ProofError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.notice import Notice, author, verify_notice
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.statement import manifest_of

_ISSUER = "issuer:"


@dataclass(frozen=True, slots=True)
class Said:
    """A notice whose author and place in the author's sequence are verified."""

    author: str  # "organiser", "issuer:<name>", "trustee:<name>" or "ledger"
    seq: int
    type: str
    body: Mapping[str, Any]
    index: int  # of the leaf
    batch: int

    @property
    def issuer(self) -> str:
        """The name of the issuer that says it; empty if another role does."""
        return self.author.removeprefix(_ISSUER) if self.author.startswith(_ISSUER) else ""


def manifest_in(notices: Sequence[tuple[int, Notice]], scope_id: ScopeId) -> tuple[int, Manifest]:
    """The manifest of a scope among notices, with the index of its leaf.

    Raises:
        ProofError: it is not there.
    """
    for index, notice in notices:
        if notice.statement.type == "manifest" and notice.statement.scope == scope_id:
            return index, manifest_of(notice.statement)
    raise ProofError("the manifest of the scope is missing")


def read_notices(
    manifest: Manifest, notices: Sequence[tuple[int, Notice]], seals: Sequence[tuple[int, int]]
) -> tuple[Said, ...]:
    """Verify notices (leaf index, notice) of one scope; seals are (leaf index, batch), ascending.

    The result is in the order of each author's sequence; each begins with the author's first notice.

    Raises:
        UnknownKeyError, SignatureError, MalformedError: a notice is another scope's, not by its author,
            or contradicts the manifest.
        NoticeConflictError: one of a sequence is missing or stands twice.
        ProofError: no seal follows one.
    """
    ends = [index for index, _ in seals]
    previous: dict[str, tuple[int, LeafHash]] = {}
    said = []
    # Inside a batch notices stand by leaf hash, so the order of leaves is not that of the sequence.
    for index, notice in sorted(notices, key=lambda item: (item[1].statement.seq, item[0])):
        who = author(notice, manifest)
        statement = verify_notice(notice, manifest, previous.get(who))
        previous[who] = (statement.seq, leaf_hash(notice.to_bytes()))
        place = bisect_left(ends, index)
        if place == len(ends):
            raise ProofError("no seal follows a notice")
        said.append(Said(who, statement.seq, statement.type, statement.body, index, seals[place][1]))
    return tuple(said)
