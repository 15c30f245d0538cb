from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import manifests
from headcount import Answer, PledgeStore, pledge, receipt, revise
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    MisbehaviourError,
    NotEligibleError,
    ProofError,
    ProtocolError,
    RevisionConflictError,
    ScopeClosedError,
    SignatureError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Log, Policy, Witness
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise
from headcount_spec.scope import WITHDRAWN
from headcount_spec.tile import decode_bundle, encode_bundle
from headcount_spec.tlog_proof import TlogProof

Forge = Callable[[Pledge, int], Promise]
OTHER_KEY = SigningKey(manifests.ORIGIN, manifests.keys.seed("other"))


def promise(
    entry: Pledge, deadline: int, *, key: SigningKey = manifests.LEDGER_KEY, **changes: Any
) -> Promise:
    fields: dict[str, Any] = {
        "leaf_hash": leaf_hash(entry.to_bytes()),
        "kind": KIND_PLEDGE,
        "nullifier": entry.nullifier,
        "serial": 0,
        "deadline": deadline,
    }
    return sign_promise(key, **{**fields, **changes})


@pytest.mark.parametrize(
    "forge",
    [
        lambda entry, deadline: promise(entry, deadline, key=OTHER_KEY),
        lambda entry, deadline: promise(entry, deadline, nullifier=bytes(32)),
        lambda entry, deadline: promise(entry, deadline, kind=KIND_REVISION, serial=1),
        lambda entry, deadline: promise(entry, deadline + 1),
    ],
    ids=["other-key", "other-pledge", "other-kind", "later-day"],
)
def test_a_lying_promise_is_refused_and_not_kept(
    shared_world: Any, tmp_path: Path, recorder: Any, forge: Forge
) -> None:
    manifest = shared_world.shared()
    path = tmp_path / "me.pledge"
    entry = shared_world.prove(manifest, path).pledge()
    transport = recorder(shared_world.http)
    forged = forge(entry, manifest.deadline_day).to_bytes()
    transport.bend = lambda url, answer: (
        Answer(200, forged, answer.headers) if url.endswith("/pledges") else answer
    )
    with pytest.raises(SignatureError):
        pledge.submit(path, transport=transport)
    assert PledgeStore(path).load().promise is None
    assert pledge.submit(path, transport=shared_world.http).promise is not None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(200, b"short", {"content-type": "application/vnd.headcount.promise"}), MalformedError),
        (Answer(200, b"x" * 137, {"content-type": "application/octet-stream"}), UnavailableError),
        (Answer(503, b"", {}), UnavailableError),
        (Answer(307, b"", {"location": "http://elsewhere.example"}), UnavailableError),
    ],
)
def test_garbage_for_a_promise_is_refused(
    shared_world: Any, tmp_path: Path, recorder: Any, answer: Answer, error: type[ProtocolError]
) -> None:
    manifest = shared_world.shared()
    path = tmp_path / "me.pledge"
    shared_world.prove(manifest, path)
    transport = recorder(shared_world.http)
    transport.bend = lambda url, given: answer if url.endswith("/pledges") else given
    with pytest.raises(error):
        pledge.submit(path, transport=transport)


def test_another_valid_authenticator_under_the_same_nullifier_is_no_loss(world: Any, tmp_path: Path) -> None:
    manifest = world.publish()
    path = tmp_path / "me.pledge"
    content = world.prove(manifest, path)
    [token_input] = manifest.token_inputs(content.nullifier)
    other = manifests.keys.sign_pss(manifests.keys.token_key(0), token_input, b"\7" * 48)
    entry = Pledge(manifest.scope_id, 0, content.revision_key, bytes(32), (other,))
    world.ledger.accept(entry.to_bytes(), world.clock.day)
    for i in (1, 2):
        world.pledge(manifest, i)
    sent = pledge.submit(path, transport=world.http)
    assert sent.promise is not None
    assert sent.promise.leaf_hash == leaf_hash(entry.to_bytes())
    world.seal()
    [found] = receipt.fetch(path, transport=world.http)
    assert found.state == "included"


def test_a_pledge_goes_only_to_sites_that_the_terms_list(shared_world: Any, tmp_path: Path) -> None:
    manifest = shared_world.shared()
    path = tmp_path / "me.pledge"
    shared_world.prove(manifest, path)
    with pytest.raises(NotEligibleError):
        pledge.submit(path, transport=shared_world.http, verifier="http://phish.example")
    with pytest.raises(MalformedError):
        pledge.submit(path, transport=shared_world.http, verifier="javascript:alert(1)")
    sent = pledge.submit(path, transport=shared_world.http, verifier="http://localhost:8000/")
    assert sent.verifier == "http://localhost:8000"


