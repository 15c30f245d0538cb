"""RFC 6962, Section 2.1, written down as recursion: the slow oracle of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


def mth(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: Sequence[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: Sequence[bytes]) -> list[bytes]:
    return _subproof(m, entries, True)


def _subproof(m: int, entries: Sequence[bytes], b: bool) -> list[bytes]:
    if m == len(entries):
        return [] if b else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return [*_subproof(m, entries[:k], b), mth(entries[k:])]
    return [*_subproof(m - k, entries[k:], False), mth(entries[:k])]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def published(entries: Sequence[bytes]) -> dict[str, bytes]:
    """Every tile and bundle of c2sp.org/tlog-tiles for these entries, at most 10^6 of them."""
    files = {}
    for first in range(0, len(entries), 256):
        some = entries[first : first + 256]
        data = b"".join(len(e).to_bytes(2, "big") + e for e in some)
        files[_name("entries", first // 256, len(some))] = data
    level = 0
    hashes = [mth([e]) for e in entries]
    while hashes:
        for first in range(0, len(hashes), 256):
            row = hashes[first : first + 256]
            files[_name(str(level), first // 256, len(row))] = b"".join(row)
        hashes = [_perfect(hashes[i : i + 256]) for i in range(0, len(hashes) // 256 * 256, 256)]
        level += 1
    return files


def _perfect(hashes: Sequence[bytes]) -> bytes:
    if len(hashes) == 1:
        return hashes[0]
    half = len(hashes) // 2
    return sha256(b"\x01" + _perfect(hashes[:half]) + _perfect(hashes[half:])).digest()


def _name(kind: str, index: int, width: int) -> str:
    thousands, rest = divmod(index, 1000)
    place = f"x{thousands:03d}/{rest:03d}" if thousands else f"{rest:03d}"
    return f"tile/{kind}/{place}" + ("" if width == 256 else f".p/{width}")
