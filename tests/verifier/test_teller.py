from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import corrupter
import ledgers
import quota_ledgers
from headcount_ledger.reader.outbox import Outbox
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec import webhook
from headcount_spec.errors import ConfigurationError, MalformedError, UnavailableError
from headcount_spec.members import Members
from headcount_spec.pledge import Pledge
from headcount_spec.scope import Manifest
from headcount_verifier import VerifierConfig, cli, teller
from headcount_verifier.config import EVENTS
from headcount_verifier.news import Told, read_told, write_told
from ledgers import OPENS, Ledger
from receivers import SECRET, Receiver, receiving

SIGNERS = (webhook.parse_signer(SECRET),)
DAY_S = 86_400
TWICE = '[[verifier.webhooks]]\nurl = "https://a.example/"\nsecret = "k"\n'


class Site:
    """A verifier that tells, of a ledger that grows batch by batch."""

    def __init__(self, folder: Path, url: str, transport: HttpTransport) -> None:
        self.folder = folder
        self.transport = transport
        self.url = url
        self.day = OPENS
        self.ledger = ledgers.build(ledgers.sample_batches()[:1])
        self.scopes: dict[bytes, Manifest] = {
            item.scope_id: item for item in (ledgers.campaign(), ledgers.vote())
        }
        self.events: tuple[str, ...] = EVENTS

    def grow(self, batches: int) -> None:
        self.ledger = ledgers.build(ledgers.sample_batches()[:batches])

    def teller(self) -> teller.Teller:
        outbox = Outbox(self.folder / "box", self.url, SIGNERS, self.transport)
        return teller.Teller(
            self.scopes,  # type: ignore[arg-type]
            lambda path: self.ledger.fetch(path),
            (teller.Receiver(self.events, outbox),),
            self.folder / "told.json",
            lambda: self.day * DAY_S,
        )


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, receiver: Receiver) -> Iterator[Site]:
    with HttpTransport(timeout_s=2.0) as transport:
        yield Site(tmp_path, receiver.url, transport)


def deliver(told: teller.Teller) -> None:
    for item in told.receivers:
        assert item.outbox.deliver(time.time()) == 0


def events(receiver: Receiver) -> list[tuple[str, int, int]]:
    """Type, batch and live count of what was told about the campaign."""
    bodies = map(json.loads, receiver.bodies)
    scope = ledgers.campaign().scope_id.hex()
    return [
        (body["type"], body["data"]["batch"], body["data"]["live"])
        for body in bodies
        if body["data"]["scope"] == scope
    ]


STORY = [
    ("scope.counted", 1, 4),
    ("scope.counted", 2, 7),
    ("scope.counted", 3, 8),
    ("scope.reached", 3, 8),
    ("scope.counted", 4, 10),
    ("scope.counted", 6, 11),
    ("scope.closed", 6, 11),
]


def test_the_story_of_a_campaign_is_told_in_order_and_once(site: Site, receiver: Receiver):
    for batches in range(1, 8):
        site.grow(batches)
        told = site.teller()  # a restart each time
        told.look()
        assert told.look() == 0
        deliver(told)
    site.day = ledgers.campaign().deadline_day + 1
    told = site.teller()
    told.look()
    assert told.look() == 0
    deliver(told)
    assert events(receiver) == STORY
    assert len(set(receiver.ids)) == len(receiver.ids)


def test_who_comes_late_is_told_the_newest_count(site: Site, receiver: Receiver):
    site.grow(6)
    told = site.teller()
    told.look()
    deliver(told)
    assert events(receiver) == [("scope.reached", 3, 8), ("scope.counted", 5, 10)]


def test_one_that_was_not_reached_has_failed(site: Site, receiver: Receiver):
    site.grow(7)
    site.day = ledgers.vote().deadline_day + 1
    told = site.teller()
    told.look()
    deliver(told)
    bodies = [json.loads(body) for body in receiver.bodies]
    scope = ledgers.vote().scope_id.hex()
    assert [body["type"] for body in bodies if body["data"]["scope"] == scope] == [
        "scope.counted",
        "scope.failed",
    ]


def test_a_death_before_the_note_repeats_the_ids_and_the_bodies(site: Site, receiver: Receiver):
    site.grow(4)
    first = site.teller()
    first.look()
    deliver(first)
    (site.folder / "told.json").unlink()  # as if it had died before it wrote it
    again = site.teller()
    again.look()
    deliver(again)
    half = len(receiver.ids) // 2
    assert half == 3
    assert receiver.ids[:half] == receiver.ids[half:]
    assert receiver.bodies[:half] == receiver.bodies[half:]


