"""JSON Web Signatures with ES256, and the keys that make them. RFC 7515, RFC 7517, RFC 7518, Section 3.4.

One algorithm, one serialisation (compact), strict base64url, no header that would bring a key along: whoever
verifies knows the key already. ``none`` and every other algorithm are refused by not being ES256.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from headcount_issuer import base64url
from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.jcs import JSON, parse_json

MAX_KEYS = 64
_COORDINATE_BYTES = 32
_SIGNATURE_BYTES = 64  # R and S, 32 bytes each


@dataclass(frozen=True, slots=True)
class Jws:
    """A signed object in compact serialisation, taken apart; nothing is verified yet."""

    header: Mapping[str, Any]
    payload: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def from_text(cls, text: str, max_chars: int) -> Jws:
        """Take apart ``header.payload.signature``; header and payload are JSON objects.

        Raises:
            MalformedError: another form, or a header that demands extensions (``crit``).
        """
        parts = text.split(".")
        if len(text) > max_chars or len(parts) != 3:
            raise MalformedError("not a JWS in compact serialisation")
        header, payload = (_object(base64url.decode(part), max_chars) for part in parts[:2])
        if "crit" in header:
            raise MalformedError("a JWS with extensions that must be understood")
        signed = f"{parts[0]}.{parts[1]}".encode()
        return cls(header, payload, signed, base64url.decode(parts[2]))

    def check_type(self, *types: str) -> None:
        """Refuse an object that was made for something else (``typ``), or by another algorithm.

        Raises:
            SignatureError: it was.
        """
        if self.header.get("typ") not in types or self.header.get("alg") != "ES256":
            raise SignatureError(f"not a signed object of type {types[0]} with ES256")

    def verify(self, key: ec.EllipticCurvePublicKey) -> None:
        """Check the signature.

        Raises:
            SignatureError: it is not this key's.
        """
        if len(self.signature) != _SIGNATURE_BYTES:
            raise SignatureError("an ES256 signature has 64 bytes")
        r, s = (int.from_bytes(self.signature[at : at + 32], "big") for at in (0, 32))
        try:
            key.verify(encode_dss_signature(r, s), self.signed, ec.ECDSA(SHA256()))
        except InvalidSignature as exc:
            raise SignatureError("the signature is not by this key") from exc


def parse_key(value: JSON) -> ec.EllipticCurvePublicKey:
    """A P-256 public key in JWK. RFC 7518, Section 6.2.

    Raises:
        MalformedError: another kind of key, a private one, or no point of the curve.
    """
    if not isinstance(value, dict) or value.get("kty") != "EC" or value.get("crv") != "P-256" or "d" in value:
        raise MalformedError("not a public P-256 key in JWK")
    x, y = (_coordinate(value.get(name)) for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError as exc:
        raise MalformedError("not a point of P-256") from exc


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one signer, by their ids."""

    keys: Mapping[str, ec.EllipticCurvePublicKey]

    @classmethod
    def from_bytes(cls, data: bytes) -> KeySet:
        """Read a JWK Set; keys that are not for ES256 signatures are passed over.

        Raises:
            MalformedError: not a JWK Set, no such key in it, a key without an id, or an id twice.
        """
        value = _object(data, 2**20)
        items = value.get("keys")
        if not isinstance(items, list) or len(items) > MAX_KEYS:
            raise MalformedError("not a JWK Set")
        keys: dict[str, ec.EllipticCurvePublicKey] = {}
        for item in items:
            if not isinstance(item, dict) or item.get("kty") != "EC" or item.get("crv") != "P-256":
                continue
            if item.get("use", "sig") != "sig" or item.get("alg", "ES256") != "ES256":
                continue
            name = item.get("kid")
            if not isinstance(name, str) or name in keys:
                raise MalformedError("a key of the JWK Set has no id of its own")
            keys[name] = parse_key(item)
        if not keys:
            raise MalformedError("the JWK Set has no key for ES256")
        return cls(keys)

    def verify(self, jws: Jws) -> None:
        """Check a signature by the key that the header names (``kid``), or by the only one.

        Raises:
            UnknownKeyError: there is no such key.
            SignatureError: it is not that key's.
        """
        name = jws.header.get("kid")
        if name is None and len(self.keys) == 1:
            (key,) = self.keys.values()
        elif isinstance(name, str) and name in self.keys:
            key = self.keys[name]
        else:
            raise UnknownKeyError("signed by a key that is not this issuer's")
        jws.verify(key)


def _coordinate(value: object) -> int:
    if not isinstance(value, str):
        raise MalformedError("not a public P-256 key in JWK")
    return int.from_bytes(base64url.decode(value, _COORDINATE_BYTES), "big")


def _object(data: bytes, max_bytes: int) -> dict[str, Any]:
    value = parse_json(data, max_bytes)
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value
