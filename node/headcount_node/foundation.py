"""The folder of a new node: its settings, an empty ledger, an issuer, and room for the terms of scopes.

headcount.toml   the settings of all roles
policy           the trust policy of the ledger, for everybody who reads it
scopes/          the terms that the verifier accepts, <scope id>.json
key, ledger.sqlite, public/    the ledger
issuer/          the issuer's keys and database
issuer.passphrase              opens those keys
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from headcount_issuer.issuer import Issuer
from headcount_ledger import ledger
from headcount_ledger.ledger import Ledger
from headcount_node.config import PERSONHOOD, PUBLIC, NodeConfig
from headcount_spec.errors import ConfigurationError
from headcount_spec.terms import ORIGIN

CONFIG = "headcount.toml"
POLICY = "policy"
_LOOPBACK = "localhost"  # WebAuthn knows localhost and not 127.0.0.1


@dataclass(frozen=True, slots=True)
class Mail:
    """Where the issuer hands its mail in."""

    host: str
    port: int
    sender: str


@dataclass(frozen=True, slots=True)
class Foundation:
    """What a new node is told."""

    public: str  # URL of the verifier; the ledger is below it, at /ledger
    personhood: str  # URL of the issuer, another origin
    attesters: Sequence[str]
    mail: Mail
    tick_s: int

    def create(self, folder: Path) -> NodeConfig:
        """Make the node in a folder that is empty or not there.

        Raises:
            ConfigurationError: the folder is in use or cannot be written, or a value is not what it must be.
        """
        _check_addresses(self.public, self.personhood)
        path = folder / CONFIG
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise ConfigurationError(f"{folder} is not empty")
            (folder / "scopes").mkdir()
            path.write_text(self.settings(), "utf-8")
        except OSError as exc:
            raise ConfigurationError(f"cannot write {exc.filename}: {exc.strerror}") from exc
        try:
            config = NodeConfig.from_file(path)
        except ConfigurationError:
            path.unlink()
            (folder / "scopes").rmdir()
            raise
        if config.ledger is None or config.issuer is None:
            raise ConfigurationError(f"{path} was changed meanwhile")
        ledger.create(config.ledger, f"{_host(self.public)}/ledger")
        with Ledger.open(config.ledger) as opened:
            (folder / POLICY).write_bytes(opened.policy(f"{self.public}/ledger").to_bytes())
        Issuer.create(config.issuer)
        return config

    def settings(self) -> str:
        """The text of the node's TOML file."""
        email = f"""
[issuer.attesters.email]
sender = {_quoted(self.mail.sender)}
# mails_per_hour = 10000     # to everybody together
# work = 100000              # hashes, twice the average, that a program pays for a mail

[issuer.attesters.email.smtp]
host = {_quoted(self.mail.host)}
port = {self.mail.port}
# tls = "starttls"           # or "implicit", for a server on another machine
# user = "…"                 # and password_file = "…", if it asks for them

# [issuer.attesters.email.dkim]   # headcount issuer dkim-key makes the key, and prints these lines
# selector = "…"
# key_file = "…"
"""
        in_person = """
[issuer.attesters.in-person]
"""
        return f"""\
# The roles of this node. One whose table is taken out does not run here; paths are relative to this file.

[node]
# Where the servers listen. In the world, a web server with TLS stands before both.
public = {_quoted(_listen(self.public, PUBLIC))}      # verifier at /, ledger at /ledger
personhood = {_quoted(_listen(self.personhood, PERSONHOOD))}  # issuer: another origin

[ledger]
directory = "."
tick_s = {self.tick_s}  # seconds between batches: longer hides more, and shows later

[verifier]
ledger = {_quoted(f"{self.public}/ledger")}
scopes = "scopes"  # the terms of each scope that pledges are accepted for, as <scope id>.json
contacts = "contacts"  # sealed contacts, where a scope takes any

[issuer]
name = {_quoted(_host(self.personhood))}
url = {_quoted(self.personhood)}
directory = "issuer"
ledger = {_quoted(f"{self.public}/ledger")}

[issuer.custody]
passphrase_file = "issuer.passphrase"  # opens the issuer's keys; best kept on another disk
{email if "email" in self.attesters else ""}{in_person if "in-person" in self.attesters else ""}"""


def _check_addresses(public: str, personhood: str) -> None:
    for url in (public, personhood):
        if not ORIGIN.match(url):
            raise ConfigurationError(f"{url} is not an address such as https://example.org")
    if _host(public) == _host(personhood):
        raise ConfigurationError("the issuer needs another host or port than the verifier")


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _listen(url: str, default: str) -> str:
    """On this machine the port of the URL; elsewhere a server with TLS stands before it."""
    parts = urlsplit(url)
    return f"127.0.0.1:{parts.port}" if parts.hostname == _LOOPBACK and parts.port else default


def _quoted(value: str | list[str]) -> str:
    return json.dumps(value)  # JSON strings and lists of strings are TOML
