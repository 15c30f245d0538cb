"""Errors as HTTP answers: problem documents, RFC 9457.

``type`` is ``about:blank`` (RFC 9457, Section 4.2.1): the project has no domain of its own under
which to mint URIs. The stable identifier is the extension member ``code``; three errors carry a
number besides: ``serial``, ``seq`` and ``retry_after_s``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from headcount_spec.errors import (
    MalformedError,
    MethodRefusedError,
    MisbehaviourError,
    NotFoundError,
    NoticeConflictError,
    ProtocolError,
    RateLimitedError,
    RevisionConflictError,
    TooLargeError,
    UnavailableError,
    WrongTypeError,
)
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.text import is_plain

MEDIA_TYPE = "application/problem+json"  # RFC 9457, Section 6.1
MAX_PROBLEM_BYTES = 4096  # ours are below 400
_MAX_DETAIL = 300  # characters shown to a person
_MAX_NUMBER = 2**32 - 1
_DEFAULT_WAIT_S = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """An HTTP answer that says what went wrong."""

    status: int
    headers: Mapping[str, str]
    body: bytes  # JSON, RFC 8785 form


def _concrete(root: type[ProtocolError]) -> Iterator[type[ProtocolError]]:
    for cls in root.__subclasses__():
        if cls.code:
            yield cls
        yield from _concrete(cls)


BY_CODE: Mapping[str, type[ProtocolError]] = MappingProxyType(
    {cls.code: cls for cls in _concrete(ProtocolError)}
)

# What an answer means that is no problem document of ours, such as a proxy's own page.
_BY_STATUS: Mapping[int, type[ProtocolError]] = {
    404: NotFoundError,
    405: MethodRefusedError,
    413: TooLargeError,
    415: WrongTypeError,
    429: RateLimitedError,
}


def problem(error: ProtocolError) -> Problem:
    """The answer for an error: status, headers and body.

    RFC 9457, Section 3. Retry-After is set for the errors that carry a time to wait.
    """
    document: dict[str, JSON] = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": str(error),
    }
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
    if isinstance(error, RevisionConflictError):
        document["serial"] = error.serial
    elif isinstance(error, NoticeConflictError):
        document["seq"] = error.seq
    elif isinstance(error, (RateLimitedError, UnavailableError)):
        document["retry_after_s"] = error.retry_after_s
        headers["Retry-After"] = str(error.retry_after_s)
    return Problem(error.status, MappingProxyType(headers), canonicalise(document))


def from_problem(status: int, body: bytes) -> ProtocolError:
    """The error that another party's answer reports; returned, not raised, and never failing.

    An answer that is no problem document of ours becomes the error that its status means.
    The detail is shown to people, so anything but a short plain text is left out.
    """
    bare = from_status(status, f"HTTP status {status} without a problem document")
    try:
        document = parse_json(body, MAX_PROBLEM_BYTES)
    except MalformedError:
        return bare
    if not isinstance(document, dict):
        return bare
    code = document.get("code")
    cls = BY_CODE.get(code) if isinstance(code, str) else None
    if cls is None or cls.status != status:
        return bare
    detail = _detail(document.get("detail"), status)
    if cls is RevisionConflictError:
        serial = _number(document.get("serial"))
        return bare if serial is None else RevisionConflictError(detail, serial)
    if cls is NoticeConflictError:
        seq = _number(document.get("seq"))
        return bare if seq is None else NoticeConflictError(detail, seq)
    wait_s = _number(document.get("retry_after_s"))
    if wait_s is None:
        wait_s = _DEFAULT_WAIT_S
    if cls is RateLimitedError:
        return RateLimitedError(detail, wait_s)
    if cls is UnavailableError:
        return UnavailableError(detail, wait_s)
    return cls(detail)


def from_status(status: int, detail: str) -> ProtocolError:
    """The error that a bare HTTP status means: of another party, or of the web framework below a role."""
    cls = _BY_STATUS.get(status)
    if cls is RateLimitedError:
        return RateLimitedError(detail, _DEFAULT_WAIT_S)
    if cls is not None:
        return cls(detail)
    if status >= 500:
        return UnavailableError(detail)
    if status >= 400:
        return MalformedError(detail)
    return MisbehaviourError(detail)


def _detail(value: JSON, status: int) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MAX_DETAIL and "\n" not in value and is_plain(value):
        return value
    return f"HTTP status {status}"


def _number(value: JSON) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_NUMBER:
        return value
    return None
