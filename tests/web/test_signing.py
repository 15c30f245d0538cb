from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import keys
import nodejs
from headcount import PledgeStore, pledge, receipt, revise
from headcount_ledger.audit import audit
from headcount_ledger.reader.fetch import http_fetch
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy
from headcount_spec.scope import WITHDRAWN, Manifest
from headcount_spec.tlog_proof import TlogProof
from story import Town, address_of

WITNESS = f"witness w {SigningKey('w.example', bytes(32)).cosigner_key.to_text()}\nquorum w\n".encode()


class RefusedError(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Browser:
    """The signing modules in a node process, on a folder that stands for a browser's storage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[str] = []
        node = nodejs.require()
        self._process = subprocess.Popen(
            [node / "node", nodejs.COMPILED / "test" / "bridge.js"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, operation: str, town: Town, manifest: Manifest, **more: Any) -> Any:
        asked = {
            "operation": operation,
            "folder": str(self.folder),
            "ledger": town.ledger_url,
            "scope": manifest.scope_id.hex(),
            "day": town.clock.day,
        }
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asked | more) + "\n")
        stdin.flush()
        found = json.loads(stdout.readline())
        self.events = found["events"]
        if "error" in found:
            raise RefusedError(found["error"], found["message"])
        return found["answer"]

    def path(self, manifest: Manifest) -> Path:
        return self.folder / f"pledge-{manifest.scope_id.hex()}.pledge"

    def prove(self, town: Town, manifest: Manifest, name: str, **more: Any) -> None:
        begun = self("begin", town, manifest, policy=town.policy.hex(), **more)
        while begun["next"] is not None:
            self("open", town, manifest, text=address_of(name))
            self("confirm", town, manifest, text=town.code(address_of(name)))
            begun = self("sign", town, manifest)

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    nodejs.require()
    folder = tmp_path / "browser"
    folder.mkdir()
    made = Browser(folder)
    yield made
    made.close()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    nodejs.require()
    with Town(tmp_path / "town", n_issuers=2, served=True) as made:
        yield made


def test_a_pledge_made_in_the_browser_goes_on_at_the_command_line(browser: Browser, town: Town) -> None:
    manifest = town.publish(min_batch=1)
    browser.prove(town, manifest, "ann")
    assert browser("send", town, manifest)["deadline"] == manifest.deadline_day
    # What was promised is kept, and the same file is the command line's.
    path = browser.path(manifest)
    store = PledgeStore(path)
    content = store.load()
    assert content.to_bytes() == path.read_bytes()
    assert content.promise is not None
    assert pledge.submit(store, transport=town.http(), look=False).promise == content.promise
    (before,) = browser("receipts", town, manifest)["receipts"]
    assert before["state"] == "accepted"
    town.seal()
    (after,) = browser("receipts", town, manifest)["receipts"]
    assert after["state"] == "included"
    proof = TlogProof.from_bytes(base64.b64decode(after["proof"]))
    found = receipt.verify(proof, Policy.from_bytes(town.policy), content.pledge().to_bytes())
    assert found.index == after["index"]
    assert browser("count", town, manifest) == {
        "live": 1,
        "gross": 1,
        "day": town.clock.day,
        "level": manifest.level,
    }
    revise.withdraw(path, transport=town.http(), day=town.clock.day)
    town.seal()
    states = [item["state"] for item in browser("receipts", town, manifest)["receipts"]]
    assert states == ["included", "included"]
    assert browser("count", town, manifest)["live"] == 0
    report = audit(http_fetch(town.ledger_url, town.http()), Policy.from_bytes(town.policy))
    assert report.scopes[manifest.scope_id].live == 0


def test_a_pledge_made_at_the_command_line_goes_on_in_the_browser(browser: Browser, town: Town) -> None:
    manifest = town.publish(min_batch=1)
    content = town.prove(manifest, browser.path(manifest), "bob")
    assert browser("same", town, manifest, text=str(browser.path(manifest)))["same"]
    browser("send", town, manifest)
    town.seal()
    assert browser("revise", town, manifest, choice=WITHDRAWN)["standing"] == 1
    assert PledgeStore(browser.path(manifest)).load().nullifier == content.nullifier
    town.seal()
    states = [item["state"] for item in browser("receipts", town, manifest)["receipts"]]
    assert states == ["included", "included"]
    assert browser("revise", town, manifest, choice=0)["standing"] == 2
    assert browser("same", town, manifest, text=str(browser.path(manifest)))["same"]


def test_both_derive_the_same_from_a_seed(browser: Browser, town: Town, tmp_path: Path) -> None:
    manifest = town.publish()
    seed = keys.seed("person cleo")
    browser.prove(town, manifest, "cleo", seed=seed.hex())
    # The same person and seed at the command line: the issuers sign the same message again.
    mine = town.prove(manifest, tmp_path / "mine.pledge", "cleo")
    other = PledgeStore(browser.path(manifest)).load()
    assert (mine.seed, mine.pledge()) == (other.seed, other.pledge())
    assert [town.issued(i) for i in range(2)] == [1, 1]


def test_every_state_is_kept_before_the_next_request(browser: Browser, town: Town) -> None:
    manifest = town.publish()
    begun = browser("begin", town, manifest, policy=town.policy.hex())
    # Nothing was asked of an issuer before the seed was kept.
    assert browser.events[-1] == "put"
    assert not any("8001" in event or "POST" in event for event in browser.events)
    while begun["next"] is not None:
        browser("open", town, manifest, text=address_of("dan"))
        assert browser.events[-1] == "put"
        browser("confirm", town, manifest, text=town.code(address_of("dan")))
        begun = browser("sign", town, manifest)
        assert browser.events[-1] == "put"
    browser("send", town, manifest)
    at = next(i for i, event in enumerate(browser.events) if event.startswith("POST"))
    assert "put" in browser.events[:at]
    assert browser.events[-1] == "put"


def test_an_answer_that_never_arrives_costs_no_token(browser: Browser, town: Town) -> None:
    manifest = town.publish()
    for operation, text in (("begin", None), ("open", "address"), ("confirm", "code"), ("sign", None)):
        # The directory is the first request of a signature, the work the first of a session.
        for lose in (0, 1) if operation in ("open", "sign") else (0,):
            more: dict[str, Any] = {"policy": town.policy.hex()} if operation == "begin" else {}
            if text == "address":
                more["text"] = address_of("eve")
            elif text == "code":
                more["text"] = town.code(address_of("eve"))
            with pytest.raises(RefusedError, match="crash"):
                browser(operation, town, manifest, lose=lose, **more)
        if operation == "open":
            town.code(address_of("eve"))  # of the mail of the lost answer
        elif operation == "confirm":
            continue  # it was proved, and only the answer is lost
        if operation != "sign":
            browser(operation, town, manifest, **more)
    while browser("sign", town, manifest)["next"] is not None:
        browser("open", town, manifest, text=address_of("eve"))
        browser("confirm", town, manifest, text=town.code(address_of("eve")))
    assert [town.issued(i) for i in range(2)] == [1, 1]
    with pytest.raises(RefusedError, match="crash"):
        browser("send", town, manifest, lose=1)
    browser("send", town, manifest)


def test_terms_that_do_not_hold_stop_before_anything_is_asked(browser: Browser, town: Town) -> None:
    manifest = town.publish()
    other = Policy.from_bytes(town.policy).to_bytes().replace(b"quorum none\n", b"")
    for more, code in (
        ({"policy": (other + WITNESS).hex()}, "unknown-key"),
        ({"policy": town.policy.hex(), "scope": "00" * 32}, "not-found"),
        ({"policy": town.policy.hex(), "choice": 1}, "not-eligible"),
        ({"policy": town.policy.hex(), "day": manifest.closes + 1}, "closed-scope"),
    ):
        with pytest.raises(RefusedError) as caught:
            browser("begin", town, manifest, **more)
        assert caught.value.code == code
        assert not any(event.startswith("POST") or event == "put" for event in browser.events)


def test_the_terms_are_policy_enough(browser: Browser, town: Town) -> None:
    manifest = town.publish()
    begun = browser("begin", town, manifest, verifier=town.origin)
    assert begun["next"] == 0
    assert set(begun["texts"]) == set(manifest.texts)
