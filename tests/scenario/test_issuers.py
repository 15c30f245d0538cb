"""Three issuers, all of whom sign: what one, two and three of them can do, and cannot."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

import fakes
import keys
import ledgers
import manifests
import story
from headcount import PledgeFile, PledgeStore, pledge
from headcount.audit_verdict import lines
from headcount.issuance import Conversation
from headcount_engine import rsa
from headcount_engine.acceptance import ScopeVerifier
from headcount_issuer import tags
from headcount_issuer.enrolment import Opened
from headcount_ledger.audit import audit
from headcount_ledger.storage import DirectoryStorage
from headcount_spec import blind_rsa, jcs, signature, spki
from headcount_spec.errors import (
    AlreadyIssuedError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    ProtocolError,
    SignatureError,
    UnavailableError,
)
from headcount_spec.pledge import Pledge, nonce
from headcount_spec.scope import NO_SEALED_HASH, PLAIN, Manifest
from headcount_spec.seed import revision_seed
from headcount_spec.token import TokenResponse

N = 3


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[story.Town]:
    with story.Town(tmp_path_factory.mktemp("town"), 4, served=True, email={"mails_per_address": 50}) as made:
        yield made


_numbers = itertools.count()


@pytest.fixture
def scope(town: story.Town) -> Manifest:
    """A scope of the first three issuers; token keys serve one scope only, so each test draws new ones."""
    return open_scope(town, f"Campaign {next(_numbers)}", (0, 1, 2))


def open_scope(town: story.Town, title: str, issuers: Collection[int], **changes: Any) -> Manifest:
    value = town.draft(title=manifests.both(title, f"{title} fr"), min_batch=1, **changes)
    value["issuers"] = [value["issuers"][i] for i in issuers]
    for entry in value["issuers"]:
        del entry["token_key"]
    for i in issuers:
        value = town.issuers[i].enrol(jcs.canonicalise(value)).value  # type: ignore[union-attr]
    terms = Manifest.from_bytes(jcs.canonicalise(value))
    entries = [manifests.manifest_notice(terms), *manifests.text_notices(terms)]
    for notice in entries:
        town.ledger.accept(notice.to_bytes(), town.clock.day)
    town.seal()
    for i in issuers:
        assert town.issuers[i].enrol(terms.raw) == Opened(terms.scope_id)
    town.seal()
    assert town.verifier_config.folder is not None
    (town.verifier_config.folder / f"{terms.scope_id.hex()}.json").write_bytes(terms.raw)
    return terms


def count(town: story.Town, scope: Manifest) -> int:
    town.seal()
    return fakes.whole_audit(town.ledger).scopes[scope.scope_id].live


def place(town: story.Town, scope: Manifest, name: str) -> Path:
    return town.folder / f"{scope.scope_id.hex()[:8]} {name}.pledge"


def signed(content: PledgeFile) -> list[bool]:
    return [step.authenticator is not None for step in content.steps]


def tokens(town: story.Town, scope: Manifest) -> list[int]:
    """How many each issuer has issued in this scope."""
    found = []
    for issuer in town.issuers:
        found += [row.issued for row in issuer.scopes() if row.manifest == scope]
    return found


def test_all_sign_the_same_pledge_days_apart_and_in_any_order(town: story.Town, scope: Manifest) -> None:
    path = place(town, scope, "ada")
    began = town.clock.now
    for day, (name, expected) in enumerate(
        [
            ("issuer2.example", [False, False, True]),
            ("issuer0.example", [True, False, True]),
            ("issuer1.example", [True, True, True]),
        ]
    ):
        town.clock.now = began + day * story.DAY_S
        content = town.prove(scope, path, "ada", issuers=[name])
        assert signed(content) == expected
        if not all(expected):
            with pytest.raises(ProtocolError):
                pledge.submit(path, transport=town.http())
    assert tokens(town, scope) == [1, 1, 1]
    pledge.submit(path, transport=town.http())
    town.clock.now = began
    assert count(town, scope) == 1
    with pytest.raises(NotFoundError):
        town.prove(scope, place(town, scope, "bob"), "bob", issuers=["issuer9.example"])


@pytest.mark.parametrize("down", [{0}, {1}, {2}, {0, 1}, {1, 2}, {0, 1, 2}])
def test_while_some_are_down_the_others_sign_and_nothing_counts(
    town: story.Town, scope: Manifest, down: set[int]
) -> None:
    path = place(town, scope, "ada")
    town.down = {f"issuer{i}" for i in down}
    try:
        for _ in range(2):
            with pytest.raises(UnavailableError) as raised:
                town.prove(scope, path, "ada")
        assert f"{N - len(down)} of 3 issuers have signed" in str(raised.value)
        assert tokens(town, scope) == [int(i not in down) for i in range(N)]
    finally:
        town.down = set()
    assert count(town, scope) == 0
    before = len(town.exchanges)
    content = town.prove(scope, path, "ada")
    asked = {exchange.role for exchange in town.exchanges[before:] if exchange.role.startswith("issuer")}
    assert asked == {f"issuer{i}" for i in down}  # who has signed is left in peace
    assert content.is_proved
    pledge.submit(path, transport=town.http())
    assert tokens(town, scope) == [1, 1, 1]
    assert count(town, scope) == 1


def test_with_all_issuers_gone_for_good_what_was_pledged_stands(tmp_path: Path) -> None:
    with story.Town(tmp_path, N, served=True) as town:
        scope = open_scope(town, "Before the end", (0, 1, 2))
        finished = place(town, scope, "ada")
        town.prove(scope, finished, "ada")
        for server in town._servers[1:]:
            server.stop()
        pledge.submit(finished, transport=town.http())
        assert count(town, scope) == 1
        with pytest.raises(UnavailableError):
            town.prove(scope, place(town, scope, "bob"), "bob")


# Dishonest ones


def mint(scope: Manifest, town: story.Town, hands: Collection[int], number: int = 0) -> Pledge:
    """A pledge of nobody, signed with those issuers' keys; with the first of them where others would."""
    seed = keys.seed(f"nobody {number}")
    revision_key = signature.public_key(revision_seed(seed, scope.scope_id))
    nullifier = nonce(scope.scope_id, PLAIN, revision_key, NO_SEALED_HASH)
    messages = scope.token_inputs(nullifier)
    authenticators = []
    for i in range(N):
        signer = i if i in hands else min(hands)
        authenticators.append(sign(town, scope, signer, messages[i]))
    return Pledge(scope.scope_id, PLAIN, revision_key, NO_SEALED_HASH, tuple(authenticators))


