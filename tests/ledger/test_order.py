"""Whoever copies a ledger's disk after a sealing tries to find out in which order the pledges came."""

from __future__ import annotations

import random
import sqlite3
import statistics
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

import fakes
import headcount_ledger.arrivals
import manifests
from fakes import DAY
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge

PAGE_BYTES = 4096
NUMBER = 300  # pledges: several pages of each table
FAST = manifests.manifest(min_batch=1)
SLOW = manifests.manifest(
    min_batch=1000,
    title=manifests.both("Another", "Un autre"),
    issuers=[manifests.issuer(0, token_key=3)],
)
# Without any relation the coefficient of so many pairs is normal with this deviation; six of them.
CHANCE = 6 / (NUMBER - 1) ** 0.5


@pytest.fixture(autouse=True)
def rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some of the pledges are sorted in by rounds, so that there are traces of these too."""
    monkeypatch.setattr(headcount_ledger.arrivals, "MAX_WAITING", NUMBER // 4)
    monkeypatch.setattr(headcount_ledger.arrivals, "MIN_SLICE", 3)


def arrivals(seed: int) -> list[int]:
    order = list(range(NUMBER))
    random.Random(seed).shuffle(order)
    return order


def fill(directory: Path, order: Sequence[int], scope: manifests.Manifest) -> Ledger:
    ledger = fakes.new_ledger(directory)
    fakes.open_scopes(ledger, FAST, SLOW)
    for place, i in enumerate(order):
        ledger.accept(manifests.pledge(scope, i).to_bytes(), DAY)
        if scope is SLOW and place == NUMBER // 2:
            # A batch of others passes in between.
            ledger.accept(manifests.pledge(FAST, 999).to_bytes(), DAY)
            ledger.seal(DAY)
    if scope is SLOW:
        ledger.accept(manifests.pledge(FAST, 998).to_bytes(), DAY)
    return ledger


def raw_files(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Every file, as it lies on the disk while the ledger is open."""
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            yield path.relative_to(directory).as_posix(), path.read_bytes()


def traces(pledge: Pledge) -> dict[str, bytes]:
    """What of a pledge could be found in a file."""
    return {
        "nullifier": pledge.nullifier,
        "leaf hash": leaf_hash(pledge.to_bytes()),
        "revision key": pledge.revision_key,
        "authenticator": pledge.authenticators[0],
    }


