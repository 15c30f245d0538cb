"""What an authenticator says of its own make, and whether that is believed. WebAuthn, Sections 6.5 and 8.

Two policies. ``none``: nothing is asked, and what a browser sends all the same is not looked at. An
allow-list: the model (AAGUID) must be on it, in a "packed" statement with certificates that lead to one of
the roots given for it. Statements without certificates (``none``, self attestation) prove no
make, and other formats are refused: nobody here has tried them.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from headcount_spec.errors import ConfigurationError, MalformedError, NotEligibleError

AAGUID_BYTES = 16
_AAGUID_EXTENSION = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")  # WebAuthn, Section 8.2.1
_UNIT = "Authenticator Attestation"  # the same section, subject of the certificate
_OCTET_STRING_16 = b"\x04\x10"  # DER, before the AAGUID in that extension
MAX_CERTIFICATES = 8


@dataclass(frozen=True, slots=True)
class AllowList:
    """The models of authenticators that are believed, and the roots that certify them."""

    models: frozenset[bytes]  # AAGUIDs, 16 bytes each
    roots: tuple[bytes, ...] = field(repr=False)  # PEM, one certificate each

    def __post_init__(self) -> None:
        # py_webauthn takes "no roots" for "any chain will do".
        if not self.models or not self.roots:
            raise ConfigurationError("an allow-list of authenticators needs models and roots")
        if any(len(model) != AAGUID_BYTES or not any(model) for model in self.models):
            raise ConfigurationError("an AAGUID has 16 bytes and is not zero")


def parse_aaguid(text: str) -> bytes:
    """The 16 bytes of an AAGUID as vendors print it, in lower case with hyphens.

    Raises:
        MalformedError: another form.
    """
    try:
        value = uuid.UUID(text)
    except ValueError as exc:
        raise MalformedError("not an AAGUID") from exc
    if str(value) != text:
        raise MalformedError("not an AAGUID in lower case with hyphens")
    return value.bytes


def split_roots(pem: bytes) -> tuple[bytes, ...]:
    """The certificates of a PEM file, one item each.

    Raises:
        ConfigurationError: none, or one that cannot be read.
    """
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise ConfigurationError("the roots are no certificates in PEM") from exc
    return tuple(certificate.public_bytes(Encoding.PEM) for certificate in found)


def check_statement(attestation: bytes, allowed: AllowList) -> None:
    """Refuse an attestation object whose form alone proves no make. The signatures are checked elsewhere.

    WebAuthn, Section 8.2.1: the certificate is made for attestation, and for the very model that the
    authenticator data claims. (Without this a key of one model of a vendor speaks for all of them.)

    Raises:
        MalformedError: not an attestation object.
        NotEligibleError: another format, no certificates, or a model that is not on the list.
    """
    value = _decode(attestation)
    statement, data = value.get("attStmt"), value.get("authData")
    if not isinstance(statement, dict) or not isinstance(data, bytes) or len(data) < 53:
        raise MalformedError("not an attestation object")
    chain = statement.get("x5c")
    if value.get("fmt") != "packed" or not isinstance(chain, list) or not chain:
        raise NotEligibleError("this scope asks for an authenticator that says of which make it is")
    if len(chain) > MAX_CERTIFICATES or not all(isinstance(item, bytes) for item in chain):
        raise MalformedError("not a chain of certificates")
    model = data[37:53]
    if model not in allowed.models:
        raise NotEligibleError("this make of authenticator is not on the list")
    _check_certificate(chain, model)


def _check_certificate(chain: Sequence[bytes], model: bytes) -> None:
    try:
        leaf = x509.load_der_x509_certificate(chain[0])
        units = leaf.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
        constraints = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
        extension: Any = leaf.extensions.get_extension_for_oid(_AAGUID_EXTENSION)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension) as exc:
        raise NotEligibleError("the certificate is not one for attestation") from exc
    if leaf.version != x509.Version.v3 or constraints.ca or [unit.value for unit in units] != [_UNIT]:
        raise NotEligibleError("the certificate is not one for attestation")
    if extension.critical or extension.value.value != _OCTET_STRING_16 + model:
        raise NotEligibleError("the certificate is for another make of authenticator")


def _decode(attestation: bytes) -> dict[Any, Any]:
    try:
        value = cbor2.loads(attestation, allow_duplicate_keys=False)
    except Exception as exc:  # cbor2 documents no one class for all that tags can raise
        raise MalformedError("not an attestation object") from exc
    if not isinstance(value, dict):
        raise MalformedError("not an attestation object")
    return value
