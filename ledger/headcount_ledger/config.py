"""The ledger's part of the node's TOML file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headcount_spec.errors import ConfigurationError

DEFAULT_TICK_S = 60
DEFAULT_MAX_WAITING = 4096


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """How one ledger runs; what it is (origin line, key) was decided when it was created."""

    directory: Path  # holds the database, the key and the published tree; made by `headcount ledger create`
    tick_s: int = DEFAULT_TICK_S  # batches are sealed at multiples of it; longer hides more, shows later
    max_waiting: int = DEFAULT_MAX_WAITING  # requests that wait for the writer; one more is answered 503
    witnesses: Path | None = None  # a tlog-policy; if none is named, the file `witnesses` in the directory

    def __post_init__(self) -> None:
        if self.tick_s < 1:
            raise ConfigurationError("ledger.tick_s is at least 1")
        if self.max_waiting < 1:
            raise ConfigurationError("ledger.max_waiting is at least 1")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], base: Path) -> LedgerConfig:
        """Read the table [ledger]; relative paths are relative to base.

        Raises:
            ConfigurationError: a member is missing, unknown or of another type.
        """
        members = dict(table)
        directory = members.pop("directory", None)
        if not isinstance(directory, str):
            raise ConfigurationError("ledger.directory is missing or no text")
        numbers = {
            "tick_s": members.pop("tick_s", DEFAULT_TICK_S),
            "max_waiting": members.pop("max_waiting", DEFAULT_MAX_WAITING),
        }
        for name, value in numbers.items():
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigurationError(f"ledger.{name} is no whole number")
        witnesses = members.pop("witnesses", None)
        if not isinstance(witnesses, str | None):
            raise ConfigurationError("ledger.witnesses is no text")
        if members:
            raise ConfigurationError(f"ledger.{min(members)} is unknown")
        policy = None if witnesses is None else base / witnesses
        return cls(base / directory, **numbers, witnesses=policy)

    @property
    def public(self) -> Path:
        """The published tree."""
        return self.directory / "public"

    @property
    def pending(self) -> Path:
        """The batch between its sealing and its publication."""
        return self.directory / "pending"

    @property
    def database(self) -> Path:
        """What is accepted, what is spent, and the head."""
        return self.directory / "ledger.sqlite"

    @property
    def key(self) -> Path:
        """The private key of checkpoints, promises and closings."""
        return self.directory / "key"

    @property
    def witness_policy(self) -> Path | None:
        """The policy whose quorum cosigns every checkpoint before it is published; None without one."""
        usual = self.directory / "witnesses"
        return self.witnesses or (usual if usual.exists() else None)

    @property
    def lock(self) -> Path:
        """Locked by the one sequencer."""
        return self.directory / "sequencer.lock"
