from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner

import manifests
from headcount import assurance
from headcount.assurance import assess
from headcount.scope_commands import scope
from headcount.state_command import state
from headcount_ledger.audit import ScopeCount
from headcount_ledger.audit.scopes import Reached
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import Manifest

DAY_S = 86_400
CAMPAIGN = manifests.manifest()  # threshold 5, a tier at 3, action on 2026-04-01 in Paris
PARIS = ZoneInfo("Europe/Paris")


def count(manifest: Manifest, gross: int, withdrawn: int = 0, **changes: Any) -> ScopeCount:
    members: dict[str, Any] = {
        "scope_id": manifest.scope_id,
        "kind": manifest.kind,
        "parent": None,
        "title": manifest.title_text,
        "level": manifest.level,
        "gross": gross,
        "withdrawn": withdrawn,
        "choices": {},
        "threshold": manifest.threshold,
        "reached": None,
        "opens": manifest.opens,
        "closes": manifest.closes,
        "closed": False,
        "min_batch": manifest.min_batch,
        "closed_in": None,
        "issuers": tuple(issuer.name for issuer in manifest.issuers),
    }
    return ScopeCount(**{**members, **changes})


def at(year: int, month: int, day: int, hour: int = 12, zone: ZoneInfo = PARIS) -> int:
    return int(datetime.datetime(year, month, day, hour, tzinfo=zone).timestamp())


REACHED = Reached(4, manifests.OPENS + 3)


@pytest.mark.parametrize(
    ("found", "now", "state"),
    [
        (count(CAMPAIGN, 0), manifests.OPENS * DAY_S - 1, "draft"),
        (count(CAMPAIGN, 0), manifests.OPENS * DAY_S, "open"),
        (count(CAMPAIGN, 4), CAMPAIGN.deadline_day * DAY_S, "open"),
        (count(CAMPAIGN, 4), (CAMPAIGN.deadline_day + 1) * DAY_S, "failed"),
        (count(CAMPAIGN, 4, closed=True), (CAMPAIGN.closes + 1) * DAY_S, "failed"),
        (count(CAMPAIGN, 5, reached=REACHED), manifests.OPENS * DAY_S, "reached"),
        # Reached stays reached when people withdraw.
        (count(CAMPAIGN, 5, 3, reached=REACHED, closed=True), at(2026, 3, 31, 23), "reached"),
        (count(CAMPAIGN, 5, reached=REACHED), at(2026, 4, 1, 0), "action"),
        (count(CAMPAIGN, 5, reached=REACHED), at(2026, 4, 2, 0) - 1, "action"),
        (count(CAMPAIGN, 5, reached=REACHED), at(2026, 4, 2, 0), "closed"),
        # Enough in the end, and no seal in time had them: the number alone decides nothing.
        (count(CAMPAIGN, 9, closed=True), (CAMPAIGN.deadline_day + 1) * DAY_S, "failed"),
    ],
)
def test_each_state_begins_and_ends_to_the_second(found: ScopeCount, now: int, state: str) -> None:
    assert assess(CAMPAIGN, found, now).state == state


def test_without_an_action_date_it_closes_after_the_deadline() -> None:
    plain = manifests.manifest(action=None)
    found = count(plain, 5, reached=REACHED)
    assert assess(plain, found, plain.deadline_day * DAY_S).state == "reached"
    after = assess(plain, found, (plain.deadline_day + 1) * DAY_S)
    assert (after.state, after.action, after.days_left) == ("closed", None, None)
    with pytest.raises(ConfigurationError):
        assurance.calendar(plain)


@pytest.mark.parametrize(
    ("zone", "date", "hours"),
    [
        ("Europe/Paris", "2026-04-01", 24),
        ("Europe/Paris", "2026-03-29", 23),
        ("Europe/Paris", "2026-10-25", 25),
        ("Pacific/Kiritimati", "2026-04-01", 24),
        ("UTC", "2026-04-01", 24),
    ],
)
def test_the_action_date_is_a_day_of_its_own_time_zone(zone: str, date: str, hours: int) -> None:
    action = {"date": date, "time_zone": zone, "what": manifests.both("Leave", "Partez")}
    window = assurance.action_window(manifests.manifest(action=action))
    assert window is not None
    start, end = (datetime.datetime.fromtimestamp(moment, ZoneInfo(zone)) for moment in window)
    assert start.date().isoformat() == date
    assert (start.hour, end.hour) == (0, 0)
    assert window[1] - window[0] == hours * 3600


def test_a_zone_that_nobody_knows_is_an_error() -> None:
    action = {"date": "2026-04-01", "time_zone": "Mars/Olympus", "what": manifests.both("a", "b")}
    with pytest.raises(ConfigurationError, match="Mars/Olympus"):
        assurance.action_window(manifests.manifest(action=action))


def test_the_countdown_counts_dates_where_the_action_is() -> None:
    found = count(CAMPAIGN, 5, reached=REACHED)
    assert assess(CAMPAIGN, found, at(2026, 1, 31)).days_left == 60
    # It is already the first of April in Paris.
    late = int(datetime.datetime(2026, 3, 31, 22, 30, tzinfo=datetime.UTC).timestamp())
    assert assess(CAMPAIGN, found, late).days_left == 0
    assert assess(CAMPAIGN, found, late - 3600).days_left == 1
    assert assess(CAMPAIGN, found, at(2026, 4, 2)).days_left is None


