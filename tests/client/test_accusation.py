from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

import keys
import ledgers
import manifests
import vectors
from headcount import HttpTransport, accusation, cli, receipt, receipt_commands, revise
from headcount.pledge_file import PledgeStore
from headcount_ledger import staged
from headcount_ledger.ledger import Ledger
from headcount_ledger.reader.view import open_ledger
from headcount_spec.accusation import Accusation
from headcount_spec.errors import (
    ConfigurationError,
    MisbehaviourError,
    NotFoundError,
    ProofError,
    UnavailableError,
)
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy

CLOSED = manifests.CLOSES + 1
DEADLINE = manifests.CLOSES + 4


def drop(world: Any, table: str, path: Path) -> None:
    """What a dishonest operator does: forget what was promised."""
    nullifier = PledgeStore(path).load().nullifier
    with Ledger.open(world.ledger_config) as ledger, ledger.store.write() as tx:
        staged.settle(tx)
    with sqlite3.connect(world.ledger_config.database) as connection:
        found = connection.execute(f"DELETE FROM {table} WHERE nullifier = ?", (nullifier,))  # noqa: S608
        assert found.rowcount == 1
    connection.close()


def at(world: Any, day: int) -> None:
    world.clock.now = day * 86400 + 7200


def accuse(world: Any, path: Path) -> tuple[accusation.Accused, ...]:
    return accusation.accuse(path, transport=world.http, day=world.clock.day)


@pytest.fixture
def wronged(world: Any) -> Path:
    """A pledge that was promised and dropped; the deadline has passed."""
    manifest = world.publish()
    paths: list[Path] = [world.pledge(manifest, i) for i in range(5)]
    drop(world, "staged_pledges", paths[0])
    world.seal()
    at(world, CLOSED)
    world.seal()
    at(world, DEADLINE + 1)
    return paths[0]


def test_a_dropped_pledge_is_shown_to_a_third_party(world: Any, wronged: Path) -> None:
    (accused,) = accuse(world, wronged)
    assert accused.path == wronged.with_suffix(".accusation")
    assert accused.serial == 0
    made = Accusation.from_bytes(accused.path.read_bytes())
    verified, refuted = accusation.judge(made, Policy.from_bytes(world.policy))
    assert refuted is None
    assert verified == accused.verified
    assert verified.absence.is_closing
    content = PledgeStore(wronged).load()
    assert content.pledge().authenticators[0] not in made.to_bytes()


def test_only_the_broken_promises_are_accused(world: Any) -> None:
    manifest = world.publish()
    paths = [world.pledge(manifest, i) for i in range(3)]
    world.seal()
    revise.withdraw(paths[0], transport=world.http, day=world.clock.day)
    drop(world, "staged_revisions", paths[0])
    at(world, CLOSED)
    world.seal()
    at(world, DEADLINE + 1)
    (accused,) = accuse(world, paths[0])
    assert accused.path.name == "0.1.accusation"
    assert accused.serial == 1
    with pytest.raises(ProofError, match="kept its promise"):
        accuse(world, paths[1])


def test_nothing_is_accused_before_the_deadline_has_passed(world: Any) -> None:
    manifest = world.publish()
    path = world.pledge(manifest, 0)
    drop(world, "staged_pledges", path)
    for day in (manifests.OPENS, DEADLINE):
        at(world, day)
        with pytest.raises(UnavailableError, match="until the end of 2026-03-05"):
            accuse(world, path)
    at(world, DEADLINE + 1)
    with pytest.raises(ProofError, match="before the deadline"):
        accuse(world, path)  # no seal says so yet
    world.seal()
    assert len(accuse(world, path)) == 1


def test_what_was_not_sent_was_not_promised(world: Any, tmp_path: Path) -> None:
    world.prove(world.publish(), tmp_path / "me.pledge")
    with pytest.raises(ConfigurationError, match="not sent"):
        accuse(world, tmp_path / "me.pledge")
    assert not (tmp_path / "me.accusation").exists()


def test_a_ledger_that_went_back_is_misbehaviour(world: Any, wronged: Path, recorder: Any) -> None:
    old = world.ledger.storage.read("checkpoints/1")
    accuse(world, wronged)
    store = PledgeStore(wronged)
    receipt.fetch(wronged, transport=world.http)  # the newest checkpoint is remembered
    bent = recorder(world.http)
    bent.bend = lambda url, answer: type(answer)(200, old) if url.endswith("/checkpoint") else answer
    with pytest.raises(MisbehaviourError, match="went back"):
        accusation.accuse(store, transport=bent, day=world.clock.day)


