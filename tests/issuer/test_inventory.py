from __future__ import annotations

import json
from pathlib import Path

import pytest

import manifests
from headcount_issuer import holding
from headcount_issuer.schema import metadata
from headcount_spec.text import format_day

ROOT = Path(__file__).parents[2]
DAY_S = 86400


def test_everything_that_an_issuer_leaves_behind_is_in_its_inventory(world, config, person):
    mail, paper = world.open(0), world.open(1, level="in-person")
    world.issuer.make_codes(paper.scope_id, 3)
    assert world.sign(world.prove(mail, "ada@example.org"), person(mail, "ada").request).status_code == 200
    world.issuer.publish_issuance(now=True)
    found = world.issuer.inventory()
    assert found.unknown() == []
    where = {item.where for item in found.items()}
    files = {
        str(path.relative_to(config.directory)) for path in config.directory.rglob("*") if path.is_file()
    }
    assert len(files) >= 8
    assert files <= where
    with world.issuer._store.reading() as connection:
        tables = (
            connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
        )
    assert {f"table {name}" for name in tables} <= where
    counts = {item.where: item.records for item in found.items()}
    assert counts["table scopes"] == 2
    assert counts["table codes, scope 2"] == 3
    assert counts["table buckets, scope 1"] == 2  # the address and a place of its domain
    text = "\n".join(found.lines())
    assert f"until: {format_day(manifests.CLOSES)}, then headcount issuer close" in text
    assert json.loads(json.dumps(found.to_json()))["scopes"][0]["scope"] == mail.scope_id.hex()


def test_what_no_rule_speaks_of_is_named(world, config):
    (config.directory / "addresses.txt").write_text("ada@example.org")
    with world.issuer._store.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE visitors (address TEXT)")
    assert world.issuer.inventory().unknown() == ["addresses.txt", "table visitors"]


def test_what_is_overdue_is_told_and_what_is_destroyed_is_gone(world):
    scope = world.open()
    world.clock.now = (manifests.CLOSES + 1) * DAY_S
    assert "run headcount issuer close" in "\n".join(world.issuer.inventory().lines())
    world.issuer.close_scope(scope.scope_id)
    text = "\n".join(world.issuer.inventory().lines())
    assert "run headcount issuer close" not in text
    assert "nothing that is not public" in text


def test_every_table_has_a_rule():
    assert set(holding.TABLES) == set(metadata.tables)


def test_the_page_is_made_from_the_rules():
    page = (ROOT / "docs" / "data-inventory.md").read_text("utf-8")
    assert page == holding.page(), "run make inventory"


@pytest.mark.parametrize(
    "path", ["issuer.sqlite-journal", "keys/notice.pem.bak", "keys/0.pem", "x/notice.pem"]
)
def test_only_whole_paths_match(path):
    assert holding.rule_of_file(path) is None
