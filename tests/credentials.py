"""Issuers of credentials and wallets: sd-jwt makes the presentations, status lists are made by hand."""

from __future__ import annotations

import json
import zlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer

from headcount_issuer.base64url import encode as encode_base64url
from headcount_issuer.jose import KeySet

NOW = 1_800_000_000
NONCE = "nonce-of-the-request"
AUDIENCE = "redirect_uri:http://localhost:8001/wallet"
VCT = "urn:eudi:pid:1"
COUNTRY = "FR"
_OPEN = ("iss", "exp", "nbf", "iat", "vct", "status")


def sign(key: ec.EllipticCurvePrivateKey, header: dict[str, Any], payload: Any) -> str:
    parts = [encode_base64url(json.dumps(part).encode()) for part in (header, payload)]
    signed = ".".join(parts)
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(SHA256())))
    return f"{signed}.{encode_base64url(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def jwk_of(key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    x, y = (encode_base64url(value.to_bytes(32, "big")) for value in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


class Wallet:
    """Somebody's wallet with one credential."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential = ""

    def receive(self, credential: str) -> None:
        self.credential = credential

    def present(self, *names: Any, nonce: str = NONCE, audience: str = AUDIENCE, at: int = NOW) -> str:
        wanted = names[0] if names and isinstance(names[0], dict) else dict.fromkeys(names, True)
        holder = SDJWTHolder(self.credential)
        holder.create_presentation(wanted)
        return self.bound(holder.sd_jwt_presentation, nonce, audience, at)

    def bound(self, head: str, nonce: str = NONCE, audience: str = AUDIENCE, at: int = NOW) -> str:
        return head + self.bind(head, nonce, audience, at)

    def bind(
        self,
        head: str,
        nonce: str = NONCE,
        audience: str = AUDIENCE,
        at: int = NOW,
        header: dict[str, Any] | None = None,
    ) -> str:
        digest = SDJWTHolder(self.credential or head)._b64hash(head.encode())
        said = {"iat": at, "aud": audience, "nonce": nonce, "sd_hash": digest}
        return sign(self.key, {"alg": "ES256", "typ": "kb+jwt"} | (header or {}), said)


class Government:
    """An issuer of identity credentials."""

    def __init__(self, name: str, kid: str = "one") -> None:
        self.name = name
        self.kid = kid
        self.key = ec.generate_private_key(ec.SECP256R1())

    @property
    def jwk(self) -> dict[str, Any]:
        return jwk_of(self.key) | {"kid": self.kid, "alg": "ES256", "use": "sig"}

    @property
    def jwks(self) -> bytes:
        return json.dumps({"keys": [self.jwk]}).encode()

    @property
    def key_set(self) -> KeySet:
        return KeySet.from_bytes(self.jwks)

    def issue(self, claims: dict[str, Any], holder: Wallet | None, deep: bool = False) -> str:
        """A credential in which every claim may be disclosed or not, made by sd-jwt."""
        body: dict[Any, Any] = {"iss": self.name, "iat": NOW - 1000, "exp": NOW + 10**6, "vct": VCT}
        body |= {name: value for name, value in claims.items() if name in _OPEN}
        body = {name: value for name, value in body.items() if value is not None}
        for name, value in claims.items():
            if name in _OPEN:
                continue
            if deep and isinstance(value, dict):
                body[name] = {SDObj(inner): item for inner, item in value.items()}
            elif deep and isinstance(value, list):
                body[name] = [SDObj(item) for item in value]
            else:
                body[SDObj(name)] = value
        signer = JWK.from_pem(_pem(self.key))
        made = SDJWTIssuer(
            body,
            signer,
            holder_key=None if holder is None else JWK.from_json(json.dumps(jwk_of(holder.key))),
            extra_header_parameters={"typ": "dc+sd-jwt", "kid": self.kid},
        )
        return str(made.sd_jwt_issuance)

    def sign_raw(
        self, body: dict[str, Any], holder: Wallet, header: dict[str, Any] | None = None, without: str = ""
    ) -> str:
        """Whatever one likes, under this issuer's key."""
        whole = {"iss": self.name, "exp": NOW + 10**6, "vct": VCT, "cnf": {"jwk": jwk_of(holder.key)}} | body
        whole.pop(without, None)
        head = {"alg": "ES256", "typ": "dc+sd-jwt", "kid": self.kid} | (header or {})
        return sign(self.key, {name: value for name, value in head.items() if value is not None}, whole)

    def status_list(self, uri: str, statuses: bytes, bits: int = 1, **bent: Any) -> bytes:
        """A status list token over these bytes."""
        packed = encode_base64url(zlib.compress(statuses))
        said = {"sub": uri, "iat": NOW, "exp": NOW + 86_400, "ttl": 60}
        said |= {"status_list": {"bits": bits, "lst": packed}} | bent
        header = {"alg": "ES256", "typ": said.pop("typ", "statuslist+jwt"), "kid": self.kid}
        return sign(self.key, header, said).encode()


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
