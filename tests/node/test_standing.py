from __future__ import annotations

from dataclasses import dataclass

import pytest

import ledgers
import manifests
import quota_ledgers
from headcount.catalogue import LANGUAGES, catalogue
from headcount_node.site import badge
from headcount_node.site.counted import Count, Counts
from headcount_node.site.standing import lines, standing
from headcount_spec.scope import Manifest
from headcount_spec.text import parse_day
from ledgers import Batch, Ledger, raw

OPENS, CLOSES, ACTS = parse_day("2026-01-10"), parse_day("2026-03-01"), parse_day("2026-04-01")
CAMPAIGN = manifests.manifest(
    threshold=3,
    min_batch=1,
    tiers=None,
    opens="2026-01-10",
    freezes="2026-02-20",
    closes="2026-03-01",
    action={"date": "2026-04-01", "time_zone": "Pacific/Auckland", "what": manifests.both("Move", "Partir")},
)


def ledger(scope: Manifest, pledges: int, withdrawn: int = 0, closed: bool = False, later: int = 0) -> Ledger:
    terms = raw(manifests.manifest_notice(scope), *manifests.text_notices(scope), *manifests.openings(scope))
    entries = [manifests.pledge(scope, number) for number in range(pledges + later)]
    batches = [Batch(OPENS, terms), Batch(OPENS + 1, raw(*entries[:pledges]))]
    if later:
        batches.append(Batch(OPENS + 2, raw(*entries[pledges:])))
    if withdrawn:
        batches.append(Batch(OPENS + 2, raw(*(manifests.revision(entries[i], i) for i in range(withdrawn)))))
    if closed:
        batches.append(Batch(CLOSES + 1, raw(manifests.closing(scope))))
    return ledgers.build(batches)


def at(day: int, hour: int = 12) -> int:
    return day * 86_400 + hour * 3600


@dataclass
class Reads:
    """How often a ledger's files are read."""

    ledger: Ledger
    paths: list[str]

    def __call__(self, path: str) -> bytes:
        self.paths.append(path)
        return self.ledger.fetch(path)


@pytest.mark.parametrize(
    ("pledges", "withdrawn", "closed", "now", "state"),
    [
        (1, 0, False, at(OPENS - 1), "draft"),
        (1, 0, False, at(OPENS + 3), "open"),
        (2, 0, False, at(CLOSES), "open"),
        (2, 0, True, at(CLOSES + 1), "failed"),
        (2, 0, False, at(CLOSES + 1), "open"),
        (2, 0, False, at(CLOSES + 9), "failed"),
        (3, 0, False, at(OPENS + 3), "reached"),
        (3, 2, False, at(OPENS + 3), "reached"),
        (3, 0, True, at(CLOSES + 9), "reached"),
        # The action day begins in Auckland thirteen hours before it does in Greenwich.
        (3, 0, True, at(ACTS - 1, 10), "reached"),
        (3, 0, True, at(ACTS - 1, 12), "action"),
        (3, 0, True, at(ACTS, 10), "action"),
        (3, 0, True, at(ACTS, 12), "closed"),
    ],
)
def test_the_state_is_what_the_ledger_shows(
    pledges: int, withdrawn: int, closed: bool, now: int, state: str
) -> None:
    found = standing(CAMPAIGN, Counts(ledger(CAMPAIGN, pledges, withdrawn, closed).fetch), now)
    assert found.state == state
    assert found.reached_on == (OPENS + 1 if pledges == 3 else None)
    for tag in LANGUAGES:
        said = lines(CAMPAIGN, found, catalogue(tag))
        assert all(line and "{" not in line for line in said)


def test_the_days_are_counted_in_the_action_s_time_zone() -> None:
    counts = Counts(ledger(CAMPAIGN, 1).fetch)
    words = catalogue("en")
    assert lines(CAMPAIGN, standing(CAMPAIGN, counts, at(OPENS + 1, 9)), words)[1].startswith("80 days")
    # Noon in Greenwich is the next day in Auckland.
    assert lines(CAMPAIGN, standing(CAMPAIGN, counts, at(OPENS + 1, 12)), words)[1].startswith("79 days")


