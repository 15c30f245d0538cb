"""What the issuer keeps: scopes, used tags, codes of sheets, its own notices. SQLite.

A token is paid for by ``burn``: one transaction, durable before a signature is told. Requests that
wait at the same time share a transaction, in ascending order of their tags. The write-ahead log, which shows
the order of transactions, is emptied after each, when the database is opened and when it is closed; only
groups of ``burn_all`` may stand in it for a moment, until whoever calls that calls ``empty_log``. The layout
of the tags, and what a thief sees, is in tags.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    Select,
    create_engine,
    event,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from headcount_issuer.group import Group
from headcount_issuer.schema import codes, metadata, scopes
from headcount_issuer.sieve import Sieve
from headcount_issuer.tags import Look, Tags, count, prepare, used_tags
from headcount_spec.errors import (
    AlreadyIssuedError,
    ConfigurationError,
    NotEligibleError,
    ProtocolError,
    QuotaUsedError,
    UnavailableError,
)
from headcount_spec.scope import Manifest

_BUSY_S = 10  # how long another process of the same operator (the command line) may hold the file


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """A scope as it stands in the database."""

    number: int
    manifest: Manifest
    opened: bool  # the ledger has taken the opening notice
    issued: int


@dataclass(frozen=True, slots=True)
class Quota:
    """At most limit tokens of a scope for those who share a group, such as a mail domain.

    Places are tags like any others: the n-th token of the group uses up the tag of place n, so that
    no table of groups is kept.
    """

    place: Callable[[int], bytes] = field(repr=False)  # the tag of a place, from 0
    limit: int


def _interrupted() -> ProtocolError:
    return UnavailableError("the issuer was interrupted")


@dataclass(slots=True, eq=False)
class Wish:
    """Tags of one person to be used up for one message, all or none, and what became of it."""

    number: int  # of the scope
    tags: tuple[bytes, ...] = field(repr=False)  # ascending, distinct
    digest: bytes = field(repr=False)  # SHA-256 of the blinded message
    quota: Quota | None = None
    error: ProtocolError | None = field(default_factory=_interrupted)  # None once it is granted, durably

    @classmethod
    def of(cls, number: int, tags: Sequence[bytes], blinded_msg: bytes, quota: Quota | None = None) -> Wish:
        """A wish that nobody has decided."""
        if not tags:
            raise ValueError("a proof of nobody: it would be granted without end")
        return cls(number, tuple(sorted(set(tags))), hashlib.sha256(blinded_msg).digest(), quota)


class Store:
    """The database of one issuer; threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()  # of the writing connection
        self._writer = engine.connect().execution_options(write=True)
        self._driver: Any = self._writer.connection.driver_connection
        self._reader = engine.connect()
        self._reader_lock = threading.Lock()
        self._logged_at: float | None = None  # since when groups stand in the log; None: it is empty
        self._sieve: Sieve | None = None  # of all used tags, once it is filled
        self._look = Look(self._reader.connection.driver_connection)
        self._group = Group(self._grant)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Make a new database, readable by its owner only.

        Raises:
            ConfigurationError: the file exists, or cannot be written.
        """
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as exc:
            raise ConfigurationError(f"cannot create {path.name}: {exc.strerror}") from exc
        store = cls(_engine(path))
        with store.transaction() as connection:
            metadata.create_all(connection)
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open the database that create made, and empty the log that a crash has left; never makes one.

        Raises:
            ConfigurationError: there is none.
            UnavailableError: it cannot be written now.
        """
        if not path.is_file():
            raise ConfigurationError(f"{path.name} is missing: run headcount issuer init")
        store = cls(_engine(path))
        try:
            with store._lock, _writing():
                store._empty_log()
        except UnavailableError:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            if self._logged_at is not None:
                with contextlib.suppress(UnavailableError), _writing():
                    self._empty_log()
            self._writer.close()
            with self._reader_lock:
                self._reader.close()
            self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction; committed and out of the write-ahead log at the end.

        Raises:
            UnavailableError: the file is locked or cannot be written. Whether a commit failed before or
                after it was durable does not matter: everything here may be asked again.
        """
        with self._lock, _writing():
            with self._writer.begin():
                yield self._writer
            self._committed(lambda: None)

    def _committed(self, told: Callable[[], None], stays_in_log: bool = False) -> None:
        if self._logged_at is None:
            self._logged_at = time.monotonic()
        told()
        if not stays_in_log:
            self._empty_log()

    def log_age(self) -> float | None:
        """For how many seconds a group has stood in the write-ahead log, None if there is none."""
        logged_at = self._logged_at
        return None if logged_at is None else time.monotonic() - logged_at

    def empty_log(self) -> None:
        """Copy what the write-ahead log holds into its pages, and leave nothing in it.

        Raises:
            UnavailableError: not now; log_age begins anew.
        """
        with self._lock, _writing():
            self._empty_log()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view.

        Raises:
            UnavailableError: the file cannot be read now.
        """
        try:
            with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, sqlite3.Error) as exc:
            raise UnavailableError("the issuer's database cannot be read now") from exc

    def enrol(self, manifest: Manifest, token_key_id: bytes) -> ScopeRow:
        """Bind a token key to a scope for ever; the same binding again changes nothing.

        Raises:
            NotEligibleError: the key is bound to another scope, or the scope to another key.
        """
        with self.transaction() as connection:
            other = connection.execute(
                select(scopes.c.token_key_id).where(scopes.c.scope == manifest.scope_id)
            ).scalar_one_or_none()
            if other not in (None, token_key_id):
                raise NotEligibleError("the scope has a token key already; another key needs a new scope")
            bound = connection.execute(
                select(scopes.c.scope).where(scopes.c.token_key_id == token_key_id)
            ).scalar_one_or_none()
            if bound is not None and bound != manifest.scope_id:
                raise NotEligibleError("this token key was given to another scope; take it out of the draft")
            if bound is None:
                number = connection.execute(select(func.coalesce(func.max(scopes.c.number), 0))).scalar_one()
                connection.execute(
                    insert(scopes).values(
                        number=number + 1,
                        scope=manifest.scope_id,
                        token_key_id=token_key_id,
                        manifest=manifest.raw,
                        opened=0,
                        depth=0,
                        issued=0,
                    )
                )
                prepare(connection, number + 1)
        row = self.scope(manifest.scope_id)
        assert row is not None  # noqa: S101
        return row

    def set_opened(self, number: int) -> None:
        """The ledger has taken the opening notice: signing may begin."""
        with self.transaction() as connection:
            connection.execute(update(scopes).where(scopes.c.number == number).values(opened=1))

    def scope(self, scope_id: bytes) -> ScopeRow | None:
        """The scope with this id, if this issuer knows it."""
        with self.reading() as connection:
            row = connection.execute(select(scopes).where(scopes.c.scope == scope_id)).one_or_none()
        return None if row is None else _row(row)

    def scopes(self) -> list[ScopeRow]:
        """All scopes, in the order of enrolment."""
        with self.reading() as connection:
            return [_row(row) for row in connection.execute(select(scopes).order_by(scopes.c.number))]

    def burn(
        self, number: int, tags: Sequence[bytes], blinded_msg: bytes, quota: Quota | None = None
    ) -> None:
        """Use up tags for a blinded message, durably; the same message again changes nothing.

        All of the tags are used up or none.

        Raises:
            AlreadyIssuedError: one of them is used up, and not for this message.
            QuotaUsedError: no place of the quota is left.
            UnavailableError: the database cannot be written now.
        """
        wish = Wish.of(number, tags, blinded_msg, quota)
        self.burn_together(wish)
        if wish.error is not None:
            raise wish.error

    def burn_together(self, wish: Wish) -> None:
        """Have a wish decided with those of other threads that wait at the same time."""
        self._group.submit(wish)

    def burn_all(self, wishes: Sequence[Wish], decided: Callable[[], None]) -> None:
        """Decide wishes in one transaction; each says then whether it is granted, or why not.

        decided is called once, as soon as that is durable. The group stands in the write-ahead log until
        the next empty_log, which is the caller's to call soon, or the next other transaction.
        """
        self._grant(wishes, decided, stays_in_log=True)

    def check(self, wishes: Sequence[Wish]) -> list[ProtocolError | None]:
        """What burn would refuse each with by what is used up now; nothing is changed.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        sieve = self._sieve
        if sieve is not None:
            errors: list[ProtocolError | None] = [None] * len(wishes)
            caught = [i for i, wish in enumerate(wishes) if not sieve.passes(wish.tags)]
            if caught:
                for i, error in zip(caught, self._check([wishes[i] for i in caught]), strict=True):
                    errors[i] = error
            return errors
        return self._check(wishes)

    def _check(self, wishes: Sequence[Wish]) -> list[ProtocolError | None]:
        try:
            with self._reader_lock:
                digests = iter(self._look.find([(wish.number, tag) for wish in wishes for tag in wish.tags]))
        except sqlite3.Error as exc:
            raise UnavailableError("the issuer's database cannot be read now") from exc
        found = [[next(digests) for _ in wish.tags] for wish in wishes]
        return [
            None if not any(ours) or _is_granted(ours, wish.digest) else _another()
            for wish, ours in zip(wishes, found, strict=True)
        ]

    def fill_sieve(self) -> None:
        """Have check answer for most people from memory: reads all tags, some million a second.

        For the one process that burns: what another burns from now on is not looked at by check, and only
        burn refuses it.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        sieve = Sieve()
        with self._lock, _writing():  # nobody burns meanwhile
            sieve.add(used_tags(self._driver))
            self._sieve = sieve

    def is_burnt(self, number: int, tag: bytes) -> bool:
        """Whether a tag is used up."""
        with self.reading() as connection:
            return Tags(connection).find(number, tag) is not None

    def count_tags(self, number: int) -> int:
        """How many tags of a scope are used up."""
        with self.reading() as connection:
            return count(connection, number)

    def add_codes(self, connection: Connection, number: int, sheet: Sequence[bytes]) -> int:
        """Keep the tags of a sheet of codes, inside a transaction; how many the scope has with them."""
        connection.execute(insert(codes), [{"number": number, "tag": tag} for tag in sorted(sheet)])
        return int(connection.execute(_codes_of(number)).scalar_one())

    def count_codes(self, number: int) -> int:
        """How many codes stand on all of the scope's sheets."""
        with self.reading() as connection:
            return int(connection.execute(_codes_of(number)).scalar_one())

    def has_code(self, number: int, tag: bytes) -> bool:
        """Whether this is the tag of a code on one of the scope's sheets."""
        query = select(codes.c.tag).where(codes.c.number == number, codes.c.tag == tag)
        with self.reading() as connection:
            return connection.execute(query).one_or_none() is not None

    def _grant(
        self,
        wishes: Sequence[Wish],
        decided: Callable[[], None] = lambda: None,
        stays_in_log: bool = False,
    ) -> None:
        """Decide all that wait in one transaction, in the order of their tags."""
        ordered = sorted(wishes, key=lambda wish: (wish.number, wish.tags))
        errors: list[ProtocolError | None] = []
        is_told = False

        def tell() -> None:
            nonlocal is_told
            is_told = True
            for wish, error in zip(ordered, errors, strict=True):
                wish.error = error  # only now is the decision durable
            decided()

        try:
            with self._lock, _writing():
                self._execute("BEGIN IMMEDIATE")
                try:
                    errors = self._decide(ordered)
                    self._execute("COMMIT")
                except BaseException:
                    if self._driver.in_transaction:
                        self._execute("ROLLBACK")
                    raise
                self._committed(tell, stays_in_log)
        except ProtocolError as exc:
            if not is_told:  # else the log was not emptied, which the next transaction does
                errors = [exc] * len(ordered)
                tell()

    def _decide(self, ordered: Sequence[Wish]) -> list[ProtocolError | None]:
        # Past SQLAlchemy, whose part of a group would be as large as SQLite's.
        used = Tags(self._writer)
        used.read((wish.number, tag) for wish in ordered for tag in wish.tags)
        issued: Counter[int] = Counter()
        errors = [_decide(used, issued, wish) for wish in ordered]
        used.flush()
        self._driver.executemany(
            "UPDATE scopes SET issued = issued + ? WHERE number = ?",
            [(more, number) for number, more in issued.items()],
        )
        if self._sieve is not None:
            for wish in ordered:
                self._sieve.add(wish.tags)
        return errors

    def _execute(self, statement: str) -> None:
        self._driver.execute(statement)

    def _empty_log(self) -> None:
        # A reader in another process may delay this; whoever asks for log_age tries again.
        self._logged_at = time.monotonic()
        is_busy, _, _ = self._driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy:
            self._logged_at = None


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, sqlite3.Error) as exc:
        raise UnavailableError("the issuer's database cannot be written now") from exc


