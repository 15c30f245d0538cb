"""An issuer with so many people who have proved themselves already; serves until SIGTERM.

    issuer_server.py PORT FOLDER REQUESTS PEOPLE

Everything but how they proved it is as in a node. REQUESTS is the file that issue.lua sends:
bearer and token request of each.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

import factory
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import keys
import manifests
from headcount_engine import rsa
from headcount_issuer.app import create_app
from headcount_issuer.attesters.combination import Combination
from headcount_issuer.attesters.in_person import InPersonConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_issuer.session import Session
from headcount_node.bridge import Bridge
from headcount_node.config import Listen
from headcount_node.hot_issuer import HotIssuer
from headcount_node.public import listen, serve
from headcount_spec.jcs import canonicalise
from headcount_spec.level import Level
from headcount_spec.scope import Manifest
from headcount_spec.token import TokenRequest


def main(port: int, folder: Path, requests: Path, people: int) -> None:
    """Make the issuer, its sessions and the requests; then serve."""
    config = IssuerConfig(
        name="issuer0.example",
        url="http://localhost:8001",
        directory=folder / "issuer",
        ledger="http://localhost:1/ledger",
        attesters={"in-person": InPersonConfig()},
        max_sessions=10_000_000,
        session_s=3600,
    )
    Issuer.create(config)
    scope = _scope(config)
    sys.setswitchinterval(0.0005)
    with Issuer.open(config, send=lambda entry: None) as issuer:
        issuer.enrol(scope.raw)
        n = keys.token_key(0).public.n
        with requests.open("wb") as file:
            for _ in range(people):
                session = Session(
                    scope.scope_id,
                    scope.origins[0],
                    "/",
                    Combination(Level.from_text("in-person"), ("in-person",)),
                )
                session.tags = (secrets.token_bytes(32),)
                bearer = issuer._sessions.open(session)
                message = (2 + secrets.randbelow(n - 4)).to_bytes(256, "big")
                request = TokenRequest(scope.issuers[0].token_key_id[-1], message)
                file.write(bearer.encode() + request.to_bytes())
        print(rsa.engine_name(), file=sys.stderr)
        cold = Bridge(create_app(issuer), 16)
        hot = HotIssuer(issuer, cold)
        try:
            serve(hot, listen(Listen("127.0.0.1", port)))
        finally:
            hot.close()
            cold.close()


def _scope(config: IssuerConfig) -> Manifest:
    entry = manifests.issuer(0) | {"attesters": ["in-person"]}
    terms = factory.manifest().json | {"issuers": [entry], "level": "in-person"}
    (config.keys / "notice.pem").unlink()
    write_private(config.keys / "notice.pem", _pem(manifests.ISSUER_SEEDS[0]))
    scope = Manifest.from_bytes(canonicalise(terms))
    name = f"{scope.issuers[0].token_key_id.hex()}.pem"
    write_private(config.keys / name, (keys.DATA / "token-key-0.pem").read_bytes())
    return scope


def _pem(seed: bytes) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