def test_the_manifest_is_found_with_and_without_the_hint() -> None:
    ledger = ledgers.sample()
    scope = ledgers.campaign().scope_id
    index = ledger.leaves.index(manifests.manifest_notice(ledgers.campaign()).to_bytes())
    hint = f"scopes/{scope.hex()}"
    view = open_ledger(ledger.fetch, ledger.policy)
    for data in (ledger.files[hint], b"", b"007\n", b"\xff", b"999999\n", None):
        if data is None:
            del ledger.files[hint]
        else:
            ledger.files[hint] = data
        assert accusation.find_manifest(view, scope) == index
    with pytest.raises(NotFoundError):
        accusation.find_manifest(view, manifests.manifest(threshold=77).scope_id)


# The command line.


def run(*arguments: object) -> int:
    try:
        return cli.run([str(argument) for argument in arguments])
    except SystemExit as exc:
        return int(exc.code or 0)


@pytest.fixture
def desk(world: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(world.folder)
    monkeypatch.setattr(receipt_commands, "HttpTransport", lambda: HttpTransport(world.router))
    monkeypatch.setattr(receipt_commands, "today", lambda: world.clock.day)
    Path("policy").write_bytes(world.policy)
    return world


def test_accusing_and_judging(desk: Any, wronged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("receipt", wronged) == 1
    assert "headcount receipt accuse 0.pledge writes" in capsys.readouterr().err
    assert run("receipt", "accuse", wronged) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "broken: localhost:8000/ledger promised to publish a pledge for We move together by"
    )
    assert "The accusation is 0.accusation" in printed
    assert run("receipt", "judge", "0.accusation", "--policy", "policy") == 0
    judged = capsys.readouterr().out
    assert "which closed the scope, is of 2026-03-02" in judged
    assert printed.startswith(judged)


def test_a_promise_that_may_still_be_kept(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = desk.pledge(desk.publish(), 0)
    assert run("receipt", "accuse", path) == 4
    printed = capsys.readouterr()
    assert printed.err.startswith(
        "headcount: error: the ledger may keep its promise until the end of 2026-03-05\n"
    )
    assert "run the same command again later" in printed.err


def test_a_receipt_refutes(desk: Any, wronged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (accused,) = accuse(desk, wronged)
    entry = PledgeStore(wronged).load().pledge().to_bytes()
    # The operator shows another history, in which the entry stands.
    first = desk.ledger.storage.read("tile/entries/000.p/" + str(desk.ledger.head().size))
    given = ledgers.tile.decode_bundle(first, desk.ledger.head().size)
    batches: list[ledgers.Batch] = [ledgers.Batch(manifests.OPENS, [])]
    for data in given:
        if data[:1] == b"\x02":
            batches.append(ledgers.Batch(manifests.OPENS, []))
        else:
            batches[-1].entries.append(data)
    batches[-2].entries.append(entry)
    other = ledgers.build(batches[:-1])
    at_index = other.leaves.index(entry)
    Path("late").write_bytes(other.receipt(at_index).to_bytes())
    assert run("receipt", "judge", accused.path, "--policy", "policy", "--refute", "late") == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"refuted: what was promised is entry {at_index} of localhost:8000/ledger\n")
    assert "two histories" in printed
    Path("wrong").write_bytes(other.receipt(0).to_bytes())
    assert run("receipt", "judge", accused.path, "--policy", "policy", "--refute", "wrong") == 1
    assert "refuted" not in capsys.readouterr().out


def test_what_is_no_accusation_or_no_receipt(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Path("x").write_bytes(b"x")
    assert run("receipt", "judge", "x", "--policy", "policy") == 2
    assert capsys.readouterr().err.startswith("headcount: error: x: not an accusation\n")
    Path("a").write_text(vectors.load("accusations.json")["cases"][0]["accusation"])
    assert run("receipt", "judge", "a", "--policy", "policy", "--refute", "x") == 2
    stranger = SigningKey(manifests.ORIGIN, keys.seed("stranger")).verification_key
    Path("other").write_text(f"log {stranger.to_text()}\nquorum none\n")
    assert run("receipt", "judge", "a", "--policy", "other") == 1
    assert "promise" not in capsys.readouterr().out
