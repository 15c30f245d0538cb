"""The ledger's part of the node's TOML file.

    [ledger]
    directory = "ledger"                     # the key; the database and the tree, unless they stand elsewhere
    tick_s = 3600
    database = "postgresql+psycopg://headcount@db.example/headcount?sslmode=verify-full"
    database_password = "secrets/database"   # a file
    storage = "s3://bucket/prefix"
    organisers = ["<Ed25519 key in base64>"] # whose terms it takes; without the list, anybody's
    refusals_per_minute = 600                # of one network
    proxy_header = "X-Forwarded-For"         # only behind a proxy of your own that sets it

    [ledger.s3]                              # see BucketConfig

Without ``database`` it is a SQLite file, without ``storage`` a directory: one machine needs neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.signature import check_public_key
from headcount_spec.text import decode_base64

DEFAULT_TICK_S = 60
DEFAULT_MAX_WAITING = 4096
DEFAULT_REFUSALS = 600
MAX_NOTICES = 10_000  # that wait for a batch
DEFAULT_TIMEOUT_S = 30
DEFAULT_REGION = "us-east-1"  # what most S3-compatible servers expect when nothing is said

POSTGRESQL = "postgresql+psycopg://"
_BUCKET = re.compile(
    r"\As3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w./-]*))?\Z", re.ASCII
)
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, slots=True)
class BucketConfig:
    """An S3-compatible bucket; the members but the first two are the table [ledger.s3]."""

    bucket: str
    prefix: str  # of every object, without slashes at its ends; may be empty
    endpoint: str | None = None  # URL of a server that is not Amazon's; https but on loopback
    region: str = DEFAULT_REGION
    credentials: Path | None = (
        None  # file with a profile [default]; else what the machine's environment gives
    )
    timeout_s: int = DEFAULT_TIMEOUT_S  # of one request, and of its repetitions together

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            scheme, _, rest = self.endpoint.partition("://")
            host = rest.partition("/")[0].rpartition(":")[0] or rest
            if scheme != "https" and not (scheme == "http" and host in _LOOPBACK):
                raise ConfigurationError("ledger.s3.endpoint is no https URL")
            if "@" in rest:
                raise ConfigurationError("ledger.s3.endpoint has a user: credentials are a file")
        if self.timeout_s < 1:
            raise ConfigurationError("ledger.s3.timeout_s is at least 1")

    @property
    def url(self) -> str:
        """As it stands in the configuration."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """How one ledger runs; what it is (origin line, key) was decided when it was created."""

    directory: Path  # holds the database, the key and the published tree; made by `headcount ledger create`
    tick_s: int = DEFAULT_TICK_S  # batches are sealed at multiples of it; longer hides more, shows later
    max_waiting: int = DEFAULT_MAX_WAITING  # requests that wait for the writer; one more is answered 503
    witnesses: Path | None = None  # a tlog-policy; if none is named, the file `witnesses` in the directory
    postgresql: str | None = None  # URL of a PostgreSQL database, without a password; None: SQLite
    password: Path | None = None  # file with its password; None: as libpq finds it
    bucket: BucketConfig | None = None  # where the tree stands; None: in the directory
    organisers: frozenset[bytes] | None = None  # public keys, one of which signs new terms; None: anybody's
    refusals_per_minute: int = DEFAULT_REFUSALS  # of entries of one /24 or /48; more are answered 429
    proxy_header: str | None = None  # in which a proxy of the operator's own tells the address, last

    def __post_init__(self) -> None:
        if self.tick_s < 1:
            raise ConfigurationError("ledger.tick_s is at least 1")
        if self.max_waiting < 1:
            raise ConfigurationError("ledger.max_waiting is at least 1")
        if self.refusals_per_minute < 1:
            raise ConfigurationError("ledger.refusals_per_minute is at least 1")
        if self.postgresql is not None:
            _check_database(self.postgresql)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], base: Path) -> LedgerConfig:
        """Read the table [ledger]; relative paths are relative to base.

        Raises:
            ConfigurationError: a member is missing, unknown or of another type.
        """
        members = dict(table)
        directory = _text(members, "ledger", "directory")
        if directory is None:
            raise ConfigurationError("ledger.directory is missing")
        password = _text(members, "ledger", "database_password")
        witnesses = _text(members, "ledger", "witnesses")
        config = cls(
            base / directory,
            _number(members, "ledger", "tick_s", DEFAULT_TICK_S),
            _number(members, "ledger", "max_waiting", DEFAULT_MAX_WAITING),
            witnesses=None if witnesses is None else base / witnesses,
            postgresql=_text(members, "ledger", "database"),
            password=None if password is None else base / password,
            bucket=_bucket(_text(members, "ledger", "storage"), members.pop("s3", {}), base),
            organisers=_organisers(members.pop("organisers", None)),
            refusals_per_minute=_number(members, "ledger", "refusals_per_minute", DEFAULT_REFUSALS),
            proxy_header=_text(members, "ledger", "proxy_header"),
        )
        if members:
            raise ConfigurationError(f"ledger.{min(members)} is unknown")
        return config

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
        """What is accepted, what is spent, and the head: the SQLite file."""
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
    def socket(self) -> Path:
        """Where the writer process listens for those that serve HTTP."""
        return self.directory / "writer.sock"

    @property
    def lock(self) -> Path:
        """Locked by the one sequencer, where the database is SQLite."""
        return self.directory / "sequencer.lock"

    @property
    def place(self) -> str:
        """Where the database and the tree stand, for people and for the mark of a ledger that has moved."""
        database = self.postgresql or str(self.database.resolve())
        return f"{database} and {self.bucket.url if self.bucket else self.public.resolve()}"


def _check_database(url: str) -> None:
    """Refuse what is no PostgreSQL database of psycopg, and a password in the file."""
    if not url.startswith(POSTGRESQL):
        raise ConfigurationError(f"ledger.database does not begin with {POSTGRESQL}")
    parts = urlsplit(url)
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ConfigurationError("ledger.database has a password: ledger.database_password names its file")


def _bucket(storage: str | None, table: Any, base: Path) -> BucketConfig | None:
    if not isinstance(table, dict):
        raise ConfigurationError("ledger.s3 is no table")
    if storage is None:
        if table:
            raise ConfigurationError("ledger.s3 is there without ledger.storage")
        return None
    match = _BUCKET.match(storage)
    if match is None:
        raise ConfigurationError("ledger.storage is not s3://BUCKET/PREFIX")
    members = dict(table)
    credentials = _text(members, "ledger.s3", "credentials")
    config = BucketConfig(
        match["bucket"],
        (match["prefix"] or "").strip("/"),
        _text(members, "ledger.s3", "endpoint"),
        _text(members, "ledger.s3", "region") or DEFAULT_REGION,
        None if credentials is None else base / credentials,
        _number(members, "ledger.s3", "timeout_s", DEFAULT_TIMEOUT_S),
    )
    if members:
        raise ConfigurationError(f"ledger.s3.{min(members)} is unknown")
    return config


def _organisers(value: Any) -> frozenset[bytes] | None:
    if value is None:
        return None
    try:
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise MalformedError("no list of keys")
        return frozenset(check_public_key(decode_base64(text)) for text in value)
    except MalformedError as exc:
        raise ConfigurationError("ledger.organisers is no list of Ed25519 keys in base64") from exc


def _text(members: dict[str, Any], table: str, name: str) -> str | None:
    value = members.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{table}.{name} is no text")
    return value


def _number(members: dict[str, Any], table: str, name: str, default: int) -> int:
    value = members.pop(name, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigurationError(f"{table}.{name} is no whole number")
    return value
