from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import keys
from headcount import HttpTransport, PledgeStore, pledge, private_file
from headcount_spec.errors import ConfigurationError


class FailingStore(PledgeStore):
    """Stops at the n-th write, before it or after it is durable."""

    def __init__(self, path: Path, crash: type[BaseException], at: int, after: bool) -> None:
        def failing(write: Callable[[Path, bytes], None]) -> Callable[[Path, bytes], None]:
            def wrapped(path: Path, data: bytes) -> None:
                self.writes += 1
                if self.writes - 1 == at and not after:
                    raise crash
                write(path, data)
                if self.writes - 1 == at:
                    raise crash

            return wrapped

        super().__init__(path, create=failing(private_file.create), write=failing(private_file.write))
        self.writes = 0


def run(world: Any, manifest: Any, place: Any, transport: Any, name: str, draws: list[int]) -> Any:
    def draw(size: int) -> bytes:
        draws.append(size)
        return keys.seed(f"{name} {len(draws)}")

    ask = world.answers(f"{name}@example.org")
    world.prove(manifest, place, transport=transport, ask=ask, draw=draw)
    return pledge.submit(place, transport=transport)


def check_one_token(world: Any, before: list[int], draws: list[int], seed: bytes | None, after: Any) -> None:
    assert [world.issued(i) for i in range(2)] == [n + 1 for n in before]
    assert len(draws) == (1 if seed is not None else len(draws))
    assert seed in (None, after.seed)
    assert after.promise is not None


def test_a_crash_at_any_request_leads_to_the_same_pledge_and_no_second_token(
    two_issuers: Any, tmp_path: Path, recorder: Any, crash: type[BaseException]
) -> None:
    manifest = two_issuers.publish()
    whole = recorder(two_issuers.http)
    run(two_issuers, manifest, tmp_path / "whole", whole, "whole", [])
    posts = [url for method, url, _ in whole.sent if method == "POST"]
    assert len(posts) == 9  # challenge, session, code and token at each issuer, then the pledge
    for at in range(len(whole.sent)):
        for name in (f"before{at}", f"after{at}"):
            transport, path, draws = recorder(two_issuers.http), tmp_path / name, list[int]()
            setattr(transport, f"fail_{name.rstrip('0123456789')}", at)
            before = [two_issuers.issued(i) for i in range(2)]
            with pytest.raises(crash):
                run(two_issuers, manifest, path, transport, name, draws)
            while not two_issuers.outbox.mails.empty():
                two_issuers.outbox.mails.get()  # the code of a session that died
            seed = PledgeStore(path).load().seed if path.exists() else None
            assert seed is not None or not any(method == "POST" for method, _, _ in transport.sent)
            after = run(two_issuers, manifest, path, two_issuers.http, name, draws)
            check_one_token(two_issuers, before, draws, seed, after)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_crash_at_any_write_leads_to_the_same_pledge_and_no_second_token(
    two_issuers: Any, tmp_path: Path, crash: type[BaseException], after: bool
) -> None:
    manifest = two_issuers.publish()
    whole = FailingStore(tmp_path / "whole", crash, -1, after)
    run(two_issuers, manifest, whole, two_issuers.http, "whole", [])
    assert whole.writes == 7  # seed; session and signature twice; before the pledge; promise
    for at in range(whole.writes):
        name, draws = f"write{at}", list[int]()
        path = tmp_path / name
        before = [two_issuers.issued(i) for i in range(2)]
        with pytest.raises(crash):
            run(two_issuers, manifest, FailingStore(path, crash, at, after), two_issuers.http, name, draws)
        seed = PledgeStore(path).load().seed if path.exists() else None
        content = run(two_issuers, manifest, path, two_issuers.http, name, draws)
        check_one_token(two_issuers, before, draws, seed, content)


def test_a_saved_session_spares_a_second_code(
    world: Any, tmp_path: Path, recorder: Any, crash: type[BaseException]
) -> None:
    manifest = world.publish()
    transport = recorder(world.http)
    content = world.prove(manifest, tmp_path / "whole", transport=transport)
    at = next(i for i, (_, url, _) in enumerate(transport.sent) if url.endswith("/token-request"))
    transport = recorder(world.http)
    transport.fail_before = at
    with pytest.raises(crash):
        world.prove(manifest, tmp_path / "me", transport=transport, ask=world.answers("eve@example.org"))
    assert PledgeStore(tmp_path / "me").load().steps[0].session is not None

    def refuse(question: object) -> str:
        raise AssertionError(question)

    content = world.prove(manifest, tmp_path / "me", ask=refuse)
    assert content.is_proved
    assert content.steps[0].session is None


def test_a_session_that_ended_meanwhile_is_opened_again(
    world: Any, tmp_path: Path, recorder: Any, crash: type[BaseException]
) -> None:
    manifest = world.publish()
    whole = recorder(world.http)
    world.prove(manifest, tmp_path / "whole", transport=whole)
    again = recorder(world.http)
    again.fail_after = next(i for i, (_, url, _) in enumerate(whole.sent) if url.endswith("/token-request"))
    with pytest.raises(crash):
        world.prove(manifest, tmp_path / "me", transport=again, ask=world.answers("c@example.org"))
    world.clock.now += 3600
    before = world.issued()
    assert world.prove(manifest, tmp_path / "me", ask=world.answers("c@example.org")).is_proved
    assert world.issued() == before


def test_a_file_is_never_taken_for_another_pledge(world: Any, tmp_path: Path) -> None:
    manifest = world.publish()
    path = tmp_path / "me"
    world.prove(manifest, path)
    before = path.read_bytes()
    for changes in ({"choice": 1}, {"policy": world.policy + b"# other\n"}):
        with pytest.raises(ConfigurationError):
            world.prove(manifest, path, **changes)
    assert path.read_bytes() == before


def test_a_finished_pledge_asks_nobody_again(world: Any, tmp_path: Path, recorder: Any) -> None:
    manifest = world.publish()
    content = world.prove(manifest, tmp_path / "me")
    transport = recorder(world.http)
    assert world.prove(manifest, tmp_path / "me", transport=transport) == content
    assert transport.sent == []
    pledge.submit(tmp_path / "me", transport=world.http)
    pledge.submit(tmp_path / "me", transport=transport)
    assert transport.sent == []


def test_the_pledge_file_is_its_owners_alone(world: Any, tmp_path: Path) -> None:
    manifest = world.publish()
    world.prove(manifest, tmp_path / "me")
    assert (tmp_path / "me").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []
    assert isinstance(world.http, HttpTransport)
