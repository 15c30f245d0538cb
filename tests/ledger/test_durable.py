from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from headcount_ledger import durable
from headcount_ledger.syncfs import sync_filesystem
from headcount_spec.errors import CorruptionError, UnavailableError


def test_files_are_written_with_their_folders(tmp_path: Path) -> None:
    files = [(tmp_path / "a/b/c", b"1"), (tmp_path / "a/d", b"2")]
    durable.create_files(files)
    durable.create_files(files)
    assert [path.read_bytes() for path, _ in files] == [b"1", b"2"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "c", "d"]


def test_an_existing_file_with_other_bytes_is_kept(tmp_path: Path) -> None:
    durable.create_files([(tmp_path / "a", b"1")])
    with pytest.raises(CorruptionError, match="other bytes"):
        durable.create_files([(tmp_path / "a", b"2")])
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_file_that_was_half_written_aside_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"a longer half")
    durable.create_files([(tmp_path / "a", b"1")])
    assert (tmp_path / "a").read_bytes() == b"1"


def test_replacing_and_removing(tmp_path: Path) -> None:
    for data in (b"1", b"2"):
        durable.replace_file(tmp_path / "x/a", data, durable.PRIVATE_MODE)
        assert (tmp_path / "x/a").read_bytes() == data
    assert (tmp_path / "x/a").stat().st_mode & 0o777 == 0o600
    durable.remove_file(tmp_path / "x/a")
    durable.remove_file(tmp_path / "x/a")
    assert list((tmp_path / "x").iterdir()) == []


def test_everything_is_synced_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def record_fsync(descriptor: int) -> None:
        calls.append("fsync " + Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def record_rename(source: Path, target: Path) -> None:
        calls.append(f"rename {target.name}")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "rename", record_rename)
    durable.create_files([(tmp_path / "new/a", b"1"), (tmp_path / "new/b", b"1")])
    assert calls[0] == f"fsync {tmp_path.name}"
    assert calls[1:3] == ["fsync .a.new", "fsync .b.new"]
    assert calls[3:] == ["rename a", "rename b", "fsync new"]
    calls.clear()
    durable.create_files([(tmp_path / "new/a", b"1")])
    assert calls == ["fsync a", "fsync new"]


@pytest.mark.parametrize("is_reliable", [True, False])
def test_many_files_are_synced_by_one_call_where_it_can_be_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_reliable: bool
) -> None:
    calls: list[str] = []
    files = [(tmp_path / f"{i}", b"%d" % i) for i in range(durable.MANY)]
    rename, fsync = os.rename, os.fsync

    def record_syncfs(descriptor: int) -> bool:
        assert all((tmp_path / f".{i}.new").read_bytes() == data for i, (_, data) in enumerate(files))
        calls.append("syncfs")
        return is_reliable and sync_filesystem(descriptor)

    monkeypatch.setattr(durable, "sync_filesystem", record_syncfs)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append("fsync"), fsync(descriptor)))
    monkeypatch.setattr(os, "rename", lambda *names: (calls.append("rename"), rename(*names)))
    durable.create_files(files)
    one_each = [] if is_reliable else ["fsync"] * len(files)
    assert calls == ["syncfs", *one_each, *["rename"] * len(files), "fsync"]
    assert [path.read_bytes() for path, _ in files] == [data for _, data in files]


def test_a_failed_syncfs_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(durable, "sync_filesystem", fail)
    with pytest.raises(SystemExit, match="syncfs failed"):
        durable.create_files([(tmp_path / f"{i}", b"1") for i in range(durable.MANY)])
    assert not (tmp_path / "0").exists()


def test_syncfs_tells_of_a_descriptor_that_is_none() -> None:
    if not sync_filesystem(0):
        pytest.skip("no syncfs that reports errors here")
    with pytest.raises(OSError, match="Bad file descriptor"):
        sync_filesystem(-1)


def test_a_failed_fsync_ends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(SystemExit, match="fsync of a failed"):
        durable.create_files([(tmp_path / "a", b"1")])
    assert not (tmp_path / "a").exists()


def test_a_full_disk_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(UnavailableError, match="No space left"):
        durable.replace_file(tmp_path / "a", b"1")
