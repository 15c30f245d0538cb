from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx
import pytest

import fakes
import keys
import manifests
import story
from headcount_issuer.store import Store, Wish
from headcount_spec import blind_rsa, jcs
from headcount_spec.altcha import WorkChallenge
from headcount_spec.errors import AlreadyIssuedError
from headcount_spec.jcs import JSON
from headcount_spec.members import Members
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.promise import KIND_PLEDGE, Promise, sign_promise, verify_promise
from headcount_spec.scope import Manifest
from headcount_spec.token import TokenRequest

T = TypeVar("T")
ENTRY = "application/vnd.headcount.entry"


class Gap:
    """What is between a naive look and a naive write: a disk so busy that another looks as well."""

    def __init__(self) -> None:
        self._looked: set[object] = set()
        self._another = threading.Event()

    def wait(self, who: object) -> None:
        self._looked.add(who)
        if len(self._looked) > 1:
            self._another.set()
        self._another.wait(10)


def storm(works: Sequence[Callable[[], T]]) -> list[T]:
    """Run each in a thread of its own, all released at the same moment."""
    barrier = threading.Barrier(len(works))

    def run(work: Callable[[], T]) -> T:
        barrier.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[story.Town]:
    email = {"mails_per_address": 50, "work": 100}
    with story.Town(tmp_path_factory.mktemp("town"), served=True, email=email) as made:
        yield made


@pytest.fixture(scope="module")
def scope(town: story.Town) -> Manifest:
    return town.publish(min_batch=1)


def finished(town: story.Town, scope: Manifest, name: str) -> Pledge:
    """Somebody's pledge, proved and not sent."""
    return town.prove(scope, town.folder / f"{name}.pledge", name).pledge()


def post(url: str, body: bytes, **headers: str) -> Callable[[], tuple[int, bytes]]:
    """A request on a connection of its own."""

    def send() -> tuple[int, bytes]:
        with httpx.Client(timeout=60, trust_env=False) as client:
            answer = client.post(url, content=body, headers=headers)
        return answer.status_code, answer.content

    return send


def post_entry(url: str, entry: bytes) -> Callable[[], tuple[int, bytes]]:
    return post(url, entry, **{"Content-Type": ENTRY})


def gross(town: story.Town, scope: Manifest) -> int:
    town.seal()
    return fakes.whole_audit(town.ledger).scopes[scope.scope_id].gross


# One pledge


def test_a_hundred_threads_with_one_pledge_make_one_entry_and_a_hundred_equal_answers(
    town: story.Town, scope: Manifest
) -> None:
    before = gross(town, scope)
    entry = finished(town, scope, "ada")
    answers = storm([post_entry(f"{town.origin}/pledges", entry.to_bytes())] * 100)
    assert Counter(status for status, _ in answers) == {200: 100}
    (answer,) = {body for _, body in answers}
    promise = verify_promise(Promise.from_bytes(answer), scope.ledger.key)
    assert promise.nullifier == entry.nullifier
    assert town.ledger.waiting() == 1
    assert gross(town, scope) == before + 1
    # And later, and at the ledger itself, still the same.
    for url in (f"{town.origin}/pledges", f"{town.ledger_url}/entries"):
        assert post_entry(url, entry.to_bytes())() == (200, answer)
    assert gross(town, scope) == before + 1


