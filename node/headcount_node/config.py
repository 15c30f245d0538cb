"""The node's TOML file: which roles run on this machine, and where they listen.

    [node]
    public = "127.0.0.1:8000"      # verifier at /, ledger at /ledger
    personhood = "127.0.0.1:8001"  # issuer
    processes = 2                  # of the public origin; as many as cores
    hue = 33                       # of the pages' one colour, 0 to 359; optional

    [ledger]    see headcount_ledger.config
    [verifier]  see headcount_verifier.config
    [issuer]    see headcount_issuer.config

A role without a table does not run here. Relative paths are relative to the file.
"""

from __future__ import annotations

import re
import socket
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headcount_issuer.config import IssuerConfig
from headcount_ledger.config import LedgerConfig
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.members import Members
from headcount_verifier.config import VerifierConfig

CONFIG_VARIABLE = "HEADCOUNT_CONFIG"  # the one environment variable: how a server's workers find the file
PUBLIC = "127.0.0.1:8000"
PERSONHOOD = "127.0.0.1:8001"

_LISTEN = re.compile(r"\A(?P<host>[0-9.]{7,15}|localhost):(?P<port>[1-9][0-9]{0,4})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to listen on."""

    host: str
    port: int

    @classmethod
    def from_text(cls, text: str) -> Listen:
        """Read ``host:port``.

        Raises:
            MalformedError: it is not that.
        """
        match = _LISTEN.match(text)
        if match is None or int(match["port"]) > 65535:
            raise MalformedError("node: not an IPv4 address and a port")
        return cls(match["host"], int(match["port"]))

    def is_free(self) -> bool:
        """Whether nobody listens there."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError:
                return False
            return True


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One machine's roles."""

    public: Listen  # verifier and ledger: one origin
    personhood: Listen  # issuer: another
    ledger: LedgerConfig | None
    verifier: VerifierConfig | None
    issuer: IssuerConfig | None
    threads: int = 16  # requests that Flask works on at once, in each process
    processes: int = 2  # that serve the public origin
    hue: int | None = None  # of the pages' colour, in degrees; lightness and chroma are not to be chosen

    @classmethod
    def from_file(cls, path: Path) -> NodeConfig:
        """Read the file.

        Raises:
            ConfigurationError: it cannot be read, is not TOML, or a table or value is missing or unknown.
        """
        try:
            tables = tomllib.loads(path.read_text("utf-8"))
        except OSError as exc:
            raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise ConfigurationError(f"{path.name} is not TOML") from exc
        unknown = set(tables) - {"node", "ledger", "verifier", "issuer"}
        if unknown:
            raise ConfigurationError(f"{path.name} has an unknown table [{min(unknown)}]")
        try:
            return cls._read(tables, path.parent)
        except MalformedError as exc:
            raise ConfigurationError(str(exc)) from exc

    @classmethod
    def _read(cls, tables: dict[str, Any], folder: Path) -> NodeConfig:
        node = Members(dict(tables.get("node", {})), "node")
        config = cls(
            public=_listen(node, "public", PUBLIC),
            personhood=_listen(node, "personhood", PERSONHOOD),
            ledger=LedgerConfig.from_table(tables["ledger"], folder) if "ledger" in tables else None,
            verifier=VerifierConfig.from_table(tables["verifier"], folder) if "verifier" in tables else None,
            issuer=IssuerConfig.from_table(tables["issuer"], folder) if "issuer" in tables else None,
            processes=node.integer("processes", 1, 64) if node.has("processes") else 2,
            threads=node.integer("threads", 1, 256) if node.has("threads") else 16,
            hue=node.integer("hue", 0, 359) if node.has("hue") else None,
        )
        node.finish()
        return config


def _listen(node: Members, name: str, default: str) -> Listen:
    return Listen.from_text(node.text(name, 30) if node.has(name) else default)
