from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import manifests
from headcount import LedgerView, pledge, revise
from headcount.currency import said_since
from headcount.signer_commands import reaffirm as command
from headcount.state_command import state
from headcount_ledger.reader.fetch import directory_fetch
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import NotEligibleError, ProtocolError
from headcount_spec.policy import Policy
from headcount_spec.scope import PLAIN

DAY_S = 86_400


def view(world: Any) -> LedgerView:
    return open_ledger(directory_fetch(world.ledger.config.public), Policy.from_bytes(world.policy))


def test_who_says_so_again_is_of_today_and_the_count_stays(world: Any, tmp_path: Path) -> None:
    manifest = world.publish(min_batch=1)
    files = [world.pledge(manifest, number) for number in range(4)]
    world.seal()
    first = world.clock.day
    world.clock.now += 5 * DAY_S
    today = world.clock.day
    assert (said_since(view(world), manifest.scope_id, first), _since(world, manifest, today)) == (4, 0)
    revise.reaffirm(files[0], transport=world.http, day=today)
    revise.revise(files[1], PLAIN, transport=world.http, day=today)  # nothing changes: nothing is sent
    revise.withdraw(files[2], transport=world.http, day=today)
    world.pledge(manifest, 4)
    world.seal()
    assert _since(world, manifest, today) == 2  # one again, one new
    assert _since(world, manifest, first) == 4
    assert _since(world, manifest, today + 1) == 0
    # Back again counts as said; once a day is enough.
    revise.revise(files[2], PLAIN, transport=world.http, day=today)
    revise.reaffirm(files[0], transport=world.http, day=today)
    world.seal()
    assert _since(world, manifest, today) == 3
    (tmp_path / "policy").write_bytes(world.policy)
    target = [str(world.ledger.config.public), manifest.scope_id.hex(), "--policy", str(tmp_path / "policy")]
    since = ["--since", "2026-01-15"]
    done = CliRunner().invoke(state, [*target, *since])
    assert done.exit_code == 0, done.output
    assert "  5 of 5 at level email\n  3 of them have said so since 2026-01-15\n" in done.output
    assert CliRunner().invoke(state, [*target, "--since", "lately"]).exit_code == 2
    revise.withdraw(files[2], transport=world.http, day=today)
    world.seal()
    done = CliRunner().invoke(state, [*target, *since])
    assert "  4 of 5 at level email\n  5 pledged, 1 withdrawn\n  2 of them have said so" in done.output


def _since(world: Any, manifest: Any, day: int) -> int:
    return said_since(view(world), manifest.scope_id, day)


def test_what_was_withdrawn_is_not_said_again_by_accident(world: Any, tmp_path: Path) -> None:
    manifest = world.publish(min_batch=1)
    file = world.pledge(manifest, 0)
    world.seal()
    revise.withdraw(file, transport=world.http, day=world.clock.day)
    world.seal()
    with pytest.raises(NotEligibleError, match="does not stand"):
        revise.reaffirm(file, transport=world.http, day=world.clock.day)
    unsent = tmp_path / "unsent.pledge"
    world.prove(manifest, unsent)
    done = CliRunner().invoke(command, [str(unsent)])
    assert isinstance(done.exception, ProtocolError)
    pledge.submit(unsent, transport=world.http)


def test_the_choice_stays_what_it_is(world: Any) -> None:
    manifest = world.publish(min_batch=1, options=manifests.options("a", "b"))
    file = world.folder / "p"
    world.prove(manifest, file, choice=2)
    pledge.submit(file, transport=world.http)
    world.seal()
    found = revise.reaffirm(file, transport=world.http, day=world.clock.day)
    assert (found.changes[-1].choice, found.changes[-1].serial) == (2, 1)