def test_a_receiver_is_told_what_it_asked_for(site: Site, receiver: Receiver):
    site.events = ("scope.reached",)
    site.grow(7)
    told = site.teller()
    told.look()
    deliver(told)
    assert events(receiver) == [("scope.reached", 3, 8)]


def test_nothing_of_a_person_is_told_or_kept(site: Site, receiver: Receiver):
    site.grow(7)
    told = site.teller()
    told.look()
    kept = b"".join(path.read_bytes() for path in site.folder.rglob("*") if path.is_file())
    deliver(told)
    posted = b"".join(receiver.bodies) + kept
    pledges = [
        Pledge.from_bytes(entry)
        for batch in ledgers.sample_batches()
        for entry in batch.entries
        if entry[:1] == ledgers.raw(ledgers.manifests.pledge(ledgers.campaign(), 0))[0][:1]
    ]
    assert len(pledges) == 16
    for pledge in pledges:
        for secret in (pledge.nullifier, pledge.revision_key):
            assert secret not in posted
            assert secret.hex().encode() not in posted
    for body in receiver.bodies:
        value = json.loads(body)
        assert set(value) == {"type", "timestamp", "data"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", value["timestamp"])  # a day, and no time
        assert set(value["data"]) <= {
            *("scope", "ledger", "level", "threshold", "batch", "day", "gross", "live", "seal")
        }


def test_a_ledger_that_went_back_is_not_told_of(
    site: Site, receiver: Receiver, caplog: pytest.LogCaptureFixture
):
    site.grow(4)
    told = site.teller()
    told.look()
    deliver(told)
    before = len(receiver.ids)
    site.grow(3)
    for item in (told, site.teller()):
        assert item.look() == 0
    assert "the ledger went back" in caplog.text
    site.ledger = corrupter.corrupt("changed-entry", "operator").ledger
    assert site.teller().look() == 0
    site.grow(5)
    assert site.teller().look() > 0
    assert len(receiver.ids) == before


def test_a_ledger_without_the_terms_witnesses_is_not_told_of(site: Site, caplog: pytest.LogCaptureFixture):
    small = ledgers.small()
    manifest = ledgers.manifests.manifest(
        threshold=6, witnesses=f"witness w {ledgers.WITNESS.cosigner_key.to_text()}\nquorum w\n"
    )
    site.scopes = {manifest.scope_id: manifest}
    site.ledger = small
    bare = Ledger(small.batches, dict(small.files), small.leaves, small.ends, small.key)
    bare.files["checkpoint"] = b"".join(
        line for line in small.files["checkpoint"].splitlines(True) if "witness.example" not in line.decode()
    )
    site.ledger = bare
    assert site.teller().look() == 0
    assert "nothing is told" in caplog.text
    site.ledger = small
    assert site.teller().look() == 2


def test_a_ledger_that_is_down_is_said_once(site: Site, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)

    class Down(Ledger):
        def fetch(self, path: str) -> bytes:
            raise UnavailableError("the ledger does not answer")

    told = site.teller()
    site.ledger = Down([], {})
    assert [told.look() for _ in range(3)] == [0, 0, 0]
    assert caplog.text.count("nothing is told") == 1
    site.grow(2)
    assert told.look() == 1


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"headcount_webhooks":1,"checkpoints":{"a":1},"scopes":{}}']
)
def test_a_damaged_memory_is_not_taken_for_none(site: Site, data: bytes):
    with pytest.raises(MalformedError):
        read_told(data)
    (site.folder / "told.json").write_bytes(data)
    with pytest.raises(ConfigurationError):
        site.teller()


def test_what_was_told_keeps_its_form():
    told = {"aa": Told(3, 9, 8, True, False)}
    assert read_told(write_told({"p": b"note\n"}, told)) == ({"p": b"note\n"}, told)


# The process


def settings(folder: Path, ledger: str, *urls: str, more: str = "") -> Path:
    (folder / "scopes").mkdir()
    manifest = ledgers.campaign()
    (folder / "scopes" / f"{manifest.scope_id.hex()}.json").write_bytes(manifest.raw)
    (folder / "hook.key").write_text(SECRET + "\n")
    lines = [f'[verifier]\nledger = "{ledger}"\nscopes = "scopes"\noutbox = "outbox"\n']
    lines += [f'[[verifier.webhooks]]\nurl = "{url}"\nsecret = "hook.key"\n{more}' for url in urls]
    path = folder / "verifier.toml"
    path.write_text("".join(lines))
    return path


