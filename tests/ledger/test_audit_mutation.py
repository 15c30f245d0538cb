from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

import ledgers
from headcount_ledger.audit import audit
from ledgers import Ledger


def flips(ledger: Ledger, path: str, offsets: Iterator[int] | range) -> Iterator[tuple[str, Ledger]]:
    data = ledger.files[path]
    for at in offsets:
        for mask in (1, 0x80) if len(data) < 700 else (1 << at % 8,):
            yield f"flip {mask} at {at} of {path}", changed(ledger, path, at, data[at] ^ mask)


def changed(ledger: Ledger, path: str, at: int, value: int) -> Ledger:
    data = bytearray(ledger.files[path])
    data[at] = value
    return replaced(ledger, path, bytes(data))


def replaced(ledger: Ledger, path: str, data: bytes) -> Ledger:
    mutant = ledger.copy()
    mutant.files[path] = data
    return mutant


def file_mutants(ledger: Ledger) -> Iterator[tuple[str, Ledger]]:
    """Each file dropped, emptied, cut, doubled, grown; each pair of files of one kind exchanged."""
    for path, data in ledger.files.items():
        dropped = ledger.copy()
        del dropped.files[path]
        yield f"drop {path}", dropped
        yield f"one more byte in {path}", replaced(ledger, path, data + b"\x00")
        if data:
            yield f"empty {path}", replaced(ledger, path, b"")
            yield f"double {path}", replaced(ledger, path, data + data)
            for at in (1, len(data) // 3, len(data) // 2, len(data) - 1):
                yield f"cut {path} at {at}", replaced(ledger, path, data[:at])
    paths = sorted(ledger.files)
    for one, other in ((a, b) for a in paths for b in paths if a < b):
        if ledger.files[one] != ledger.files[other]:
            swapped = replaced(ledger, one, ledger.files[other])
            swapped.files[other] = ledger.files[one]
            yield f"exchange {one} and {other}", swapped


def records(path: str, data: bytes) -> list[bytes]:
    if path.startswith("tile/entries/"):
        found, at = [], 0
        while at < len(data):
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            found.append(data[at:end])
            at = end
        return found
    size = 32 if path.startswith("tile/") else 48 if path.startswith("totals/") else 0
    return [data[i : i + size] for i in range(0, len(data), size)] if size else data.splitlines(keepends=True)


def record_mutants(ledger: Ledger) -> Iterator[tuple[str, Ledger]]:
    """Each record of each file dropped, doubled, exchanged with the next."""
    for path, data in ledger.files.items():
        parts = records(path, data)
        assert b"".join(parts) == data
        for i, part in enumerate(parts):
            yield f"drop record {i} of {path}", replaced(ledger, path, b"".join(parts[:i] + parts[i + 1 :]))
            yield (
                f"double record {i} of {path}",
                replaced(ledger, path, b"".join([*parts[: i + 1], *parts[i:]])),
            )
            if i + 1 < len(parts) and part != parts[i + 1]:
                order = [*parts[:i], parts[i + 1], part, *parts[i + 2 :]]
                yield f"exchange records {i} and {i + 1} of {path}", replaced(ledger, path, b"".join(order))


def survivors(mutants: Iterator[tuple[str, Ledger]]) -> tuple[int, list[str]]:
    total, alive = 0, []
    for name, mutant in mutants:
        report = audit(mutant.fetch, mutant.policy)
        total += 1
        if report.ok:
            alive.append(name)
        assert report.ok == (not report.faults)
    return total, alive


def tell(kind: str, total: int, alive: list[str]) -> None:
    print(f"{kind}: {total - len(alive)} of {total} mutants killed, {100 * (1 - len(alive) / total):.2f} %")
    assert not alive
    assert total


def test_the_ledger_before_mutation_is_good() -> None:
    ledger = ledgers.small()
    assert audit(ledger.fetch, ledger.policy).ok


def test_every_change_of_a_file_is_found() -> None:
    tell("files", *survivors(file_mutants(ledgers.small())))


def test_every_change_of_a_record_is_found() -> None:
    tell("records", *survivors(record_mutants(ledgers.small())))


def test_a_sample_of_flipped_bytes_is_found() -> None:
    ledger = ledgers.small()
    rng = random.Random(16)

    def sample() -> Iterator[tuple[str, Ledger]]:
        for path, data in ledger.files.items():
            yield from flips(ledger, path, iter(rng.sample(range(len(data)), min(20, len(data)))))

    tell("sampled bytes", *survivors(sample()))


@pytest.mark.long
def test_every_flipped_byte_is_found() -> None:
    ledger = ledgers.small()

    def every() -> Iterator[tuple[str, Ledger]]:
        for path, data in ledger.files.items():
            yield from flips(ledger, path, range(len(data)))

    tell("bytes", *survivors(every()))
