"""One scope in the recount: its terms, its notices, its pledges and what they come to."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from headcount_ledger.audit.bundle import ScopeJudge
from headcount_ledger.audit.fault import FaultList, Place
from headcount_spec.errors import (
    MalformedError,
    NoticeConflictError,
    ProtocolError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.merkle import LeafHash
from headcount_spec.notice import Notice, author, verify_notice
from headcount_spec.quotas import is_enough
from headcount_spec.scope import WITHDRAWN, Manifest
from headcount_spec.text import format_day

ISSUANCE_PATIENCE_DAYS = 7  # protocol, Section 4: a notice missing for seven days is a fault

# The members of a scope that are JSON as they are.
_PLAIN = ("batch", "gross", "withdrawn", "closed_in", "openings", "issued", "notices")

_CONTRADICTION = {"opening": "wrong-opening", "closing": "wrong-closing"}


@dataclass(slots=True)
class CountedPledge:
    """A pledge that counts, and what became of it."""

    index: int
    batch: int
    scope: ScopeRecount
    revision_key: bytes
    choice: int
    serial: int = 0
    revised_in: int = -1  # batch of the last revision


@dataclass(frozen=True, slots=True)
class Reached:
    """The first seal at which the threshold was reached and the quotas met; it is permanent."""

    batch: int
    day: int


@dataclass(frozen=True, slots=True)
class Issuance:
    """One number that an issuer has published: tokens signed so far."""

    day: int  # as the notice says
    batch: int
    issued: int


@dataclass(frozen=True, slots=True)
class PlacedNotice:
    """A notice with its place in the log."""

    index: int
    offset: int
    hash: LeafHash
    notice: Notice


@dataclass(slots=True)
class ScopeRecount:
    """What the entries so far say about one scope."""

    manifest: Manifest
    judge: ScopeJudge
    batch: int  # of the manifest
    gross: int = 0
    withdrawn: int = 0
    uncounted_pledges: int = 0  # invalid leaves, each with a fault of its own
    uncounted_revisions: int = 0
    choices: Counter[int] = field(default_factory=Counter)  # of live pledges
    reached: Reached | None = None
    closed_in: int | None = None  # batch
    texts: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)  # hex
    openings: dict[str, int] = field(default_factory=dict)  # issuer → batch
    issued: dict[str, int] = field(default_factory=dict)  # issuer → last published number
    issuances: dict[str, list[Issuance]] = field(default_factory=dict)  # by issuer
    destroyed: dict[str, set[str]] = field(default_factory=dict)  # issuer → keys of its that it says are gone
    slips: Counter[str] = field(default_factory=Counter)  # issuer → on all of its code sheets
    notices: list[int] = field(default_factory=list)  # indices
    has_gaps: bool = False  # entries of the log are not served, so that what is missing proves nothing
    _previous: dict[str, tuple[int, bytes]] = field(default_factory=dict)  # author → seq, leaf hash
    _resumed: set[str] = field(default_factory=set)  # authors whose last notice was a fault
    _issuance_day: dict[str, int] = field(default_factory=dict)
    _unjudged_since: dict[str, int] = field(default_factory=dict)  # issuer → day of a seal
    _overdue: set[str] = field(default_factory=set)  # issuers already faulted

    def to_state(self) -> dict[str, Any]:
        """All of it as JSON, for another run to go on from."""
        return {
            "manifest": self.manifest.raw.decode(),
            **{name: getattr(self, name) for name in _PLAIN},
            "choices": sorted(self.choices.items()),
            "reached": None if self.reached is None else [self.reached.batch, self.reached.day],
            "texts": sorted(self.texts),
            "children": sorted(self.children),
            "issuances": {
                name: [[item.day, item.batch, item.issued] for item in said]
                for name, said in self.issuances.items()
            },
            "destroyed": {name: sorted(keys) for name, keys in self.destroyed.items()},
            "slips": dict(self.slips),
            "previous": {name: [seq, leaf.hex()] for name, (seq, leaf) in self._previous.items()},
            "issuance_day": self._issuance_day,
            "unjudged_since": self._unjudged_since,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], judge: Callable[[Manifest], ScopeJudge]) -> ScopeRecount:
        """What to_state has kept; the state stays as it is."""
        state = copy.deepcopy(state)
        manifest = Manifest.from_bytes(state["manifest"].encode())
        return cls(
            manifest,
            judge(manifest),
            **{name: state[name] for name in _PLAIN},
            choices=Counter(dict(state["choices"])),
            reached=None if state["reached"] is None else Reached(*state["reached"]),
            texts=set(state["texts"]),
            children=set(state["children"]),
            issuances={name: [Issuance(*item) for item in said] for name, said in state["issuances"].items()},
            destroyed={name: set(keys) for name, keys in state["destroyed"].items()},
            slips=Counter(state["slips"]),
            _previous={name: (seq, bytes.fromhex(leaf)) for name, (seq, leaf) in state["previous"].items()},
            _issuance_day=dict(state["issuance_day"]),
            _unjudged_since=dict(state["unjudged_since"]),
        )

    @property
    def live(self) -> int:
        """Counted pledges that are not withdrawn."""
        return self.gross - self.withdrawn

    def issuer_names(self) -> list[str]:
        """All of them must sign."""
        return [issuer.name for issuer in self.manifest.issuers]

    def is_opened_before(self, batch: int) -> bool:
        """Whether the terms and every issuer's opening stand in an earlier batch."""
        opened = [self.openings.get(name, batch) for name in self.issuer_names()]
        return self.batch < batch and all(b < batch for b in opened)

    def count(self, choice: int, number: int = 1) -> None:
        """Count so many pledges with this choice."""
        self.gross += number
        self.choices[choice] += number

    def change(self, pledge: CountedPledge, choice: int) -> None:
        """Count a revision of a pledge."""
        for before, number in ((pledge.choice, -1), (choice, 1)):
            if before == WITHDRAWN:
                self.withdrawn += number
            else:
                self.choices[before] += number
        pledge.choice = choice

    def take_notices(self, notices: Sequence[PlacedNotice], batch: int, day: int, faults: FaultList) -> None:
        """Verify one batch's notices of this scope, each author's in sequence."""
        for placed in sorted(notices, key=lambda p: (p.notice.statement.role, p.notice.statement.seq)):
            self.notices.append(placed.index)
            if self._verify(placed, faults):
                self._take(placed, batch, day, faults)
        self.notices.sort()

    def _verify(self, placed: PlacedNotice, faults: FaultList) -> bool:
        notice, statement = placed.notice, placed.notice.statement
        place: Place = {"index": placed.index, "offset": placed.offset}
        name = f"the {statement.type} notice"
        try:
            who = author(notice, self.manifest)
        except UnknownKeyError as exc:
            faults.add("forged-notice", f"{name}: {exc}", **place)
            return False
        previous = self._previous.get(who)
        if who in self._resumed:
            # The notice before was a fault: the sequence goes on from what this one says.
            self._resumed.discard(who)
            previous = (statement.seq - 1, statement.prev) if statement.seq else None
        try:
            verify_notice(notice, self.manifest, previous)
        except NoticeConflictError as exc:
            if not (self.has_gaps and statement.seq >= exc.seq):
                faults.add("notice-sequence", f"{name} of {who}: {exc}", **place)
            self._previous[who] = (statement.seq, placed.hash)
            return statement.type != "manifest"
        except (MalformedError, SignatureError, UnknownKeyError) as exc:
            faults.add(self._code(notice, exc), f"{name}: {exc}", **place)
            self._resumed.add(who)
            return False
        self._previous[who] = (statement.seq, placed.hash)
        return True

    def _code(self, notice: Notice, exc: ProtocolError) -> str:
        statement = notice.statement
        if statement.type == "text":
            text = hashlib.sha256(statement.body["text"].encode()).digest()
            if text != self.manifest.texts.get(statement.body["language"]):
                return "swapped-terms"
        if isinstance(exc, MalformedError):
            return _CONTRADICTION.get(statement.type, "forged-notice")
        return "forged-notice"

    def _take(self, placed: PlacedNotice, batch: int, day: int, faults: FaultList) -> None:
        statement = placed.notice.statement
        body = statement.body
        if statement.type == "text":
            self.texts.add(body["language"])
        elif statement.type == "child":
            self.children.add(body["scope"])
        elif statement.type == "opening":
            self.openings.setdefault(body["issuer"], batch)
        elif statement.type == "issuance":
            self._take_issuance(placed, Issuance(body["day"], batch, body["issued"]), faults)
        elif (statement.role, statement.type) == ("issuer", "destruction"):
            name = author(placed.notice, self.manifest).removeprefix("issuer:")
            self.destroyed.setdefault(name, set()).update(body["keys"])
        elif statement.type == "codes":
            self._take_sheet(placed, body["number"], faults)
        elif statement.type == "closing":
            self._close(placed, body["day"], batch, day, faults)

    def _take_issuance(self, placed: PlacedNotice, issuance: Issuance, faults: FaultList) -> None:
        issued, day = issuance.issued, issuance.day
        place: Place = {"index": placed.index, "offset": placed.offset}
        name = author(placed.notice, self.manifest).removeprefix("issuer:")
        if issued < self.issued.get(name, 0) or day < self._issuance_day.get(name, 0):
            faults.add("wrong-issuance", f"{name} says {issued} after {self.issued[name]}", **place)
        elif issued > self.issued.get(name, 0) and "token" in self.destroyed.get(name, ()):
            faults.add("wrong-issuance", f"{name} says {issued} after it destroyed its key", **place)
        # Counted here are the pledges up to the seal before: this batch's follow.
        if self.gross > issued:
            faults.add(
                "issuance-below-pledges",
                f"{self.gross} pledges stand before the notice in which {name} says {issued}",
                **place,
            )
        self.issuances.setdefault(name, []).append(issuance)
        self.issued[name], self._issuance_day[name] = issued, day
        self._unjudged_since.pop(name, None)
        self._overdue.discard(name)

    def _take_sheet(self, placed: PlacedNotice, number: int, faults: FaultList) -> None:
        name = author(placed.notice, self.manifest).removeprefix("issuer:")
        (cap,) = (issuer.slips for issuer in self.manifest.issuers if issuer.name == name)
        self.slips[name] += number
        if cap is not None and self.slips[name] > cap:
            faults.add(
                "too-many-slips",
                f"{name} has {self.slips[name]} slips where the terms allow {cap}",
                index=placed.index,
                offset=placed.offset,
            )

    def _close(self, placed: PlacedNotice, said_day: int, batch: int, day: int, faults: FaultList) -> None:
        place: Place = {"index": placed.index, "offset": placed.offset}
        manifest = self.manifest
        if self.closed_in is not None:
            faults.add("wrong-closing", "the scope was closed before", **place)
            return
        self.closed_in = batch
        if said_day != day or not manifest.closes < day <= manifest.deadline_day:
            faults.add(
                "wrong-closing",
                f"the notice says {format_day(said_day)}, the seal {format_day(day)}, the terms after "
                f"{format_day(manifest.closes)} and by {format_day(manifest.deadline_day)}",
                **place,
            )

    def seal(self, batch: int, day: int, pledges: int, counted: int, faults: FaultList) -> None:
        """Judge the scope at a seal: so many of the batch's leaves are its pledges, so many count."""
        manifest = self.manifest
        if 0 < pledges < manifest.min_batch and self.closed_in != batch and not self.has_gaps:
            faults.add(
                "batch-below-minimum",
                f"{pledges} pledges of {manifest.title_text!r} where {manifest.min_batch} must be",
                batch=batch,
            )
        if self.closed_in is None and day > manifest.deadline_day and "closing" not in self._overdue:
            self._overdue.add("closing")
            faults.add(
                "wrong-closing",
                f"{manifest.title_text!r} is not closed although {format_day(manifest.deadline_day)} "
                "has passed",
                batch=batch,
            )
        for name in self.issuer_names():
            if counted:
                self._unjudged_since.setdefault(name, day)
            since = self._unjudged_since.get(name, day)
            if day - since > ISSUANCE_PATIENCE_DAYS and name not in self._overdue and not self.has_gaps:
                self._overdue.add(name)
                faults.add(
                    "missing-issuance",
                    f"{name} has published no number since the pledges of {format_day(since)}",
                    batch=batch,
                )
        # What opens contacts is that their parent is reached; how many were left is no condition.
        counts = manifest.kind != "contact"
        if counts and self.reached is None and is_enough(manifest, self.live, self.choices, day):
            self.reached = Reached(batch, day)
