"""The verifier's part of a node's TOML file: the table ``[verifier]``.

    [verifier]
    ledger = "http://localhost:8000/ledger"   # where pledges are handed on
    scopes = "scopes"                         # a folder of manifests named <scope id>.json
    contacts = "contacts"                     # optional: a folder for the sealed contacts of contact scopes

or, one by one, each file under the scope id that it must have:

    [verifier.scopes]
    9f2c… = "we-move-together.json"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.members import Members, check_text
from headcount_spec.scope import ScopeId
from headcount_spec.terms import URL
from headcount_spec.text import decode_hex

DEFAULT_TIMEOUT_S = 20


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """Which scopes a verifier accepts, and the ledger behind it."""

    ledger: str  # URL of the ledger, without a slash at the end
    folder: Path | None = None  # manifests named <scope id>.json; new ones are found while running
    files: Mapping[ScopeId, Path] | None = None  # or each manifest by itself
    timeout_s: int = DEFAULT_TIMEOUT_S  # for the ledger's answer, which waits for its disk
    contacts: Path | None = None  # folder of the contact store; None keeps no contacts

    @classmethod
    def from_table(cls, table: Mapping[str, Any], base: Path) -> VerifierConfig:
        """Read the table; paths in it are relative to base.

        Raises:
            ConfigurationError: a value is missing, unknown or out of its range.
        """
        try:
            return _read(Members(dict(table), "verifier"), base)
        except MalformedError as exc:
            raise ConfigurationError(str(exc)) from exc

    @classmethod
    def from_file(cls, path: Path) -> VerifierConfig:
        """Read the ``[verifier]`` table of a TOML file; other tables belong to other roles.

        Raises:
            ConfigurationError: the file cannot be read, is no TOML, or as from_table.
        """
        try:
            table = tomllib.loads(path.read_text("utf-8")).get("verifier")
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise ConfigurationError(f"{path.name} is not TOML") from exc
        if not isinstance(table, dict):
            raise ConfigurationError(f"{path.name} has no table [verifier]")
        return cls.from_table(table, path.parent)


def _read(members: Members, base: Path) -> VerifierConfig:
    scopes = members.take("scopes")
    files = None
    if isinstance(scopes, dict):
        files = {
            ScopeId(decode_hex(name, 32)): base / check_text(path, f"verifier.scopes.{name}", 1000)
            for name, path in scopes.items()
        }
    config = VerifierConfig(
        ledger=members.text("ledger", 500, URL),
        folder=base / check_text(scopes, "verifier.scopes", 1000) if files is None else None,
        files=files,
        timeout_s=members.integer("timeout_s", 1, 300) if members.has("timeout_s") else DEFAULT_TIMEOUT_S,
    )
    if members.has("contacts"):
        config = replace(config, contacts=base / members.text("contacts", 1000))
    members.finish()
    return config
