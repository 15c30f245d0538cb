from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import corrupter
import crowds
import ledgers
import manifests
from headcount_ledger.audit import AuditReport, Receipt, audit
from headcount_ledger.audit import run as runs
from headcount_ledger.audit.state import AuditState, load_state
from headcount_ledger.audit.unit import Extent
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import ConfigurationError
from headcount_spec.notice import Notice
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest
from headcount_spec.tile import TileReader
from ledgers import OPENS, Batch, Ledger
from manifests import CLOSES


def run(ledger: Ledger, state: Path | None = None, **held: object) -> AuditReport:
    return audit(ledger.fetch, ledger.policy, resume=state, **held)  # type: ignore[arg-type]


def same(one: AuditReport, other: AuditReport) -> bool:
    """All but whom they trust."""
    members = [dataclasses.asdict(dataclasses.replace(report, trusts=())) for report in (one, other)]
    return members[0] == members[1]


def state_of(path: Path) -> AuditState:
    loaded = load_state(path)
    assert loaded is not None
    return loaded.state


@pytest.mark.parametrize("at", [1, 2, 4, 5, 6])
def test_a_resumed_audit_finds_what_a_whole_one_finds(at: int, tmp_path: Path) -> None:
    state = tmp_path / "state"
    given = crowds.batches()
    early, late = ledgers.build(given[:at]), ledgers.build(given)
    assert run(early, state).ok
    assert state_of(state).size == early.ends[-1]
    resumed, whole = run(late, state), run(late)
    assert same(resumed, whole)
    assert any(f"The first {early.ends[-1]} entries" in said for said in resumed.trusts)
    assert state_of(state).size == late.ends[-1]
    again = run(late, state)
    assert same(again, whole)