def test_an_unproved_pledge_is_not_sent(shared_world: Any, tmp_path: Path, recorder: Any) -> None:
    manifest = shared_world.shared()
    path = tmp_path / "me.pledge"
    transport = recorder(shared_world.http)
    transport.bend = lambda url, answer: Answer(503, b"") if url.endswith("/token-request") else answer
    with pytest.raises(UnavailableError):
        shared_world.prove(manifest, path, transport=transport)
    with pytest.raises(ConfigurationError, match="not finished"):
        pledge.submit(path, transport=shared_world.http)
    with pytest.raises(ConfigurationError, match="not sent"):
        receipt.fetch(path, transport=shared_world.http)
    with pytest.raises(ConfigurationError, match="not sent"):
        revise.withdraw(path, transport=shared_world.http, day=shared_world.clock.day)


def test_a_ledger_that_went_back_gets_no_pledge(world: Any, tmp_path: Path, recorder: Any) -> None:
    manifest = world.publish()
    path = tmp_path / "me.pledge"
    old = world.http("GET", "http://localhost:8000/ledger/checkpoint")
    for i in range(3):
        world.pledge(manifest, i)
    world.seal()
    world.prove(manifest, path)
    transport = recorder(world.http)
    transport.bend = lambda url, answer: old if url.endswith("/checkpoint") else answer
    with pytest.raises(MisbehaviourError) as caught:
        pledge.submit(path, transport=transport)
    assert len(caught.value.evidence) == 2
    assert all(method == "GET" for method, _, _ in transport.sent)


# Receipts.


def pledged(world: Any, manifest: Any, n: int = 3) -> list[Path]:
    return [world.pledge(manifest, i) for i in range(n)]


def test_a_receipt_can_be_checked_without_the_ledger(world: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest)
    world.seal()
    [found] = receipt.fetch(paths[0], transport=world.http)
    assert found.path is not None
    proof = TlogProof.from_bytes(found.path.read_bytes())
    policy = Policy.from_bytes(world.policy)
    entry = PledgeStore(paths[0]).load().pledge().to_bytes()
    assert receipt.verify(proof, policy).index == found.index
    assert receipt.verify(proof, policy, entry).index == found.index
    with pytest.raises(ProofError):
        receipt.verify(proof, policy, PledgeStore(paths[1]).load().pledge().to_bytes())
    with pytest.raises(UnknownKeyError):
        receipt.verify(proof, Policy(logs=(Log(OTHER_KEY.verification_key),)))
    with pytest.raises(MalformedError, match="carry"):
        receipt.verify(TlogProof(proof.index, proof.hashes, proof.checkpoint), policy)


def test_a_receipt_asks_for_whole_bundles_and_never_for_one_nullifier(world: Any, recorder: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest)
    world.seal()
    transport = recorder(world.http)
    receipt.fetch(paths[0], transport=transport)
    content = PledgeStore(paths[0]).load()
    for method, url, body in transport.sent:
        assert (method, body) == ("GET", b"")
        assert content.nullifier.hex() not in url
        assert url.removeprefix("http://localhost:8000/ledger/").startswith(("checkpoint", "tile/"))


def test_a_promise_that_is_not_kept_is_overdue(world: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest, 1)
    [found] = receipt.fetch(paths[0], transport=world.http)
    assert found.state == "accepted"
    assert not found.is_overdue(manifest.deadline_day)
    assert found.is_overdue(manifest.deadline_day + 1)


def test_a_witnessed_receipt_says_so(world: Any, recorder: Any) -> None:
    manifest = world.publish()
    witness = SigningKey("witness.example/w", manifests.keys.seed("witness"))
    policy = Policy(Policy.from_bytes(world.policy).logs, (Witness("w", witness.cosigner_key),), (), "w")
    transport = recorder(world.http)

    def cosigned(url: str, answer: Answer) -> Answer:
        if not url.endswith("/checkpoint"):
            return answer
        signed = parse_checkpoint(answer.body)
        note = signed.note.with_signatures([cosign(signed.checkpoint, witness, 1_700_000_000)])
        return Answer(200, note.to_bytes(), answer.headers)

    transport.bend = cosigned
    paths = [world.folder / f"{i}.pledge" for i in range(3)]
    for i, path in enumerate(paths):
        ask = world.answers(f"p{i}@example.org")
        world.prove(manifest, path, ask=ask, transport=transport, policy=policy.to_bytes())
        pledge.submit(path, transport=transport)
    world.seal()
    [found] = receipt.fetch(paths[0], transport=transport)
    assert found.state == "witnessed"
    with pytest.raises(UnknownKeyError, match="quorum"):
        receipt.fetch(paths[0], transport=world.http)


def test_a_bundle_that_lies_gives_no_receipt(world: Any, recorder: Any) -> None:
    manifest = world.publish()
    [path] = pledged(world, manifest, 1)
    entry = PledgeStore(path).load().pledge().to_bytes()
    body = {"title": {"en": "News"}, "text": {"en": "Soon."}}
    chain = [manifests.manifest_notice(manifest)]
    chain += manifests.text_notices(manifest, chain[0])
    update = manifests.notice(manifest, "organiser", "update", body, chain[-1])
    world.ledger.accept(update.to_bytes(), world.clock.day)
    world.seal()
    transport = recorder(world.http)

    def bend(url: str, answer: Answer) -> Answer:
        if "tile/entries/" not in url:
            return answer
        width = int(url.rpartition("/")[2])
        entries = decode_bundle(answer.body, width)
        return Answer(200, encode_bundle([*entries[:-1], entry]), answer.headers)

    transport.bend = bend
    with pytest.raises(ProofError):
        receipt.fetch(path, transport=transport)


