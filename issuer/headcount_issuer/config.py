"""The issuer's part of a node's TOML file: the table ``[issuer]``.

Secrets are never in the file; it names the folder and the files that hold them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount_issuer.custody import CustodyConfig
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.members import Members
from headcount_spec.terms import ATTESTER, SERVER_NAME, URL

_HOST = re.compile(r"\A[A-Za-z0-9.:-]{1,253}\Z")
_MAILBOX = re.compile(r"\A[A-Za-z0-9._-]{1,64}@[a-z0-9.-]{1,253}\Z")
_DOMAIN = re.compile(r"\A[a-z0-9-]+(?:\.[a-z0-9-]+)+\Z")
_TLS = re.compile(r"\A(?:none|starttls|implicit)\Z")


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """Where mail is handed in."""

    host: str
    port: int
    sender: str  # the address in From
    tls: str = "none"  # none (own machine only), starttls, implicit
    user: str | None = None
    password_file: Path | None = None
    timeout_s: int = 15  # for each step of the dialogue
    queue: int = 1000  # mails that wait in memory; then 503
    workers: int = 2  # connections at once


@dataclass(frozen=True, slots=True)
class IssuerConfig:
    """Everything an issuer is told by its operator."""

    name: str  # issuer_name of token challenges: host and optional port, as in every manifest
    url: str  # under which clients reach it, without a slash at the end
    directory: Path  # keys and database
    ledger: str  # URL of the ledger, without a slash at the end
    attesters: tuple[str, ...] = ("email",)
    smtp: SmtpConfig | None = None  # the e-mail attester needs it
    session_s: int = 600  # from the question to the code, and from the proof to the signature
    max_sessions: int = 20_000  # in memory; then 503
    domain_quota: int = 200  # tokens a registrable mail domain gets in one scope
    domain_quotas: Mapping[str, int] = field(default_factory=dict)  # other numbers for known domains
    mails_per_address: int = 5  # within session_s; more are silently not sent
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
    attesters = members.texts("attesters", (1, 8), 32, ATTESTER) if members.has("attesters") else ("email",)
    config = IssuerConfig(
        name=members.text("name", 253, SERVER_NAME),
        url=members.text("url", 500, URL),
        directory=folder / members.text("directory", 1000),
        ledger=members.text("ledger", 500, URL),
        attesters=attesters,
        smtp=_smtp(members.object("smtp"), folder) if members.has("smtp") else None,
        session_s=_number(members, "session_s", 600, 60, 3600),
        max_sessions=_number(members, "max_sessions", 20_000, 1, 10_000_000),
        domain_quota=_number(members, "domain_quota", 200, 1, 10_000_000),
        domain_quotas=_quotas(members),
        mails_per_address=_number(members, "mails_per_address", 5, 1, 1000),
        custody=_custody(members, folder),
    )
    members.finish()
    if "email" in attesters and config.smtp is None:
        raise ConfigurationError("issuer.smtp: missing, and the e-mail attester needs it")
    return config


def _custody(members: Members, folder: Path) -> CustodyConfig:
    if not members.has("custody"):
        return CustodyConfig()
    return CustodyConfig.read(members.object("custody"), folder)


def _smtp(members: Members, folder: Path) -> SmtpConfig:
    smtp = SmtpConfig(
        host=members.text("host", 253, _HOST),
        port=members.integer("port", 1, 65535),
        sender=members.text("sender", 320, _MAILBOX),
        tls=members.text("tls", 16, _TLS) if members.has("tls") else "none",
        user=members.text("user", 300) if members.has("user") else None,
        password_file=folder / members.text("password_file", 1000) if members.has("password_file") else None,
        timeout_s=_number(members, "timeout_s", 15, 1, 300),
        queue=_number(members, "queue", 1000, 1, 1_000_000),
        workers=_number(members, "workers", 2, 1, 64),
    )
    members.finish()
    if (smtp.user is None) != (smtp.password_file is None):
        raise ConfigurationError("issuer.smtp: user and password_file come together")
    return smtp


def _quotas(members: Members) -> Mapping[str, int]:
    if not members.has("domain_quotas"):
        return {}
    value = members.take("domain_quotas")
    if not isinstance(value, dict) or not all(map(_DOMAIN.match, value)):
        raise MalformedError("issuer.domain_quotas: not a table of registrable domains")
    inner = Members(value, "issuer.domain_quotas")
    return {domain: inner.integer(domain, 1) for domain in value}


def _number(members: Members, name: str, default: int, minimum: int, maximum: int) -> int:
    return members.integer(name, minimum, maximum) if members.has(name) else default
