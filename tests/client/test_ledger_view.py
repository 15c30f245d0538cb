from __future__ import annotations

import json
from pathlib import Path

import pytest

import keys
import ledgers
import manifests
from headcount import Memory, find_scope, open_ledger
from headcount.misbehaviour import save_evidence
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    MisbehaviourError,
    NotFoundError,
    NoticeConflictError,
    ProofError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy
from headcount_spec.tile import encode_bundle


def grown(n: int) -> ledgers.Ledger:
    return ledgers.build(ledgers.copied()[:n])


def forked(n: int) -> ledgers.Ledger:
    batches = ledgers.copied()[:n]
    del batches[1].entries[0]
    return ledgers.build(batches)


def test_a_ledger_that_grew_is_accepted() -> None:
    for n in range(1, 7):
        old, new = grown(n), grown(n + 1)
        view = open_ledger(new.fetch, new.policy, [old.files["checkpoint"]])
        assert view.size == new.checkpoint.size
        assert not view.is_witnessed


def test_a_ledger_that_went_back_is_caught_with_both_checkpoints() -> None:
    old, new = grown(4), grown(3)
    remembered = old.files["checkpoint"]
    with pytest.raises(MisbehaviourError, match="went back") as caught:
        open_ledger(new.fetch, new.policy, [remembered])
    assert caught.value.evidence == (remembered, new.files["checkpoint"])


@pytest.mark.parametrize(("before", "after"), [(3, 3), (3, 5)])
def test_a_forked_ledger_is_caught_with_both_checkpoints(before: int, after: int) -> None:
    old, new = grown(before), forked(after)
    if before == after:  # the same size with another root
        batches = ledgers.copied()[:before]
        batches[-1].entries[0] = manifests.pledge(ledgers.campaign(), 77).to_bytes()
        new = ledgers.build(batches)
        assert new.checkpoint.size == old.checkpoint.size
    remembered = old.files["checkpoint"]
    with pytest.raises(MisbehaviourError, match="histor") as caught:
        open_ledger(new.fetch, new.policy, [remembered])
    assert caught.value.evidence == (remembered, new.files["checkpoint"])


def test_broken_tiles_accuse_nobody_of_a_fork() -> None:
    old, new = grown(2), grown(5)
    for path, data in list(new.files.items()):
        if path.startswith("tile/0/"):
            new.files[path] = bytes(32) + data[32:]
    with pytest.raises(ProofError):
        open_ledger(new.fetch, new.policy, [old.files["checkpoint"]])


def test_what_is_remembered_of_other_logs_or_is_not_signed_is_passed_over() -> None:
    new = grown(3)
    other = ledgers.build(ledgers.copied()[:6], key=SigningKey("other.example", keys.seed("other")))
    forged = ledgers.build(ledgers.copied()[:6], key=SigningKey(manifests.ORIGIN, keys.seed("other")))
    remembered = [other.files["checkpoint"], forged.files["checkpoint"], b"nothing"]
    assert open_ledger(new.fetch, new.policy, remembered).size == new.checkpoint.size


def test_a_checkpoint_that_the_policy_does_not_accept_opens_nothing() -> None:
    ledger = grown(3)
    forged = ledgers.build(ledgers.copied()[:3], key=SigningKey(manifests.ORIGIN, keys.seed("other")))
    for files, error in (
        (forged.files["checkpoint"], UnknownKeyError),
        (ledger.files["checkpoint"].replace(b"\n", b"\n\n", 1), MalformedError),
        (b"", MalformedError),
    ):
        ledger.files["checkpoint"] = files
        with pytest.raises(error):
            open_ledger(ledger.fetch, ledger.policy)
    del ledger.files["checkpoint"]
    with pytest.raises(NotFoundError):
        open_ledger(ledger.fetch, ledger.policy)