def test_that_storm_bites_a_ledger_that_looks_before_it_writes(
    town: story.Town, scope: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = finished(town, scope, "bob")
    deadline = scope.deadline_day
    rows: list[bytes] = []
    gap = Gap()

    def look_and_write(data: bytes, _day: int) -> Promise:
        nullifier = Pledge.from_bytes(data).nullifier
        if nullifier not in rows:
            gap.wait(threading.get_ident())
            rows.append(nullifier)
        return sign_promise(manifests.LEDGER_KEY, leaf_hash(data), KIND_PLEDGE, nullifier, 0, deadline)

    monkeypatch.setattr(
        town.ledger, "accept_all", lambda entries, day: [look_and_write(entry, day) for entry in entries]
    )
    answers = storm([post_entry(f"{town.origin}/pledges", entry.to_bytes())] * 100)
    assert {status for status, _ in answers} == {200}
    assert len(rows) > 1


# One person


class LooksFirst:
    """The issuer's decision as one would write it: a look, and then a write."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._gap = Gap()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def burn_together(self, wish: Wish) -> None:
        self._gap.wait(wish.digest)  # check was the look
        self._store.burn_together(wish)
        if isinstance(wish.error, AlreadyIssuedError):
            wish.error = None  # as INSERT OR REPLACE would


def sessions(town: story.Town, scope: Manifest, address: str, number: int) -> list[str]:
    """Finished personhood sessions of one person."""
    found = []
    for _ in range(number):
        headers = {"Content-Type": "application/json"}
        wanted: dict[str, JSON] = {"scope": scope.scope_id.hex(), "attester": "email"}
        challenge = f"{town.issuer_urls[0]}/sessions/challenge"
        work = Members(jcs.parse_json(post(challenge, jcs.canonicalise(wanted), **headers)()[1]), "challenge")
        solution = WorkChallenge.read(work.object("work")).solve()
        wanted["evidence"] = {"address": address, "work": solution.to_text()}
        status, body = post(f"{town.issuer_urls[0]}/sessions", jcs.canonicalise(wanted), **headers)()
        assert status == 201
        session = jcs.parse_json(body)
        assert isinstance(session, dict)
        bearer = str(session["session"])
        code = jcs.canonicalise({"code": town.code(story.address_of(address.partition(".")[0]))})
        headers["Authorization"] = f"Bearer {bearer}"
        assert post(f"{town.issuer_urls[0]}/sessions/evidence", code, **headers)()[0] == 200
        found.append(bearer)
    return found


def race_for_a_token(town: story.Town, scope: Manifest, name: str) -> tuple[list[tuple[int, bytes]], int]:
    """Fifty threads of one person, in five sessions, for two pledges: (answers, tokens that verify)."""
    bearers = sessions(town, scope, story.address_of(name), 5)
    terms = scope.issuers[0]
    key = keys.token_key(0).public
    requests, blinds = [], []
    for i in range(2):
        nonce = keys.seed(f"{name} pledge {i}")
        r = int.from_bytes(keys.seed(f"{name} blind {i}") * 7, "big")
        (message,) = scope.token_inputs(nonce)
        blinded, inv = blind_rsa.blind(key, message, bytes(48), r)
        requests.append(TokenRequest(terms.token_key_id[-1], blinded).to_bytes())
        blinds.append((message, inv))
    works = [
        post(
            f"{town.issuer_urls[0]}/token-request",
            requests[i % 2],
            **{
                "Content-Type": "application/private-token-request",
                "Authorization": f"Bearer {bearers[i % 5]}",
            },
        )
        for i in range(50)
    ]
    answers = storm(works)
    tokens = 0
    for i, (message, inv) in enumerate(blinds):
        signed = {body for status, body in answers[i::2] if status == 200}
        assert len(signed) <= 1
        for blind_sig in signed:
            blind_rsa.finalize(key, message, blind_sig, inv)
            tokens += 1
    return answers, tokens


def test_two_pledges_racing_for_one_person_get_one_token(town: story.Town, scope: Manifest) -> None:
    before = town.issued()
    answers, tokens = race_for_a_token(town, scope, "eve")
    assert tokens == 1
    assert Counter(status for status, _ in answers) == {200: 25, 409: 25}
    refusals = {body for status, body in answers if status == 409}
    assert all(b'"code":"already-issued"' in body for body in refusals)
    assert town.issued() == before + 1


def test_that_race_bites_an_issuer_that_looks_before_it_writes(
    town: story.Town, scope: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuance = town.issuers[0].issuance
    monkeypatch.setattr(issuance, "_store", LooksFirst(issuance._store))
    _, tokens = race_for_a_token(town, scope, "mallory")
    assert tokens == 2


# One victim


def garbage(entry: Pledge, i: int) -> bytes:
    """The victim's pledge, which is public once it is seen, with an authenticator that is none."""
    (good,) = entry.authenticators
    bad = (
        bytes(255) + b"\1",
        good[:-1] + bytes([good[-1] ^ 1]),
        keys.sign_pss(keys.token_key(7), b"another message")[:256],
        bytes([good[0] ^ 0x80]) + good[1:],
    )[i % 4]
    return dataclasses.replace(entry, authenticators=(bad,)).to_bytes()


@pytest.mark.parametrize("entrance", ["verifier", "ledger"])
def test_garbage_with_a_victims_nonce_reserves_nothing(
    town: story.Town, scope: Manifest, entrance: str
) -> None:
    url = f"{town.origin}/pledges" if entrance == "verifier" else f"{town.ledger_url}/entries"
    before = gross(town, scope)
    first, second = (finished(town, scope, f"victim {entrance} {i}".replace(" ", "-")) for i in range(2))
    # Before the real one …
    assert {post_entry(url, garbage(first, i))()[0] for i in range(4)} <= {400, 401}
    assert town.ledger.waiting() == 0
    status, promise = post_entry(url, first.to_bytes())()
    assert status == 200
    assert {post_entry(url, garbage(first, i))()[0] for i in range(4)} <= {400, 401}
    assert post_entry(url, first.to_bytes())() == (200, promise)
    # … and at the same time.
    works = [post_entry(url, second.to_bytes() if i % 5 == 0 else garbage(second, i)) for i in range(50)]
    answers = storm(works)
    assert {status for status, _ in answers[::5]} == {200}
    assert len({body for _, body in answers[::5]}) == 1
    assert {status for i, (status, _) in enumerate(answers) if i % 5} <= {400, 401}
    assert gross(town, scope) == before + 2
    tree = b"".join(fakes.published(town.ledger).values())
    assert all(entry.to_bytes() in tree for entry in (first, second))