def orders_found(directory: Path, pledges: Sequence[Pledge]) -> Iterator[tuple[str, float]]:
    """How well places in the files follow the arrival, for each file and kind of trace.

    pledges are in the order of arrival; 1 and -1 tell it whole, 0 nothing of it. Once by the places in the
    whole file, first and last, and once by those inside of each page, whichever pages they are.
    """
    for name, data in raw_files(directory):
        for kind in traces(pledges[0]):
            for find in (data.find, data.rfind):
                places = [find(traces(pledge)[kind]) for pledge in pledges]
                pairs = [(arrival, place) for arrival, place in enumerate(places) if place >= 0]
                if len(pairs) > NUMBER // 3:
                    yield f"{name}: {kind}, {find.__name__}", relation([pairs])
                    pages: dict[int, list[tuple[int, int]]] = {}
                    for arrival, place in pairs:
                        pages.setdefault(place // PAGE_BYTES, []).append((arrival, place))
                    yield f"{name}: {kind}, {find.__name__} in pages", relation(pages.values())


def relation(groups: Iterable[Sequence[tuple[int, int]]]) -> float:
    """The mean rank correlation of the groups, weighted by their sizes."""
    weighted, weight = 0.0, 0
    for pairs in groups:
        if len(pairs) > 2:
            ranks = [ranked([pair[i] for pair in pairs]) for i in range(2)]
            weighted += (len(pairs) - 1) * statistics.correlation(*ranks)
            weight += len(pairs) - 1
    return weighted / weight if weight else 0.0


def ranked(values: Sequence[int]) -> list[int]:
    rank = {value: place for place, value in enumerate(sorted(values))}
    return [rank[value] for value in values]


def check_free_pages(config: LedgerConfig) -> None:
    """The database's free pages are wiped, but for the page numbers in the list of them."""
    data = config.database.read_bytes()
    pages = len(data) // PAGE_BYTES
    trunk = int.from_bytes(data[32:36], "big")
    while trunk:
        words = struct.unpack(f">{PAGE_BYTES // 4}I", data[(trunk - 1) * PAGE_BYTES : trunk * PAGE_BYTES])
        assert max(words) <= pages
        for number in words[2 : 2 + words[1]]:
            assert set(data[(number - 1) * PAGE_BYTES : number * PAGE_BYTES]) == {0}
        trunk = words[0]


def naive(directory: Path, order: Sequence[int]) -> None:
    """What one would write without thinking of it: rows in the order in which they come."""
    connection = sqlite3.connect(directory / "naive.sqlite")
    connection.execute("CREATE TABLE pledges (nullifier BLOB UNIQUE, entry BLOB)")
    for i in order:
        pledge = manifests.pledge(FAST, i)
        connection.execute("INSERT INTO pledges VALUES (?, ?)", (pledge.nullifier, pledge.to_bytes()))
        connection.commit()
    connection.close()


def test_a_naive_table_tells_the_order(tmp_path: Path) -> None:
    order = arrivals(1)
    naive(tmp_path, order)
    found = dict(orders_found(tmp_path, [manifests.pledge(FAST, i) for i in order]))
    assert max(abs(value) for value in found.values()) > 0.9


def test_ours_tells_it_until_the_batch_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # So the comparison below would notice. Rounds alone take most of the order away.
    monkeypatch.setattr(headcount_ledger.arrivals, "MAX_WAITING", NUMBER + 1)
    order = arrivals(1)
    with fill(tmp_path, order, FAST):
        found = dict(orders_found(tmp_path, [manifests.pledge(FAST, i) for i in order]))
    assert max(abs(value) for value in found.values()) > 0.9


@pytest.mark.parametrize("scope", [FAST, SLOW], ids=["sealed", "held-back"])
def test_no_file_tells_the_order_after_a_sealing(tmp_path: Path, scope: manifests.Manifest) -> None:
    for seed in (1, 2):
        order = arrivals(seed)
        directory = tmp_path / str(seed)
        with fill(directory, order, scope) as ledger:
            ledger.seal(DAY)
            pledges = [manifests.pledge(scope, i) for i in order]
            found = dict(orders_found(directory, pledges))
            assert any(name.startswith("ledger.sqlite") for name in found)
            assert {name: value for name, value in found.items() if abs(value) > CHANCE} == {}
            check_remains(ledger, pledges)
            fakes.whole_audit(ledger)


def check_remains(ledger: Ledger, pledges: Sequence[Pledge]) -> None:
    """The log is empty, its index says nothing, free pages are wiped, no file is left aside."""
    config = ledger.config
    files = dict(raw_files(config.directory))
    assert files["ledger.sqlite-wal"] == b""
    check_free_pages(config)
    assert [name for name in files if name.rpartition("/")[2].startswith(".")] == []
    assert [name for name in files if name.startswith("pending/")] == []
    tree = b"".join(data for name, data in files.items() if not name.startswith("public/"))
    # Each staged or spent pledge stands once: no older copy of its row is left in a page.
    assert all(tree.count(pledge.nullifier) == 1 for pledge in pledges)


def test_the_log_s_index_does_not_depend_on_the_order(tmp_path: Path) -> None:
    found = set()
    for seed in (1, 2, 3):
        with fill(tmp_path / str(seed), arrivals(seed), FAST) as ledger:
            ledger.seal(DAY)
            # Its first 136 bytes are two copies of the header (with salts) and the checkpoint's state.
            found.add((ledger.config.directory / "ledger.sqlite-shm").read_bytes()[136:][:4096])
    assert len(found) == 1
