from __future__ import annotations

from typing import Any

import pytest

import manifests
from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.closing import needed_until
from headcount_spec.errors import ConfigurationError, NotEligibleError, NotFoundError, ScopeClosedError
from headcount_spec.text import format_day

DAY_S = 86400
AFTER = (manifests.CLOSES + 1) * DAY_S


def token(world: Any, scope: Any, address: str, someone: Any) -> int:
    return int(world.sign(world.prove(scope, address), someone.request).status_code)


def child(world: Any, parent: Any, key: int, **changes: Any) -> Any:
    return world.open(
        key, kind="round", parent=parent.scope_id.hex(), eligible="parent-token-holders", **changes
    )


def test_nothing_is_destroyed_before_the_scope_has_closed(world, config, person):
    scope = world.open()
    assert token(world, scope, "ada@example.org", person(scope, "ada")) == 200
    for now in (world.clock.now, AFTER - 1):
        world.clock.now = now
        with pytest.raises(ScopeClosedError):
            world.issuer.close_scope(scope.scope_id)
    assert len(list(config.keys.glob("*.tag"))) == 1
    assert len(list(config.keys.glob("*.pem"))) == 2
    assert world.issuer._store.count_tags(1) > 0
    assert world.ledger.bodies(scope.scope_id, "destruction") == []
    with pytest.raises(NotFoundError):
        world.issuer.close_scope(bytes(32))


def test_closing_destroys_both_keys_and_the_tags_and_says_so_once(world, config, person):
    scope = world.open()
    assert token(world, scope, "ada@example.org", person(scope, "ada")) == 200
    key_file = next(path for path in config.keys.glob("*.pem") if path.name != "notice.pem")
    tag_file = next(config.keys.glob("*.tag"))
    twins = []
    for path in (key_file, tag_file):  # whoever has the file open sees what the disk has
        twin = config.directory / f"{path.name}.twin"
        twin.hardlink_to(path)
        twins.append((twin, path.read_bytes()))
    world.clock.now = AFTER
    closed = world.issuer.close_scope(scope.scope_id)
    assert (closed.destroyed, closed.tag_needed_until) == (("tag", "token"), None)
    assert [path.name for path in config.keys.glob("*.pem")] == ["notice.pem"]
    assert list(config.keys.glob("*.tag")) == []
    for twin, before in twins:
        assert len(twin.read_bytes()) == len(before)
        assert before[:32] not in twin.read_bytes()
    assert world.issuer._store.count_tags(1) == 0
    said = {"day": manifests.CLOSES + 1, "keys": ["tag", "token"]}
    assert world.ledger.bodies(scope.scope_id, "destruction") == [said]
    assert world.ledger.bodies(scope.scope_id, "issuance")[-1]["issued"] == 16
    assert world.issuer.close_scope(scope.scope_id) == closed
    world.clock.now += DAY_S
    world.issuer.publish_issuance()
    assert world.ledger.bodies(scope.scope_id, "destruction") == [said]
    assert len(world.ledger.bodies(scope.scope_id, "issuance")) == 1


def test_codes_go_with_the_tags(world):
    scope = world.open(level="in-person")
    _, codes = world.issuer.make_codes(scope.scope_id, 3)
    world.clock.now = AFTER
    world.issuer.close_scope(scope.scope_id)
    with world.issuer._store.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM codes").scalar_one() == 0
    assert format_code(codes[0])


def test_the_tag_key_waits_for_every_scope_that_depends_on_it(world, config, person):
    parent = world.open(0)
    assert token(world, parent, "ada@example.org", person(parent, "ada")) == 200
    until = manifests.CLOSES + 10
    open_longer = child(world, parent, 1, closes=format_day(until), action=None)
    world.clock.now = AFTER
    closed = world.issuer.close_scope(parent.scope_id)
    assert (closed.destroyed, closed.tag_needed_until) == (("token",), until)
    # The child still finds out who holds a token of the parent.
    assert token(world, open_longer, "ada@example.org", person(open_longer, "ada", key=1)) == 200
    stranger = world.begin(open_longer, "bob@example.org").get_json()["session"]
    code = world.outbox.code()
    assert world.post("/sessions/evidence", {"code": code}, stranger).status_code == 403
    world.clock.now = (until + 1) * DAY_S
    closed = world.issuer.close_scope(parent.scope_id)
    assert (closed.destroyed, closed.tag_needed_until) == (("tag", "token"), None)
    assert [body["keys"] for body in world.ledger.bodies(parent.scope_id, "destruction")] == [
        ["token"],
        ["tag", "token"],
    ]
    assert (config.keys / f"{open_longer.scope_id.hex()}.tag").exists()


def test_a_destroyed_key_starts_no_dependent_scope(world):
    parent = world.open(0, closes="2026-02-01", freezes="2026-02-01")
    world.clock.now = (parent.closes + 1) * DAY_S
    world.issuer.close_scope(parent.scope_id)
    with pytest.raises(NotEligibleError):
        child(world, parent, 1)
    with pytest.raises(NotEligibleError):
        world.open(1, continues={"scope": parent.scope_id.hex(), "seal": 3})


def test_a_ledger_that_is_away_hears_of_it_the_next_time(world, config):
    scope = world.open()
    world.clock.now = AFTER

    def away(entry: bytes) -> None:
        raise ConfigurationError("away")

    world.ledger.fault = away
    with pytest.raises(ConfigurationError):
        world.issuer.close_scope(scope.scope_id)
    world.ledger.fault = None
    world.issuer.close_scope(scope.scope_id)
    assert len(world.ledger.bodies(scope.scope_id, "destruction")) == 1


def test_a_running_issuer_forgets_the_keys_of_closed_scopes(world, person):
    scope = world.open()
    assert token(world, scope, "ada@example.org", person(scope, "ada")) == 200
    assert world.issuer._keys._signing
    world.issuer.issuance.forget_closed(manifests.CLOSES)
    assert world.issuer._keys._signing
    world.issuer.issuance.forget_closed(manifests.CLOSES + 1)
    assert not world.issuer._keys._signing
    assert not world.issuer.issuance._open


def test_chains_of_successors_and_children_are_followed():
    first = manifests.manifest()
    second = manifests.manifest(
        continues={"scope": first.scope_id.hex(), "seal": 1}, closes="2026-03-10", action=None
    )
    third = manifests.manifest(
        kind="round",
        parent=second.scope_id.hex(),
        eligible="parent-token-holders",
        closes="2026-03-20",
        action=None,
    )
    for_all = manifests.manifest(kind="round", parent=first.scope_id.hex(), closes="2026-03-30", action=None)
    everything = [for_all, third, second, first]
    assert format_day(needed_until(first, everything)) == "2026-03-20"
    assert format_day(needed_until(third, everything)) == "2026-03-20"
    assert format_day(needed_until(first, [])) == "2026-03-01"