def test_a_resumed_audit_reads_new_bundles_only(tmp_path: Path) -> None:
    given = crowds.batches()
    early, late = ledgers.build(given[:4]), ledgers.build(given)
    assert run(early, tmp_path / "state").ok
    read: list[str] = []

    def fetch(path: str) -> bytes:
        read.append(path)
        return late.fetch(path)

    assert audit(fetch, late.policy, resume=tmp_path / "state").ok
    bundles = {path.split(".p/")[0] for path in read if path.startswith("tile/entries/")}
    first = early.ends[-1] // 256
    # The first holds a pledge that is revised now.
    assert bundles == {f"tile/entries/{n:03d}" for n in range(first, len(late.leaves) // 256 + 1)} | {
        "tile/entries/000"
    }


def test_old_faults_do_not_hide_in_a_resumed_audit(tmp_path: Path) -> None:
    signed = crowds.pledges()
    given = crowds.batches()
    for name, batch, entry, code in (
        ("replayed", 4, signed[3].to_bytes(), "replayed-token"),
        ("forged", 4, ledgers.forged_pledge(ledgers.campaign(), 9999).to_bytes(), "foreign-key"),
        ("wrong serial", 6, manifests.revision(signed[0], 1000, 5, 0).to_bytes(), "wrong-revision"),
        ("forged change", 6, manifests.revision(signed[2], 77).to_bytes(), "forged-revision"),
    ):
        state = tmp_path / name
        assert run(ledgers.build(given[:batch]), state).ok
        before = state.read_bytes()
        bad = ledgers.build(crowds.batches(more=[(batch, entry)]))
        resumed, whole = run(bad, state), run(bad)
        assert {fault.code for fault in resumed.faults} >= {code}
        assert resumed.faults == whole.faults
        assert state.read_bytes() == before


def test_a_ledger_that_goes_back_or_is_rewritten_is_named(tmp_path: Path) -> None:
    good = ledgers.sample()
    state = tmp_path / "state"
    assert run(good, state).ok
    early = ledgers.build(good.batches[:3])
    assert "rolled-back-ledger" in {fault.code for fault in run(early, state).faults}
    for style in ("operator", "operator-seals"):
        fork = corrupter.corrupt("forked-ledger", style).ledger
        assert "forked-ledger" in {fault.code for fault in run(fork, state).faults}
    # Rewritten below the state, and grown.
    given = crowds.batches()
    assert run(ledgers.build(given[:3]), state2 := tmp_path / "state2").ok
    given[1].entries.pop()
    assert "forked-ledger" in {fault.code for fault in run(ledgers.build(given), state2).faults}


def test_remembered_trees_and_receipts_from_before_the_state(tmp_path: Path) -> None:
    given = crowds.batches()
    early, late = ledgers.build(given[:4]), ledgers.build(given)
    assert run(early, tmp_path / "state").ok
    reader = TileReader(late.fetch, len(late.leaves))
    size = late.ends[1]
    old = Checkpoint(late.key.name, size, reader.root_at(size))
    wrong = dataclasses.replace(old, root=bytes(32))
    index = late.leaves.index(crowds.pledges()[9].to_bytes())
    held = [
        Receipt("mine", late.hashes()[index], late.receipt(index)),
        Receipt("yours", None, late.receipt(7)),
    ]
    report = run(late, tmp_path / "state", remembered=[old], receipts=held)
    assert report.ok
    assert [(state.state, state.index) for state in report.receipts] == [("included", index), ("included", 7)]
    report = run(late, tmp_path / "state", remembered=[wrong])
    assert {fault.code for fault in report.faults} == {"forked-ledger"}


def test_an_interrupted_audit_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SAVE_EVERY_S", 0)
    ledger = crowds.crowd()
    state = tmp_path / "state"

    def fetch(path: str) -> bytes:
        if path == "totals/3":
            raise KeyboardInterrupt
        return ledger.fetch(path)

    with pytest.raises(KeyboardInterrupt):
        audit(fetch, ledger.policy, resume=state)
    kept = state_of(state)
    assert (kept.size, kept.checkpoint) == (ledger.ends[2], None)
    assert same(run(ledger, state), run(ledger))
    assert state_of(state).size == len(ledger.leaves)


def test_a_damaged_or_foreign_state_is_refused(tmp_path: Path) -> None:
    ledger = crowds.crowd()
    state = tmp_path / "state"
    assert run(ledger, state).ok
    good = state.read_bytes()
    for at in range(0, len(good), len(good) // 97):
        state.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ConfigurationError):
            run(ledger, state)
    for junk in (b"", good[:-1], good + b"\0", good[: len(good) // 2]):
        state.write_bytes(junk)
        with pytest.raises(ConfigurationError):
            run(ledger, state)
    state.write_bytes(good)
    with pytest.raises(ConfigurationError, match="another trust policy"):
        run(ledgers.sample(witnessed=True), state)
    with pytest.raises(ConfigurationError, match="verifies everything"):
        run(ledger, state, extent=Extent(start=3))
    assert run(ledger, state).ok
    assert state.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_of_another_ledger_under_the_same_policy(tmp_path: Path) -> None:
    ours = ledgers.sample()
    other = ledgers.build(ours.batches[:1], key=ledgers.WITNESS)
    policy = Policy(logs=(*ours.policy.logs, *other.policy.logs))
    assert audit(ours.fetch, policy, resume=tmp_path / "state").ok
    with pytest.raises(ConfigurationError, match="another ledger"):
        audit(other.fetch, policy, resume=tmp_path / "state")


def test_a_bad_audit_leaves_no_state(tmp_path: Path) -> None:
    case = corrupter.corrupt("edited-count", "host")
    assert not run(case.ledger, tmp_path / "state").ok
    assert not (tmp_path / "state").exists()


def test_a_state_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot write"):
        run(ledgers.small(), tmp_path / "missing" / "state")


def test_the_state_holds_no_nullifier_in_full(tmp_path: Path) -> None:
    assert run(crowds.crowd(), tmp_path / "state").ok
    data = (tmp_path / "state").read_bytes()
    assert not any(pledge.nullifier in data for pledge in crowds.pledges())
    assert not any(pledge.nullifier.hex() in json.dumps(data.hex()) for pledge in crowds.pledges()[:3])


@pytest.mark.parametrize("grows", [False, True])
def test_the_last_totals_are_looked_at_again(grows: bool, tmp_path: Path) -> None:
    given = crowds.batches()
    early = ledgers.build(given[:4])
    assert run(early, tmp_path / "state").ok
    late = ledgers.build(given) if grows else early
    path = f"totals/{len(early.ends) - 1}"
    data = late.files[path]
    edited = dataclasses.replace(late, files={**late.files, path: data[:-1] + bytes([data[-1] ^ 1])})
    report = run(edited, tmp_path / "state")
    assert [fault.code for fault in report.faults] == ["edited-count"]
    assert report.faults[0].batch == len(early.ends) - 1
    assert run(late, tmp_path / "state").ok


def test_what_an_issuer_has_said_and_what_a_scope_continues_is_kept(tmp_path: Path) -> None:
    entry = manifests.issuer(0, token_key=4) | {"attesters": ["email", "in-person"], "slips": 5}
    one = ledgers.campaign()
    meeting = manifests.manifest(
        title=manifests.both("Meet", "Venez"), level="email+in-person", issuers=[entry]
    )
    successor = manifests.manifest(
        issuers=[manifests.issuer(0, token_key=6)], continues={"scope": one.scope_id.hex(), "seal": 1}
    )
    opening, meeting_opening = manifests.opening(one), manifests.opening(meeting)
    issued = manifests.issuance(one, CLOSES, 16, opening)
    gone = {"day": CLOSES + 1, "keys": ["tag", "token"]}
    destroyed = manifests.notice(one, "issuer", "destruction", gone, issued)
    slips = {"root": "00" * 32, "number": 3}
    sheet = manifests.notice(meeting, "issuer", "codes", slips, meeting_opening)
    terms = [*terms_of(one), *terms_of(meeting)]
    given = [
        Batch(OPENS - 1, ledgers.raw(*terms, opening, meeting_opening)),
        Batch(OPENS, ledgers.raw(*(manifests.pledge(one, i) for i in range(8)))),
        Batch(OPENS + 1, ledgers.raw(*terms_of(successor), manifests.opening(successor), sheet)),
        Batch(CLOSES + 1, ledgers.raw(issued, manifests.closing(one))),
        Batch(CLOSES + 1, ledgers.raw(destroyed)),
    ]
    state = tmp_path / "state"
    assert run(ledgers.build(given), state).ok
    known = state.read_bytes()
    for name, later, code in (
        ("nothing", manifests.closing(meeting, CLOSES + 2), None),
        ("grows", manifests.issuance(one, CLOSES + 2, 32, destroyed), "wrong-issuance"),
        ("prints", manifests.notice(meeting, "issuer", "codes", slips, sheet), "too-many-slips"),
    ):
        (tmp_path / name).write_bytes(known)
        late = ledgers.build([*given, Batch(CLOSES + 2, ledgers.raw(later))])
        resumed, whole = run(late, tmp_path / name), run(late)
        assert {fault.code for fault in resumed.faults} == ({code} if code else set())
        assert same(resumed, whole)
        assert resumed.scopes[successor.scope_id].total == 8
        assert sum("is destroyed is only the word of" in said for said in resumed.trusts) == 1


def terms_of(scope: Manifest) -> list[Notice]:
    return [terms := manifests.manifest_notice(scope), *manifests.text_notices(scope, terms)]