@pytest.fixture
def published(tmp_path: Path) -> Iterator[str]:
    import functools
    import http.server

    folder = ledgers.build(ledgers.sample_batches()[:4]).write(tmp_path / "public")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_one_dead_receiver_holds_up_nobody(
    tmp_path: Path, published: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
):
    import socket

    monkeypatch.setattr(teller, "_DELIVER_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        dead = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        config = VerifierConfig.from_file(settings(tmp_path, published, dead, receiver.url))
        stop = threading.Event()
        thread = threading.Thread(target=teller.run, args=(config, stop))
        thread.start()
        try:
            end = time.monotonic() + 10
            while len(receiver.ids) < 3 and time.monotonic() < end:
                time.sleep(0.05)
            with pytest.raises(UnavailableError, match="sender of webhooks"):
                teller.run(config, threading.Event())
        finally:
            stop.set()
            thread.join()
    # The clock of this machine is long after the campaign's last day.
    assert [name for name, _, _ in events(receiver)] == ["scope.counted", "scope.reached", "scope.closed"]


def test_the_command_tells_once(tmp_path: Path, published: str, receiver: Receiver):
    path = settings(tmp_path, published, receiver.url, more='events = ["scope.reached"]\n')
    ran = CliRunner().invoke(cli.webhooks, ["run", str(path), "--once"], catch_exceptions=False)
    assert ran.output == "new: 3 events; 0 wait\n"
    assert events(receiver) == [("scope.reached", 3, 8)]
    again = CliRunner().invoke(cli.webhooks, ["run", str(path), "--once"], catch_exceptions=False)
    assert again.output == "new: 0 events; 0 wait\n"


def test_the_command_makes_keys(tmp_path: Path):
    path = tmp_path / "a.key"
    assert CliRunner().invoke(cli.webhooks, ["key", str(path)]).exit_code == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert isinstance(webhook.parse_checker(path.read_text().strip()), webhook.Secret)
    pair = CliRunner().invoke(cli.webhooks, ["key", str(tmp_path / "b.key"), "--public"])
    seed = webhook.parse_signer((tmp_path / "b.key").read_text().strip())
    assert isinstance(seed, webhook.Seed)
    assert seed.public.to_text() in pair.output
    assert seed.to_text() not in pair.output
    with pytest.raises(ConfigurationError):
        CliRunner().invoke(cli.webhooks, ["key", str(path)], catch_exceptions=False)


@pytest.mark.parametrize(
    "wrong",
    [
        'url = "http://partner.example/"\nsecret = "k"\n',
        'url = "https://partner.example/"\n',
        'url = "https://partner.example/"\nsecret = "k"\nevents = []\n',
        'url = "https://partner.example/"\nsecret = "k"\nevents = ["scope.pledged"]\n',
        'url = "https://partner.example/"\nsecret = "k"\nretries = 5\n',
        'url = "https://a.example/"\nsecret = "k"\n' + TWICE,
    ],
)
def test_settings_that_are_refused(tmp_path: Path, wrong: str):
    path = tmp_path / "v.toml"
    head = '[verifier]\nledger = "https://l.example"\nscopes = "s"\n'
    good = '[[verifier.webhooks]]\nurl = "https://p.example/"\nsecret = "k"\n'
    path.write_text(f'{head}outbox = "o"\n{good}')
    (found,) = VerifierConfig.from_file(path).webhooks
    assert (found.url, found.secret, found.events) == ("https://p.example/", tmp_path / "k", EVENTS)
    for text in (f'{head}outbox = "o"\n[[verifier.webhooks]]\n{wrong}', head + good, f'{head}outbox = "o"\n'):
        path.write_text(text)
        with pytest.raises(ConfigurationError):
            VerifierConfig.from_file(path)


def test_quotas_are_told_and_a_change_of_choice_that_moves_them(site: Site, receiver: Receiver):
    scope = quota_ledgers.campaign()
    site.scopes = {scope.scope_id: scope}
    whole = quota_ledgers.story()
    for batches in range(1, len(whole) + 1):
        site.ledger = ledgers.build(whole[:batches])
        told = site.teller()  # a restart each time
        told.look()
        deliver(told)
    bodies = [json.loads(body) for body in receiver.bodies]
    asked = {"each": 2, "options": 2}
    assert [(b["type"], b["data"]["batch"], b["data"]["live"]) for b in bodies] == [
        ("scope.counted", 1, 4),
        ("scope.counted", 2, 3),
        ("scope.counted", 3, 4),
        ("scope.reached", 3, 4),
        ("scope.counted", 4, 4),
    ]
    assert [b["data"]["quotas"] for b in bodies] == [{**asked, "enough": n} for n in (1, 1, 2, 2, 1)]


def test_what_was_told_before_there_were_quotas_is_read() -> None:
    kept = Told(3, 8, 7, is_reached=True).to_json()
    del kept["enough"]
    assert Told.from_members(Members(kept, "scope")) == Told(3, 8, 7, is_reached=True)
