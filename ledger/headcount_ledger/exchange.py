"""What the ledger takes and answers over HTTP, whichever server or framework carries it.

POST <prefix>/entries   one entry                     → a promise, or the leaf hash of a notice
POST <prefix>/bundles   an entry bundle, up to 1,000  → the answer to each, in their order

struct {
    uint16 status;           as if the entry had come alone
    opaque body<0..2^16-1>;
} EntryAnswer;               the answer to a bundle is a sequence of them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headcount_spec.entry import MAX_ENTRY_BYTES, MEDIA_TYPE
from headcount_spec.errors import (
    MalformedError,
    MethodRefusedError,
    ProtocolError,
    TooLargeError,
    WrongTypeError,
)
from headcount_spec.jcs import canonicalise
from headcount_spec.merkle import LeafHash
from headcount_spec.problem import from_problem, problem
from headcount_spec.promise import MEDIA_TYPE as PROMISE_TYPE
from headcount_spec.promise import Promise
from headcount_spec.wire import Reader, opaque16, u16

ENTRIES = "entries"
BUNDLES = "bundles"
BUNDLE_TYPE = "application/vnd.headcount.bundle"
ANSWERS_TYPE = "application/vnd.headcount.answers"
MAX_BUNDLE_ENTRIES = 1000
MAX_BUNDLE_BYTES = 1000 * (2 + 2149)  # pledges with as many authenticators as there can be

Accepted = Promise | LeafHash


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


_STORED = {"Content-Type": PROMISE_TYPE, "Cache-Control": "no-store"}
_NOTED = {"Content-Type": "application/json", "Cache-Control": "no-store"}
_ANSWERED = {"Content-Type": ANSWERS_TYPE, "Cache-Control": "no-store"}


def check_entry_head(content_type: str | None, length: int | None) -> None:
    """Refuse what is no entry by its type and length.

    Raises:
        WrongTypeError, TooLargeError: what the header says.
    """
    _check_head(content_type, length, MEDIA_TYPE, "an entry", MAX_ENTRY_BYTES)


def check_bundle_head(content_type: str | None, length: int | None) -> None:
    """Refuse what is no bundle by its type and length.

    Raises:
        WrongTypeError, TooLargeError: what the header says.
    """
    _check_head(content_type, length, BUNDLE_TYPE, "a bundle", MAX_BUNDLE_BYTES)


def _check_head(content_type: str | None, length: int | None, wanted: str, name: str, most: int) -> None:
    if (content_type or "").partition(";")[0].strip().lower() != wanted:
        raise WrongTypeError(f"{name} is sent as {wanted}")
    if (length or 0) > most:
        raise _too_long(name, most)


def entry_too_long(most: int) -> TooLargeError:
    """The error of an entry's body that goes on after as many bytes as there can be."""
    return _too_long("an entry", most)


def bundle_too_long(most: int) -> TooLargeError:
    """The error of a bundle's body that goes on after as many bytes as there can be."""
    return _too_long("a bundle", most)


def _too_long(name: str, most: int) -> TooLargeError:
    return TooLargeError(f"{name} has at most {most} bytes")


def accepted(entry: Accepted) -> Answer:
    """The answer to an entry that is durable."""
    if isinstance(entry, Promise):
        return Answer(200, _STORED, entry.to_bytes())
    return Answer(200, _NOTED, canonicalise({"leaf_hash": entry.hex()}))


def refused(error: ProtocolError, allow: str = "GET, HEAD") -> Answer:
    """The problem document of an error; allow names the methods of the resource."""
    document = problem(error)
    headers = dict(document.headers)
    if isinstance(error, MethodRefusedError):
        headers["Allow"] = allow
    return Answer(document.status, headers, document.body)


def open_bundle(data: bytes) -> list[bytes]:
    """The entries of a bundle (c2sp.org/tlog-tiles): a uint16 length before each.

    Raises:
        MalformedError: truncated, empty, or more than 1,000 entries.
    """
    reader, at = Reader(data), 0
    entries: list[bytes] = []
    while at < len(data):
        if len(entries) == MAX_BUNDLE_ENTRIES:
            raise MalformedError(f"a bundle has at most {MAX_BUNDLE_ENTRIES} entries")
        entries.append(reader.opaque16())
        at += 2 + len(entries[-1])
    if not entries:
        raise MalformedError("a bundle has at least one entry")
    return entries


def answered(answers: Sequence[Answer]) -> Answer:
    """The answer to a bundle."""
    return Answer(200, _ANSWERED, b"".join(u16(one.status) + opaque16(one.body) for one in answers))


def open_answers(data: bytes, number: int) -> list[bytes | ProtocolError]:
    """What came of each of so many entries: the body of its answer, or the error.

    Raises:
        MalformedError: not that many answers.
    """
    reader = Reader(data)
    opened: list[bytes | ProtocolError] = []
    for _ in range(number):
        status, body = reader.u16(), reader.opaque16()
        opened.append(body if status == 200 else from_problem(status, body))
    reader.finish()
    return opened
