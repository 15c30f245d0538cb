from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from headcount_engine.lanes.kept import kept

CODE = b"\x7fELF and more"
if os.name != "posix":
    pytest.skip("nothing is kept here", allow_module_level=True)


class Compiler:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bytes:
        self.times += 1
        return CODE


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "headcount"


def the_file(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


def made_again(processor: str = "a processor") -> bool:
    compiler = Compiler()
    assert kept(processor, compiler) == CODE
    return compiler.times == 1


def test_code_is_made_once_for_each_processor(folder: Path) -> None:
    assert made_again()
    assert not made_again()
    assert made_again("another")
    assert not made_again()
    assert len(list(folder.iterdir())) == 2
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 32 + CODE])
def test_a_damaged_file_is_made_anew(folder: Path, damage: bytes) -> None:
    assert made_again()
    good = the_file(folder).read_bytes()
    the_file(folder).write_bytes(damage)
    assert made_again()
    assert the_file(folder).read_bytes() == good


def test_a_flipped_bit_is_found_at_any_place(folder: Path) -> None:
    assert made_again()
    path = the_file(folder)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert made_again()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_could_write_is_not_read(folder: Path, mode: int) -> None:
    assert made_again()
    the_file(folder).chmod(mode)
    assert made_again()
    assert not made_again()


def test_a_link_is_not_followed(folder: Path) -> None:
    assert made_again()
    path = the_file(folder)
    real = path.rename(folder.parent / "elsewhere")
    path.symlink_to(real)
    assert made_again()
    assert not path.is_symlink()


def test_a_pipe_does_not_stop_the_audit(folder: Path) -> None:
    assert made_again()
    path = the_file(folder)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert made_again()
    assert not made_again()


def test_a_folder_that_others_can_write_is_left_alone(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    folder.chmod(0o770)
    assert made_again()
    assert made_again()
    assert not list(folder.iterdir())


if os.geteuid() == 0:  # only root gives files away

    def test_another_users_file_is_not_read(folder: Path) -> None:
        assert made_again()
        os.chown(the_file(folder), 65534, -1)
        assert made_again()
        os.chown(folder, 65534, -1)
        os.chown(the_file(folder), 65534, -1)
        assert made_again()
        assert made_again()


def test_where_nothing_can_be_kept_it_is_made_each_time(folder: Path) -> None:
    folder.write_bytes(b"a file in its place")
    assert made_again()
    assert made_again()


def test_a_relative_folder_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", "caches")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert made_again()
    assert not (tmp_path / "caches").exists()
    assert (tmp_path / "home" / ".cache" / "headcount").is_dir()
