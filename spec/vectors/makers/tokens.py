"""Vectors of token keys, the four token messages and their HTTP headers."""

from __future__ import annotations

import base64
from typing import Any

import keys
from headcount_spec import authorization, spki, token
from headcount_spec.authorization import Challenge
from headcount_spec.errors import MalformedError
from headcount_spec.token import TOKEN_TYPE, Token, TokenChallenge, TokenRequest, TokenResponse

from . import Case, fails, ok

FILE = "tokens.json"

_KEY: bytes = keys.token_spki(0)
_N = keys.token_key(0).n
_CONTEXT = keys.seed("scope")
_CHALLENGE = TokenChallenge(TOKEN_TYPE, "issuer.example", _CONTEXT, "")
_TOKEN = Token(
    TOKEN_TYPE,
    keys.seed("nonce"),
    _CHALLENGE.digest(),
    spki.token_key_id(_KEY),
    keys.seed("authenticator") * 8,
)
_BLINDED = keys.seed("blinded message") * 8
_SIGNED = keys.seed("blind signature") * 8


def make() -> dict[str, Any]:
    """Each message once as it must be, and once for each way in which it is wrong."""
    return {
        "about": "Token keys, token challenges, requests, responses, tokens and PrivateToken headers: "
        "RFC 9577 and RFC 9578, type 0x0002.",
        "source": "Made by makers/tokens.py; the well-formed ones are read by cloudflare/privacypass-ts.",
        "cases": [*_keys(), *_challenges(), *_requests(), *_responses(), *_tokens(), *_headers()],
    }


def _keys() -> list[Case]:
    head, tail = _KEY[:-261], _KEY[-5:]

    def of(n: int) -> bytes:
        return head + n.to_bytes(256, "big") + tail

    multiple_of_3 = next(n for n in range(_N, _N + 6, 2) if n % 3 == 0)
    plain = base64.b64decode(  # the head of an rsaEncryption key, RFC 3279, Section 2.3.1
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA"
    )
    changes = {
        "rsa-encryption-form": plain + _KEY[-261:],
        "salt-of-32-bytes": _KEY.replace(bytes.fromhex("020130"), bytes.fromhex("020120")),
        "sha-256": _KEY.replace(bytes.fromhex("608648016503040202"), bytes.fromhex("608648016503040201")),
        "null-parameters-of-the-hash": _KEY[:30] + b"\x05\x00" + _KEY[30:],
        "exponent-3": _KEY[:-3] + b"\x00\x00\x03",
        "exponent-65539": _KEY[:-1] + b"\x03",
        "modulus-even": of(_N - 1),
        "modulus-prime": of(2**2048 - 1942289),
        "modulus-square": of(keys.token_key(0).p ** 2),
        "modulus-with-the-factor-3": of(multiple_of_3),
        "modulus-of-2047-bits": of(_N >> 1 | 1),
        "truncated": _KEY[:-1],
        "trailing-byte": _KEY + b"\x00",
        "empty": b"",
    }
    good = ok(
        "key",
        operation="token-key",
        token_key=_KEY.hex(),
        token_key_id=spki.token_key_id(_KEY).hex(),
        n=f"{_N:x}",
    )
    return [
        good,
        *(
            fails(f"key-{name}", MalformedError, operation="token-key", token_key=data.hex())
            for name, data in changes.items()
        ),
    ]


def _wrong(operation: str, changes: dict[str, bytes]) -> list[Case]:
    return [
        fails(f"{operation}-{name}", MalformedError, operation=operation, bytes=data.hex())
        for name, data in changes.items()
    ]


def _lengths(data: bytes) -> dict[str, bytes]:
    return {
        "empty": b"",
        "truncated": data[:-1],
        "trailing-byte": data + b"\x00",
        "twice": data * 2,
    }


