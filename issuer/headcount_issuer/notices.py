"""What an issuer says in public: openings, issuance, code sheets; saved before they are sent.

A notice gets its place in the chain of this issuer's notices of the scope in one transaction, and the
same bytes are sent until the ledger has taken them. The ledger answers the same bytes the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import Connection, insert, select, update

from headcount_issuer.schema import notices, scopes
from headcount_issuer.store import ScopeRow, Store
from headcount_spec.errors import NotFoundError, UnavailableError
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice, sign_statement
from headcount_spec.problem import MAX_PROBLEM_BYTES, from_problem
from headcount_spec.statement import ISSUANCE_STEP, NO_PREVIOUS, Statement

MEDIA_TYPE = "application/vnd.headcount.entry"
_TIMEOUT_S = 30

Send = Callable[[bytes], None]  # one entry to the ledger; raises what the ledger answers


class LedgerIntake:
    """The ledger's POST /entries over HTTP."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self._url = f"{url}/entries"
        self._transport = transport

    def __call__(self, entry: bytes) -> None:
        """Send one entry; the same entry may be sent again.

        Raises:
            UnavailableError: the ledger does not answer.
            ProtocolError: what it answers, if it refuses.
        """
        try:
            with (
                httpx.Client(timeout=_TIMEOUT_S, transport=self._transport, trust_env=False) as client,
                client.stream(
                    "POST", self._url, content=entry, headers={"Content-Type": MEDIA_TYPE}
                ) as answer,
            ):
                if answer.status_code == 200:
                    return
                body = b""
                for chunk in answer.iter_bytes(MAX_PROBLEM_BYTES):
                    body += chunk
                    if len(body) > MAX_PROBLEM_BYTES:
                        break
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise UnavailableError("the ledger does not answer") from exc
        raise from_problem(answer.status_code, body)


class Notices:
    """The notices of one issuer."""

    def __init__(self, store: Store, seed: Callable[[], bytes], send: Send) -> None:
        """seed gives the Ed25519 seed of the notice key when something is to be signed."""
        self._store = store
        self._seed = seed
        self._send = send

    def open(self, row: ScopeRow, issuer: str, token_key_id: bytes) -> None:
        """Say that this token key opens this scope; when the ledger has taken it, signing may begin.

        Raises:
            ProtocolError: as flush; said again on the next call.
        """
        with self._store.transaction() as connection:
            if _last(connection, row.number) is None:
                body = {"issuer": issuer, "token_key_id": token_key_id.hex()}
                self._append(connection, row, "opening", body)
        self.flush(row)
        self._store.set_opened(row.number)

    def issue(self, row: ScopeRow, day: int, now: bool = False) -> None:
        """Say how many tokens were issued so far, once a day; with now, again if the number has grown.

        Raises:
            ProtocolError: as flush.
        """
        if not row.opened or day > row.manifest.deadline_day + 1:
            return
        with self._store.transaction() as connection:
            issued = connection.execute(
                select(scopes.c.issued).where(scopes.c.number == row.number)
            ).scalar_one()
            rounded = -(-issued // ISSUANCE_STEP) * ISSUANCE_STEP
            last_day, last_issued = self._last_issuance(connection, row.number)
            is_over = bool(self._destroyed(connection, row.number))  # the last number is said
            if not is_over and (day > last_day or (now and rounded > last_issued)):
                body = {"day": max(day, last_day), "issued": rounded}
                self._append(connection, row, "issuance", body)
        self.flush(row)

    def announce_codes(self, row: ScopeRow, root: bytes, number: int, tags: list[bytes]) -> None:
        """Keep the tags of a sheet, and what is to be said of it: root and size. flush sends it.

        Raises:
            NotFoundError: the scope is not open here.
        """
        if not row.opened:
            raise NotFoundError("this issuer has not opened the scope")
        with self._store.transaction() as connection:
            self._store.add_codes(connection, row.number, tags)
            self._append(connection, row, "codes", {"root": root.hex(), "number": number})

    def destroyed(self, row: ScopeRow, day: int, keys: list[str]) -> None:
        """Say which keys of a scope are destroyed, once for each set.

        Raises:
            ProtocolError: as flush; said again on the next call.
        """
        with self._store.transaction() as connection:
            said = self._destroyed(connection, row.number)
            if not said.issuperset(keys):
                self._append(connection, row, "destruction", {"day": day, "keys": keys})
        self.flush(row)

    def said_destroyed(self, row: ScopeRow) -> set[str]:
        """The keys of a scope that this issuer has said are destroyed: tag, token."""
        with self._store.reading() as connection:
            return self._destroyed(connection, row.number)

    def flush(self, row: ScopeRow) -> None:
        """Send what the ledger has not taken yet, in order.

        Raises:
            UnavailableError: the ledger does not answer; nothing is lost.
            ProtocolError: it refuses.
        """
        unsent = select(notices.c.seq, notices.c.entry).where(
            notices.c.number == row.number, notices.c.sent == 0
        )
        with self._store.reading() as connection:
            waiting = connection.execute(unsent.order_by(notices.c.seq)).all()
        for notice in waiting:
            self._send(notice.entry)
            with self._store.transaction() as connection:
                connection.execute(
                    update(notices)
                    .where(notices.c.number == row.number, notices.c.seq == notice.seq)
                    .values(sent=1)
                )

    def unsent(self) -> int:
        """How many notices the ledger has not taken yet."""
        with self._store.reading() as connection:
            return len(connection.execute(select(notices.c.seq).where(notices.c.sent == 0)).all())

    def _append(self, connection: Connection, row: ScopeRow, type: str, body: dict[str, Any]) -> None:
        last = _last(connection, row.number)
        seq, prev = (0, NO_PREVIOUS) if last is None else (last.statement.seq + 1, leaf_hash(last.to_bytes()))
        statement = Statement("issuer", row.manifest.scope_id, seq, prev, type, body)
        notice = sign_statement(statement, [self._seed()])
        connection.execute(
            insert(notices).values(number=row.number, seq=seq, entry=notice.to_bytes(), sent=0)
        )

    def _destroyed(self, connection: Connection, number: int) -> set[str]:
        query = select(notices.c.entry).where(notices.c.number == number)
        said: set[str] = set()
        for (entry,) in connection.execute(query):
            statement = Notice.from_bytes(entry).statement
            if statement.type == "destruction":
                said.update(statement.body["keys"])
        return said

    def _last_issuance(self, connection: Connection, number: int) -> tuple[int, int]:
        """(day, issued) of the last issuance notice, (-1, -1) before the first."""
        query = select(notices.c.entry).where(notices.c.number == number).order_by(notices.c.seq.desc())
        for (entry,) in connection.execute(query):
            statement = Notice.from_bytes(entry).statement
            if statement.type == "issuance":
                return statement.body["day"], statement.body["issued"]
        return -1, -1


def _last(connection: Connection, number: int) -> Notice | None:
    query = select(notices.c.entry).where(notices.c.number == number).order_by(notices.c.seq.desc()).limit(1)
    entry = connection.execute(query).scalar_one_or_none()
    return None if entry is None else Notice.from_bytes(entry)
