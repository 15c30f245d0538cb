from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from headcount_issuer import cost
from headcount_issuer.attesters.email import EmailAttester
from headcount_issuer.attesters.in_person import InPersonAttester
from headcount_issuer.personhood import personhood
from headcount_spec.errors import NotFoundError

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    return CliRunner().invoke(personhood, ["cost", *arguments], catch_exceptions=False).output


def test_the_threat_model_has_the_table():
    text = (ROOT / "spec" / "threat-model.md").read_text("utf-8")
    begin, end = text.index(cost.BEGIN), text.index(cost.END) + len(cost.END)
    assert text[begin:end] == cost.table()


def test_every_level_says_everything():
    for one in cost.LEVELS:
        assert all([one.level, one.proves, one.fake, one.source, one.excludes])
        assert "|" not in "".join([one.proves, one.fake, one.source, one.excludes])
        assert one.level in run()


def test_a_level_with_parts():
    assert "all of these are asked" in run("email+device")
    printed = run("2-of:email,oidc,device")
    assert "the cheapest 2" in printed
    assert "in-person" not in printed
    assert "asked" not in run("email")
    with pytest.raises(NotFoundError):
        run("birth-certificate")


def test_as_json():
    assert [one["level"] for one in json.loads(run("--json"))] == [one.level for one in cost.LEVELS]


def test_the_attesters_have_a_level_here():

    known = {one.level for one in cost.LEVELS}
    assert {EmailAttester.name, InPersonAttester.name} <= known
