"""Canonical JSON, RFC 8785, restricted to what every language reads alike.

I-JSON (RFC 7493) without floats: integers below 2^53 in magnitude, unique keys, no lone
surrogates, depth below 32.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import rfc8785

from headcount_spec.errors import MalformedError

JSON = dict[str, Any] | list[Any] | str | int | bool | None
MAX_DEPTH = 32  # our manifests need 6
_MAX_INT = 2**53 - 1  # RFC 7493, Section 2.2


def canonicalise(value: JSON) -> bytes:
    """The RFC 8785 bytes of a value.

    Raises:
        MalformedError: a float, an integer of 2^53 or more, a lone surrogate, or depth of 32.
    """
    _check(value, 0)
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as exc:
        raise MalformedError("not I-JSON") from exc


def parse_json(data: bytes, max_bytes: int = 65535) -> JSON:
    """A JSON text in any spelling (white space, key order), for drafts and HTTP bodies.

    Raises:
        MalformedError: longer than max_bytes, not UTF-8, duplicate keys, floats, NaN, too deep.
    """
    if len(data) > max_bytes:
        raise MalformedError(f"JSON longer than {max_bytes} bytes")
    try:
        value: JSON = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_float=_refuse,
            parse_constant=_refuse,
            parse_int=_integer,
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise MalformedError("not JSON") from exc
    _check(value, 0)
    return value


def parse_canonical(data: bytes, max_bytes: int = 65535) -> JSON:
    """The value of a JSON text that is in RFC 8785 form.

    Raises:
        MalformedError: as parse_json, or any other spelling of the same value.
    """
    value = parse_json(data, max_bytes)
    if canonicalise(value) != data:
        raise MalformedError("JSON is not in canonical form (RFC 8785)")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise MalformedError("duplicate key in JSON")
    return value


def _refuse(text: str) -> NoReturn:
    raise MalformedError("JSON number is not an integer")


def _integer(text: str) -> int:
    if len(text) > 17 or text == "-0":
        raise MalformedError("JSON integer out of range")
    return int(text)


def _check(value: JSON, depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise MalformedError("JSON nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as exc:
            raise MalformedError("lone surrogate in JSON") from exc
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if abs(value) > _MAX_INT:
            raise MalformedError("JSON integer out of range")
    else:
        raise MalformedError("JSON value of another type")
