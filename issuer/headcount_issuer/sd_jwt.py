"""Presentations of SD-JWT VCs with key binding. RFC 9901; draft-ietf-oauth-sd-jwt-vc.

    <signed credential>~<disclosure>~ … ~<disclosure>~<key binding JWT>

What is returned was signed by an issuer of credentials that is trusted here, is valid now, was disclosed
exactly as signed, and is presented by the holder of its key for this very question. Whether it was revoked is
asked elsewhere (status_list).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headcount_issuer import base64url
from headcount_issuer.jose import Jws, KeySet, parse_key
from headcount_spec.errors import (
    ChallengeError,
    MalformedError,
    NotEligibleError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.jcs import parse_json

MAX_PRESENTATION_CHARS = 65_535  # some PIDs carry a portrait, which nobody has to disclose here
MAX_DISCLOSURES = 128
MAX_KB_AGE_S = 600  # of a key binding JWT
LEEWAY_S = 60  # between clocks
TYPES = ("dc+sd-jwt", "vc+sd-jwt")  # the second is the name that drafts before November 2024 gave
KB_TYPE = "kb+jwt"

# Claims that are never disclosed selectively. SD-JWT VC, Section 3.2.2.2.
_ALWAYS_OPEN = frozenset({"iss", "nbf", "exp", "cnf", "vct", "vct#integrity", "status"})


@dataclass(frozen=True, slots=True)
class Presented:
    """A credential that was presented and verified."""

    issuer: str  # of the credential
    claims: Mapping[str, Any] = field(repr=False)  # the disclosed ones, and those that are always open
    status: Mapping[str, Any] | None = field(repr=False)  # where to ask whether it was revoked
    expires_at: int | None


def verify_presentation(
    text: str,
    *,
    issuers: Mapping[str, KeySet],
    types: frozenset[str],
    audience: str,
    nonce: str,
    now: int,
) -> Presented:
    """Verify a presentation.

    issuers are those whose credentials are believed, by ``iss``; types are the ``vct`` that are asked for;
    audience and nonce are those of the request.

    Raises:
        MalformedError: not a presentation, or disclosures that are not what was signed.
        UnknownKeyError: an issuer that is not on the list, or a key that is not its.
        SignatureError: a signature, or what it covers, does not hold.
        ChallengeError: an answer to another question.
        NotEligibleError: not valid yet, expired, or another type of credential.
    """
    signed, disclosures, binding = _split(text)
    credential = Jws.from_text(signed, MAX_PRESENTATION_CHARS)
    # 1. Who signed it.
    credential.check_type(*TYPES)
    issuer = credential.payload.get("iss")
    if not isinstance(issuer, str) or issuer not in issuers:
        raise UnknownKeyError("credentials of this issuer are not accepted here")
    issuers[issuer].verify(credential)
    # 2. Who presents it, and to which question.
    _verify_binding(credential.payload, text[: -len(binding)], binding, audience, nonce, now)
    # 3. What was disclosed.
    claims = _disclose(credential.payload, disclosures)
    # 4. Whether it is valid today.
    if claims.get("vct") not in types:
        raise NotEligibleError("another type of credential is asked for")
    expires_at = _time(claims, "exp")
    if expires_at is not None and now >= expires_at + LEEWAY_S:
        raise NotEligibleError("the credential has expired")
    not_before = _time(claims, "nbf")
    if not_before is not None and now < not_before - LEEWAY_S:
        raise NotEligibleError("the credential is not valid yet")
    status = claims.get("status")
    if status is not None and not isinstance(status, dict):
        raise MalformedError("credential.status: not an object")
    return Presented(issuer, claims, status, expires_at)


def _split(text: str) -> tuple[str, list[str], str]:
    if not text.isascii() or len(text) > MAX_PRESENTATION_CHARS:
        raise MalformedError(f"a presentation is ASCII of at most {MAX_PRESENTATION_CHARS} characters")
    signed, *disclosures, binding = text.split("~") if "~" in text else (text, "")
    if not binding:
        raise MalformedError("a presentation without key binding")
    if len(disclosures) > MAX_DISCLOSURES:
        raise MalformedError(f"more than {MAX_DISCLOSURES} disclosures")
    return signed, disclosures, binding


def _verify_binding(
    payload: Mapping[str, Any], covered: str, binding: str, audience: str, nonce: str, now: int
) -> None:
    """RFC 9901, Section 7.3, step 5."""
    confirmation = payload.get("cnf")
    if not isinstance(confirmation, dict):
        raise MalformedError("a credential without the key of its holder")
    key = parse_key(confirmation.get("jwk"))
    jws = Jws.from_text(binding, MAX_PRESENTATION_CHARS)
    jws.check_type(KB_TYPE)
    jws.verify(key)
    said = jws.payload
    issued_at = _time(said, "iat")
    if issued_at is None or not now - MAX_KB_AGE_S <= issued_at <= now + LEEWAY_S:
        raise ChallengeError("the presentation was not made now")
    if said.get("aud") != audience or not _same(said.get("nonce"), nonce):
        raise ChallengeError("the presentation answers another question")
    digest = base64url.encode(hashlib.sha256(covered.encode()).digest())
    if not _same(said.get("sd_hash"), digest):
        raise SignatureError("the holder signed other disclosures")


def _disclose(payload: Mapping[str, Any], disclosures: list[str]) -> dict[str, Any]:
    """RFC 9901, Section 7.1, step 3: put what was disclosed in the place of its digest."""
    if payload.get("_sd_alg", "sha-256") != "sha-256":
        raise MalformedError("disclosures under another hash than SHA-256")
    offered: dict[str, list[Any]] = {}
    for text in disclosures:
        value = parse_json(base64url.decode(text), MAX_PRESENTATION_CHARS)
        if not isinstance(value, list) or not 2 <= len(value) <= 3 or not isinstance(value[0], str):
            raise MalformedError("not a disclosure")
        digest = base64url.encode(hashlib.sha256(text.encode()).digest())
        if digest in offered:
            raise MalformedError("a disclosure twice")
        offered[digest] = value
    tree = _Tree(offered)
    claims = tree.object({name: value for name, value in payload.items() if name != "_sd_alg"}, top=True)
    if tree.offered:
        raise MalformedError("a disclosure that was not signed")
    return claims


class _Tree:
    """The claims while disclosures are put in; each digest may stand in one place."""

    def __init__(self, offered: dict[str, list[Any]]) -> None:
        self.offered = offered
        self._seen: set[str] = set()

    def object(self, value: Mapping[str, Any], top: bool = False) -> dict[str, Any]:
        digests = value.get("_sd", [])
        if not isinstance(digests, list) or "..." in value or ("_sd_alg" in value and not top):
            raise MalformedError("a credential with reserved names")
        claims = {name: self.value(item) for name, item in value.items() if name != "_sd"}
        for digest in digests:
            found = self._take(digest)
            if found is None:
                continue
            if len(found) != 3 or not isinstance(found[1], str) or found[1] in ("_sd", "...", "_sd_alg"):
                raise MalformedError("not the disclosure of a claim")
            if found[1] in claims or (top and found[1] in _ALWAYS_OPEN):
                raise MalformedError("a claim that is disclosed twice, or must not be disclosed")
            claims[found[1]] = self.value(found[2])
        return claims

    def value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return self.object(value)
        if isinstance(value, list):
            return [item for element in value for item in self._element(element)]
        return value

    def _element(self, element: Any) -> list[Any]:
        if not isinstance(element, dict) or "..." not in element:
            return [self.value(element)]
        if len(element) != 1:
            raise MalformedError("a credential with reserved names")
        found = self._take(element["..."])
        if found is None:
            return []
        if len(found) != 2:
            raise MalformedError("not the disclosure of an element")
        return [self.value(found[1])]

    def _take(self, digest: Any) -> list[Any] | None:
        if not isinstance(digest, str) or digest in self._seen:
            raise MalformedError("a credential with the same digest twice")
        self._seen.add(digest)
        return self.offered.pop(digest, None)


def _time(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise MalformedError(f"{name}: not a number of seconds")
    return value


def _same(value: object, expected: str) -> bool:
    if not isinstance(value, str):
        return False
    return hmac.compare_digest(value.encode("utf-8", "surrogatepass"), expected.encode())
