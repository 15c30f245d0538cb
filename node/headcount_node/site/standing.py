"""How a campaign stands, for its page: the state of the assurance contract, in words.

Computed by headcount.assurance from what the ledger has sealed, as anybody can; by this machine's clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount import assurance
from headcount.catalogue import Catalogue
from headcount_node.site.counted import Counts
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import Manifest
from headcount_spec.text import day_of


@dataclass(frozen=True, slots=True)
class Standing:
    """A campaign's state at a moment."""

    state: str
    reached_on: int | None  # day of the seal
    days_left: int | None  # until the action date in its time zone; 0 on the day

    @property
    def is_reached(self) -> bool:
        """Whether enough live pledges once stood at a seal in time."""
        return self.reached_on is not None


def standing(manifest: Manifest, counts: Counts, now: int) -> Standing:
    """The state at now, in seconds since 1970."""
    reached_on = counts.reached_on(manifest)
    closed = day_of(now) > manifest.closes and counts.is_closed(manifest)
    try:
        state = assurance.state_at(manifest, reached_on is not None, closed, now)
        return Standing(state, reached_on, assurance.days_left(manifest, now))
    except ConfigurationError:  # this machine does not know the time zone
        state = assurance.REACHED if reached_on is not None else assurance.OPEN
        return Standing(state, reached_on, None)


def lines(manifest: Manifest, found: Standing, words: Catalogue) -> list[str]:
    """What a page says of it."""
    names = {
        "date": words.day(_day_of(manifest, found)),
        "threshold": words.number(manifest.threshold),
    }
    key = f"state.{found.state}"
    if found.state == assurance.OPEN and manifest.quotas is not None:
        key = "state.open_quotas"
        names["each"] = words.number(manifest.quotas.each)
        names["options"] = words.number(manifest.quotas.options)
        names["total"] = words.number(len(manifest.options))
    said = [words.text(key, None, **names)]
    if found.days_left and found.state in (assurance.DRAFT, assurance.OPEN, assurance.REACHED):
        said.append(words.text("state.days", found.days_left))
    return said


def _day_of(manifest: Manifest, found: Standing) -> int:
    if found.state == assurance.DRAFT:
        return manifest.opens
    if found.state == assurance.FAILED:
        return manifest.deadline_day
    return manifest.closes if found.reached_on is None else found.reached_on
