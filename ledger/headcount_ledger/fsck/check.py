"""The check of one ledger: opens it, takes the sequencer's lock, and asks each part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError

from headcount_ledger import schema
from headcount_ledger.audit import audit
from headcount_ledger.config import LedgerConfig
from headcount_ledger.effects import check_head
from headcount_ledger.fsck.finding import Finding, Findings
from headcount_ledger.fsck.folder import check_folder
from headcount_ledger.fsck.rows import RowCheck
from headcount_ledger.fsck.unfinished import published_view
from headcount_ledger.fsck.waiting import check_waiting
from headcount_ledger.head import Head, load_head
from headcount_ledger.history import check_history, previous_checkpoint
from headcount_ledger.place import open_database, open_pending, open_storage, read_key
from headcount_ledger.storage import CHECKPOINT, find
from headcount_ledger.store import LockedStore, Store
from headcount_spec.checkpoint import open_checkpoint
from headcount_spec.errors import ConfigurationError, CorruptionError, ProtocolError, UnavailableError
from headcount_spec.note import VerificationKey
from headcount_spec.policy import Log, Policy
from headcount_spec.tile import Fetch


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What was found, and how much was looked at."""

    origin: str
    batches: int
    entries: int
    waiting: int  # staged rows
    files: int
    findings: tuple[Finding, ...]  # errors first
    omitted: int  # beyond finding.MAX_PER_CODE of one code

    @property
    def ok(self) -> bool:
        """Whether there is no error; notes do not count."""
        return not any(finding.is_error for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        return {
            "ok": self.ok,
            "origin": self.origin,
            "batches": self.batches,
            "entries": self.entries,
            "waiting": self.waiting,
            "files": self.files,
            "findings": [finding.to_json() for finding in self.findings],
            "omitted": self.omitted,
        }


def fsck(config: LedgerConfig, day: int) -> FsckReport:
    """Verify every stored byte of a ledger that nobody seals meanwhile; day is today's UTC day.

    Entries may be accepted at the same time: the database is read in one transaction.

    Raises:
        ConfigurationError: there is no ledger.
        UnavailableError: a sequencer runs on it.
    """
    if not config.key.is_file():
        raise ConfigurationError(f"no ledger in {config.directory}")
    with closing(Store(open_database(config))) as store, store.locked(config.lock) as locked:
        return _Check(config, day, locked).run()


class _Check:
    """The state of one run."""

    def __init__(self, config: LedgerConfig, day: int, store: LockedStore) -> None:
        self.config = config
        self.day = day
        self.store = store
        self.findings = Findings()
        self.storage = open_storage(config)
        self.pending = open_pending(config, store)
        self.head: Head | None = None
        self.ends: list[int] | None = None
        self.entries = self.waiting = 0

    def run(self) -> FsckReport:
        """Everything."""
        try:
            self._check_database(self.store)
        except UnavailableError as exc:
            self.findings.add("damaged-database", self.config.database.name, str(exc.__cause__ or exc))
        finally:
            self.store.close()  # before the files are looked at; the lock stays
        files = check_folder(self.config, self.head, self.ends, self.findings)
        return FsckReport(
            origin=self.head.key.split("+")[0] if self.head is not None else "",
            batches=self.head.batches if self.head is not None else 0,
            entries=self.entries,
            waiting=self.waiting,
            files=files,
            findings=tuple(self.findings),
            omitted=self.findings.omitted,
        )

    def _check_database(self, store: Store) -> None:
        with store.read() as tx:
            for line in _integrity(tx):
                self.findings.add("damaged-database", self.config.database.name, line)
            for successor in tx.execute(select(schema.frozen.c.successor)).scalars():
                self.findings.add("moved-ledger", schema.frozen.name, f"to {successor}")
            head = load_head(tx)
            try:
                log_key = VerificationKey.from_text(head.key)
            except ProtocolError as exc:
                self.findings.add("wrong-head", "head", f"its key: {exc}")
                return
            self.head = head
            self._check_key(log_key)
            view = published_view(tx, head, self.storage, self.pending, self.findings)
            if view is not None:
                self._check_head(head, log_key, view)
                self._audit(head, log_key, view)
                rows = RowCheck(tx, head, self.day, self.findings)
                self.entries = rows.compare(view)
                self.ends = rows.ends if rows.is_whole else None
            self.waiting = check_waiting(tx, head, self.findings)

    def _check_key(self, log_key: VerificationKey) -> None:
        try:
            if read_key(self.config.key).verification_key != log_key:
                self.findings.add("damaged-key", self.config.key.name, "the head names another")
        except ConfigurationError:
            self.findings.add("damaged-key", self.config.key.name, "it cannot be read")

    def _check_head(self, head: Head, log_key: VerificationKey, view: Fetch) -> None:
        """The head against its own checkpoint, the last seal and what is published."""
        with self._as_finding("wrong-head", "head"):
            checkpoint = open_checkpoint(head.checkpoint, log_key).checkpoint
            if (checkpoint.size, checkpoint.root) != (head.size, head.root):
                raise CorruptionError("its checkpoint is of another tree")
        with self._as_finding("wrong-head", "head"):
            check_head(head, log_key.name, view)
        raw = find(self.storage, CHECKPOINT)
        with self._as_finding("wrong-head", CHECKPOINT):
            size = check_history(raw, head, log_key)
            if head.published is not None and size < head.size:
                raise CorruptionError("the published checkpoint is older than the database says")
        if head.batches and head.published is not None:
            with self._as_finding("wrong-head", CHECKPOINT):
                digest = previous_checkpoint(self.storage, head)
                if raw is None or hashlib.sha256(raw).digest() != digest:
                    raise CorruptionError("it is not the one that was archived")

    @contextmanager
    def _as_finding(self, code: str, place: str) -> Iterator[None]:
        try:
            yield
        except ProtocolError as exc:
            self.findings.add(code, place, str(exc))

    def _audit(self, head: Head, log_key: VerificationKey, view: Fetch) -> None:
        if head.batches == 0:
            return
        report = audit(view, Policy(logs=(Log(log_key),)))
        for fault in report.faults:
            places = (("batch", fault.batch), ("entry", fault.index), ("byte", fault.offset))
            where = ", ".join(f"{name} {value}" for name, value in places if value is not None)
            self.findings.add(fault.code, where or self.config.public.name, fault.detail)
        self.findings.omitted += report.faults_omitted


def _integrity(tx: Connection) -> list[str]:
    """What SQLite itself says of its file."""
    if tx.dialect.name != "sqlite":
        return []
    try:
        lines = [str(line) for line in tx.exec_driver_sql("PRAGMA integrity_check").scalars()]
    except DBAPIError as exc:
        return [str(exc.orig)]
    return [] if lines == ["ok"] else lines
