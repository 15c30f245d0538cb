"""The first look at the bundles: which pledges are revised later, and which terms there are.

Costs little more than reading. What it finds is believed by nobody: it says which nullifiers must be
kept in full and which keys may be needed, and the recount decides about each entry in its turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from headcount_ledger.audit.ahead import ahead
from headcount_ledger.audit.unit import PREFIX_BYTES, Unit
from headcount_spec import notice, pledge, revision
from headcount_spec.entry import parse_entry
from headcount_spec.errors import MalformedError, ProtocolError
from headcount_spec.notice import Notice, manifest_of
from headcount_spec.tile import Bundle, Fetch

MAX_SCOPES = 1000  # a hostile ledger must not fill the auditor's memory with names
_SCOPE = slice(2, 34)  # of a pledge or revision, behind type and version
_NULLIFIER = slice(34, 34 + PREFIX_BYTES)  # of a revision


@dataclass(frozen=True, slots=True)
class Survey:
    """What one unit holds."""

    found: bool  # some bundle is there
    revised: bytes  # PREFIX_BYTES of each nullifier that a revision names
    manifests: tuple[bytes, ...]  # their canonical bytes
    scopes: frozenset[bytes] | None  # of its pledges; None if there are more than MAX_SCOPES


def survey(fetch: Fetch, unit: Unit) -> Survey:
    """Look through the bundles of a unit; what cannot be read is left to the recount."""
    found = False
    revised: list[bytes] = []
    manifests: list[bytes] = []
    scopes: set[bytes] = set()
    fetch = ahead(fetch, [Bundle(number, width).path for number, width in unit.widths()])
    for number, width in unit.widths():
        data = _read(fetch, number, width)
        if data is None:
            continue
        found = True
        uniform = _uniform_scopes(data)
        if uniform is not None:
            scopes |= uniform
            continue
        for entry in cut(data):
            kind = entry[:2]
            if kind == pledge.HEADER:
                scopes.add(entry[_SCOPE])
            elif kind == revision.HEADER:
                prefix = entry[_NULLIFIER]
                if len(prefix) == PREFIX_BYTES:
                    revised.append(prefix)
            elif kind == notice.HEADER and b'"manifest"' in entry:
                manifests += _manifests(entry)
    few = frozenset(scopes) if len(scopes) <= MAX_SCOPES else None
    return Survey(found, b"".join(revised), tuple(manifests), few)


def cut(data: bytes) -> Iterator[bytes]:
    """The entries of a bundle as far as they are whole."""
    at = 0
    while at + 2 <= len(data):
        end = at + 2 + (data[at] << 8 | data[at + 1])
        if end > len(data):
            return
        yield data[at + 2 : end]
        at = end


def _uniform_scopes(data: bytes) -> set[bytes] | None:
    """The scopes of a bundle of nothing but pledges of one length; None for any other bundle."""
    stride = 2 + int.from_bytes(data[:2], "big")
    if len(data) % stride or stride < 2 + 34 or data[2:4] != pledge.HEADER:
        return None
    rows = np.frombuffer(data, np.uint8).reshape(-1, stride)
    if not (rows[:, :4] == rows[0, :4]).all():
        return None
    ids = rows[:, 4:36]
    if (ids == ids[0]).all():
        return {ids[0].tobytes()}
    return {row.tobytes() for row in ids}


def _read(fetch: Fetch, number: int, width: int) -> bytes | None:
    bundle = Bundle(number, width)
    for path in dict.fromkeys((bundle.path, Bundle(number).path)):
        try:
            return fetch(path)
        except ProtocolError:
            continue
    return None


def _manifests(data: bytes) -> Iterable[bytes]:
    try:
        entry = parse_entry(data)
        if isinstance(entry, Notice) and entry.statement.type == "manifest":
            yield manifest_of(entry.statement).raw
    except MalformedError:
        return
