"""The adversary of the privacy tests: knows the true order of issuance, reads every byte that the servers left.

For each file it looks where each signer's public pledge bytes lie, takes the order of those places inside a
batch for the order of arrival, and counts how many signers it names rightly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


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
    below = 0.0
    for right, probability in enumerate(total):
        below += probability
        if below >= confidence:
            return right
    raise AssertionError("probabilities sum to one")


def right_names(order: Sequence[Sequence[int]]) -> int:
    """How many signers are named rightly: order[b] lists batch b's signers by place, true order is ascending."""
    return sum(seen == true for batch in order for seen, true in zip(batch, sorted(batch), strict=True))


def best_score(batches: Sequence[Sequence[bytes]], places: Mapping[bytes, int]) -> int:
    """The better of reading the places forwards or backwards; batches hold each signer's bytes in true order."""
    forwards = []
    for batch in batches:
        numbered = sorted(range(len(batch)), key=lambda i: places[batch[i]])
        forwards.append(numbered)
    return max(right_names(forwards), right_names([batch[::-1] for batch in forwards]))


def scores(batches: Sequence[Sequence[bytes]], files: Iterable[Path]) -> dict[str, int]:
    """The linker's score for every file that shows every signer of the batches it shows at all."""
    found: dict[str, int] = {}
    for path in files:
        raw = path.read_bytes()
        for label, find in (("first", raw.find), ("last", raw.rfind)):
            seen = [batch for batch in batches if all(find(needle) >= 0 for needle in batch)]
            if seen:
                places = {needle: find(needle) for batch in seen for needle in batch}
                found[f"{path.name}:{label}"] = best_score(seen, places)
    return found