def test_witnesses_of_the_policy_and_of_the_manifest_must_both_have_signed() -> None:
    ledger = ledgers.small()
    (scope,) = ledgers_scopes(ledger)
    view = open_ledger(ledger.fetch, ledger.policy)
    assert view.is_witnessed
    assert find_scope(view, scope).manifest.scope_id == scope
    unwitnessed = ledgers.build(ledger.batches)
    with pytest.raises(UnknownKeyError):
        open_ledger(unwitnessed.fetch, ledger.policy)
    lax = Policy(logs=ledger.policy.logs)
    with pytest.raises(UnknownKeyError, match="quorum"):
        find_scope(open_ledger(unwitnessed.fetch, lax), scope)


def test_a_broken_cosignature_is_refused() -> None:
    ledger = ledgers.small()
    raw = ledger.files["checkpoint"]
    ledger.files["checkpoint"] = raw[:-10] + (b"A" if raw[-10:-9] != b"A" else b"B") + raw[-9:]
    with pytest.raises((SignatureError, MalformedError)):
        open_ledger(ledger.fetch, ledger.policy)


def ledgers_scopes(ledger: ledgers.Ledger) -> list[manifests.ScopeId]:
    return [
        manifests.ScopeId(bytes.fromhex(path.removeprefix("scopes/")))
        for path in ledger.files
        if path.startswith("scopes/")
    ]


# Scopes.

HINT = f"scopes/{ledgers.campaign().scope_id.hex()}"


