from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import manifests
from headcount import LedgerView, feed, find_scope, notice
from headcount.feed_commands import scope as command
from headcount_ledger.reader.fetch import directory_fetch
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    ProtocolError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.notice import Notice
from headcount_spec.policy import Policy
from headcount_spec.text import decode_base64, encode_base64

LEDGER = "http://localhost:8000/ledger"
ATOM = "{http://www.w3.org/2005/Atom}"
WORDS = {
    "title": manifests.both("Three <of> five", "Trois sur cinq"),
    "text": manifests.both("Two more & we move", "Encore deux"),
}


def view(world: Any) -> LedgerView:
    return open_ledger(directory_fetch(world.ledger.config.public), Policy.from_bytes(world.policy))


def say(world: Any, manifest: Any, **words: Any) -> None:
    found = find_scope(view(world), manifest.scope_id)
    signed = notice.next_notice(found, "update", {**WORDS, **words}, manifests.ORGANISER_SEEDS[:1])
    notice.post(signed, LEDGER, world.http)
    world.seal()


def written(world: Any, manifest: Any, language: str | None = None) -> bytes:
    return feed.write(view(world), find_scope(view(world), manifest.scope_id), language)


def parsed(data: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(data)  # noqa: S314 our own


@pytest.fixture
def campaign(world: Any) -> Any:
    made = world.publish()
    say(world, made)
    world.clock.now += 86_400
    say(world, made, title=manifests.both("Four", "Quatre"))
    return made


def test_a_feed_reader_shows_what_the_organisers_say(world: Any, campaign: Any) -> None:
    data = written(world, campaign)
    assert data == written(world, campaign)
    root = parsed(data)
    assert root.findtext(f"{ATOM}title") == "We move together"
    entries = root.findall(f"{ATOM}entry")
    assert [entry.findtext(f"{ATOM}title") for entry in entries] == ["Four", "Three <of> five"]
    days = [entry.findtext(f"{ATOM}updated") for entry in entries]
    assert days == ["2026-01-11T00:00:00Z", "2026-01-10T00:00:00Z"]
    assert root.findtext(f"{ATOM}updated") == days[0]
    assert entries[1].findtext(f"{ATOM}content") == "Two more & we move"
    french = parsed(written(world, campaign, "fr"))
    assert french.findtext(f"{ATOM}entry/{ATOM}title") == "Quatre"
    with pytest.raises(ConfigurationError):
        written(world, campaign, "de")


def test_a_feed_without_news_is_one(world: Any) -> None:
    quiet = world.publish()
    root = parsed(written(world, quiet))
    assert root.findtext(f"{ATOM}updated") == "2026-01-10T00:00:00Z"
    assert feed.verify(written(world, quiet), quiet) == []


def test_a_copy_from_anywhere_is_checked_under_the_terms(world: Any, campaign: Any) -> None:
    data = written(world, campaign)
    titles = [statement.body["title"]["en"] for statement in feed.verify(data, campaign)]
    assert titles == ["Four", "Three <of> five"]
    first, second = (decode_base64(found.decode()) for found in feed._NOTICE.findall(data))

    def holding(*notices: bytes) -> bytes:
        return b"".join(b"<h:notice>%s</h:notice>" % encode_base64(item).encode() for item in notices)

    assert len(feed.verify(holding(first, second), campaign)) == 2
    bad = Notice.from_bytes(first).to_bytes().replace(b"Four", b"Fore")
    with pytest.raises(SignatureError):
        feed.verify(holding(bad), campaign)
    for order in ((second, first), (first, first)):
        with pytest.raises(MalformedError, match="order"):
            feed.verify(holding(*order), campaign)
    with pytest.raises(ProtocolError):
        feed.verify(data, manifests.manifest(title=manifests.both("Another", "Autre")))
    stranger = manifests.manifest(
        organisers={"keys": [manifests.b64_key(manifests.ORGANISER_SEEDS[1])], "quorum": 1}
    )
    with pytest.raises((UnknownKeyError, ProtocolError)):
        feed.verify(data, stranger)


@given(
    st.binary(max_size=200).map(lambda data: b"<h:notice>" + encode_base64(data).encode() + b"</h:notice>")
)
def test_no_bytes_break_the_reader(data: bytes) -> None:
    with pytest.raises(MalformedError):
        feed.verify(data, manifests.manifest())


def test_the_commands(world: Any, campaign: Any, tmp_path: Path) -> None:
    (tmp_path / "policy").write_bytes(world.policy)
    (tmp_path / "scope.json").write_bytes(campaign.raw)
    target = [str(world.ledger.config.public), campaign.scope_id.hex(), "--policy", str(tmp_path / "policy")]
    out = tmp_path / "feed.atom"
    done = CliRunner().invoke(command, ["feed", *target, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == written(world, campaign)
    done = CliRunner().invoke(command, ["read-feed", str(out), str(tmp_path / "scope.json")])
    assert "Four\n  Two more & we move\n" in done.stdout
    assert done.stdout.endswith("signed by the organisers: 2 notices\n")
    out.write_bytes(out.read_bytes().replace(b"<h:notice>", b"<h:notice>A"))
    done = CliRunner().invoke(command, ["read-feed", str(out), str(tmp_path / "scope.json")])
    assert isinstance(done.exception, ConfigurationError)