def sign(town: story.Town, scope: Manifest, i: int, message: bytes) -> bytes:
    """As an issuer that cares for nobody: with its key, without a person."""
    terms = scope.issuers[i]
    handle = town.issuers[i]._keys.signing_key(terms.token_key_id)
    public = spki.decode_token_key(terms.token_key)
    blinded, inverse = blind_rsa.blind(public, message, bytes(48), 3**1000)
    (blind_sig,) = handle.blind_sign([blinded])
    assert isinstance(blind_sig, bytes)
    return blind_rsa.finalize(public, message, blind_sig, inverse)


@pytest.mark.parametrize("hands", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}])
def test_one_or_two_that_mint_for_nobody_cannot_move_the_count(
    town: story.Town, scope: Manifest, hands: set[int]
) -> None:
    forged = mint(scope, town, hands)
    short = dataclasses.replace(forged, authenticators=tuple(forged.authenticators[i] for i in sorted(hands)))
    doubled = dataclasses.replace(forged, authenticators=(forged.authenticators[min(hands)],) * N)
    turned = dataclasses.replace(forged, authenticators=forged.authenticators[1:] + forged.authenticators[:1])
    for attempt in (forged, short, doubled, turned):
        with pytest.raises((SignatureError, MalformedError)):
            ScopeVerifier(scope).verify_pledge(attempt)
        with pytest.raises((SignatureError, MalformedError)):
            town.ledger.accept(attempt.to_bytes(), town.clock.day)
    assert count(town, scope) == 0


@pytest.mark.parametrize("hands", [{0}, {0, 1}])
def test_not_even_with_the_ledger(hands: set[int]) -> None:
    one = manifests.manifest(N, threshold=8)
    honest, forged = manifests.pledge(one, 1), manifests.pledge(one, 2)
    wrong = tuple(
        value if i in hands else forged.authenticators[min(hands)]
        for i, value in enumerate(forged.authenticators)
    )
    few = dataclasses.replace(forged, authenticators=tuple(forged.authenticators[i] for i in sorted(hands)))
    terms = [manifests.manifest_notice(one), *manifests.text_notices(one), *manifests.openings(one)]
    for attempt in (dataclasses.replace(forged, authenticators=wrong), few):
        built = ledgers.build(
            (
                ledgers.Batch(ledgers.OPENS - 1, ledgers.raw(*terms)),
                ledgers.Batch(ledgers.OPENS, ledgers.raw(honest, attempt)),
            )
        )
        report = audit(built.fetch, built.policy)
        assert not report.ok
        assert report.scopes[one.scope_id].live == 1


