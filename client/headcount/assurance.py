"""The assurance contract: in which state a campaign is, computed by anybody from an audit and a clock.

    draft ─→ open ─→ reached ─→ action ─→ closed
                └──→ failed

draft    the terms are in the ledger and the opening day has not come
open     people pledge; it can still be reached
reached  enough live pledges, at enough options where there are quotas, stood at a seal in time: permanent,
         whoever withdraws afterwards
failed   the deadline has passed without that
action   the action date has come, in its own time zone: not before, not after
closed   the action date is over (or, without one, the scope)

Pure functions: what an audit reports, the manifest and the time go in.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headcount_ledger.audit import ScopeCount
from headcount_spec.errors import ConfigurationError
from headcount_spec.quotas import missing_for
from headcount_spec.scope import Manifest
from headcount_spec.terms import Quotas, Tier

DRAFT, OPEN, REACHED, FAILED, ACTION, CLOSED = "draft", "open", "reached", "failed", "action", "closed"
_EPOCH = datetime.date(1970, 1, 1)
_LINE_OCTETS = 75  # RFC 5545, Section 3.1


@dataclass(frozen=True, slots=True)
class Assurance:
    """How a campaign stands at a moment."""

    state: str
    live: int
    threshold: int
    reached_on: int | None  # day of the seal
    quotas: Quotas | None
    options: Mapping[int, int]  # live pledges at each option; empty without options
    tiers: tuple[Tier, ...]  # those whose count stands now, ascending
    next_tier: Tier | None
    deadline: int  # day, the last on which a batch may reach it
    action: tuple[int, int] | None  # when the action date begins and ends, seconds since 1970
    days_left: int | None  # until the action date in its time zone; 0 on the day, None without or after it

    @property
    def missing(self) -> int:
        """How many more are needed, where they are short; none once it is reached."""
        if self.reached_on is not None:
            return 0
        by_option = 0 if self.quotas is None else missing_for(self.quotas, self.options)
        return max(0, self.threshold - self.live, by_option)

    @property
    def enough(self) -> tuple[int, ...]:
        """The options that have what the quotas ask of one."""
        if self.quotas is None:
            return ()
        return tuple(option for option, live in self.options.items() if live >= self.quotas.each)


def assess(manifest: Manifest, count: ScopeCount, now: int) -> Assurance:
    """The state of a campaign at now, in seconds since 1970.

    count is what an audit of the ledger up to now has found; whether that audit is good is asked before.

    Raises:
        ConfigurationError: this machine does not know the action's time zone.
    """
    window = action_window(manifest)
    reached = count.reached
    standing = tuple(tier for tier in manifest.tiers if count.live >= tier.count)
    return Assurance(
        state=state_at(manifest, reached is not None, count.closed, now),
        live=count.live,
        threshold=manifest.threshold,
        quotas=manifest.quotas,
        options=count.choices,
        reached_on=None if reached is None else reached.day,
        tiers=standing,
        next_tier=next((tier for tier in manifest.tiers if count.live < tier.count), None),
        deadline=manifest.deadline_day,
        action=window,
        days_left=days_left(manifest, now),
    )


def state_at(manifest: Manifest, is_reached: bool, is_closed: bool, now: int) -> str:
    """The state at now, in seconds since 1970; is_closed: the ledger has published the closing batch.

    Raises:
        ConfigurationError: this machine does not know the action's time zone.
    """
    window = action_window(manifest)
    day = now // 86_400
    if not is_reached:
        if day < manifest.opens:
            return DRAFT
        # The closing batch decides; without it, the last day on which it may come.
        return FAILED if is_closed or day > manifest.deadline_day else OPEN
    if window is None:
        return CLOSED if day > manifest.deadline_day else REACHED
    start, end = window
    if now < start:
        return REACHED
    return ACTION if now < end else CLOSED


def action_window(manifest: Manifest) -> tuple[int, int] | None:
    """When the action date begins and ends, in seconds since 1970; None without one.

    From midnight to midnight in its time zone: 23, 24 or 25 hours.

    Raises:
        ConfigurationError: this machine does not know the time zone.
    """
    if manifest.action is None:
        return None
    zone = _zone(manifest.action.time_zone)
    date = _EPOCH + datetime.timedelta(days=manifest.action.date)
    starts = (datetime.datetime.combine(d, datetime.time(), zone) for d in (date, _after(date)))
    start, end = (int(moment.timestamp()) for moment in starts)
    return start, end


def days_left(manifest: Manifest, now: int) -> int | None:
    """How many days remain until the action date, in its time zone; None without or after it.

    Raises:
        ConfigurationError: this machine does not know the action's time zone.
    """
    if manifest.action is None:
        return None
    here = datetime.datetime.fromtimestamp(now, _zone(manifest.action.time_zone)).date()
    left = manifest.action.date - (here - _EPOCH).days
    return left if left >= 0 else None


def calendar(manifest: Manifest, language: str | None = None) -> bytes:
    """The action date as an iCalendar file (RFC 5545): one all-day event, the same bytes each time.

    An all-day event has no time zone: it is that date wherever somebody is. The terms' zone is in the text.

    Raises:
        ConfigurationError: the campaign has no action date, or not this language.
    """
    if manifest.action is None:
        raise ConfigurationError("this campaign has no action date")
    tag = language or manifest.language
    if tag not in manifest.title:
        raise ConfigurationError(f"the terms are not in {tag}")
    date = _EPOCH + datetime.timedelta(days=manifest.action.date)
    stamp = _EPOCH + datetime.timedelta(days=manifest.opens)
    what = f"{manifest.action.what[tag]} ({manifest.action.time_zone})"
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//headcount//action date//EN",
        "BEGIN:VEVENT",
        f"UID:{manifest.scope_id.hex()}@headcount",
        f"DTSTAMP:{stamp:%Y%m%d}T000000Z",
        f"DTSTART;VALUE=DATE:{date:%Y%m%d}",
        f"DTEND;VALUE=DATE:{_after(date):%Y%m%d}",
        f"SUMMARY;LANGUAGE={tag}:{_escaped(manifest.title[tag])}",
        f"DESCRIPTION;LANGUAGE={tag}:{_escaped(what)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
        "END:VCALENDAR",
    ]
    return b"".join(piece + b"\r\n" for line in lines for piece in _folded(line))


def _after(date: datetime.date) -> datetime.date:
    return date + datetime.timedelta(days=1)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError) as exc:
        raise ConfigurationError(f"the time zone {name} is not known here") from exc


def _escaped(text: str) -> str:
    """RFC 5545, Section 3.3.11."""
    for plain, escaped in (("\\", "\\\\"), (";", "\\;"), (",", "\\,"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    return text


def _folded(line: str) -> Iterator[bytes]:
    """RFC 5545, Section 3.1: lines of at most 75 octets, no character cut in two."""
    piece, room = b"", _LINE_OCTETS
    for character in line:
        octets = character.encode("utf-8")
        if len(piece) + len(octets) > room:
            yield piece
            piece, room = b" ", _LINE_OCTETS
        piece += octets
    yield piece
