"""What kind of file a published path is, wherever it is served from (c2sp.org/tlog-tiles)."""

from __future__ import annotations

from headcount_ledger.storage import CHECKPOINT
from headcount_spec.errors import MalformedError, NotFoundError
from headcount_spec.text import decode_hex, parse_decimal
from headcount_spec.tile import parse_path

TEXT_TYPE = "text/plain; charset=utf-8"
BINARY_TYPE = "application/octet-stream"

IMMUTABLE = "public, max-age=31536000, immutable"
MUTABLE = "public, max-age=2"  # tlog-tiles: a few seconds at most


def kind(path: str) -> tuple[str, str]:
    """Content type and caching of a published file.

    Raises:
        NotFoundError: no ledger publishes such a path.
    """
    if path == CHECKPOINT:
        return TEXT_TYPE, MUTABLE
    folder, _, name = path.partition("/")
    try:
        if folder == "tile":
            parse_path(path)
            return BINARY_TYPE, IMMUTABLE
        if folder == "totals":
            parse_decimal(name)
            return BINARY_TYPE, IMMUTABLE
        if folder == "checkpoints":
            parse_decimal(name)
            return TEXT_TYPE, IMMUTABLE
        if folder == "scopes":
            decode_hex(name, 32)
            return TEXT_TYPE, MUTABLE
    except MalformedError:
        pass
    raise NotFoundError("the ledger has no such file")