def test_all_three_together_can_and_the_audit_says_who_would_have_to(tmp_path: Path) -> None:
    with story.Town(tmp_path, N, served=True) as town:
        scope = open_scope(town, "Ghosts", (0, 1, 2))
        for number in range(20):
            town.ledger.accept(mint(scope, town, {0, 1, 2}, number).to_bytes(), town.clock.day)
        town.seal()
        report = fakes.whole_audit(town.ledger)
        assert report.scopes[scope.scope_id].live == 20
        said = "the issuers issuer0.example, issuer1.example, issuer2.example would all have to collude"
        assert any(said in sentence for sentence in report.trusts)
        # And as soon as one of them says a true number, it shows.
        town.issuers[1].publish_issuance(now=True)
        town.seal()
        files = DirectoryStorage(town.ledger.config.public)
        (fault,) = audit(files.read, town.ledger.policy()).faults
    assert fault.code == "issuance-below-pledges"
    assert "issuer1.example" in fault.detail


def test_issuance_below_the_pledges_is_caught() -> None:
    one = manifests.manifest(N, threshold=8)
    openings = manifests.openings(one)
    terms = [manifests.manifest_notice(one), *manifests.text_notices(one), *openings]
    said = [
        manifests.issuance(one, ledgers.OPENS + 1, 32 if i != 2 else 16, openings[i], i) for i in range(N)
    ]
    built = ledgers.build(
        (
            ledgers.Batch(ledgers.OPENS - 1, ledgers.raw(*terms)),
            ledgers.Batch(ledgers.OPENS, ledgers.raw(*(manifests.pledge(one, i) for i in range(20)))),
            ledgers.Batch(ledgers.OPENS + 1, ledgers.raw(*said)),
        )
    )
    (found,) = audit(built.fetch, built.policy).faults
    assert found.code == "issuance-below-pledges"
    assert "issuer2.example" in found.detail


def test_one_that_signs_twice_for_a_friend_is_not_enough(town: story.Town, scope: Manifest) -> None:
    """The dishonest one forgets that it has signed already; the others remember."""
    town.prove(scope, place(town, scope, "ada"), "ada")
    second = place(town, scope, "ada again")
    other_seed = {"draw": lambda size: keys.seed("ada's second pledge")[:size]}
    store = town.issuers[0]._store
    with store.transaction() as connection:
        number = next(row.number for row in town.issuers[0].scopes() if row.manifest == scope)
        tags.clear(connection, number)
    with pytest.raises(AlreadyIssuedError):
        town.prove(scope, second, "ada", **other_seed)
    assert signed(PledgeStore.at(second).load()) == [True, False, False]


