from __future__ import annotations

import hashlib
import random
import threading
from pathlib import Path

import pytest

from headcount_spec.errors import ConfigurationError
from headcount_verifier.blob_file import BlobFile

SIZE = 355 + 81 * 5


def record(i: int) -> tuple[bytes, bytes]:
    key = hashlib.sha256(b"key %d" % i).digest()
    return key, (key * 40)[:SIZE]


def fill(path: Path, numbers: list[int]) -> BlobFile:
    file = BlobFile(path, SIZE)
    for i in numbers:
        file.put(*record(i))
    return file


def test_what_is_kept_is_found_and_listed_in_order(tmp_path: Path) -> None:
    numbers = list(range(300))
    file = fill(tmp_path / "a", numbers)
    assert list(file.records()) == sorted(map(record, numbers))
    assert file.find(record(7)[0]) == record(7)[1]
    assert file.find(record(1000)[0]) is None
    file.close()
    again = BlobFile(tmp_path / "a", SIZE)
    assert list(again.records()) == sorted(map(record, numbers))
    again.close()


def test_the_file_does_not_show_the_order_of_arrival(tmp_path: Path) -> None:
    numbers = list(range(200))
    shuffled = numbers.copy()
    random.Random(1).shuffle(shuffled)
    contents = set()
    for name, order in (("a", numbers), ("b", numbers[::-1]), ("c", shuffled)):
        fill(tmp_path / name, order).close()
        contents.add((tmp_path / name).read_bytes())
    assert len(contents) == 1


def test_an_erased_blob_is_in_no_file(tmp_path: Path) -> None:
    file = fill(tmp_path / "a", list(range(100)))
    key, blob = record(42)
    file.erase(key)
    file.erase(key)
    assert file.find(key) is None
    left = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert key not in left
    assert blob[:64] not in left
    assert record(41)[1] in left
    assert len(list(file.records())) == 99
    file.close()


def test_the_same_again_changes_nothing_and_another_blob_replaces(tmp_path: Path) -> None:
    file = fill(tmp_path / "a", [1, 1, 1])
    assert len(list(file.records())) == 1
    file.put(record(1)[0], bytes(SIZE))
    assert list(file.records()) == [(record(1)[0], bytes(SIZE))]
    file.close()


def test_a_file_for_another_number_of_trustees_is_refused(tmp_path: Path) -> None:
    BlobFile(tmp_path / "a", SIZE).close()
    with pytest.raises(ConfigurationError):
        BlobFile(tmp_path / "a", SIZE + 81)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    fill(tmp_path / "a", [1]).close()
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0


def test_threads_and_processes_may_write_at_once(tmp_path: Path) -> None:
    first, second = BlobFile(tmp_path / "a", SIZE), BlobFile(tmp_path / "a", SIZE)

    def write(file: BlobFile, numbers: range) -> None:
        for i in numbers:
            file.put(*record(i))

    threads = [
        threading.Thread(target=write, args=(file, range(start, start + 40)))
        for start, file in ((0, first), (40, second), (80, first), (100, second))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(first.records()) == sorted(map(record, range(140)))
    first.close()
    second.close()
