"""DKIM signatures (RFC 6376, Ed25519: RFC 8463) on the mails of the issuer.

They let a mail server tell our codes from imitations. Signing happens where mail is handed in, after the
answer to whoever asked. dkimpy's RSA is arithmetic in Python: some 15 to 30 ms a mail, which a budget of
mails for the hour bounds; Ed25519 takes none of that.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from headcount_issuer.keys import read_private, write_private
from headcount_spec.errors import ConfigurationError
from headcount_spec.members import Members

_SELECTOR = re.compile(r"\A[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
_RSA_BITS = 2048  # RFC 8301, Section 3.2
# Everything that we write, and From twice, so that no second one can be added (RFC 6376, Section 8.15).
_HEADERS = (
    b"from",
    b"from",
    b"to",
    b"subject",
    b"date",
    b"message-id",
    b"auto-submitted",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
    b"content-language",
)


@dataclass(frozen=True, slots=True)
class DkimConfig:
    """The table ``[issuer.attesters.email.dkim]``; the domain is the sender's."""

    selector: str
    key_file: Path  # PEM, RSA of 2048 bits and more, or Ed25519

    @classmethod
    def read(cls, members: Members, folder: Path) -> DkimConfig:
        """Take it from the node's file."""
        config = cls(members.text("selector", 63, _SELECTOR), folder / members.text("key_file", 1000))
        members.finish()
        return config


class DkimKey:
    """A key that signs mails of one domain."""

    def __init__(self, config: DkimConfig, domain: str) -> None:
        """Read the key.

        Raises:
            ConfigurationError: missing, open to others, or neither RSA of 2048 bits and more nor Ed25519.
        """
        self._selector = config.selector.encode()
        self._domain = domain.encode()
        self._key = _load(config.key_file)
        self._private = _for_dkimpy(self._key)

    def sign(self, message: bytes) -> bytes:
        """The message with its signature in front."""
        ed = isinstance(self._key, ed25519.Ed25519PrivateKey)
        header: bytes = dkim.sign(
            message,
            self._selector,
            self._domain,
            self._private,
            canonicalize=(b"relaxed", b"relaxed"),
            signature_algorithm=b"ed25519-sha256" if ed else b"rsa-sha256",
            include_headers=list(_HEADERS),
        )
        return header + message


def create_key(path: Path) -> None:
    """Make an RSA key in a file that must not exist.

    RSA, because many receivers know no Ed25519 yet.

    Raises:
        ConfigurationError: it exists, or cannot be written.
    """
    key = rsa.generate_private_key(65537, _RSA_BITS)
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def dns_record(path: Path) -> str:
    """The TXT record of a key: what stands at SELECTOR._domainkey.DOMAIN.

    Raises:
        ConfigurationError: as DkimKey.
    """
    key = _load(path).public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return f"v=DKIM1; k=ed25519; p={base64.b64encode(key.public_bytes_raw()).decode()}"
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(der).decode()}"


def _load(path: Path) -> rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey:
    try:
        key = load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError) as exc:
        raise ConfigurationError(f"{path.name} is no private key in PEM") from exc
    if isinstance(key, ed25519.Ed25519PrivateKey) or (
        isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _RSA_BITS
    ):
        return key
    raise ConfigurationError(f"{path.name} is neither an RSA key of {_RSA_BITS} bits nor an Ed25519 key")


def _for_dkimpy(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return base64.b64encode(key.private_bytes_raw())
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
