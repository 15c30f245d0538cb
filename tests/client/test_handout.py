from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import manifests
from contact_story import Story
from headcount import contact_list, handout, leave
from headcount.cli import headcount
from headcount.mailing_state import MailingState, Outcome
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError, NotEligibleError
from headcount_spec.text import encode_base64

KEY = manifests.CONTACT_PRIVATE
PEOPLE = (
    Contact.of("email", "ada@example.org"),
    Contact.of("matrix", "@ada:example.org"),
    Contact.of("matrix", "@bob:example.org"),
    Contact.of("phone", "+491701234567"),
    Contact.of("none", ""),
)


@pytest.fixture
def story(world: Any) -> Story:
    return Story(world, "http://localhost:8000/ledger", t=1, n=1)


@pytest.fixture
def run(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "policy").write_bytes(story.world.policy)
    sign = f"headcount-organiser-key-1 {encode_base64(manifests.ORGANISER_SEEDS[0])}\n"
    (tmp_path / "sign").write_text(sign)
    (tmp_path / "key").write_text(f"headcount-contact-key-1 {encode_base64(KEY)}\n")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "en.txt").write_text('Subject: Reached\n\nWe are "enough",\nnow: {leave}\n')
    contact_list.write(tmp_path / "list", story.scope.scope_id, PEOPLE, KEY)

    class Transport:
        """The world's network in the place of the command's own."""

        def __enter__(self) -> Any:
            return story.world.http

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("headcount.mailing_order.HttpTransport", Transport)

    def call(channel: str, out: str, state: str = "state", purpose: str = "confirmation") -> Any:
        options = [
            *("--policy", tmp_path / "policy", "--channel", channel, "--key", tmp_path / "key"),
            *("--sign", tmp_path / "sign", "--list", tmp_path / "list", "--template", tmp_path / "words"),
            *("--purpose", purpose, "--state", tmp_path / state, "--gone", tmp_path / "gone"),
            *("--leave-url", "https://leave.example.org", "--out", tmp_path / out),
        ]
        target = [story.ledger, story.scope.scope_id.hex()]
        return CliRunner().invoke(headcount, ["organiser", "hand-out", *target, *map(str, options)])

    return call


def test_a_channel_is_announced_and_handed_out_without_those_who_left(
    story: Story, run: Any, tmp_path: Path
) -> None:
    gone = leave.Gone(tmp_path / "gone")
    gone.add(leave.contact_id(KEY, PEOPLE[2]))
    done = run("matrix", "matrix.jsonl")
    assert done.exit_code == 0, (done.output, done.exception)
    (line,) = (tmp_path / "matrix.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["channel"], row["value"]) == ("matrix", "@ada:example.org")
    token = row["text"].rpartition("/leave/")[2].strip()
    assert leave.read_token(leave.leave_key(KEY), token) == leave.contact_id(KEY, PEOPLE[1])
    assert (tmp_path / "matrix.jsonl").stat().st_mode & 0o077 == 0
    with MailingState(tmp_path / "state", KEY) as state:
        state.load()
        assert list(state.outcomes.values()) == [Outcome.SENT]
    assert b"example.org" not in (tmp_path / "state").read_bytes()
    story.world.seal()
    last = story.contacts().view.last("organiser")
    assert last is not None
    assert (last.statement.type, last.statement.body["number"]) == ("mailing", 1)
    again = (tmp_path / "matrix.jsonl").read_bytes()
    assert run("matrix", "matrix.jsonl").exit_code == 0  # the same again says nothing new
    (tmp_path / "gone").rename(tmp_path / "misspelt")
    assert isinstance(run("matrix", "second.jsonl", state="other").exception, ConfigurationError)
    assert not (tmp_path / "second.jsonl").exists()
    (tmp_path / "misspelt").rename(tmp_path / "gone")
    assert (tmp_path / "matrix.jsonl").read_bytes() == again
    story.world.seal()
    assert story.contacts().view.last("organiser") == last


def test_a_table_survives_lines_and_quotes_in_the_text(run: Any, tmp_path: Path) -> None:
    assert run("phone", "phone.csv").exit_code == 0
    header, row = csv.reader(io.StringIO((tmp_path / "phone.csv").read_text()))
    assert tuple(header) == handout.COLUMNS
    assert row[:2] == ["phone", "+491701234567"]
    assert row[2].startswith('We are "enough",\nnow: https://leave.example.org/leave/')


def test_addresses_of_mail_are_never_handed_out(run: Any, tmp_path: Path) -> None:
    assert run("email", "out").exit_code == 2
    assert run("none", "out").exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_purpose_that_the_terms_lack_hands_out_nothing(run: Any, tmp_path: Path) -> None:
    assert isinstance(run("matrix", "out", purpose="selling").exception, NotEligibleError)
    assert not (tmp_path / "out").exists()
    run("matrix", "out")
    assert isinstance(run("matrix", "other", purpose="moving").exception, ConfigurationError)
