from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import manifests
from headcount_spec import archived, pack
from headcount_spec.archived import Archived
from headcount_spec.checkpoint import Checkpoint, sign_checkpoint
from headcount_spec.errors import MalformedError, ProofError, UnknownKeyError
from headcount_spec.growth import CountAt, follow
from headcount_spec.merkle import RootHash, leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.policy import Log, Policy
from headcount_spec.seal import Seal
from headcount_spec.sequence import Said
from headcount_spec.totals import encode_totals

MANIFEST = manifests.manifest()
SCOPE = MANIFEST.scope_id
ZERO = bytes(32)
KEY = SigningKey("ledger.example/log", bytes([9]) * 32)
POLICY = Policy(logs=(Log(KEY.verification_key),))
ROOT = RootHash(bytes([5]) * 32)

Seals = list[tuple[int, Seal]]
TOTALS = [encode_totals({SCOPE: (2, 2)}), encode_totals({SCOPE: (5, 4)})]


def hashed(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def sealed(totals: Sequence[bytes] = TOTALS) -> Seals:
    first = Seal(0, 0, 2, 2, 100, ZERO, ZERO, ZERO, hashed(totals[0]), ZERO)  # type: ignore[arg-type]
    after = leaf_hash(first.to_bytes())
    second = Seal(1, 3, 3, 5, 101, after, ZERO, ZERO, hashed(totals[1]), ZERO)  # type: ignore[arg-type]
    return [(2, first), (6, second)]


def bent(**changes: Any) -> Seals:
    first, (index, second) = sealed()
    return [first, (index, dataclasses.replace(second, **changes))]


def test_the_count_at_each_seal() -> None:
    growth = follow(sealed(), TOTALS, MANIFEST, 7)
    assert growth == (CountAt(0, 2, 100, 2, 2, 2), CountAt(1, 6, 101, 5, 5, 4))
    assert [count.size for count in growth] == [3, 7]


BENT: dict[str, Callable[[], tuple[Seals, Sequence[bytes], int]]] = {
    "none": lambda: ([], [], 0),
    "another-size": lambda: (sealed(), TOTALS, 8),
    "a-seal-left-out": lambda: (bent(batch=2), TOTALS, 7),
    "entries-left-out": lambda: (bent(first_index=4), TOTALS, 7),
    "another-seal-before": lambda: (bent(prev_seal=ZERO), TOTALS, 7),
    "a-day-back": lambda: (bent(day=99), TOTALS, 7),
    "a-wrong-sum": lambda: (bent(pledges_total=6), TOTALS, 7),
    "more-pledges-than-entries": lambda: (bent(pledges_in_batch=4, pledges_total=6), TOTALS, 7),
    "totals-missing": lambda: (sealed(), TOTALS[:1], 7),
    "other-totals": lambda: (sealed(), TOTALS[::-1], 7),
    "totals-left-over": lambda: (sealed(), [*TOTALS, b""], 7),
    "a-count-that-falls": lambda: falling(),
    "more-than-all": lambda: more(),
}


def falling() -> tuple[Seals, Sequence[bytes], int]:
    totals = [encode_totals({SCOPE: (2, 2)}), encode_totals({SCOPE: (1, 1)})]
    return sealed(totals), totals, 7


def more() -> tuple[Seals, Sequence[bytes], int]:
    totals = [encode_totals({SCOPE: (3, 3)}), encode_totals({SCOPE: (5, 4)})]
    return sealed(totals), totals, 7


@pytest.mark.parametrize("name", BENT)
def test_what_contradicts_itself_is_no_growth(name: str) -> None:
    seals, totals, size = BENT[name]()
    with pytest.raises(ProofError):
        follow(seals, totals, MANIFEST, size)


def test_totals_that_are_none() -> None:
    totals = [b"junk", TOTALS[1]]
    with pytest.raises(MalformedError, match="totals of batch 0"):
        follow(sealed(totals), totals, MANIFEST, 7)


def published(key: SigningKey = KEY, size: int = 3) -> bytes:
    return sign_checkpoint(Checkpoint(key.name, size, ROOT), key)


def test_a_kept_checkpoint_is_of_this_log_and_of_its_batch() -> None:
    data = published()
    seals = bent(prev_checkpoint=hashed(data), prev_root=ROOT)
    judged = archived.read([Archived(0, data)], seals, POLICY, KEY.name)
    assert judged[0].signed.checkpoint.size == 3
    stranger = SigningKey("other.example/log", bytes([9]) * 32)
    with pytest.raises(UnknownKeyError, match="another log"):
        archived.read([Archived(0, published(stranger))], seals, POLICY, KEY.name)
    for wrong in (
        bent(prev_checkpoint=hashed(data), prev_root=ZERO),
        bent(prev_checkpoint=ZERO, prev_root=ROOT),
    ):
        with pytest.raises(ProofError):
            archived.read([Archived(0, data)], wrong, POLICY, KEY.name)
    for batch, size in ((0, 4), (5, 3)):
        with pytest.raises(ProofError, match="not the checkpoint of batch"):
            archived.read([Archived(batch, published(size=size))], seals, POLICY, KEY.name)


def test_the_numbers_of_tokens_do_not_fall() -> None:
    said = [Said("issuer:a", seq, "issuance", {"issued": issued}, 0, 0) for seq, issued in ((1, 32), (2, 16))]
    with pytest.raises(ProofError, match="falls"):
        pack._issuance(said, [CountAt(0, 2, 100, 2, 2, 2)])


def test_a_closing_is_in_its_days_and_the_last_word() -> None:
    terms: Any = SimpleNamespace(closes=100, deadline_day=104)
    last = CountAt(1, 6, 101, 5, 5, 4)
    pack._check_closed(last, [last], terms)
    with pytest.raises(ProofError, match="in the days"):
        pack._check_closed(CountAt(1, 6, 100, 5, 5, 4), [last], terms)
    with pytest.raises(ProofError, match="in the days"):
        pack._check_closed(CountAt(1, 6, 105, 5, 5, 4), [last], terms)
    with pytest.raises(ProofError, match="has changed"):
        pack._check_closed(last, [last, CountAt(2, 9, 102, 6, 6, 5)], terms)
    with pytest.raises(ProofError, match="after the deadline"):
        pack._check_closed(None, [last, CountAt(2, 9, 105, 6, 6, 5)], terms)
