"""ID tokens: what an OpenID provider signs about who has logged in. OpenID Connect Core 1.0, Section 3.1.3.7.

The signature is joserfc's to check and the claims authlib's; what they leave open is checked here: exactly
this issuer, exactly this audience, our nonce, a fresh token, a plain subject. The algorithms are asymmetric
ones from the operator's list, so that neither ``none`` nor an HMAC under a public key is ever tried.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Collection
from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key

from headcount_spec.errors import CodeRefusedError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
MAX_CHARS = 16384
MAX_SUBJECT_CHARS = 255  # OpenID Connect Core, Section 2
LEEWAY_S = 60  # between their clock and ours
MAX_AGE_S = 600  # it was made for this log-in

KeyOf = Callable[[str | None, str], Key]  # key id and algorithm → the provider's key


def verify_id_token(
    token: str,
    key_of: KeyOf,
    *,
    algorithms: Collection[str],
    issuer: str,
    client_id: str,
    nonce: str,
    now: int,
) -> str:
    """The subject, ``sub``.

    Raises:
        CodeRefusedError: the token does not hold, for whatever reason.
        ProtocolError: what key_of raises.
    """
    claims = _signed(token, key_of, algorithms)
    for name, kind in (("iss", str), ("sub", str), ("nonce", str), ("exp", int), ("iat", int)):
        if type(claims.get(name)) is not kind:
            raise _refused()
    audience = claims.get("aud")
    checked = CodeIDToken(claims, {}, {}, {"nonce": nonce, "client_id": client_id})
    try:
        checked.validate(now=now, leeway=LEEWAY_S)
    except JoseError as exc:
        raise _refused() from exc
    if (
        claims["iss"] != issuer
        or (audience != client_id and audience != [client_id])
        or claims.get("azp", client_id) != client_id
        or not hmac.compare_digest(claims["nonce"].encode("utf-8", "surrogatepass"), nonce.encode())
        or not now - MAX_AGE_S - LEEWAY_S <= claims["iat"] <= now + LEEWAY_S
        or now >= claims["exp"] + LEEWAY_S
    ):
        raise _refused()
    subject: str = claims["sub"]
    if not 1 <= len(subject) <= MAX_SUBJECT_CHARS or not subject.isascii() or not subject.isprintable():
        raise _refused()
    return subject


def _signed(token: str, key_of: KeyOf, algorithms: Collection[str]) -> dict[str, Any]:
    if len(token) > MAX_CHARS:
        raise _refused()
    try:
        header = jws.extract_compact(token.encode("utf-8", "surrogatepass")).protected
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in algorithms:
            raise _refused()
        if not isinstance(key_id, str | None) or "crit" in header:
            raise _refused()
        return jwt.decode(token, key_of(key_id, algorithm), algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError, RecursionError) as exc:  # joserfc lets some of these through
        raise _refused() from exc


def _refused() -> CodeRefusedError:
    return CodeRefusedError("what the log-in provider has signed does not hold for this session")
