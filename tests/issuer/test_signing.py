from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import keys
from headcount_issuer import signing
from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.signing import Order, Signers
from headcount_issuer.store import Wish
from headcount_spec.errors import AlreadyIssuedError, CorruptionError, MalformedError, UnavailableError
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

    def wait(self, number: int) -> list[Order]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.orders) >= number, 60)
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


def test_a_fault_of_one_does_not_stop_the_others(world, scope, monkeypatch):
    basket = Basket()
    signers = Signers(world.issuer._store, 2, basket)
    good = signing.rsa.blind_sign
    broken = [order(world, secrets.token_bytes(32)) for _ in range(3)]
    errors = dict(
        zip((one.blinded_msg for one in broken), (CorruptionError, UnavailableError, KeyError), strict=True)
    )

    def blind_sign(key: Any, blinded_msg: bytes) -> bytes:
        if blinded_msg in errors:
            raise errors[blinded_msg]("no")
        return good(key, blinded_msg)

    monkeypatch.setattr(signing.rsa, "blind_sign", blind_sign)
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


def fill(signers: Signers, world: Any) -> None:
    for _ in range(10):
        signers.submit(order(world, secrets.token_bytes(32)))


def test_too_many_are_told_to_come_again(world, scope, monkeypatch):
    gate, basket = threading.Event(), Basket()
    good = signing.rsa.blind_sign

    def slow(key: Any, blinded_msg: bytes) -> bytes:
        gate.wait(30)
        return good(key, blinded_msg)

    monkeypatch.setattr(signing.rsa, "blind_sign", slow)
    monkeypatch.setattr(signing, "MAX_WAITING", 3)
    signers = Signers(world.issuer._store, 1, basket)
    with pytest.raises(UnavailableError):
        fill(signers, world)
    gate.set()
    signers.close()


# A kill at each step

CHILD = """
import os, signal, sys
from pathlib import Path

from headcount_issuer import signing, store, tags
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


{
    "before signing": lambda: before(signing.rsa, "blind_sign"),
    "after signing": lambda: after(signing.rsa, "blind_sign"),
    "before writing": lambda: before(tags.Tags, "flush"),
    "before committing": lambda: after(tags.Tags, "flush"),
    "after committing": lambda: before(store.Store, "_empty_log"),
    "before answering": lambda: after(store.Store, "burn_together"),
}[step]()
config = IssuerConfig(
    "issuer.example",
    "http://localhost:8001",
    Path(folder),
    "http://localhost:1/ledger",
    {"in-person": InPersonConfig()},
)
with Issuer.open(config, lambda: int(os.environ["NOW"]), lambda entry: None) as issuer:
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
