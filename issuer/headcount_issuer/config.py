"""The issuer's part of a node's TOML file: the table ``[issuer]``.

Secrets are never in the file; it names the folder and the files that hold them. Each attester has a table
of its own below, such as ``[issuer.attesters.email]``, which its own module reads.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount_issuer.attester import AttesterConfig
from headcount_issuer.attesters import read_config
from headcount_issuer.custody import CustodyConfig
from headcount_issuer.meter import NetworkConfig
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.members import Members
from headcount_spec.terms import SERVER_NAME, URL


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Everything an issuer is told by its operator."""

    name: str  # issuer_name of token challenges: host and optional port, as in every manifest
    url: str  # under which clients reach it, without a slash at the end
    directory: Path  # keys and database
    ledger: str  # URL of the ledger, without a slash at the end
    attesters: Mapping[str, AttesterConfig]  # by name, in the order of the file
    session_s: int = 600  # from the question to the code, and from the proof to the signature
    max_sessions: int = 20_000  # in memory; then 503
    networks: NetworkConfig = field(default_factory=NetworkConfig)
    custody: CustodyConfig = field(default_factory=CustodyConfig)  # of the token keys

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.directory / "issuer.sqlite"

    @property
    def keys(self) -> Path:
        """The folder of the private keys."""
        return self.directory / "keys"

    @classmethod
    def from_table(cls, table: Mapping[str, Any], folder: Path) -> IssuerConfig:
        """Read the table; paths in it are relative to folder.

        Raises:
            ConfigurationError: a value is missing, unknown or out of its range.
        """
        try:
            return _read(Members(dict(table), "issuer"), folder)
        except MalformedError as exc:
            raise ConfigurationError(str(exc)) from exc

    @classmethod
    def from_file(cls, path: Path) -> IssuerConfig:
        """Read the ``[issuer]`` table of a node's TOML file.

        Raises:
            ConfigurationError: the file cannot be read, is no TOML, or as from_table.
        """
        try:
            table = tomllib.loads(path.read_text("utf-8")).get("issuer")
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise ConfigurationError(f"{path.name} is not TOML") from exc
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path.name} has no table [issuer]")
        return cls.from_table(table, path.parent)


def _read(members: Members, folder: Path) -> IssuerConfig:
    config = IssuerConfig(
        name=members.text("name", 253, SERVER_NAME),
        url=members.text("url", 500, URL),
        directory=folder / members.text("directory", 1000),
        ledger=members.text("ledger", 500, URL),
        attesters=_attesters(members, folder),
        session_s=members.integer_or("session_s", 600, 60, 3600),
        max_sessions=members.integer_or("max_sessions", 20_000, 1, 10_000_000),
        networks=NetworkConfig.read(members.object("networks"))
        if members.has("networks")
        else NetworkConfig(),
        custody=_custody(members, folder),
    )
    members.finish()
    return config


def _custody(members: Members, folder: Path) -> CustodyConfig:
    if not members.has("custody"):
        return CustodyConfig()
    return CustodyConfig.read(members.object("custody"), folder)


def _attesters(members: Members, folder: Path) -> Mapping[str, AttesterConfig]:
    value = members.take("attesters")
    if not isinstance(value, dict) or not value:
        raise MalformedError("issuer.attesters: not a table with a table for each attester")
    tables = Members(value, "issuer.attesters")
    return {name: read_config(name, tables.object(name), folder) for name in value}
