"""The end of a scope at an issuer: keys are destroyed, tags forgotten, and the ledger is told.

The token key goes as soon as the scope has closed. The tag key stays while another scope still asks
whether somebody has a token of this one: its children for parent-token-holders, the scope that
continues it, and theirs. Until then it could tell, of a given address, whether it took part; after that
nobody can, and what is left in the database is 32 random bytes a person, which go too.

What is destroyed is destroyed first and then said. Stopped anywhere, the same command goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, update

from headcount_issuer import tags
from headcount_issuer.enrolment import own_terms
from headcount_issuer.keys import Keys
from headcount_issuer.notices import Notices
from headcount_issuer.schema import codes, scopes
from headcount_issuer.store import ScopeRow, Store
from headcount_spec.errors import NotFoundError, ScopeClosedError
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import format_day

TAG, TOKEN = "tag", "token"


@dataclass(frozen=True, slots=True)
class Closed:
    """What is destroyed of a scope now, and until when the rest is needed."""

    destroyed: tuple[str, ...]  # tag, token: all that is gone, today or before
    tag_needed_until: int | None  # day, the last of the dependent scopes; None if the key is gone


class Closing:
    """Ends scopes of one issuer."""

    def __init__(self, name: str, store: Store, keys: Keys, notices: Notices) -> None:
        """name is the issuer's, as in manifests."""
        self._name = name
        self._store = store
        self._keys = keys
        self._notices = notices

    def close(self, scope_id: ScopeId, today: int) -> Closed:
        """Destroy whatever of a scope is not needed any more, and say so in the ledger.

        Raises:
            NotFoundError: this issuer does not know the scope.
            ScopeClosedError: it has not closed yet; nothing is destroyed.
            ConfigurationError: a key cannot be destroyed.
            UnavailableError: the database, the security module or the ledger does not answer. The next call
                goes on from there.
            ProtocolError: the ledger refuses the notice.
        """
        rows = self._store.scopes()
        row = next((row for row in rows if row.manifest.scope_id == scope_id), None)
        if row is None:
            raise NotFoundError("this issuer does not know the scope")
        if today <= row.manifest.closes:
            raise ScopeClosedError(f"the scope is open until {format_day(row.manifest.closes)}")
        until = needed_until(row.manifest, (other.manifest for other in rows))
        # The last number first: after the key is gone none may be higher.
        self._notices.issue(row, today, now=True)
        self._keys.destroy_token_key(own_terms(row.manifest, self._name).token_key_id)
        destroyed = [TOKEN]
        if today > until:
            self._keys.destroy_tag_key(scope_id)
            self._forget(row)
            destroyed.insert(0, TAG)
        if row.opened:
            self._notices.destroyed(row, today, destroyed)
        return Closed(tuple(destroyed), None if TAG in destroyed else until)

    def _forget(self, row: ScopeRow) -> None:
        """Leave one empty bucket of the tags, and no codes."""
        with self._store.transaction() as connection:
            tags.clear(connection, row.number)
            connection.execute(delete(codes).where(codes.c.number == row.number))
            connection.execute(update(scopes).where(scopes.c.number == row.number).values(depth=0))


def needed_until(manifest: Manifest, others: Iterable[Manifest]) -> int:
    """The last day on which the tags of a scope are asked for: its own, or that of one that depends on it."""
    known = list(others)
    found = {manifest.scope_id: manifest}
    waiting = [manifest]
    while waiting:
        current = waiting.pop()
        for other in known:
            if other.scope_id not in found and depends(other, current.scope_id):
                found[other.scope_id] = other
                waiting.append(other)
    return max(one.closes for one in found.values())


def depends(manifest: Manifest, scope_id: ScopeId) -> bool:
    """Whether a scope asks who has a token of another."""
    if manifest.continues is not None and manifest.continues.scope == scope_id:
        return True
    return manifest.eligible == "parent-token-holders" and manifest.parent == scope_id
