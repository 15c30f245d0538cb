from __future__ import annotations

from pathlib import Path

import pytest

from headcount_ledger.storage import DirectoryStorage, find
from headcount_spec.errors import CorruptionError, NotFoundError


def test_objects_are_read_back(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.create([("tile/0/000", b"1"), ("totals/0", b"")])
    storage.put("scopes/x", b"2")
    storage.put("scopes/x", b"3")
    assert [storage.read(path) for path in ("tile/0/000", "totals/0", "scopes/x")] == [b"1", b"", b"3"]
    assert find(storage, "totals/1") is None
    for path in ("totals/1", "tile/0", "tile/0/000/more"):
        with pytest.raises(NotFoundError):
            storage.read(path)


def test_a_full_tile_stands_beside_its_partial_ones(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.create([("tile/0/067.p/17", b"1"), ("tile/0/067", b"2")])
    assert storage.read("tile/0/067.p/17") == b"1"


def test_objects_do_not_change(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.create([("totals/0", b"1")])
    storage.create([("totals/0", b"1")])
    with pytest.raises(CorruptionError):
        storage.create([("totals/0", b"2")])


def test_a_swap_needs_what_was_there(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.swap("checkpoint", b"1", None)
    storage.swap("checkpoint", b"2", b"1")
    storage.swap("checkpoint", b"2", b"1")  # again, after a crash
    for previous in (None, b"1"):
        with pytest.raises(CorruptionError, match="somebody else"):
            storage.swap("checkpoint", b"3", previous)
    assert storage.read("checkpoint") == b"2"
