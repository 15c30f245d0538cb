"""The adversary of the privacy tests: knows the true order of issuance, reads every byte left behind.

People are known by their batch (everybody sees which batch a pledge is in) and their place in it. What the
adversary orders them by is a *ranking*: for each batch the people, first to last, or None where the
batch is not seen. There are rankings of people as the issuer knows them (the true time, or the value or
place of what it has stored of them) and of pledges (the value or place of any of their byte strings, in
any file). A *guess* lays one of the first kind beside one of the second and says that the k-th person made
the k-th pledge; or, read backwards, the k-th from the end.

The statistics. If nothing links, each batch of a guess is a random permutation, and the number of people
named rightly is its number of fixed points: 1 on average whatever the size. Over independent batches these
are summed; ``chance_bound`` has that distribution exactly. The adversary makes many guesses and is judged
by the best, so the error of 0.1 % is divided by their number (Bonferroni: sound however the guesses depend
on each other). Guesses that say the same of everybody are one guess and count once, and one that says of the
first batches what another says of more batches is left out: that is decided by what they say alone, not
by how well they do.
"""

from __future__ import annotations

import base64
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = 4096  # of our SQLite files

Ranking = tuple[tuple[int, ...] | None, ...]
Strings = Sequence[Sequence[bytes]]  # [batch][person in true order]
Key = Callable[[int], tuple[float, ...]]


@functools.lru_cache(maxsize=4096)
def chance_bound(batches: int, batch_size: int, confidence: float = 0.999) -> int:
    """The number of right names that guessing at random exceeds with probability below 1 - confidence.

    Exact: the fixed points of a random permutation, summed over independent batches.
    """
    derangements = [1, 0]
    for n in range(2, batch_size + 1):
        derangements.append((n - 1) * (derangements[-1] + derangements[-2]))
    one = [
        math.comb(batch_size, k) * derangements[batch_size - k] / math.factorial(batch_size)
        for k in range(batch_size + 1)
    ]
    total = [1.0]
    for _ in range(batches):
        total = [
            sum(total[i] * one[k - i] for i in range(max(0, k - batch_size), min(k, len(total) - 1) + 1))
            for k in range(len(total) + batch_size)
        ]
    above = math.fsum(total)
    for right, probability in enumerate(total):
        above -= probability
        if above <= 1 - confidence:
            return right
    raise AssertionError("probabilities sum to one")


# Rankings


def by_time(batches: int, batch_size: int) -> Ranking:
    """The order of issuance, which this adversary knows."""
    return (tuple(range(batch_size)),) * batches


def by_value(strings: Strings) -> Ranking:
    """Ascending byte strings: what a sorted table or a batch of the ledger shows."""
    return tuple(
        tuple(sorted(range(len(batch)), key=batch.__getitem__)) if len(set(batch)) == len(batch) else None
        for batch in strings
    )


def by_place(strings: Strings, data: bytes) -> dict[str, Ranking]:
    """The orders in which a file shows them: SQLite pages, logs, tiles and anything else read as bytes.

    Of a string that stands several times, its first and its last place. As they follow in the
    file; and for files of pages, by the offset inside the page (new cells are put below the older ones)
    and by the rank inside the page, so that people of several pages are merged by how far each page is.
    """
    found: dict[str, Ranking] = {}
    for label, find in (("first", data.find), ("last", data.rfind)):
        places = [_places(batch, find) for batch in strings]
        for how, key_of in (("file", _in_file), ("page", _in_page), ("rank", _in_rank)):
            ranking = tuple(_ranked(batch, key_of) for batch in places)
            if any(ranking):
                found[f"{label}, by {how}"] = ranking
    return found


