from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

import fakes
import story
from headcount import Answer, PledgeStore, Transport, pledge, private_file, receipt
from headcount_spec.scope import Manifest

Moment = Literal["before", "inside", "after"]


class Crash(BaseException):
    """The power goes out."""


@dataclass
class Fuse:
    """Counts the steps of one kind and stops the program at one of them, before or after it took effect."""

    at: int | None
    moment: Moment
    steps: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        number = len(self.steps)
        self.steps.append(name)
        if (number, self.moment) == (self.at, "before"):
            raise Crash
        yield
        if (number, self.moment) == (self.at, "after"):
            raise Crash


def fused(inner: Transport, fuse: Fuse) -> Transport:
    def send(
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 65_536,
    ) -> Answer:
        with fuse.step(f"{method} {url}"):
            return inner(method, url, body=body, headers=headers, max_bytes=max_bytes)

    return send


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[story.Town]:
    with story.Town(tmp_path_factory.mktemp("town"), n_issuers=2) as made:
        yield made


@pytest.fixture(scope="module")
def scope(town: story.Town) -> Manifest:
    return town.publish(min_batch=1)


@pytest.fixture
def saving(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fuse], None]:
    """Puts a fuse before every durable write of the client: pledge files and receipts."""
    place = private_file._place

    def install(fuse: Fuse) -> None:
        def placed(path: Path, data: bytes, take_name: Callable[[str, str], None]) -> None:
            def taken(source: str, target: str) -> None:
                if (len(fuse.steps) - 1, fuse.moment) == (fuse.at, "inside"):
                    raise Crash  # all is written and has not yet its name
                take_name(source, target)

            with fuse.step(path.suffix):
                place(path, data, taken)

        monkeypatch.setattr(private_file, "_place", placed)

    return install


def whole_story(town: story.Town, scope: Manifest, path: Path, name: str, http: Transport) -> receipt.Receipt:
    """Prove, pledge, wait for the batch, fetch the receipt: what one types, and types again."""
    # The town's people are predictable; here a second draw must not go unnoticed.
    town.prove(scope, path, name, transport=http, draw=secrets.token_bytes)
    pledge.submit(path, transport=http)
    town.seal()
    (found,) = receipt.fetch(path, transport=http)
    return found


def gross(town: story.Town, scope: Manifest) -> int:
    return fakes.whole_audit(town.ledger).scopes[scope.scope_id].gross


def forget_mails(town: story.Town, name: str) -> None:
    """The code of a session that died is never typed."""
    with contextlib.suppress(TimeoutError):
        while True:
            town.mailbox.take(story.address_of(name), timeout_s=0.05)


@pytest.mark.parametrize(
    ("kind", "moment"),
    [("save", "before"), ("save", "inside"), ("save", "after"), ("send", "before"), ("send", "after")],
)
def test_a_crash_anywhere_in_the_story_leads_to_the_same_pledge_counted_once(
    town: story.Town,
    scope: Manifest,
    tmp_path: Path,
    saving: Callable[[Fuse], None],
    kind: str,
    moment: Moment,
) -> None:
    (tmp_path / "people").mkdir()
    before = gross(town, scope) if town.ledger.head().pledges else 0
    crashes: list[str] = []
    for at in itertools.count():
        name, fuse = f"{kind}-{moment}-{at}", Fuse(at, moment)
        path = tmp_path / "people" / f"{name}.pledge"
        http = town.http(name)
        issued = [town.issued(i) for i in range(2)]
        if kind == "save":
            saving(fuse)
        try:
            whole_story(town, scope, path, name, fused(http, fuse) if kind == "send" else http)
            assert len(fuse.steps) == at  # there is no step left at which to crash
            break
        except Crash:
            crashes.append(fuse.steps[-1])
        saving(Fuse(None, moment))
        begun = PledgeStore(path).load().nullifier if path.exists() else None
        forget_mails(town, name)
        found = whole_story(town, scope, path, name, http)
        content = PledgeStore(path).load()
        assert begun in (None, content.nullifier)
        assert found.state == "included"
        assert found.promise.nullifier == content.nullifier
        assert found.path is not None
        assert found.path.is_file()
        assert [town.issued(i) for i in range(2)] == [n + 1 for n in issued]
        assert town.ledger.waiting() == 0
        # Nothing is left over beside the file: no half-written one.
        assert not list(path.parent.glob(".*"))
    assert gross(town, scope) == before + len(crashes) + 1
    # Every kind of step was met.
    if kind == "save":
        assert crashes.count(".pledge") >= 8  # seed; session and signature twice; sending; promise; receipt
        assert crashes.count(".tlog-proof") == 1
    else:
        posts = [step for step in crashes if step.startswith("POST")]
        assert len(posts) == 9  # challenge, session, code and token at each issuer, then the pledge
        assert len([step for step in crashes if step.endswith("/checkpoint")]) == 3