# Revisions.


def test_a_pledge_is_withdrawn_and_taken_up_again(world: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest)
    world.seal()
    for choice in (WITHDRAWN, 0, WITHDRAWN):
        content = revise.revise(paths[0], choice, transport=world.http, day=world.clock.day)
        assert content.changes[-1].choice == choice
        world.seal()
    assert [change.serial for change in content.changes] == [1, 2, 3]
    assert [found.serial for found in receipt.fetch(paths[0], transport=world.http)] == [0, 1, 2, 3]


def test_the_same_change_again_is_no_second_change(world: Any, recorder: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest)
    world.seal()
    transport = recorder(world.http)
    assert revise.revise(paths[0], 0, transport=transport, day=world.clock.day).changes == ()
    assert transport.sent == []
    first = revise.withdraw(paths[0], transport=transport, day=world.clock.day)
    assert revise.withdraw(paths[0], transport=transport, day=world.clock.day) == first
    assert len(transport.sent) == 1


@pytest.mark.parametrize("when", ["fail_before", "fail_after"])
def test_a_change_without_an_answer_is_sent_again_before_the_next(
    world: Any, recorder: Any, crash: type[BaseException], when: str
) -> None:
    manifest = world.publish(options=manifests.options("Here", "There", "Nowhere"))
    path = world.folder / "me.pledge"
    world.prove(manifest, path, choice=1)
    pledge.submit(path, transport=world.http)
    for i in range(2):
        world.prove(manifest, world.folder / f"{i}", choice=1, ask=world.answers(f"x{i}@example.org"))
        pledge.submit(world.folder / f"{i}", transport=world.http)
    world.seal()
    transport = recorder(world.http)
    setattr(transport, when, 0)
    with pytest.raises(crash):
        revise.revise(path, 2, transport=transport, day=world.clock.day)
    assert PledgeStore(path).load().changes[-1].promise is None
    content = revise.revise(path, 2, transport=world.http, day=world.clock.day)
    assert [(c.serial, c.choice) for c in content.changes] == [(1, 2)]
    assert content.changes[0].promise is not None
    with pytest.raises(RevisionConflictError, match="next batch"):  # one a batch
        revise.revise(path, 3, transport=world.http, day=world.clock.day)
    world.seal()
    content = revise.revise(path, 3, transport=world.http, day=world.clock.day)
    assert [(c.serial, c.choice) for c in content.changes] == [(1, 2), (2, 3)]


def test_a_change_from_a_copy_of_the_file_is_explained_and_learnt(world: Any) -> None:
    manifest = world.publish(options=manifests.options("Here", "There", "Nowhere"))
    path, copy = world.folder / "me.pledge", world.folder / "copy.pledge"
    for i, place in enumerate((path, world.folder / "b", world.folder / "c")):
        world.prove(manifest, place, choice=1, ask=world.answers(f"x{i}@example.org"))
        pledge.submit(place, transport=world.http)
    copy.write_bytes(path.read_bytes())
    world.seal()
    revise.revise(copy, 2, transport=world.http, day=world.clock.day)
    world.seal()
    with pytest.raises(RevisionConflictError, match="copy of the file"):
        revise.revise(path, 3, transport=world.http, day=world.clock.day)
    content = revise.revise(path, 3, transport=world.http, day=world.clock.day)
    assert [(c.serial, c.choice) for c in content.changes] == [(2, 3)]
    for serial in (3, 4):
        world.seal()
        revise.revise(path, serial - 2, transport=world.http, day=world.clock.day)
    world.seal()
    with pytest.raises(RevisionConflictError, match="changed elsewhere"):
        revise.revise(copy, 3, transport=world.http, day=world.clock.day)
    assert revise.revise(copy, 3, transport=world.http, day=world.clock.day).standing == 5


def test_changes_end_on_the_freeze_day(world: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest)
    world.seal()
    with pytest.raises(ScopeClosedError):
        revise.withdraw(paths[0], transport=world.http, day=manifest.freezes + 1)
    with pytest.raises(NotEligibleError):
        revise.revise(paths[0], 5, transport=world.http, day=world.clock.day)


def test_a_promise_for_another_change_is_refused(world: Any, recorder: Any) -> None:
    manifest = world.publish()
    paths = pledged(world, manifest)
    world.seal()
    content = PledgeStore(paths[0]).load()
    forged = sign_promise(
        manifests.LEDGER_KEY, leaf_hash(b"x"), KIND_REVISION, content.nullifier, 1, manifest.deadline_day
    )
    transport = recorder(world.http)
    transport.bend = lambda url, answer: (
        Answer(200, forged.to_bytes(), answer.headers) if url.endswith("/revisions") else answer
    )
    with pytest.raises(SignatureError):
        revise.withdraw(paths[0], transport=transport, day=world.clock.day)
