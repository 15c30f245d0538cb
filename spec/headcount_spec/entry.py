"""Entries: what a leaf of the ledger is. An unknown type or version fails closed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from headcount_spec import notice, pledge, revision, seal
from headcount_spec.errors import MalformedError
from headcount_spec.notice import Notice
from headcount_spec.pledge import Pledge
from headcount_spec.revision import Revision
from headcount_spec.seal import Seal

Entry = Pledge | Seal | Revision | Notice

MAX_ENTRY_BYTES = 65535  # c2sp.org/tlog-tiles, entry bundles: a uint16 length before each
MEDIA_TYPE = "application/vnd.headcount.entry"

_PARSERS: Mapping[bytes, Callable[[bytes], Entry]] = {
    pledge.HEADER: Pledge.from_bytes,
    seal.HEADER: Seal.from_bytes,
    revision.HEADER: Revision.from_bytes,
    notice.HEADER: Notice.from_bytes,
}


def parse_entry(data: bytes) -> Entry:
    """Read an entry of any type.

    Raises:
        MalformedError: longer than 65,535 bytes, an unknown type or version, or malformed in itself.
    """
    if len(data) > MAX_ENTRY_BYTES:
        raise MalformedError(f"entry longer than {MAX_ENTRY_BYTES} bytes")
    parser = _PARSERS.get(data[:2])
    if parser is None:
        raise MalformedError("unknown entry type or version")
    return parser(data)
