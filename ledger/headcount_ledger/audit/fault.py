"""What an audit can find wrong, by name, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import TypedDict

# The code is stable and part of the interface; the sentence is what the person reads.
SENTENCES = MappingProxyType(
    {
        # What a dishonest host or operator would do.
        "deleted-entry": "an entry that was published has been taken out",
        "changed-entry": "an entry was changed after it was made",
        "reordered-batch": "the entries of a batch do not stand in their order",
        "replayed-token": "a token was used a second time",
        "foreign-key": "a pledge is not signed by the keys that the terms name",
        "forked-ledger": "the ledger has shown two different histories",
        "rolled-back-ledger": "the ledger is shorter than it was before",
        "swapped-terms": "the terms shown are not those that were signed",
        "edited-count": "a published number is not what the entries give",
        "broken-seal": "a seal does not follow from what stands before it",
        # Files and tree.
        "unreadable-file": "a published file is missing or cannot be read",
        "malformed-checkpoint": "a checkpoint is not in its format",
        "forged-checkpoint": "a checkpoint is not signed by the ledger's key",
        "witness-quorum": "too few witnesses have signed a checkpoint",
        "broken-tile": "a tile or an older partial file is not what the entries give",
        "malformed-bundle": "an entry bundle is not in its format",
        "wrong-root": "the entries do not lead to the root hash that the ledger signed",
        "wrong-hint": "the list of a scope's notices does not name its notices",
        # Entries.
        "added-entry": "an entry stands there that was not published with its batch",
        "malformed-entry": "an entry is not in any known format",
        "unknown-scope": "an entry belongs to a scope whose terms are not in the ledger before it",
        "refused-terms": "terms were published that must not be opened",
        "missing-opening": "a pledge stands there before every issuer has opened the scope",
        "wrong-opening": "an issuer opened the scope with another key than the terms name",
        "forged-notice": "a notice is not signed by those who may make it",
        "notice-sequence": "a notice does not follow the one before it",
        "forged-revision": "a change of a pledge is not signed by its maker",
        "wrong-revision": "a change of a pledge is not the next one that it may have",
        "late-revision": "a pledge was changed after the freeze day",
        # Days, sizes and issuance.
        "wrong-day": "the day of a seal cannot be right",
        "early-entry": "a pledge was published before the scope opened",
        "late-entry": "an entry was published after its scope had closed",
        "wrong-closing": "a scope was not closed in the days that its terms give",
        "batch-below-minimum": "a batch is too small to hide its pledges",
        "wrong-issuance": "an issuer's published number of tokens falls, is not rounded, or grows after its "
        "key is destroyed",
        "issuance-below-pledges": "there are more pledges than an issuer says it has signed tokens for",
        "too-many-slips": "an issuer has printed more slips than the terms allow",
        "missing-issuance": "an issuer has not published its number of tokens for seven days",
        # What this auditor holds.
        "broken-promise": "an entry that the ledger promised by a day is not there",
    }
)

ATTACKS = frozenset(list(SENTENCES)[:10])
MAX_PER_CODE = 1000  # a hostile ledger must not fill the auditor's memory


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    code: str  # a key of SENTENCES
    detail: str  # names no token, nonce or nullifier
    batch: int | None = None
    index: int | None = None  # of the entry in the log
    offset: int | None = None  # byte in the file: the entry bundle, unless the detail names another

    @property
    def sentence(self) -> str:
        """What the code means."""
        return SENTENCES[self.code]

    def to_json(self) -> dict[str, str | int | None]:
        """The members of a report."""
        return {
            "code": self.code,
            "batch": self.batch,
            "index": self.index,
            "offset": self.offset,
            "detail": self.detail,
        }


class Place(TypedDict, total=False):
    """Where a fault is, as FaultList.add takes it."""

    batch: int | None
    index: int | None
    offset: int | None


class FaultList:
    """Collects faults: each once, at most MAX_PER_CODE of one code."""

    __slots__ = ("_counts", "_faults", "omitted")

    def __init__(self) -> None:
        self._faults: dict[tuple[str, int | None, int | None, str], Fault] = {}
        self._counts: Counter[str] = Counter()
        self.omitted = 0  # found beyond MAX_PER_CODE

    def add(
        self,
        code: str,
        detail: str,
        *,
        batch: int | None = None,
        index: int | None = None,
        offset: int | None = None,
    ) -> None:
        """Record one; the same code at the same entry is one fault."""
        if code not in SENTENCES:
            raise ValueError(code)
        # Without an entry the text tells two of them apart.
        key = (code, batch, index, "" if index is not None else detail)
        if key in self._faults:
            return
        if self._counts[code] >= MAX_PER_CODE:
            self.omitted += 1
            return
        self._counts[code] += 1
        self._faults[key] = Fault(code, detail, batch, index, offset)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults.values())

    def __len__(self) -> int:
        return len(self._faults)

    def has(self, code: str) -> bool:
        """Whether there is one of this code."""
        return self._counts[code] > 0

    def codes_from(self, start: int) -> frozenset[str]:
        """The codes of all faults but the first start."""
        return frozenset(fault.code for fault in islice(self._faults.values(), start, None))

    def placed(self, batch_of: Callable[[int], int | None]) -> tuple[Fault, ...]:
        """All of them, attacks first, in the order of the log; batch_of gives the batch of an index."""
        faults = [
            replace(fault, batch=batch_of(fault.index))
            if fault.batch is None and fault.index is not None
            else fault
            for fault in self._faults.values()
        ]
        return tuple(sorted(faults, key=_place))


def _place(fault: Fault) -> tuple[bool, int, int]:
    batch = -1 if fault.batch is None else fault.batch
    return fault.code not in ATTACKS, batch, -1 if fault.index is None else fault.index
