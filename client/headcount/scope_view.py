"""A scope as the ledger publishes it: its manifest and every notice about it, each proven and verified.

The ledger's hint ``scopes/<hex>`` says where a scope's notices stand. Nothing vouches for it, so each
entry is proven to be in the tree, and where the hint does not lead to a complete scope all bundles are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headcount_ledger.reader.view import LedgerView, Progress
from headcount_spec import notice as notices
from headcount_spec.errors import (
    MalformedError,
    NotFoundError,
    NoticeConflictError,
    UnknownKeyError,
    VerificationError,
)
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.notice import Notice, verify_notice
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.statement import Statement, manifest_of
from headcount_spec.text import parse_decimal

MAX_NOTICES = 20_000  # eight issuers that publish a count a day for six years


@dataclass(frozen=True, slots=True)
class PublishedNotice:
    """A verified notice at its place in the ledger."""

    index: int
    leaf_hash: LeafHash
    author: str  # "organiser", "issuer:<name>", "trustee:<name>" or "ledger"
    statement: Statement


@dataclass(frozen=True, slots=True)
class ScopeView:
    """A scope's terms and notices under one checkpoint."""

    manifest: Manifest
    notices: tuple[PublishedNotice, ...]  # by author, each author's in order

    def last(self, author: str) -> PublishedNotice | None:
        """The newest notice of an author."""
        return next((item for item in reversed(self.notices) if item.author == author), None)

    @property
    def texts(self) -> Mapping[str, str]:
        """The full texts that are published, by language."""
        found = (item.statement.body for item in self.notices if item.statement.type == "text")
        return {body["language"]: body["text"] for body in found}

    @property
    def missing_openings(self) -> tuple[str, ...]:
        """The names of listed issuers that have not opened the scope with the manifest's key."""
        opened = {item.author for item in self.notices if item.statement.type == "opening"}
        names = (issuer.name for issuer in self.manifest.issuers)
        return tuple(name for name in names if f"issuer:{name}" not in opened)

    def check_opened(self) -> None:
        """Check that every listed issuer has signed that its key opens this scope.

        Raises:
            UnknownKeyError: one has not.
        """
        if self.missing_openings:
            raise UnknownKeyError(
                f"the issuer {self.missing_openings[0]} has not opened this scope in the ledger"
            )


def find_scope(
    view: LedgerView, scope_id: ScopeId, *, need_openings: bool = True, progress: Progress | None = None
) -> ScopeView:
    """The scope with this id; verify_notice has passed every notice in it.

    Raises:
        NotFoundError: the ledger has no such scope.
        UnknownKeyError: an issuer has not opened it (if need_openings), or it is another ledger's.
        NoticeConflictError: a notice of its authors' sequences is missing or stands twice.
        ProofError: the published files are not those that the ledger signed.
    """
    scope = _from_hint(view, scope_id, need_openings)
    if scope is None:
        scope = _assemble(scope_id, ((i, data) for i, data in view.entries(progress) if _is_notice(data)))
    if scope is None:
        raise NotFoundError("the ledger has no scope with this id")
    view.check_terms(scope.manifest)
    if need_openings:
        scope.check_opened()
    return scope


def _from_hint(view: LedgerView, scope_id: ScopeId, need_openings: bool) -> ScopeView | None:
    try:
        lines = view.fetch(f"scopes/{scope_id.hex()}").decode("ascii").splitlines()
        indices = sorted({parse_decimal(line) for line in lines[:MAX_NOTICES]})
        scope = _assemble(scope_id, [(i, view.entry(i)) for i in indices if i < view.size])
    except (UnicodeDecodeError, MalformedError, NotFoundError, VerificationError, NoticeConflictError):
        return None  # a hint that leads nowhere costs time, no safety
    if scope is None or (need_openings and scope.missing_openings):
        return None
    return scope


def _is_notice(data: bytes) -> bool:
    return data.startswith(notices.HEADER)


def _assemble(scope_id: ScopeId, entries: Iterable[tuple[int, bytes]]) -> ScopeView | None:
    found: list[tuple[int, bytes, Notice]] = []
    for index, data in entries:
        try:
            notice = Notice.from_bytes(data)
        except MalformedError:
            continue  # a fault that the audit names; it says nothing about this scope
        if notice.statement.scope == scope_id:
            found.append((index, data, notice))
    manifest = next((manifest_of(n.statement) for _, _, n in found if n.statement.type == "manifest"), None)
    if manifest is None:
        return None
    by_author: dict[str, list[tuple[int, bytes, Notice]]] = {}
    for item in found:
        try:
            by_author.setdefault(notices.author(item[2], manifest), []).append(item)
        except UnknownKeyError:
            continue
    published: list[PublishedNotice] = []
    for author, items in sorted(by_author.items()):
        published += _chained(author, items, manifest)
    if not any(item.statement.type == "manifest" for item in published):
        return None
    return ScopeView(manifest, tuple(published))


def _chained(
    author: str, items: Sequence[tuple[int, bytes, Notice]], manifest: Manifest
) -> list[PublishedNotice]:
    chain: list[PublishedNotice] = []
    # Inside a batch notices stand by leaf hash, so the order of leaves is not that of the sequence.
    for index, data, notice in sorted(items, key=lambda item: (item[2].statement.seq, item[0])):
        previous = (chain[-1].statement.seq, chain[-1].leaf_hash) if chain else None
        try:
            statement = verify_notice(notice, manifest, previous)
        except (VerificationError, MalformedError):
            continue  # not said by its author: a fault that the audit names
        chain.append(PublishedNotice(index, leaf_hash(data), author, statement))
    return chain