def spellings(strings: Strings) -> Iterator[tuple[str, Strings]]:
    """The same as raw bytes and as logs, JSON and URLs would write them."""
    yield "raw", strings
    for name, spell in (
        ("hex", lambda data: data.hex().encode()),
        ("base64", lambda data: base64.b64encode(data[: len(data) // 3 * 3])),
        ("base64url", lambda data: base64.urlsafe_b64encode(data[: len(data) // 3 * 3])),
    ):
        yield name, [[spell(data) for data in batch] for batch in strings]


def _places(batch: Sequence[bytes], find: Callable[[bytes], int]) -> list[int] | None:
    """Where they stand; None unless all do, each at its own place (ties would be resolved by the truth)."""
    places: list[int] = []
    for needle in batch:
        place = find(needle)
        if place < 0 or place in places:
            return None
        places.append(place)
    return places


def _ranked(places: list[int] | None, key_of: Callable[[list[int]], Key]) -> tuple[int, ...] | None:
    return None if places is None else tuple(sorted(range(len(places)), key=key_of(places)))


def _in_file(places: list[int]) -> Key:
    return lambda i: (places[i],)


def _in_page(places: list[int]) -> Key:
    return lambda i: (places[i] % PAGE_BYTES, places[i])


def _in_rank(places: list[int]) -> Key:
    pages = [place // PAGE_BYTES for place in places]

    def rank(i: int) -> tuple[float, ...]:
        beside = sorted(place for place in places if place // PAGE_BYTES == pages[i])
        return (beside.index(places[i]) + 0.5) / len(beside), places[i]

    return rank


# Guesses


@dataclass(frozen=True, slots=True)
class Guess:
    """Who made which pledge, by one way of reading."""

    name: str
    right: int  # people named rightly
    batches: int  # that this guess says anything about
    bound: int  # what chance alone exceeds with 0.1 % for the whole family of guesses

    @property
    def links(self) -> bool:
        return self.right > self.bound


def guesses(
    people: Mapping[str, Ranking], pledges: Mapping[str, Ranking], confidence: float = 0.999
) -> list[Guess]:
    """Every different guess, best first (by how far it is above its bound)."""
    size = len(next(batch for ranking in people.values() for batch in ranking if batch))
    distinct: dict[tuple[tuple[int, ...] | None, ...], str] = {}
    for (a, person), (b, pledge) in itertools.product(_distinct(people), _distinct(pledges)):
        for way, match in (("forwards", _matched), ("backwards", _matched_backwards)):
            said = tuple(map(match, a, b))
            if any(said):
                distinct.setdefault(said, f"{person} | {pledge} | {way}")
    beginnings = {
        said[:n] + (None,) * (len(said) - n) for said in distinct for n in range(1, len(said)) if said[n]
    }
    wholes = [(said, name) for said, name in distinct.items() if said not in beginnings]
    each = 1 - (1 - confidence) / len(wholes)
    made = []
    for said, name in wholes:
        seen = [batch for batch in said if batch is not None]
        right = sum(named == true for batch in seen for true, named in enumerate(batch))
        made.append(Guess(name, right, len(seen), chance_bound(len(seen), size, each)))
    return sorted(made, key=lambda guess: guess.bound - guess.right)


def _distinct(rankings: Mapping[str, Ranking]) -> list[tuple[Ranking, str]]:
    found: dict[Ranking, str] = {}
    for name, ranking in rankings.items():
        found.setdefault(ranking, name)
    return list(found.items())


def _matched(people: tuple[int, ...] | None, pledges: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """For each person the person whose pledge it is said to be."""
    if people is None or pledges is None:
        return None
    said = dict(zip(people, pledges, strict=True))
    return tuple(said[i] for i in range(len(said)))


def _matched_backwards(
    people: tuple[int, ...] | None, pledges: tuple[int, ...] | None
) -> tuple[int, ...] | None:
    return _matched(people, None if pledges is None else pledges[::-1])


def scores(batches: Strings, files: Iterable[Path]) -> dict[str, int]:
    """The best of both directions for every file that shows every signer of the batches it shows at all."""
    found: dict[str, int] = {}
    for path in files:
        data = path.read_bytes()
        for label, find in (("first", data.find), ("last", data.rfind)):
            places = [_places(batch, find) for batch in batches]
            ranking = tuple(_ranked(batch, _in_file) for batch in places)
            seen = [batch for batch in ranking if batch is not None]
            if seen:
                both = (seen, [batch[::-1] for batch in seen])
                found[f"{path.name}:{label}"] = max(
                    sum(i == j for batch in way for i, j in enumerate(batch)) for way in both
                )
    return found