def _challenges() -> list[Case]:
    def good(name: str, challenge: TokenChallenge) -> Case:
        return ok(
            name,
            operation="challenge",
            bytes=challenge.to_bytes().hex(),
            token_type=challenge.token_type,
            issuer_name=challenge.issuer_name,
            redemption_context=challenge.redemption_context.hex(),
            origin_info=challenge.origin_info,
            digest=challenge.digest().hex(),
        )

    data = _CHALLENGE.to_bytes()
    return [
        good("challenge", _CHALLENGE),
        good("challenge-without-context", TokenChallenge(TOKEN_TYPE, "issuer.example", b"", "")),
        good(
            "challenge-with-origins", TokenChallenge(TOKEN_TYPE, "issuer.example", b"", "a.example,b.example")
        ),
        good("challenge-of-another-type", TokenChallenge(0x0001, "issuer.example", _CONTEXT, "a.example")),
        *_wrong(
            "challenge",
            {
                **_lengths(data),
                "issuer-name-empty": data[:2] + b"\x00\x00" + data[18:],
                "issuer-name-not-ascii": data.replace(b"issuer", b"iss\xc3\xa9r"),
                "issuer-name-with-a-control": data.replace(b"issuer", b"iss\x00er"),
                "issuer-name-longer-than-the-rest": data[:2] + b"\xff\xff" + data[4:],
                "origin-not-ascii": data[:-2] + b"\x00\x02\xc3\xa9",
                "context-of-31-bytes": data.replace(b"\x20" + _CONTEXT, b"\x1f" + _CONTEXT[1:]),
                "context-of-33-bytes": data.replace(b"\x20" + _CONTEXT, b"\x21\x00" + _CONTEXT),
                "too-long": TokenChallenge(TOKEN_TYPE, "i" * token.MAX_CHALLENGE_BYTES, b"", "").to_bytes(),
            },
        ),
    ]


def _requests() -> list[Case]:
    request = TokenRequest(_TOKEN.token_key_id[-1], _BLINDED)
    data = request.to_bytes()
    good = ok(
        "request",
        operation="request",
        bytes=data.hex(),
        truncated_token_key_id=request.truncated_token_key_id,
        blinded_msg=_BLINDED.hex(),
    )
    return [good, *_wrong("request", {**_lengths(data), **_types(data)})]


def _types(data: bytes) -> dict[str, bytes]:
    return {
        "type-1": b"\x00\x01" + data[2:],
        "type-0": b"\x00\x00" + data[2:],
        "type-little-endian": b"\x02\x00" + data[2:],
        "type-da7a": b"\xda\x7a" + data[2:],
    }


def _responses() -> list[Case]:
    good = ok("response", operation="response", bytes=_SIGNED.hex(), blind_sig=_SIGNED.hex())
    return [good, *_wrong("response", _lengths(_SIGNED))]


def _tokens() -> list[Case]:
    data = _TOKEN.to_bytes()
    good = ok(
        "token",
        operation="token",
        bytes=data.hex(),
        nonce=_TOKEN.nonce.hex(),
        challenge_digest=_TOKEN.challenge_digest.hex(),
        token_key_id=_TOKEN.token_key_id.hex(),
        authenticator=_TOKEN.authenticator.hex(),
    )
    short = {"authenticator-of-255-bytes": data[:98] + data[99:], "without-nonce": data[:2] + data[34:]}
    return [good, *_wrong("token", {**_lengths(data), **_types(data), **short})]