def _is_granted(found: Sequence[bytes | None], digest: bytes) -> bool:
    return all(one is not None and hmac.compare_digest(one, digest) for one in found)


def _another() -> ProtocolError:
    return AlreadyIssuedError("this person has a token of this scope for another message")


def _decide(used: Tags, issued: Counter[int], wish: Wish) -> ProtocolError | None:
    """What a request is refused with; None if its tags are used up for its message now."""
    found = [used.find(wish.number, tag) for tag in wish.tags]
    if _is_granted(found, wish.digest):
        return None
    if any(digest is not None for digest in found):
        return _another()
    if wish.quota is not None:
        place = _free_place(used, wish.number, wish.quota)
        if place is None:
            return QuotaUsedError("the quota of this mail domain is used up")
        # Not the request's digest: that would say which person took the place.
        used.put(wish.number, place, hashlib.sha256(place).digest())
    for tag in wish.tags:
        used.put(wish.number, tag, wish.digest)
    issued[wish.number] += 1
    return None


def _free_place(used: Tags, number: int, quota: Quota) -> bytes | None:
    low, high = 0, quota.limit  # places before low are taken, those from high on are free
    while low < high:
        middle = (low + high) // 2
        if used.find(number, quota.place(middle)) is None:
            high = middle
        else:
            low = middle + 1
    return quota.place(low) if low < quota.limit else None


def _codes_of(number: int) -> Select[int]:
    return select(func.count()).select_from(codes).where(codes.c.number == number)


def _row(row: Any) -> ScopeRow:
    return ScopeRow(row.number, _manifest(row.manifest), bool(row.opened), row.issued)


@functools.lru_cache(maxsize=1024)
def _manifest(raw: bytes) -> Manifest:
    return Manifest.from_bytes(raw)


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": _BUSY_S, "check_same_thread": False, "isolation_level": None},
        pool_size=8,
        max_overflow=-1,  # the server's threads are the bound
        hide_parameters=True,  # of statements, in messages of exceptions
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
