"""The files of a ledger's directory: those that must not be there, and who may read them."""

from __future__ import annotations

import re
import stat
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from headcount_ledger.config import LedgerConfig
from headcount_ledger.fsck.finding import Findings
from headcount_ledger.head import Head
from headcount_ledger.storage import CHECKPOINT
from headcount_spec.errors import MalformedError
from headcount_spec.text import parse_decimal
from headcount_spec.tile import TILE_WIDTH, Tile, parse_path

_TEMPORARY = re.compile(r"\A\..*\.new\Z", re.DOTALL)  # durable.py writes aside under such names
_SQLITE = ("", "-wal", "-shm")
_FOLDERS = ("tile", "totals", "checkpoints", "scopes")


def check_folder(
    config: LedgerConfig, head: Head | None, ends: Sequence[int] | None, findings: Findings
) -> int:
    """Look at every file; how many there are.

    ends are the sizes after each batch, ascending; None if they are not known.
    """
    number = 0
    ours = {config.key, config.lock, config.pending / "plan", config.pending / "objects"}
    ours |= {Path(f"{config.database}{suffix}") for suffix in _SQLITE}
    for path in _walk(config.directory, config.public, config.pending):
        place = path.relative_to(config.directory).as_posix()
        mode = path.stat().st_mode if path.exists() else path.lstat().st_mode
        is_public = path.is_relative_to(config.public)
        if mode & (0o022 if is_public or stat.S_ISDIR(mode) else 0o077) and not stat.S_ISLNK(mode):
            findings.add("open-file", place, f"its mode is {stat.S_IMODE(mode):04o}")
        if stat.S_ISDIR(mode):
            continue
        number += 1
        if _TEMPORARY.match(path.name):
            findings.add("temporary-file", place)
        elif is_public:
            if head is not None:
                _check_public(path.relative_to(config.public), head, ends, place, findings)
        elif path not in ours:
            findings.add("unknown-file", place)
    return number


def _walk(directory: Path, *follow: Path) -> Iterator[Path]:
    yield directory
    for path in sorted(directory.iterdir()):
        if path.is_dir() and (not path.is_symlink() or path in follow):
            yield from _walk(path)
        else:
            yield path


def _check_public(
    path: PurePath, head: Head, ends: Sequence[int] | None, place: str, findings: Findings
) -> None:
    folder = path.parts[0]
    if str(path) == CHECKPOINT:
        return
    if folder not in _FOLDERS:
        findings.add("unknown-file", place)
        return
    try:
        is_ours = (
            _is_tile(str(path), head, ends, place, findings) if folder == "tile" else _is_numbered(path, head)
        )
    except MalformedError:
        is_ours = False
    if not is_ours:
        findings.add("stray-file", place)


def _is_numbered(path: PurePath, head: Head) -> bool:
    if path.parts[0] == "scopes":
        return len(path.parts) == 2 and re.fullmatch("[0-9a-f]{64}", path.name) is not None
    return len(path.parts) == 2 and parse_decimal(path.name) < head.batches


def _is_tile(path: str, head: Head, ends: Sequence[int] | None, place: str, findings: Findings) -> bool:
    tile = parse_path(path)
    level = tile.level if isinstance(tile, Tile) else 0
    full = head.size >> 8 * level
    if tile.is_full:
        return (tile.index + 1) * TILE_WIDTH <= full
    if ends is None:
        return True
    # It belongs to some batch if a tree with just so many hashes at its level was published.
    hashes = tile.index * TILE_WIDTH + tile.width
    at = bisect_left(ends, hashes << 8 * level)
    if at == len(ends) or ends[at] >> 8 * level != hashes:
        return False
    if (tile.index + 1) * TILE_WIDTH <= full:
        findings.add("superseded-partial", place)
    return True
