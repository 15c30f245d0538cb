from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import select

import manifests
from headcount_ledger import schema
from headcount_ledger.audit import AuditReport, audit
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger, create
from headcount_ledger.storage import DirectoryStorage, Storage
from headcount_spec.scope import Manifest

DAY = manifests.OPENS + 1

# What a storage does with one write: carry it out or not, and then fail or not.
Fault = Callable[[str, str], tuple[bool, Exception | None]]


class FaultyStorage:
    """A storage whose writes fail as a test says, before or after they took effect."""

    def __init__(self, inner: Storage, fault: Fault) -> None:
        self.inner = inner
        self.fault = fault

    def _write(self, method: str, path: str, write: Callable[[], None]) -> None:
        apply, error = self.fault(method, path)
        if apply:
            write()
        if error is not None:
            raise error

    def read(self, path: str) -> bytes:
        return self.inner.read(path)

    def create(self, objects: Iterable[tuple[str, bytes]]) -> None:
        for path, data in objects:
            self._write("create", path, lambda path=path, data=data: self.inner.create([(path, data)]))

    def swap(self, path: str, data: bytes, previous: bytes | None) -> None:
        self._write("swap", path, lambda: self.inner.swap(path, data, previous))

    def put(self, path: str, data: bytes) -> None:
        self._write("put", path, lambda: self.inner.put(path, data))

    def collect(self, path: str) -> None:
        self._write("collect", path, lambda: self.inner.collect(path))


class FakeClock:
    """Seconds since 1970 that go where a test sends them."""

    def __init__(self, day: int = DAY) -> None:
        self.seconds = day * 86400 + 43200

    def __call__(self) -> int:
        return self.seconds

    def set_day(self, day: int) -> None:
        self.seconds = day * 86400 + 43200


def new_ledger(directory: Path, tick_s: int = 60, max_waiting: int = 4096) -> Ledger:
    """An empty ledger with the test manifests' origin line and key, open."""
    config = LedgerConfig(directory, tick_s, max_waiting)
    create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
    return Ledger.open(config)


def stage_terms(ledger: Ledger, *scopes: Manifest, day: int = DAY) -> None:
    """Send manifests, texts and openings."""
    for scope in scopes:
        notices = [
            manifests.manifest_notice(scope),
            *manifests.text_notices(scope),
            *manifests.openings(scope),
        ]
        for notice in notices:
            ledger.accept(notice.to_bytes(), day)


def open_scopes(ledger: Ledger, *scopes: Manifest, day: int = DAY) -> None:
    """Send the terms and seal them: from now on pledges are accepted."""
    stage_terms(ledger, *scopes, day=day)
    assert ledger.seal(day) is not None


def whole_audit(ledger: Ledger) -> AuditReport:
    """Recount the whole ledger from its files; no fault but that nobody plays the issuer."""
    report = audit(DirectoryStorage(ledger.config.public).read, ledger.policy())
    assert [fault for fault in report.faults if fault.code != "missing-issuance"] == []
    head = ledger.head()
    assert (report.size, report.root) == (head.size, head.root)
    return report


def published(ledger: Ledger) -> dict[str, bytes]:
    """Every published file."""
    return files(ledger.config.public)


def files(public: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    paths = (path for path in sorted(public.rglob("*")) if path.is_file())
    return {str(path.relative_to(public)): path.read_bytes() for path in paths}


def tables(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    engine = schema.open_engine(ledger.config.database)
    try:
        with engine.begin() as tx:
            return {
                table.name: sorted(tuple(row) for row in tx.execute(select(table)))
                for table in (*schema.metadata.sorted_tables, *schema.arrivals_metadata.sorted_tables)
            }
    finally:
        engine.dispose()
