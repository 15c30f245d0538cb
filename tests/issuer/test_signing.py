from __future__ import annotations

import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import keys
from headcount_engine.key_processes import ProcessKey
from headcount_issuer import signing
from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.signing import Order, Signers
from headcount_issuer.store import Wish
from headcount_spec.errors import (
    AlreadyIssuedError,
    CorruptionError,
    MalformedError,
    ProtocolError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.scope import Manifest
from headcount_spec.token import TokenRequest

N = keys.token_key(0).public.n


class Basket:
    """What was delivered, and a way to wait for so many."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self._arrived = threading.Condition()

    def __call__(self, orders: Sequence[Order]) -> None:
        with self._arrived:
            self.orders += orders
            self._arrived.notify_all()

    def wait(self, number: int, seconds: int = 60) -> list[Order]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.orders) >= number, seconds)
            return list(self.orders)


def message() -> bytes:
    return (2 + secrets.randbelow(N - 4)).to_bytes(256, "big")


def order(world: Any, tag: bytes, blinded_msg: bytes | None = None) -> Order:
    scope = next(iter(world.issuer.scopes())).manifest
    blinded_msg = blinded_msg or message()
    key = world.issuer._keys.signing_key(scope.issuers[0].token_key_id)
    return Order(key, blinded_msg, Wish.of(1, [tag], blinded_msg))


@pytest.fixture
def scope(world: Any) -> Manifest:
    opened: Manifest = world.open()
    return opened


def test_a_thousand_requests_of_one_person_at_once_get_one_token(world, scope):
    basket, tag = Basket(), secrets.token_bytes(32)
    signers = Signers(world.issuer._store, 4, basket)
    orders = [order(world, tag) for _ in range(1000)]
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(signers.submit, orders))
    basket.wait(1000)
    signers.close()
    (granted,) = [one for one in orders if one.error is None]
    assert pow(int.from_bytes(granted.blind_sig, "big"), 65537, N) == int.from_bytes(
        granted.blinded_msg, "big"
    )
    assert Counter(type(one.error) for one in orders) == {type(None): 1, AlreadyIssuedError: 999}
    assert world.issuer.scopes()[0].issued == 1


def test_everybody_gets_their_own_signature_after_their_quota(world, scope):
    seen: list[bool] = []

    class Watching(Basket):
        def __call__(self, orders: Sequence[Order]) -> None:
            for one in orders:  # durable, and seen by others, before it is delivered
                with world.issuer._store.reading() as connection:
                    found = signing_tags(connection).find(1, one.wish.tags[0])
                seen.append(found == one.wish.digest)
            super().__call__(orders)

    def signing_tags(connection: Any) -> Any:
        from headcount_issuer.tags import Tags

        return Tags(connection)

    basket = Watching()
    signers = Signers(world.issuer._store, 3, basket)
    orders = [order(world, secrets.token_bytes(32)) for _ in range(300)]
    for one in orders:
        signers.submit(one)
    basket.wait(300)
    signers.close()
    assert all(one.error is None for one in orders)
    for one in orders:
        assert pow(int.from_bytes(one.blind_sig, "big"), 65537, N) == int.from_bytes(one.blinded_msg, "big")
    assert seen == [True] * 300
    assert world.issuer.scopes()[0].issued == 300


def test_what_is_taken_is_finished_when_it_closes(world, scope):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)
    for _ in range(50):
        signers.submit(order(world, secrets.token_bytes(32)))
    signers.close()
    assert len(basket.orders) == 50


def wal(world: Any) -> Path:
    database: Path = world.config.database
    return database.with_name(f"{database.name}-wal")


def empties(world: Any, seconds: float = 10) -> bool:
    """Whether the database's log is empty before so long."""
    end = time.monotonic() + seconds
    while wal(world).stat().st_size and time.monotonic() < end:
        time.sleep(0.005)
    return wal(world).stat().st_size == 0


def test_the_log_is_emptied_when_it_is_quiet(world, scope):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)
    for number in range(1, 4):
        signers.submit(order(world, secrets.token_bytes(32)))
        basket.wait(number)
        assert empties(world)
    signers.close()


