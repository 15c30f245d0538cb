"""An authenticator in software, for what no browser would make: forged, foreign and copied passkeys."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from headcount_issuer.base64url import encode as encode_base64url

UP, UV, AT = 0x01, 0x04, 0x40
AAGUID = bytes(range(1, 17))
ES256 = -7
_AAGUID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def cose(key: ec.EllipticCurvePrivateKey) -> bytes:
    numbers = key.public_key().public_numbers()
    x, y = (value.to_bytes(32, "big") for value in (numbers.x, numbers.y))
    return cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: x, -3: y})


@dataclass
class Vendor:
    """A maker of authenticators: a root, and the certificate of one batch."""

    aaguid: bytes = AAGUID
    unit: str = "Authenticator Attestation"
    ca: bool = False  # a batch certificate that could certify others
    days: int = 3650
    has_model: bool = True
    root_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test Root")])
        self.root = self._certificate(root_name, root_name, self.root_key, True, []).sign(
            self.root_key, SHA256()
        )
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, self.unit),
                x509.NameAttribute(NameOID.COMMON_NAME, "Test Batch"),
            ]
        )
        extensions = (
            [x509.UnrecognizedExtension(_AAGUID_OID, b"\x04\x10" + self.aaguid)] if self.has_model else []
        )
        builder = self._certificate(name, root_name, self.key, self.ca, extensions)
        self.certificate = builder.sign(self.root_key, SHA256())

    def _certificate(
        self,
        name: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        ca: bool,
        extensions: Sequence[x509.UnrecognizedExtension],
    ) -> x509.CertificateBuilder:
        start = datetime.now(UTC) - timedelta(days=2)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(secrets.randbits(64) | 1)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=3650 if key is self.root_key else self.days))
            .add_extension(x509.BasicConstraints(ca, None), True)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        return builder

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> list[bytes]:
        return [self.certificate.public_bytes(Encoding.DER)]


@dataclass
class Authenticator:
    """One passkey and what it answers; every field may be bent."""

    origin: str
    rp_id: str = "localhost"
    flags: int = UP | UV
    aaguid: bytes = bytes(16)
    sign_count: int = 0
    client: dict[str, Any] = field(default_factory=dict)  # added to the client data
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user_handle: bytes = b""

    def client_data(self, type: str, challenge: bytes) -> bytes:
        value = {
            "type": type,
            "challenge": encode_base64url(challenge),
            "origin": self.origin,
            "crossOrigin": False,
        }
        return json.dumps(value | self.client).encode()

    def data(self, attested: bool) -> bytes:
        flags = self.flags | (AT if attested else 0)
        head = (
            hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4, "big")
        )
        if not attested:
            return head
        size = len(self.credential_id).to_bytes(2, "big")
        return head + self.aaguid + size + self.credential_id + cose(self.key)

    def attestation(self, client_data: bytes, vendor: Vendor | None, self_signed: bool) -> dict[str, Any]:
        signed = self.data(True) + hashlib.sha256(client_data).digest()
        if vendor is not None:
            signature = vendor.key.sign(signed, ec.ECDSA(SHA256()))
            return {"fmt": "packed", "attStmt": {"alg": ES256, "sig": signature, "x5c": vendor.chain}}
        if self_signed:
            signature = self.key.sign(signed, ec.ECDSA(SHA256()))
            return {"fmt": "packed", "attStmt": {"alg": ES256, "sig": signature}}
        return {"fmt": "none", "attStmt": {}}

    def create(
        self, challenge: bytes, vendor: Vendor | None = None, self_signed: bool = False, **bent: Any
    ) -> dict[str, Any]:
        """What the page sends after navigator.credentials.create()."""
        client_data = self.client_data("webauthn.create", challenge)
        statement = self.attestation(client_data, vendor, self_signed) | bent
        attestation = cbor2.dumps({**statement, "authData": bent.get("authData", self.data(True))})
        return {"client_data": encode_base64url(client_data), "attestation": encode_base64url(attestation)}

    def get(self, challenge: bytes, type: str = "webauthn.get") -> dict[str, Any]:
        """What the page sends after navigator.credentials.get()."""
        client_data, data = self.client_data(type, challenge), self.data(False)
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(SHA256()))
        return {
            "credential_id": encode_base64url(self.credential_id),
            "user_handle": encode_base64url(self.user_handle or bytes(32)),
            "client_data": encode_base64url(client_data),
            "authenticator_data": encode_base64url(data),
            "signature": encode_base64url(signature),
        }