def _headers() -> list[Case]:
    challenge = Challenge(_CHALLENGE.to_bytes(), _KEY, 60)
    header = authorization.format_www_authenticate([challenge])
    good = ok(
        "www-authenticate",
        operation="www-authenticate",
        header=header,
        challenges=[{"challenge": challenge.challenge.hex(), "token_key": _KEY.hex(), "max_age_s": 60}],
    )
    other = authorization.format_www_authenticate([Challenge(_CHALLENGE.to_bytes())])
    changes = {
        "without-challenge": 'PrivateToken max-age="60"',
        "challenge-twice": f"{other}, {other.removeprefix('PrivateToken ')}",
        "challenge-without-padding": 'PrivateToken challenge="AQ"',
        "challenge-with-loose-bits": 'PrivateToken challenge="AR=="',
        "challenge-in-the-standard-alphabet": 'PrivateToken challenge="+/+/"',
        "age-with-a-leading-zero": f'{other}, max-age="060"',
        "age-negative": f'{other}, max-age="-1"',
        "quote-open": other[:-1],
        "without-comma": f'{other} max-age="60"',
    }
    token_header = authorization.format_authorization(_TOKEN.to_bytes())
    token_changes = {
        "other-scheme": token_header.replace("PrivateToken", "Bearer"),
        "without-token": "PrivateToken",
        "token-twice": f"{token_header}, {token_header.removeprefix('PrivateToken ')}",
        "token-without-padding": 'PrivateToken token="AQ"',
        "two-schemes": f"{token_header}, {token_header}",
    }
    return [
        good,
        ok(
            "www-authenticate-with-another-scheme",
            operation="www-authenticate",
            header=f'Basic realm="a, b", {other}',
            challenges=[{"challenge": challenge.challenge.hex(), "token_key": None, "max_age_s": None}],
        ),
        ok("www-authenticate-of-others", operation="www-authenticate", header="Basic", challenges=[]),
        *(fails(f"www-authenticate-{name}", MalformedError, operation="www-authenticate", header=value)
          for name, value in changes.items()),
        ok("authorization", operation="authorization", header=token_header, token=_TOKEN.to_bytes().hex()),
        *(fails(f"authorization-{name}", MalformedError, operation="authorization", header=value)
          for name, value in token_changes.items()),
    ]  # fmt: skip


def check(case: Case) -> None:
    """Parse the bytes, compare every field, and encode again."""
    operation = case["operation"]
    found: dict[str, Any]
    if operation == "token-key":
        data = bytes.fromhex(case["token_key"])
        public = spki.decode_token_key(data)
        found = {"n": f"{public.n:x}", "token_key_id": spki.token_key_id(data).hex()}
        again = spki.encode_token_key(public)
    elif operation == "www-authenticate":
        challenges = authorization.parse_www_authenticate(case["header"])
        found = {
            "challenges": [
                {
                    "challenge": c.challenge.hex(),
                    "token_key": None if c.token_key is None else c.token_key.hex(),
                    "max_age_s": c.max_age_s,
                }
                for c in challenges
            ]
        }
        data = again = b""
    elif operation == "authorization":
        found = {"token": authorization.parse_authorization(case["header"]).hex()}
        data = again = b""
    else:
        data = bytes.fromhex(case["bytes"])
        message, found = _parse(operation, data)
        again = message.to_bytes()
    wrong = [name for name, value in found.items() if case[name] != value]
    if wrong or again != data:
        raise AssertionError(f"{case['name']}: {wrong or 'other bytes'}")


def _parse(
    operation: str, data: bytes
) -> tuple[TokenChallenge | TokenRequest | TokenResponse | Token, dict[str, Any]]:
    if operation == "challenge":
        challenge = TokenChallenge.from_bytes(data)
        return challenge, {
            "token_type": challenge.token_type,
            "issuer_name": challenge.issuer_name,
            "redemption_context": challenge.redemption_context.hex(),
            "origin_info": challenge.origin_info,
            "digest": challenge.digest().hex(),
        }
    if operation == "request":
        request = TokenRequest.from_bytes(data)
        return request, {
            "truncated_token_key_id": request.truncated_token_key_id,
            "blinded_msg": request.blinded_msg.hex(),
        }
    if operation == "response":
        response = TokenResponse.from_bytes(data)
        return response, {"blind_sig": response.blind_sig.hex()}
    parsed = Token.from_bytes(data)
    return parsed, {
        "nonce": parsed.nonce.hex(),
        "challenge_digest": parsed.challenge_digest.hex(),
        "token_key_id": parsed.token_key_id.hex(),
        "authenticator": parsed.authenticator.hex(),
    }