def test_the_log_is_emptied_again_and_again_in_a_rush(world, scope, monkeypatch):
    ages: list[float] = []
    inner, stop = type(world.issuer._store).empty_log, threading.Event()

    def emptied(store: Any) -> None:
        ages.append(store.log_age())
        inner(store)

    monkeypatch.setattr(type(world.issuer._store), "empty_log", emptied)
    monkeypatch.setattr(signing, "LOG_QUIET_S", 60.0)  # never quiet

    class Endless(Basket):
        def __call__(self, orders: Sequence[Order]) -> None:
            super().__call__(orders)
            for _ in () if stop.is_set() else orders:
                signers.submit(order(world, secrets.token_bytes(32)))

    basket = Endless()
    signers = Signers(world.issuer._store, 2, basket)
    for _ in range(8):
        signers.submit(order(world, secrets.token_bytes(32)))
    end = time.monotonic() + 30
    while len(ages) < 5 and time.monotonic() < end:
        time.sleep(0.01)
    stop.set()
    signers.close()
    assert len(ages) >= 5
    assert all(age >= signing.LOG_MAX_S for age in ages[:5])
    assert sorted(ages[:5])[2] < 10 * signing.LOG_MAX_S
    assert wal(world).stat().st_size == 0


def test_a_log_that_cannot_be_emptied_delays_nobody_and_is_tried_again(world, scope, monkeypatch, caplog):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)

    def broken(store: Any) -> None:
        store._logged_at = time.monotonic()
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.issuer._store), "_empty_log", broken)
        for number in range(1, 4):
            signers.submit(order(world, secrets.token_bytes(32)))
            basket.wait(number)
            time.sleep(2 * signing.LOG_QUIET_S)
        assert wal(world).stat().st_size > 0
    assert empties(world)
    signers.close()
    assert all(one.error is None for one in basket.orders)
    assert "was not emptied" in caplog.text


class Broken:
    public = keys.token_key(0).public

    def __init__(self, error: Exception) -> None:
        self._error = error

    def blind_sign(self, blinded_msgs: Sequence[bytes]) -> list[bytes | ProtocolError]:
        raise self._error


def test_a_fault_of_one_does_not_stop_the_others(world, scope):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)
    broken = [order(world, secrets.token_bytes(32)) for _ in range(3)]
    for one, error in zip(broken, (CorruptionError("no"), UnavailableError("no"), KeyError()), strict=True):
        one.key = Broken(error)
    malformed = order(world, secrets.token_bytes(32), bytes(255) + b"\1")
    fine = [order(world, secrets.token_bytes(32)) for _ in range(5)]
    for one in (*broken, malformed, *fine):
        signers.submit(one)
    basket.wait(9)
    signers.close()
    assert [type(one.error) for one in broken] == [CorruptionError, UnavailableError, CorruptionError]
    assert isinstance(malformed.error, MalformedError)
    assert all(one.error is None for one in fine)
    assert world.issuer.scopes()[0].issued == 5


def test_a_database_that_cannot_be_written_gives_no_signature(world, scope, monkeypatch):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)

    def corrupt(*_: object) -> None:
        raise CorruptionError("another page")

    with monkeypatch.context() as patch:
        patch.setattr("headcount_issuer.tags.Tags.flush", corrupt)
        first = order(world, secrets.token_bytes(32))
        signers.submit(first)
        basket.wait(1)
    assert isinstance(first.error, CorruptionError)
    signers.submit(second := order(world, secrets.token_bytes(32)))
    basket.wait(2)
    signers.close()
    assert second.error is None