def test_tiers_stand_as_long_as_their_number_does() -> None:
    effect = manifests.both("x", "y")
    tiered = manifests.manifest(tiers=[{"count": n, "effect": effect} for n in (2, 4, 8)])
    seen = assess(tiered, count(tiered, 6, 1, reached=REACHED), at(2026, 2, 1))
    assert [tier.count for tier in seen.tiers] == [2, 4]
    assert seen.next_tier is not None
    assert seen.next_tier.count == 8
    assert (seen.live, seen.missing) == (5, 0)
    below = assess(tiered, count(tiered, 6, 3), at(2026, 2, 1))
    assert [tier.count for tier in below.tiers] == [2]
    assert below.missing == 2
    assert assess(tiered, count(tiered, 9, reached=REACHED), at(2026, 2, 1)).next_tier is None


QUOTAS = manifests.manifest(
    tiers=None, options=manifests.options("Austria", "Belgium", "Croatia"), quotas={"each": 2, "options": 2}
)


@pytest.mark.parametrize(
    ("choices", "missing", "enough"),
    [
        ({1: 0, 2: 0, 3: 0}, 5, ()),
        ({1: 2, 2: 1, 3: 0}, 2, (1,)),
        ({1: 9, 2: 0, 3: 0}, 2, (1,)),
        ({1: 9, 2: 1, 3: 1}, 1, (1,)),
        ({1: 2, 2: 0, 3: 2}, 1, (1, 3)),
    ],
)
def test_both_the_threshold_and_the_quotas_must_be_there(
    choices: dict[int, int], missing: int, enough: tuple[int, ...]
) -> None:
    seen = assess(QUOTAS, count(QUOTAS, sum(choices.values()), choices=choices), at(2026, 2, 1))
    assert (seen.state, seen.missing, seen.enough) == ("open", missing, enough)
    reached = count(QUOTAS, sum(choices.values()), choices=choices, reached=REACHED)
    assert assess(QUOTAS, reached, at(2026, 2, 1)).missing == 0


def test_the_command_says_how_the_quotas_stand(world: Any, tmp_path: Path) -> None:
    manifest = world.publish(
        min_batch=1,
        threshold=3,
        options=manifests.options("Austria", "Belgium"),
        quotas={"each": 2, "options": 2},
    )
    for number in range(1, 5):
        entry = manifests.pledge(manifest, number, 1 if number < 4 else 2)
        world.ledger.accept(entry.to_bytes(), world.clock.day)
    world.seal()
    (tmp_path / "policy").write_bytes(world.policy)
    public = str(world.ledger.config.public)
    options = ["--policy", str(tmp_path / "policy")]
    done = CliRunner().invoke(state, [public, manifest.scope_id.hex(), *options])
    assert done.exit_code == 0, done.output
    quotas = "  at least 2 each at 2 of the 2 options: so far at 1\n    3, enough: Austria\n    1: Belgium\n"
    assert f"  4 of 3 at level email\n{quotas}" in done.output
    assert "  1 more at the options that are short until 2026-03-05\n" in done.output
    world.ledger.accept(manifests.pledge(manifest, 5, 2).to_bytes(), world.clock.day)
    world.seal()
    done = CliRunner().invoke(state, [public, manifest.scope_id.hex(), *options])
    assert "reached on " in done.output
    shown = CliRunner().invoke(scope, ["show", public, manifest.scope_id.hex(), *options])
    assert "  and      at least 2 each at 2 of the 2 options\n" in shown.output


def test_the_calendar_file_is_one_all_day_event() -> None:
    what = manifests.both("Leave; take, all\nfriends \\ with you " + "ü" * 80, "Partez")
    action = {"date": "2026-04-01", "time_zone": "Europe/Paris", "what": what}
    manifest = manifests.manifest(action=action)
    data = assurance.calendar(manifest)
    assert data == assurance.calendar(manifest, "en")
    assert all(len(line) <= 75 for line in data.split(b"\r\n"))
    text = data.replace(b"\r\n ", b"").decode("utf-8")
    assert "DTSTART;VALUE=DATE:20260401\r\nDTEND;VALUE=DATE:20260402\r\n" in text
    assert "Leave\\; take\\, all\\nfriends \\\\ with you üüü" in text
    assert text.startswith("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n")
    assert text.endswith("END:VEVENT\r\nEND:VCALENDAR\r\n")
    assert "\n" not in text.replace("\r\n", "")
    assert "SUMMARY;LANGUAGE=fr:Nous partons ensemble" in assurance.calendar(manifest, "fr").decode()
    with pytest.raises(ConfigurationError):
        assurance.calendar(manifest, "de")


def test_the_command_audits_and_says_the_state(world: Any, tmp_path: Path) -> None:
    manifest = world.publish(min_batch=1)
    for number in range(1, 5):
        world.ledger.accept(manifests.pledge(manifest, number).to_bytes(), world.clock.day)
    world.seal()
    (tmp_path / "policy").write_bytes(world.policy)
    options = ["--policy", str(tmp_path / "policy"), "--calendar", str(tmp_path / "action.ics")]
    public = str(world.ledger.config.public)
    done = CliRunner().invoke(state, [public, manifest.scope_id.hex(), *options])
    assert done.exit_code == 0, done.output
    assert "  4 of 5 at level email\n  1 more until 2026-03-05\n  3: A letter\n" in done.output
    assert (tmp_path / "action.ics").read_bytes() == assurance.calendar(manifest)