def test_one_that_signs_wrongly_is_named_and_nothing_is_lost(
    town: story.Town, scope: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place(town, scope, "ada")
    with monkeypatch.context() as patch:
        patch.setattr(town.issuers[1].issuance, "sign", lambda *_: TokenResponse(bytes(255) + b"\2"))
        with pytest.raises(SignatureError, match=r"issuer1\.example"):
            town.prove(scope, path, "ada")
    assert town.prove(scope, path, "ada").is_proved


# Why not k of n


def test_any_two_of_three_lets_two_people_make_three_pledges_and_ours_makes_two(
    town: story.Town, scope: Manifest
) -> None:
    """Each person gets one signature of each issuer, honestly, and may put any nonce under it."""
    nonces, revision_keys = [], []
    for name in ("first", "second", "third"):
        revision_keys.append(signature.public_key(keys.seed(f"{name} pledge")))
        nonces.append(nonce(scope.scope_id, PLAIN, revision_keys[-1], NO_SEALED_HASH))
    wanted = {  # (person, issuer) → which pledge they have signed
        ("ada", 0): 0,
        ("ada", 1): 0,
        ("ada", 2): 1,
        ("bob", 0): 1,
        ("bob", 1): 2,
        ("bob", 2): 2,
    }
    held: dict[int, dict[int, bytes]] = {0: {}, 1: {}, 2: {}}
    for (name, i), which in wanted.items():
        held[which][i] = ask_one(town, scope, name, i, nonces[which])
    assert tokens(town, scope) == [2, 2, 2]  # two people, as every issuer rightly says

    def any_two(which: int) -> bool:
        messages = scope.token_inputs(nonces[which])
        return sum(verifies(scope, i, messages[i], value) for i, value in held[which].items()) >= 2

    assert [any_two(which) for which in range(3)] == [True, True, True]
    assert math.floor(2 * N / 2) == 3
    for which in range(3):
        values = tuple(held[which].values())
        for authenticators in (values, (values[0], *values), (*values, values[1])):
            attempt = Pledge(scope.scope_id, PLAIN, revision_keys[which], NO_SEALED_HASH, authenticators)
            with pytest.raises((SignatureError, MalformedError)):
                town.ledger.accept(attempt.to_bytes(), town.clock.day)
    # They have wasted their tokens: with all three over one nonce each they would have had two pledges.
    for name in ("ada", "bob"):
        with pytest.raises(AlreadyIssuedError):
            town.prove(scope, place(town, scope, name), name)
    assert count(town, scope) == 0


def ask_one(town: story.Town, scope: Manifest, name: str, i: int, nullifier: bytes) -> bytes:
    transport = town.http(name)
    conversation = Conversation(scope, i, transport, town.answers(story.address_of(name)))
    return conversation.obtain(None, lambda session: None, nullifier, keys.seed(f"{name} {i}"))


def verifies(scope: Manifest, i: int, message: bytes, value: bytes) -> bool:
    try:
        rsa.verify(rsa.load_public_key(scope.issuers[i].token_key), message, value)
    except SignatureError:
        return False
    return True


# A lost issuer


def test_a_successor_goes_on_from_where_the_lost_key_ended(town: story.Town) -> None:
    title = f"Campaign {next(_numbers)}"
    old = open_scope(town, title, (0, 1, 2))
    for name in ("ada", "bob"):
        path = place(town, old, name)
        town.prove(old, path, name)
        pledge.submit(path, transport=town.http())
    assert count(town, old) == 2
    seal = town.ledger.head().batches - 1
    late = place(town, old, "late")
    town.prove(old, late, "late")
    continues = {"scope": old.scope_id.hex(), "seal": seal}
    # Issuer 2 has lost its key; issuer 3 takes its place.
    new = open_scope(town, title, (0, 1, 3), continues=continues)
    for name in ("ada", "bob", "late"):  # have tokens of the old scope
        with pytest.raises(NotEligibleError):
            town.prove(new, place(town, new, name), name)
    pledge.submit(late, transport=town.http())  # after the seal: in the old count, not in the total
    for name in ("cleo", "dan", "eve"):
        path = place(town, new, name)
        town.prove(new, path, name)
        pledge.submit(path, transport=town.http())
    town.seal()
    report = fakes.whole_audit(town.ledger)
    assert not [fault for fault in report.faults if fault.code == "refused-terms"]
    counted = report.scopes[new.scope_id]
    assert (report.scopes[old.scope_id].live, counted.live, counted.total) == (3, 3, 5)
    assert [(part.scope_id, part.seal, part.live) for part in counted.parts] == [
        (old.scope_id, seal, 2),
        (new.scope_id, None, 3),
    ]
    assert counted.to_json()["total"] == 5
    verdict = "\n".join(lines(report))
    assert f"{title}: 5 confirmed e-mail addresses" in verdict
    assert f"2 in {old.scope_id.hex()[:16]}… up to batch {seal}" in verdict
    assert "3 here" in verdict


def test_terms_that_continue_wrongly_are_refused(town: story.Town, scope: Manifest) -> None:
    right = {"scope": scope.scope_id.hex(), "seal": town.ledger.head().batches - 1}
    for changes, error in (
        ({"continues": {**right, "seal": 10_000}}, NotEligibleError),
        ({"continues": {"scope": "00" * 32, "seal": 0}}, NotFoundError),
        ({"continues": right, "level": "in-person"}, ProtocolError),
    ):
        with pytest.raises(error):
            open_scope(town, scope.title_text, (0, 1, 2), **changes)
    with pytest.raises(NotEligibleError):  # nobody is left who knows
        open_scope(town, scope.title_text, (3,), continues=right)
    successor = open_scope(town, scope.title_text, (0, 3), continues=right)
    with pytest.raises(NotEligibleError):
        open_scope(town, f"{scope.title_text} once more", (1, 3), continues=right)
    assert successor.continues is not None


def test_keys_lie_where_only_their_issuer_reads_them(town: story.Town, scope: Manifest) -> None:
    for i, terms in enumerate(scope.issuers):
        name = f"{terms.token_key_id.hex()}.pem"
        assert [(issuer.config.keys / name).exists() for issuer in town.issuers] == [j == i for j in range(4)]