def test_a_bug_in_a_grant_leaves_nobody_waiting(world, scope, monkeypatch):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr("headcount_issuer.tags.Tags.flush", broken)
        signers.submit(first := order(world, secrets.token_bytes(32)))
        assert basket.wait(1, 10) == [first]
    signers.submit(second := order(world, secrets.token_bytes(32)))
    basket.wait(2, 10)
    signers.close()
    assert isinstance(first.error, CorruptionError)
    assert second.error is None


def fill(signers: Signers, world: Any) -> None:
    for _ in range(10):
        signers.submit(order(world, secrets.token_bytes(32)))


def test_too_many_are_told_to_come_again(world, scope, monkeypatch):
    gate, basket = threading.Event(), Basket()
    good = ProcessKey.blind_sign

    def slow(key: ProcessKey, blinded_msgs: Sequence[bytes]) -> list[bytes | ProtocolError]:
        gate.wait(30)
        return good(key, blinded_msgs)

    monkeypatch.setattr(ProcessKey, "blind_sign", slow)
    monkeypatch.setattr(signing, "MAX_WAITING", 3)
    signers = Signers(world.issuer._store, 1, basket)
    with pytest.raises(UnavailableError):
        fill(signers, world)
    gate.set()
    signers.close()


def processes(world: Any) -> list[int]:
    idle = world.issuer._keys._custody._processes._workers._idle
    return [worker._process.pid for worker in idle if worker is not None]


def test_a_process_that_dies_or_hangs_costs_nobody_a_token(world, scope, monkeypatch, caplog):
    basket = Basket()
    order(world, secrets.token_bytes(32))  # the key is known
    signers = world.issuer.issuance.signers(basket)
    monkeypatch.setattr("headcount_engine.worker._TIMEOUT_S", 1.0)
    monkeypatch.setattr("headcount_engine.worker._END_S", 0.2)
    victims = processes(world)
    for number, victim in enumerate(victims):
        os.kill(victim, signal.SIGSTOP if number % 2 else signal.SIGKILL)
    orders = [order(world, secrets.token_bytes(32)) for _ in range(40)]
    for one in orders:
        signers.submit(one)
    basket.wait(40)
    lost = [one for one in orders if one.error is not None]
    assert 0 < len(lost) <= signing.MAX_BATCH * len(victims)
    assert {type(one.error) for one in lost} == {UnavailableError}
    for one in lost:  # asked again
        signers.submit(Order(one.key, one.blinded_msg, Wish.of(1, one.wish.tags, one.blinded_msg)))
    basket.wait(40 + len(lost))
    signers.close()
    assert all(one.error is None for one in basket.orders[40:])
    assert world.issuer.scopes()[0].issued == 40
    assert not [pid for pid in victims if Path(f"/proc/{pid}").exists()]
    text = caplog.text + "".join(str(one.error) for one in lost)
    assert not [one for one in orders if one.blinded_msg.hex() in text or one.wish.tags[0].hex() in text]


def test_the_processes_learn_the_message_and_neither_tag_nor_digest(world, scope):
    basket = Basket()
    order(world, secrets.token_bytes(32))
    signers = world.issuer.issuance.signers(basket)
    signers.submit(one := order(world, secrets.token_bytes(32)))
    basket.wait(1)
    memory = b"".join(map(memory_of, processes(world)))
    signers.close()
    assert one.blinded_msg in memory  # so that what is looked for is found
    assert one.wish.tags[0] not in memory
    assert one.wish.digest not in memory


def memory_of(pid: int) -> bytes:
    found = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, flags = line.split()[:2]
            if flags.startswith("rw"):
                start, end = (int(place, 16) for place in span.split("-"))
                memory.seek(start)
                found += memory.read(end - start)
    return found


def test_a_key_leaves_the_memory_of_the_processes_when_its_scope_has_closed(world, scope):
    basket = Basket()
    order(world, secrets.token_bytes(32))
    signers = world.issuer.issuance.signers(basket)
    before = processes(world)
    assert any(primes()[0] in memory_of(pid) or primes()[1] in memory_of(pid) for pid in before)
    late = order(world, secrets.token_bytes(32))
    world.issuer.issuance.forget_closed(scope.closes + 1)
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
    signers.submit(late)
    basket.wait(1)
    signers.close()
    assert isinstance(late.error, UnknownKeyError)
    assert not any(primes()[0] in memory_of(pid) for pid in processes(world))
    assert world.issuer.scopes()[0].issued == 0