def test_the_hint_and_the_scan_find_the_same() -> None:
    ledger = ledgers.sample()
    view = open_ledger(ledger.fetch, ledger.policy)
    hinted = find_scope(view, ledgers.campaign().scope_id)
    assert hinted.manifest == ledgers.campaign()
    assert hinted.texts == manifests.TEXTS
    assert hinted.missing_openings == ()
    for hint in (None, b"", b"garbage", b"\xff", b"007\n", b"0\n1\n2\n", b"1\n" * 3, b"999999\n"):
        if hint is None:
            del ledger.files[HINT]
        else:
            ledger.files[HINT] = hint
        assert find_scope(view, ledgers.campaign().scope_id) == hinted
    seen: list[tuple[int, int]] = []
    find_scope(view, ledgers.campaign().scope_id, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (view.size, view.size)


def test_a_hint_that_leaves_out_the_last_notices_is_complete_enough_for_a_signer() -> None:
    ledger = ledgers.sample()
    view = open_ledger(ledger.fetch, ledger.policy)
    indices = ledger.files[HINT].split()
    ledger.files[HINT] = b"\n".join(indices[:4]) + b"\n"
    assert find_scope(view, ledgers.campaign().scope_id).manifest == ledgers.campaign()


def test_an_unknown_scope_is_not_found_even_if_a_hint_says_so() -> None:
    ledger = ledgers.sample()
    other = manifests.manifest(threshold=123).scope_id
    ledger.files[f"scopes/{other.hex()}"] = ledger.files[HINT]
    view = open_ledger(ledger.fetch, ledger.policy)
    with pytest.raises(NotFoundError):
        find_scope(view, other)


def test_an_entry_that_was_exchanged_in_its_bundle_is_not_proven() -> None:
    ledger = ledgers.sample()
    view = open_ledger(ledger.fetch, ledger.policy)
    index = int(ledger.files[HINT].split()[0])
    leaves = list(ledger.leaves)
    leaves[index] = leaves[index].replace(b"We move together", b"We stay together")
    for path in list(ledger.files):
        if path.startswith("tile/entries/"):
            ledger.files[path] = encode_bundle(leaves[: view.size])
    with pytest.raises(ProofError):
        view.entry(index)
    with pytest.raises(ProofError):
        find_scope(view, ledgers.campaign().scope_id)


def test_a_scope_whose_issuer_has_not_opened_it_is_refused_or_named() -> None:
    manifest = ledgers.campaign()
    batch = ledgers.Batch(manifests.OPENS, ledgers.raw(manifests.manifest_notice(manifest)))
    ledger = ledgers.build([batch])
    view = open_ledger(ledger.fetch, ledger.policy)
    with pytest.raises(UnknownKeyError, match="has not opened"):
        find_scope(view, manifest.scope_id)
    found = find_scope(view, manifest.scope_id, need_openings=False)
    assert found.missing_openings == ("issuer0.example",)


def test_notices_by_strangers_say_nothing() -> None:
    manifest = ledgers.campaign()
    body = {"issuer": "issuer0.example", "token_key_id": manifest.issuers[0].token_key_id.hex()}
    statement = manifests.Statement("issuer", manifest.scope_id, 0, bytes(32), "opening", body)
    stranger = manifests.sign_statement(statement, [keys.seed("stranger")])
    batch = ledgers.Batch(manifests.OPENS, ledgers.raw(manifests.manifest_notice(manifest), stranger))
    ledger = ledgers.build([batch])
    view = open_ledger(ledger.fetch, ledger.policy)
    with pytest.raises(UnknownKeyError, match="has not opened"):
        find_scope(view, manifest.scope_id)


def test_a_gap_in_an_authors_sequence_is_named() -> None:
    manifest = ledgers.campaign()
    first = manifests.manifest_notice(manifest)
    texts = manifests.text_notices(manifest, first)
    batch = ledgers.Batch(manifests.OPENS, ledgers.raw(first, texts[1], manifests.opening(manifest)))
    ledger = ledgers.build([batch])
    view = open_ledger(ledger.fetch, ledger.policy)
    with pytest.raises(NoticeConflictError):
        find_scope(view, manifest.scope_id)


def test_another_ledgers_scope_is_refused() -> None:
    manifest = ledgers.campaign()
    notices = ledgers.raw(manifests.manifest_notice(manifest), manifests.opening(manifest))
    key = SigningKey("elsewhere.example/log", keys.seed("elsewhere"))
    ledger = ledgers.build([ledgers.Batch(manifests.OPENS, notices)], key=key)
    view = open_ledger(ledger.fetch, ledger.policy)
    with pytest.raises(UnknownKeyError, match="does not list"):
        find_scope(view, manifest.scope_id)


def test_entries_are_proven_by_their_root() -> None:
    ledger = ledgers.sample()
    view = open_ledger(ledger.fetch, ledger.policy)
    assert [data for _, data in view.entries()] == ledger.leaves
    assert all(view.entry(i) == data for i, data in enumerate(ledger.leaves))
    assert leaf_hash(view.entry(0)) == view.reader.leaf_hash(0)
    assert [i for i, _ in view.scan(7)] == list(range(7, view.size))


# What is remembered.


def test_memory_keeps_one_checkpoint_a_log(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "state")
    assert memory.checkpoints() == ()
    old, new = grown(2).files["checkpoint"], grown(3).files["checkpoint"]
    memory.remember("a", old)
    memory.remember("b", old)
    memory.remember("a", new)
    assert set(Memory(tmp_path / "state").checkpoints()) == {old, new}
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"checkpoints":[]}', b'{"checkpoints":{"a":1}}'])
def test_a_state_file_that_is_none_is_a_configuration_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "state").write_bytes(data)
    with pytest.raises(ConfigurationError, match="state"):
        Memory(tmp_path / "state").checkpoints()


def test_evidence_is_saved_readably(tmp_path: Path) -> None:
    path = save_evidence(MisbehaviourError("two histories", (b"a note\n", b"\xff\x00")), tmp_path)
    assert path is not None
    assert json.loads(path.read_bytes()) == {
        "headcount_evidence": 1,
        "says": "two histories",
        "evidence": [{"text": "a note\n"}, {"base64": "/wA="}],
    }
    assert save_evidence(MisbehaviourError("nothing signed"), tmp_path) is None
