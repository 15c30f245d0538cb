"""The PrivateToken HTTP authentication scheme, RFC 9577, Section 2, as header values.

Other schemes in one header are skipped and unknown parameters ignored, as RFC 9110 demands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.text import decode_base64url, encode_base64url, parse_decimal

SCHEME = "PrivateToken"
MAX_HEADER_CHARS = 16384
MAX_AGE_S = 2**31 - 1  # as RFC 9111, Section 1.2.2 caps delta-seconds

# RFC 9110, Sections 5.6.2, 5.6.4 and 11.2
_TCHARS = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = r'"(?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*"'
_END = r"[ \t]*(?=,|\Z)"
_PARAM = re.compile(rf"({_TCHARS})[ \t]*=[ \t]*({_TCHARS}|{_QUOTED}){_END}", re.ASCII)
_SCHEME = re.compile(rf"({_TCHARS})(?: +|(?=,|\Z))", re.ASCII)
_TOKEN68 = re.compile(rf"[A-Za-z0-9\-._~+/]+=*{_END}", re.ASCII)
_COMMAS = re.compile(r"[ \t]*(?:,[ \t]*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One PrivateToken challenge of a WWW-Authenticate header."""

    challenge: bytes  # an encoded TokenChallenge
    token_key: bytes | None = None  # the issuer's token key as SPKI
    max_age_s: int | None = None


def parse_www_authenticate(value: str) -> tuple[Challenge, ...]:
    """The PrivateToken challenges of one header value, in their order; there may be none.

    Raises:
        MalformedError: not a list of challenges, or a PrivateToken challenge without its
            parameters, with one twice, or with one that is not canonical.
    """
    challenges = []
    for scheme, params in _parse(value):
        if scheme.lower() != SCHEME.lower():
            continue
        if "challenge" not in params:
            raise MalformedError("a PrivateToken challenge carries no challenge")
        token_key = decode_base64url(params["token-key"]) if "token-key" in params else None
        max_age_s = parse_decimal(params["max-age"], MAX_AGE_S) if "max-age" in params else None
        challenges.append(Challenge(decode_base64url(params["challenge"]), token_key, max_age_s))
    return tuple(challenges)


def format_www_authenticate(challenges: Iterable[Challenge]) -> str:
    """The WWW-Authenticate header value of these challenges."""
    parts = []
    for challenge in challenges:
        parts.append(f'{SCHEME} challenge="{encode_base64url(challenge.challenge)}"')
        if challenge.token_key is not None:
            parts.append(f'token-key="{encode_base64url(challenge.token_key)}"')
        if challenge.max_age_s is not None:
            parts.append(f'max-age="{challenge.max_age_s}"')
    return ", ".join(parts)


def parse_authorization(value: str) -> bytes:
    """The token bytes of an Authorization header value, not yet parsed.

    Raises:
        MalformedError: another scheme, more than one, or no canonical token.
    """
    found = list(_parse(value))
    if len(found) != 1 or found[0][0].lower() != SCHEME.lower() or "token" not in found[0][1]:
        raise MalformedError("not a PrivateToken authorization")
    return decode_base64url(found[0][1]["token"])


def format_authorization(token: bytes) -> str:
    """The Authorization header value of an encoded token."""
    return f'{SCHEME} token="{encode_base64url(token)}"'


def _parse(value: str) -> Iterator[tuple[str, dict[str, str]]]:
    # RFC 9110, Section 11.6.1: a list of auth-scheme [ 1*SP ( token68 / #auth-param ) ].
    # A comma separates both challenges and parameters: what follows one is a parameter if it
    # reads as name = value, else a scheme.
    if len(value) > MAX_HEADER_CHARS:
        raise MalformedError("the header is too long")
    scheme: str | None = None
    params: dict[str, str] = {}
    at = _skip(value, 0)
    while at < len(value):
        match = _PARAM.match(value, at) if scheme is not None else None
        if match is None:
            if scheme is not None:
                yield scheme, params
            start = _SCHEME.match(value, at)
            if start is None:
                raise MalformedError("not a list of authentication challenges")
            scheme, params = start[1], {}
            at = start.end()
            match = _PARAM.match(value, at)
        if match is not None:
            name = match[1].lower()
            if name in params:
                raise MalformedError("an authentication parameter stands twice")
            params[name] = _unquote(match[2])
            at = match.end()
        elif (opaque := _TOKEN68.match(value, at)) is not None:
            at = opaque.end()
        if at < len(value) and value[at] != ",":
            raise MalformedError("not a list of authentication challenges")
        at = _skip(value, at)
    if scheme is not None:
        yield scheme, params


def _skip(value: str, at: int) -> int:
    match = _COMMAS.match(value, at)
    return match.end() if match else at


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