def primes() -> tuple[bytes, ...]:
    key = keys.token_key(0)
    return tuple(prime.to_bytes(128, order) for prime in (key.p, key.q) for order in ("big", "little"))


# A kill at each step

CHILD = """
import os, signal, sys
from pathlib import Path

from headcount_engine import key_processes
from headcount_issuer import store, tags
from headcount_issuer.attesters.in_person import InPersonConfig
from headcount_issuer.config import IssuerConfig
from headcount_issuer.issuer import Issuer
from headcount_spec.members import Members
from headcount_spec.scope import ScopeId

step, folder, scope, code, request = sys.argv[1:]


def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name):
    setattr(owner, name, kill)


def after(owner, name):
    inner = getattr(owner, name)

    def run(*arguments):
        inner(*arguments)
        kill()

    setattr(owner, name, run)


config = IssuerConfig(
    "issuer.example",
    "http://localhost:8001",
    Path(folder),
    "http://localhost:1/ledger",
    {"in-person": InPersonConfig()},
)
with Issuer.open(config, lambda: int(os.environ["NOW"]), lambda entry: None) as issuer:
    {
        "before signing": lambda: before(key_processes.ProcessKey, "blind_sign"),
        "after signing": lambda: after(key_processes.ProcessKey, "blind_sign"),
        "before writing": lambda: before(tags.Tags, "flush"),
        "before committing": lambda: after(tags.Tags, "flush"),
        "after committing": lambda: before(store.Store, "_empty_log"),
        "before answering": lambda: after(store.Store, "burn_together"),
    }[step]()
    evidence = Members({"code": code}, "evidence")
    bearer, _ = issuer.issuance.begin(ScopeId(bytes.fromhex(scope)), "in-person", evidence, None)
    issuer.issuance.sign(bearer, bytes.fromhex(request), None)
print("answered")
"""


@pytest.mark.parametrize(
    ("step", "is_used"),
    [
        ("before signing", False),
        ("after signing", False),
        ("before writing", False),
        ("before committing", False),
        ("after committing", True),
        ("before answering", True),
    ],
)
def test_after_a_kill_the_same_request_gets_the_same_answer(world: Any, step: str, is_used: bool) -> None:
    scope = world.open(level="in-person")
    _, codes = world.issuer.make_codes(scope.scope_id, 2)
    code, blinded_msg = format_code(codes[0]), message()
    request = TokenRequest(scope.issuers[0].token_key_id[-1], blinded_msg).to_bytes()
    other = TokenRequest(scope.issuers[0].token_key_id[-1], message()).to_bytes()
    folder = str(world.config.directory)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "NOW": str(world.clock.now)}
    world.issuer.close()
    ran = subprocess.run(
        [sys.executable, "-c", CHILD, step, folder, scope.scope_id.hex(), code, request.hex()],
        env=environment,
        capture_output=True,
        cwd=Path(__file__).parent,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (-signal.SIGKILL, b""), ran.stderr.decode()
    world.start()
    assert world.issuer.scopes()[0].issued == is_used
    question = {"scope": scope.scope_id.hex(), "attester": "in-person", "evidence": {"code": code}}
    bearer = world.post("/sessions", question).get_json()["session"]
    if is_used:
        assert world.sign(bearer, other).status_code == 409
    answer = world.sign(bearer, request)
    assert answer.status_code == 200
    assert pow(int.from_bytes(answer.get_data(), "big"), 65537, N) == int.from_bytes(blinded_msg, "big")
    assert world.sign(bearer, request).get_data() == answer.get_data()
    assert world.sign(bearer, other).status_code == 409
    assert world.issuer.scopes()[0].issued == 1
