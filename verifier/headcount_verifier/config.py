"""The verifier's part of a node's TOML file: the table ``[verifier]``.

    [verifier]
    ledger = "http://localhost:8000/ledger"   # where pledges are handed on
    scopes = "scopes"                         # a folder of manifests named <scope id>.json
    contacts = "contacts"                     # optional: a folder for the sealed contacts of contact scopes
    links = "links.sqlite"                    # optional: counts how often the campaign's links were opened
    outbox = "outbox"                         # with webhooks: a folder for what waits to be told

    [[verifier.webhooks]]                     # whom headcount webhooks run tells how the counts move
    url = "https://partner.example/hooks/headcount"
    secret = "partner.key"                    # made by headcount webhooks key
    events = ["scope.reached"]                # optional; all otherwise

or, one by one, each file under the scope id that it must have:

    [verifier.scopes]
    9f2c… = "we-move-together.json"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headcount_ledger.reader.outbox import check_url
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.members import Members, check_text, check_unique
from headcount_spec.scope import ScopeId
from headcount_spec.terms import URL
from headcount_spec.text import decode_hex

DEFAULT_TIMEOUT_S = 20
MAX_WEBHOOKS = 64
EVENTS = ("scope.counted", "scope.reached", "scope.failed", "scope.closed")
_EVENT = re.compile(rf"\A(?:{'|'.join(map(re.escape, EVENTS))})\Z")


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who is told how the counts move."""

    url: str
    secret: Path  # file with the keys that sign
    events: tuple[str, ...] = EVENTS


@dataclass(frozen=True, slots=True)
class VerifierConfig:
    """Which scopes a verifier accepts, and the ledger behind it."""

    ledger: str  # URL of the ledger, without a slash at the end
    folder: Path | None = None  # manifests named <scope id>.json; new ones are found while running
    files: Mapping[ScopeId, Path] | None = None  # or each manifest by itself
    timeout_s: int = DEFAULT_TIMEOUT_S  # for the ledger's answer, which waits for its disk
    contacts: Path | None = None  # folder of the contact store; None keeps no contacts
    links: Path | None = None  # file of the counts of links; None opens no links
    outbox: Path | None = None  # folder of what webhooks have still to tell
    webhooks: tuple[Webhook, ...] = ()

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
    if members.has("links"):
        config = replace(config, links=base / members.text("links", 1000))
    if members.has("outbox"):
        config = replace(config, outbox=base / members.text("outbox", 1000))
    if members.has("webhooks"):
        found = tuple(_webhook(item, base) for item in members.objects("webhooks", (1, MAX_WEBHOOKS)))
        check_unique(tuple(item.url for item in found), "verifier.webhooks")
        config = replace(config, webhooks=found)
    if (config.outbox is None) != (not config.webhooks):
        raise MalformedError("verifier.outbox and verifier.webhooks go together")
    members.finish()
    return config


def _webhook(members: Members, base: Path) -> Webhook:
    url = check_url(members.text("url", 500))
    found = Webhook(url, base / members.text("secret", 1000))
    if members.has("events"):
        found = replace(found, events=members.texts("events", (1, len(EVENTS)), 30, _EVENT))
    members.finish()
    return found
