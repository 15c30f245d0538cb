"""Where a ledger can stand: SQLite and a directory, or PostgreSQL and a bucket; tests take both."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from sqlalchemy import select

import fakes
import manifests
import servers
from headcount_ledger import schema
from headcount_ledger.audit import AuditReport, audit
from headcount_ledger.config import BucketConfig, LedgerConfig
from headcount_ledger.ledger import Ledger, create
from headcount_ledger.place import open_database
from headcount_spec.errors import NotFoundError

NAMES = ("sqlite", "postgresql")


class Place(ABC):
    """One ledger in one place."""

    config: LedgerConfig  # of the first machine

    def create(self) -> Ledger:
        create(self.config, manifests.ORIGIN, manifests.LEDGER_SEED)
        return Ledger.open(self.config)

    @abstractmethod
    def another_machine(self) -> LedgerConfig:
        """What is configured on a machine that has nothing of the first one's disk but the key."""

    @abstractmethod
    def copy(self, directory: Path) -> Place:
        """The same ledger again, as it stands."""

    @abstractmethod
    def published(self) -> dict[str, bytes]:
        """Every published file, as everybody reads it."""

    def tables(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table."""
        engine = open_database(self.config)
        try:
            with engine.begin() as tx:
                return {
                    table.name: sorted(tuple(row) for row in tx.execute(select(table)))
                    for table in schema.metadata.sorted_tables
                }
        finally:
            engine.dispose()

    def whole_audit(self) -> AuditReport:
        """Recount the whole ledger from what is published."""
        files = self.published()

        def fetch(path: str) -> bytes:
            if path not in files:
                raise NotFoundError(path)
            return files[path]

        with Ledger.open(self.config) as ledger:
            head, policy = ledger.head(), ledger.policy()
        report = audit(fetch, policy)
        assert [fault for fault in report.faults if fault.code != "missing-issuance"] == []
        assert (report.size, report.root) == (head.size, head.root)
        return report

    def toml(self, file: Path, config: LedgerConfig) -> Path:
        """The configuration as a file."""
        lines = ["[ledger]", f'directory = "{config.directory}"']
        if config.postgresql is not None and config.bucket is not None:
            lines += [f'database = "{config.postgresql}"', f'storage = "{config.bucket.url}"']
            lines += ["[ledger.s3]", f'endpoint = "{config.bucket.endpoint}"']
            lines += [f'credentials = "{config.bucket.credentials}"']
        file.write_text("\n".join(lines) + "\n")
        return file


class OneMachine(Place):
    """SQLite and a directory."""

    def __init__(self, directory: Path) -> None:
        self.config = LedgerConfig(directory / "ledger")

    def another_machine(self) -> LedgerConfig:
        return self.config  # there is none

    def copy(self, directory: Path) -> OneMachine:
        shutil.copytree(self.config.directory, directory / "ledger")
        return OneMachine(directory)

    def published(self) -> dict[str, bytes]:
        return fakes.files(self.config.public)


class ManyMachines(Place):
    """PostgreSQL and a bucket."""

    def __init__(self, directory: Path, database: str | None = None, prefix: str | None = None) -> None:
        servers.require()
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "s3").write_text("[default]\naws_access_key_id = id\naws_secret_access_key = secret\n")
        self.database = database or servers.new_database()
        self.prefix = prefix or servers.new_prefix()
        self.machines = 0
        self.config = self._machine()

    def _machine(self) -> LedgerConfig:
        self.machines += 1
        return LedgerConfig(
            self.directory / f"machine{self.machines}",
            postgresql=servers.postgresql().format(self.database),
            bucket=BucketConfig(
                servers.BUCKET, self.prefix, endpoint=servers.s3(), credentials=self.directory / "s3"
            ),
        )

    def another_machine(self) -> LedgerConfig:
        config = self._machine()
        config.directory.mkdir()
        shutil.copy(self.config.key, config.key)
        return config

    def copy(self, directory: Path) -> ManyMachines:
        copied = ManyMachines(directory, servers.new_database(self.database), servers.new_prefix())
        servers.copy_objects(self.prefix, copied.prefix)
        copied.config.directory.mkdir()
        shutil.copy(self.config.key, copied.config.key)
        return copied

    def published(self) -> dict[str, bytes]:
        return servers.objects(self.prefix)


def new(name: str, directory: Path) -> Place:
    return OneMachine(directory) if name == "sqlite" else ManyMachines(directory)
