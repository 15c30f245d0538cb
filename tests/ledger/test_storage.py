from __future__ import annotations

import errno
from pathlib import Path

import pytest

from headcount_ledger.storage import DirectoryStorage, find
from headcount_spec.errors import CorruptionError, NotFoundError, UnavailableError


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


def test_partial_files_are_collected_only_beside_a_full_one(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.create([("tile/0/067.p/17", b"1"), ("tile/0/067.p/200", b"2"), ("tile/0/068.p/1", b"3")])
    with pytest.raises(CorruptionError, match="should be there in full"):
        storage.collect("tile/0/067")
    assert storage.read("tile/0/067.p/17") == b"1"
    storage.create([("tile/0/067", b"4")])
    storage.collect("tile/0/067")
    storage.collect("tile/0/067")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["0", "067", "068.p", "1", "tile"]


def test_a_disk_that_does_not_read_is_no_missing_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.create([("totals/0", b"1")])

    def fail(path: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(UnavailableError, match="cannot read"):
        storage.read("totals/0")
    with pytest.raises(UnavailableError):
        find(storage, "totals/0")
