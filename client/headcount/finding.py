"""What a monitor finds at a ledger, and when it was first seen and last."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from headcount_ledger.audit import SENTENCES, Fault

Status = Literal["new", "resolved"]

# What an audit cannot find, since it has no clock and looks once; the others are the audit's codes.
CLOCK_SENTENCES = {
    "silent-ledger": "the ledger has published nothing new for long",
    "unreachable-ledger": "the ledger cannot be read",
}

# What is wrong with the pages at which people sign, against what the organisers have stated.
PAGE_SENTENCES = {
    "changed-pages": "a site serves other files than the organisers have stated",
    "foreign-script": "a page runs or shows what is not in the stated files",
    "unguarded-pages": "a page does not forbid other scripts and referrers",
    "unreachable-pages": "a site with stated pages cannot be read",
    "unstated-pages": "a site has a page to sign, and the organisers have not stated what it may run",
}

_MEANINGS = {**SENTENCES, **CLOCK_SENTENCES, **PAGE_SENTENCES}
_LASTING = ("forked-ledger", "rolled-back-ledger")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with one ledger; equal ones are one thing that lasts."""

    ledger: str  # the target: address or folder
    code: str  # of the audit, of CLOCK_SENTENCES or of PAGE_SENTENCES
    detail: str
    batch: int | None = None
    index: int | None = None  # of the entry
    offset: int | None = None
    mark: str = ""  # tells two of a kind apart that have no place and details that change

    @classmethod
    def of_fault(cls, ledger: str, fault: Fault) -> Finding:
        """What an audit has found."""
        # As a ledger that went back grows again, its sizes change and the finding does not.
        mark = fault.code if fault.code in _LASTING else ""
        return cls(ledger, fault.code, fault.detail, fault.batch, fault.index, fault.offset, mark)

    @property
    def key(self) -> str:
        """Names the finding for as long as it lasts."""
        parts = [self.ledger, self.code, self.batch, self.index, self.mark or self.detail]
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]

    @property
    def line(self) -> str:
        """One line for people."""
        places = (("batch", self.batch), ("entry", self.index), ("byte", self.offset))
        place = ", ".join(f"{name} {value}" for name, value in places if value is not None)
        meaning = _MEANINGS[self.code]
        return f"{self.ledger}: {self.code}{f' ({place})' if place else ''}: {meaning}: {self.detail}"

    def to_json(self) -> dict[str, Any]:
        """The members of a state file and of an event."""
        return {
            "ledger": self.ledger,
            "code": self.code,
            "detail": self.detail,
            "batch": self.batch,
            "index": self.index,
            "offset": self.offset,
            "mark": self.mark,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Finding:
        """What to_json gave.

        Raises:
            TypeError, ValueError: something else.
        """
        if value.get("code") not in _MEANINGS:
            raise ValueError("no such code")
        return cls(**value)


@dataclass(frozen=True, slots=True)
class Event:
    """That a finding has come or gone."""

    finding: Finding
    status: Status
    time: int  # seconds since 1970, of this monitor's clock
    evidence: tuple[str, ...] = ()  # names of files

    @property
    def id(self) -> str:
        """One event has one, however often it is sent."""
        data = f"{self.finding.key}\n{self.status}\n{self.time}"
        return hashlib.sha256(data.encode()).hexdigest()[:32]

    @property
    def line(self) -> str:
        """One line for people."""
        kept = f" (evidence: {', '.join(self.evidence)})" if self.evidence else ""
        return f"{self.status}: {self.finding.line}{kept}"

    def to_json(self) -> dict[str, Any]:
        """What a webhook tells."""
        value = self.finding.to_json()
        del value["mark"]
        return {
            "headcount_event": 1,
            "id": self.id,
            "finding": self.finding.key,
            "status": self.status,
            "time": self.time,
            "evidence": list(self.evidence),
            **value,
        }