def test_reached_stays_reached_and_is_not_looked_for_again() -> None:
    reads = Reads(ledger(CAMPAIGN, 3, withdrawn=2), [])
    counts = Counts(reads)
    assert counts.reached_on(CAMPAIGN) == OPENS + 1
    count = counts.of(CAMPAIGN)
    assert count is not None
    assert count.live == 1
    reads.paths.clear()
    assert counts.reached_on(CAMPAIGN) == OPENS + 1
    assert reads.paths == []


def test_what_is_not_reached_is_looked_at_once_a_checkpoint() -> None:
    reads = Reads(ledger(CAMPAIGN, 2), [])
    counts = Counts(reads)
    assert counts.reached_on(CAMPAIGN) is None
    reads.paths.clear()
    assert counts.reached_on(CAMPAIGN) is None
    assert reads.paths == ["checkpoint"]
    reads.ledger = ledger(CAMPAIGN, 2, later=1)
    assert counts.reached_on(CAMPAIGN) == OPENS + 2


def test_a_ledger_that_does_not_answer_has_reached_nothing() -> None:
    counts = Counts(Ledger([], {}).fetch)
    assert counts.reached_on(CAMPAIGN) is None
    assert not counts.is_closed(CAMPAIGN)


QUOTAS = quota_ledgers.campaign()


@pytest.mark.parametrize(
    ("batches", "state", "options", "said"),
    [
        (2, "open", {1: 3, 2: 1, 3: 0}, "Options with at least 2: 1. Needed: 2."),
        (3, "open", {1: 1, 2: 2, 3: 0}, "of 4 needed"),
        (4, "reached", {1: 2, 2: 2, 3: 0}, "Threshold reached"),
        (5, "reached", {1: 1, 2: 2, 3: 1}, "Threshold reached"),
    ],
)
def test_with_quotas_the_threshold_alone_is_not_reached(
    batches: int, state: str, options: dict[int, int], said: str
) -> None:
    counts = Counts(ledgers.build(quota_ledgers.story()[:batches]).fetch)
    found = standing(QUOTAS, counts, at(quota_ledgers.OPENS + 5))
    assert found.state == state
    count = counts.of(QUOTAS)
    assert count is not None
    assert dict(count.options) == options
    picture = badge.svg(QUOTAS, count, catalogue("en"), found.is_reached)
    assert said in picture
    # The crowd is whole only when nothing is missing.
    assert ('d="" stroke="#8a8577"' in picture) == (state == "reached")
    assert badge.png(QUOTAS, count, is_reached=found.is_reached).startswith(b"\x89PNG")
    for tag in LANGUAGES:
        first, *_ = lines(QUOTAS, found, catalogue(tag))
        assert "{" not in first
    words = catalogue("en")
    asked = "at least 2 each in 2 of the 3 options"
    assert (asked in lines(QUOTAS, found, words)[0]) == (state == "open")


def test_options_that_do_not_come_to_the_count_are_no_count() -> None:
    ledger = quota_ledgers.edited(quota_ledgers.WRONG_ROWS["altered"], number=4)
    assert Counts(ledger.fetch).of(QUOTAS) is None


def test_the_badge_says_that_it_is_reached() -> None:
    counts = Counts(ledger(CAMPAIGN, 3).fetch)
    words = catalogue("en")
    assert "Threshold reached" not in badge.svg(CAMPAIGN, counts.of(CAMPAIGN), words)
    assert "Threshold reached" in badge.svg(CAMPAIGN, counts.of(CAMPAIGN), words, is_reached=True)


def test_a_badge_shows_what_a_campaign_continues_with_as_its_page_does() -> None:
    words, count = catalogue("en"), Count(gross=5, live=4, batch=1, day=20463, size=9)
    assert ">4</text>" in badge.svg(CAMPAIGN, count, words)
    continued = badge.svg(CAMPAIGN, count, words, before=1200)
    assert ">1,204</text>" in continued
    assert f"of {1200 + CAMPAIGN.threshold:,} needed" in continued  # its terms name what was left
    assert badge.png(CAMPAIGN, count) != badge.png(CAMPAIGN, count, before=1200)
    assert ">—</text>" in badge.svg(CAMPAIGN, None, words, before=1200)
