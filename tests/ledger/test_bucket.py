from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import servers
from headcount_ledger.bucket import BucketStorage, read_credentials
from headcount_ledger.config import BucketConfig
from headcount_ledger.storage import DirectoryStorage, Storage, find
from headcount_spec.errors import ConfigurationError, CorruptionError, NotFoundError, UnavailableError

SCOPE = f"scopes/{'ab' * 32}"


@pytest.fixture
def config(tmp_path: Path) -> BucketConfig:
    servers.require()
    file = tmp_path / "s3"
    file.write_text("[default]\naws_access_key_id = id\naws_secret_access_key = secret\n")
    return BucketConfig(servers.BUCKET, servers.new_prefix(), endpoint=servers.s3(), credentials=file)


@pytest.fixture(params=["directory", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "directory":
        return DirectoryStorage(tmp_path)
    return BucketStorage(request.getfixturevalue("config"))


def test_objects_are_read_back(storage: Storage) -> None:
    storage.create([("tile/0/000", b"1"), ("totals/0", b"")])
    storage.put(SCOPE, b"2")
    storage.put(SCOPE, b"3")
    assert [storage.read(path) for path in ("tile/0/000", "totals/0", SCOPE)] == [b"1", b"", b"3"]
    assert find(storage, "totals/1") is None
    with pytest.raises(NotFoundError):
        storage.read("totals/1")


def test_objects_do_not_change(storage: Storage) -> None:
    many = [(f"totals/{i}", bytes([i])) for i in range(100)]
    storage.create(many)
    storage.create(many)
    with pytest.raises(CorruptionError):
        storage.create([*many[:50], ("totals/50", b"?"), *many[51:]])
    assert storage.read("totals/50") == bytes([50])


def test_partial_versions_are_collected_once_the_full_one_is_there(storage: Storage) -> None:
    storage.create([(f"tile/0/000.p/{width}", b"?") for width in (1, 200)])
    with pytest.raises(CorruptionError, match="in full"):
        storage.collect("tile/0/000")
    assert storage.read("tile/0/000.p/200") == b"?"
    storage.create([("tile/0/000", b"1"), ("tile/0/001.p/3", b"2")])
    storage.collect("tile/0/000")
    storage.collect("tile/0/000")
    assert [find(storage, f"tile/0/000.p/{width}") for width in (1, 200)] == [None, None]
    assert (storage.read("tile/0/000"), storage.read("tile/0/001.p/3")) == (b"1", b"2")


def test_a_swap_needs_what_was_there(storage: Storage) -> None:
    storage.swap("checkpoint", b"1", None)
    storage.swap("checkpoint", b"2", b"1")
    storage.swap("checkpoint", b"2", b"1")  # again, after a crash
    for previous in (None, b"1"):
        with pytest.raises(CorruptionError, match="somebody else"):
            storage.swap("checkpoint", b"3", previous)
    assert storage.read("checkpoint") == b"2"


def test_of_swaps_at_the_same_moment_one_wins(config: BucketConfig) -> None:
    storages = [BucketStorage(config) for _ in range(8)]
    storages[0].swap("checkpoint", b"0", None)
    barrier = threading.Barrier(8)

    def swap(number: int) -> bool:
        barrier.wait()
        try:
            storages[number].swap("checkpoint", b"new %d" % number, b"0")
        except CorruptionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(swap, range(8)))
    assert won.count(True) == 1
    assert storages[0].read("checkpoint") == b"new %d" % won.index(True)


def test_the_bucket_itself_can_serve_the_tree(config: BucketConfig) -> None:
    storage = BucketStorage(config)
    storage.create([("tile/entries/000.p/1", b"1"), ("checkpoints/0", b"2"), ("totals/0", b"3")])
    storage.swap("checkpoint", b"4", None)
    storage.put(SCOPE, b"5")
    kinds = {}
    for path in servers.paths(config.prefix):
        answer = httpx.get(f"{servers.s3()}/{config.bucket}/{config.prefix}/{path}")
        kinds[path] = (answer.headers["Content-Type"], "immutable" in answer.headers["Cache-Control"])
    assert kinds == {
        "checkpoint": ("text/plain; charset=utf-8", False),
        "checkpoints/0": ("text/plain; charset=utf-8", True),
        SCOPE: ("text/plain; charset=utf-8", False),
        "tile/entries/000.p/1": ("application/octet-stream", True),
        "totals/0": ("application/octet-stream", True),
    }


@pytest.mark.parametrize("change", [{"endpoint": "http://127.0.0.1:9"}, {"bucket": "another"}])
def test_a_bucket_that_does_not_answer_is_unavailable(config: BucketConfig, change: dict[str, str]) -> None:
    storage = BucketStorage(dataclasses.replace(config, timeout_s=1, **change))
    with pytest.raises(UnavailableError) as caught:
        storage.create([("totals/0", b"1")])
    assert "127.0.0.1" not in str(caught.value)


def test_credentials_are_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s3"
    file.write_text("[default]\naws_access_key_id=a\naws_secret_access_key=b\naws_session_token=c\n")
    assert read_credentials(file) == {
        "access_key_id": "a",
        "secret_access_key": "b",
        "session_token": "c",
    }
    for text in ("", "[default]\naws_access_key_id=a\n", "aws_access_key_id"):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="no AWS credentials"):
            read_credentials(file)
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        read_credentials(tmp_path / "missing")
