"""Published files that follow from the entries: partial tiles of older sizes, and the hints of scopes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from headcount_spec import notice, seal
from headcount_spec.errors import CorruptionError, MalformedError, ProofError
from headcount_spec.merkle import HASH_BYTES
from headcount_spec.notice import Notice
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.text import parse_decimal
from headcount_spec.tile import TILE_WIDTH, Bundle, Fetch, Tile, decode_bundle, encode_bundle


class NewEntries:
    """What the entries from a size on say about other files."""

    def __init__(self, old_size: int) -> None:
        self.seals: list[tuple[int, Seal]] = []  # with their leaf indices
        self.notices: dict[ScopeId, list[int]] = {}  # leaf indices
        self._old_size = old_size

    def take(self, first: int, entries: Iterable[bytes]) -> None:
        """Look at the entries from leaf index first on.

        Raises:
            ProofError: a seal is malformed, or its number is not the next.
        """
        for index, data in enumerate(entries, first):
            if index < self._old_size:
                continue
            if data.startswith(seal.HEADER):
                self._take_seal(index, data)
            elif data.startswith(notice.HEADER):
                with contextlib.suppress(MalformedError):  # the audit names it; it is nobody's notice
                    scope = Notice.from_bytes(data).statement.scope
                    self.notices.setdefault(scope, []).append(index)

    def _take_seal(self, index: int, data: bytes) -> None:
        try:
            item = Seal.from_bytes(data)
        except MalformedError as exc:
            raise ProofError("a seal of the ledger is malformed; audit it") from exc
        if self.seals and item.batch != self.seals[-1][1].batch + 1:
            raise ProofError("a seal of the ledger does not follow the one before it; audit it")
        self.seals.append((index, item))

    def hint(self, scope: ScopeId, before: bytes | None) -> bytes:
        """The file scopes/<scope id>, from what it was at the old size or at an unfinished newer one.

        Raises:
            CorruptionError: it is no list of indices.
        """
        try:
            lines = (before or b"").decode("ascii").splitlines()
            known = [index for index in map(parse_decimal, lines) if index < self._old_size]
        except (UnicodeDecodeError, MalformedError) as exc:
            raise CorruptionError(f"scopes/{scope.hex()} of the mirror is damaged") from exc
        return "".join(f"{index}\n" for index in [*known, *self.notices[scope]]).encode()


def partials(read: Fetch, size: int, ends: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """The partial tiles and bundles of the sizes in ends that no full one of the tree of this size replaces.

    Each is the beginning of the newest one of its place, which is read.
    """
    ends = list(ends)
    level = 0
    while size >> 8 * level:
        edge, width = divmod(size >> 8 * level, TILE_WIDTH)
        found = {(end >> 8 * level) % TILE_WIDTH for end in ends if end >> 8 * (level + 1) == edge}
        widths = sorted(found - {0, width})
        if widths:
            data = read(Tile(level, edge, width).path)
            yield from ((Tile(level, edge, w).path, data[: w * HASH_BYTES]) for w in widths)
        if widths and level == 0:
            entries = decode_bundle(read(Bundle(edge, width).path), width)
            yield from ((Bundle(edge, w).path, encode_bundle(entries[:w])) for w in widths)
        level += 1
