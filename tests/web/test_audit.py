from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import corrupter
import ledgers
import manifests
import nodejs
import quota_ledgers
import rules
from headcount_ledger.audit import AuditReport, Receipt, audit
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.merkle import LeafHash
from headcount_spec.tlog_proof import TlogProof
from ledgers import CLOSES, OPENS, Batch, Ledger, raw


class Auditor:
    """The browser's audit in a node process."""

    def __init__(self, folder: Path) -> None:
        node = nodejs.require()
        self._folder = folder
        self._number = 0
        self._process = subprocess.Popen(
            [node / "node", nodejs.COMPILED / "test" / "audit_folder.js"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(
        self,
        ledger: Ledger,
        remembered: Sequence[Checkpoint] = (),
        receipts: Sequence[tuple[LeafHash, TlogProof]] = (),
        **more: Any,
    ) -> dict[str, Any]:
        self._number += 1
        job = {
            "folder": str(ledger.write(self._folder / str(self._number))),
            "policy": ledger.policy.to_bytes().hex(),
            "remembered": [checkpoint.to_text() for checkpoint in remembered],
            "receipts": [{"leaf": leaf.hex(), "proof": proof.to_text()} for leaf, proof in receipts],
        }
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(job | more) + "\n")
        stdin.flush()
        found: dict[str, Any] = json.loads(stdout.readline())
        return found

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Auditor]:
    made = Auditor(tmp_path_factory.mktemp("ledgers"))
    yield made
    made.close()


def differs(mine: dict[str, Any], theirs: AuditReport) -> list[str]:
    """The members in which two reports disagree; the sentences of details may differ, nothing else."""
    expected = json.loads(json.dumps(theirs.to_json()))
    for report in (mine, expected):
        report["faults"] = [{**fault, "detail": ""} for fault in report["faults"]]
    return [f"{name}: {mine[name]} != {value}" for name, value in expected.items() if mine[name] != value]


@pytest.mark.parametrize("style", corrupter.STYLES)
@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_both_audits_say_the_same_of_an_attack(auditor: Auditor, attack: str, style: str) -> None:
    case = corrupter.corrupt(attack, style)
    receipts = [Receipt("mine", leaf, proof) for leaf, proof in case.receipts]
    theirs = audit(case.ledger.fetch, case.ledger.policy, remembered=case.remembered, receipts=receipts)
    mine = auditor(case.ledger, case.remembered, case.receipts)["report"]
    assert attack in {fault["code"] for fault in mine["faults"]}
    assert differs(mine, theirs) == []


def test_both_audits_say_the_same_of_every_broken_rule(auditor: Auditor) -> None:
    wrong = {}
    for number, (code, make) in enumerate(rules.RULES):
        ledger = make()
        mine = auditor(ledger)["report"]
        assert code in {fault["code"] for fault in mine["faults"]}
        found = differs(mine, audit(ledger.fetch, ledger.policy))
        if found:
            wrong[number, code] = found
    assert wrong == {}


def with_checks(*attesters: str, **more: Any) -> list[dict[str, Any]]:
    return [manifests.issuer(0, token_key=7) | {"attesters": list(attesters)} | more]


# Terms that the linter takes or refuses.
TERMS: dict[str, dict[str, Any]] = {
    "all-of": {"level": "email+device", "issuers": with_checks("email", "device")},
    "other-order": {"level": "email+device", "issuers": with_checks("device", "email")},
    "choice": {"level": "2-of:email,oidc,device", "issuers": with_checks("email", "oidc", "device")},
    "choice-of-less": {"level": "2-of:email,oidc,device", "issuers": with_checks("email", "oidc")},
    "slips-without-sheet": {"issuers": with_checks("email", slips=9)},
    "returning": {"issuers": with_checks("email", returning=["passkey"])},
    "returning-by-slip": {
        "level": "in-person",
        "issuers": with_checks("in-person", slips=9, returning=["passkey"]),
    },
}
CONTACTS: dict[str, dict[str, Any]] = {"good": {"threshold": 3}, "other-threshold": {"threshold": 9}}


def unusual() -> Iterator[tuple[str, Ledger]]:
    """Ledgers with one rule broken each, and some with none."""
    one = manifests.manifest(threshold=3, min_batch=2)
    notices = [manifests.manifest_notice(one), *manifests.text_notices(one)]
    opening = manifests.opening(one)
    p = [manifests.pledge(one, i) for i in range(8)]
    terms = Batch(OPENS - 1, raw(*notices, opening))
    yield "sample", ledgers.sample()
    yield "witnessed", ledgers.sample(witnessed=True)
    yield "small", ledgers.small()
    yield "empty", ledgers.build(())
    yield "long", ledgers.long(300)
    yield "exactly-a-bundle", ledgers.long(256)
    yield "no-terms", ledgers.build((Batch(OPENS, raw(*p[:2])),))
    yield "no-opening", ledgers.build((Batch(OPENS - 1, raw(*notices)), Batch(OPENS, raw(*p[:2]))))
    yield "terms-with-pledges", ledgers.build((Batch(OPENS, raw(*notices, opening, *p[:2])),))
    yield "early", ledgers.build((terms, Batch(OPENS - 1, raw(*p[:2]))))
    yield "small-batch", ledgers.build((terms, Batch(OPENS, raw(p[0]))))
    yield "no-issuance", ledgers.build((terms, Batch(OPENS, raw(*p[:2])), Batch(OPENS + 9, raw(*p[2:4]))))
    issued = manifests.issuance(one, OPENS + 1, 0, opening)
    yield (
        "issued-fewer",
        ledgers.build((terms, Batch(OPENS, raw(*p[:2])), Batch(OPENS + 1, raw(issued)))),
    )
    forged = ledgers.forged_pledge(one, 3)
    yield "foreign-key", ledgers.build((terms, Batch(OPENS, raw(*p[:2], forged))))
    yield "twice", ledgers.build((terms, Batch(OPENS, raw(*p[:2])), Batch(OPENS, raw(p[0], p[3]))))
    change = manifests.revision(p[0], 0)
    again = manifests.revision(p[0], 0, 2, 0)
    yield "revised-twice", ledgers.build((terms, Batch(OPENS, raw(*p[:2])), Batch(OPENS, raw(change, again))))
    yield "revised-out-of-order", ledgers.build((terms, Batch(OPENS, raw(*p[:2], again))))
    yield "strange-revision", ledgers.build((terms, Batch(OPENS, raw(*p[:2], manifests.revision(p[5], 5)))))
    foreign = manifests.revision(p[0], 1)
    yield "forged-revision", ledgers.build((terms, Batch(OPENS, raw(*p[:2], foreign))))
    late = Batch(one.freezes + 2, raw(change))
    yield "late-revision", ledgers.build((terms, Batch(OPENS, raw(*p[:2])), late))
    closing = Batch(CLOSES + 1, raw(p[2], manifests.closing(one)))
    yield (
        "after-closing",
        ledgers.build((terms, Batch(OPENS, raw(*p[:2])), closing, Batch(CLOSES + 1, raw(*p[3:5])))),
    )
    yield "never-closed", ledgers.build((terms, Batch(OPENS, raw(*p[:2])), Batch(one.deadline_day + 1, [])))
    yield "garbage", ledgers.build((terms, Batch(OPENS, [*raw(*p[:2]), b"\x07\x01nonsense", b""])))
    same_title = manifests.manifest(threshold=4, issuers=[manifests.issuer(0, token_key=3)])
    yield (
        "same-title",
        ledgers.build((terms, Batch(OPENS - 1, raw(manifests.manifest_notice(same_title))))),
    )
    gone = (rules.destruction("token"), rules.destruction("tag", "token", day=CLOSES + 3))
    yield "destroyed-keys", rules.after_destruction(*gone)
    yield "successor", rules.successor_from(1)
    yield "slips-within-the-cap", rules.sheets_of(3, 2)
    yield from quota_ledgers.judged()
    for name, changes in TERMS.items():
        other = manifests.manifest(title=manifests.both(name, name), **changes)
        yield f"terms-{name}", ledgers.build((Batch(OPENS - 1, raw(manifests.manifest_notice(other))),))
    for name, changes in CONTACTS.items():
        other = manifests.contact(one, **changes)
        batch = Batch(OPENS - 1, raw(*notices, opening, manifests.manifest_notice(other)))
        yield f"contact-{name}", ledgers.build((batch,))
    shared_key = manifests.manifest(threshold=5, title=manifests.both("Other", "Autre"))
    yield (
        "shared-key",
        ledgers.build((terms, Batch(OPENS - 1, raw(manifests.manifest_notice(shared_key))))),
    )


def broken_files() -> Iterator[tuple[str, Ledger]]:
    """The long sample with one published file changed or taken away."""
    for path in ("tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "totals/3"):
        for how in ("missing", "cut", "flipped", "longer"):
            ledger = ledgers.long(300)
            if path not in ledger.files:
                raise AssertionError(f"{path} is none of {sorted(ledger.files)}")
            data = ledger.files[path]
            if how == "missing":
                del ledger.files[path]
            elif how == "cut":
                ledger.files[path] = data[: len(data) // 2]
            elif how == "flipped":
                at = len(data) // 3
                ledger.files[path] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if data else b"\1"
            else:
                ledger.files[path] = data + b"\0"
            yield f"{path}-{how}", ledger
    ledger = ledgers.sample(witnessed=True)
    ledger.files["checkpoint"] = ledger.files["checkpoint"].rpartition(b"\xe2\x80\x94 witness")[0]
    yield "without-a-witness", ledger
    ledger = ledgers.sample()
    hint = next(path for path in ledger.files if path.startswith("scopes/"))
    ledger.files[hint] = b"0\n"
    yield "wrong-hint", ledger
    ledger = ledgers.sample()
    ledger.files["checkpoint"] = b"nonsense\n"
    yield "malformed-checkpoint", ledger
    ledger = ledgers.sample()
    del ledger.files["checkpoints/2"]
    yield "archive-missing", ledger
    # Only the first third of the files is left.
    ledger = ledgers.long(300)
    ledger.files = {path: data for path, data in ledger.files.items() if "tile/entries" not in path}
    yield "no-bundles", ledger


@pytest.mark.parametrize("make", [unusual, broken_files])
def test_both_audits_say_the_same_of_other_ledgers(auditor: Auditor, make: Any) -> None:
    wrong = {}
    for name, ledger in make():
        found = differs(auditor(ledger)["report"], audit(ledger.fetch, ledger.policy))
        if found:
            wrong[name] = found
    assert wrong == {}


def test_two_workers_find_what_one_thread_finds(auditor: Auditor) -> None:
    for ledger in (ledgers.long(300), corrupter.corrupt("foreign-key", "operator").ledger):
        assert auditor(ledger, workers=2)["report"] == auditor(ledger)["report"]


def test_an_audit_goes_on_where_the_last_one_stopped(auditor: Auditor) -> None:
    # The same ledger, when it was shorter: its batches up to the first 256 entries and a few more.
    whole = ledgers.long(600)
    number = next(i for i, end in enumerate(whole.ends) if end > 256)
    before = ledgers.build(whole.batches[: number + 1])
    first = auditor(before, keep="grows")
    assert first["resumedAt"] == 0
    second = auditor(whole, keep="grows")
    assert second["resumedAt"] == 256
    plain = auditor(whole)
    assert second["report"] == plain["report"]
    assert second["rows"] == plain["rows"]
    assert differs(second["report"], audit(whole.fetch, whole.policy)) == []


def test_a_kept_state_hides_no_fork_and_no_rollback(auditor: Auditor) -> None:
    whole = ledgers.long(600)
    auditor(whole, keep="forks")
    one, *others = whole.batches
    shorter = ledgers.build([one, *others[:2]])
    theirs = audit(shorter.fetch, shorter.policy, remembered=(whole.checkpoint,))
    assert differs(auditor(shorter, (whole.checkpoint,), keep="forks")["report"], theirs) == []
    auditor(whole, keep="forks")
    other = ledgers.build([one, *others[1:], others[0]])
    theirs = audit(other.fetch, other.policy, remembered=(whole.checkpoint,))
    assert "forked-ledger" in {fault.code for fault in theirs.faults}
    assert differs(auditor(other, (whole.checkpoint,), keep="forks")["report"], theirs) == []


def test_from_the_beginning_everything_is_read_again(auditor: Auditor) -> None:
    whole = ledgers.long(600)
    assert auditor(whole, keep="anew")["report"]["ok"]
    path = "tile/entries/000"
    changed = ledgers.long(600)
    changed.files[path] = changed.files[path][:-1] + bytes([changed.files[path][-1] ^ 1])
    # What was recounted before is not read again, unless it is asked for.
    later = auditor(changed, keep="anew")
    assert (later["resumedAt"], later["report"]["ok"]) == (512, True)
    again = auditor(changed, keep="anew", anew=True)
    assert (again["resumedAt"], again["report"]["ok"]) == (0, False)


@pytest.mark.parametrize("size", [20, 600])
def test_a_fork_does_not_take_the_place_of_what_it_contradicts(auditor: Auditor, size: int) -> None:
    whole = ledgers.long(size)
    one, *others = whole.batches
    growing = ledgers.build([one, *others[:-1]])
    fork = ledgers.build([one, *others[1:], others[0]])
    name = f"kept-{size}"

    def codes(ledger: Ledger) -> set[str]:
        found = auditor(ledger, keep=name, recall=True)["report"]
        return {fault["code"] for fault in found["faults"]}

    assert codes(growing) == codes(whole) == set()
    for _ in range(3):  # and not only the first time
        assert "forked-ledger" in codes(fork)
        assert "rolled-back-ledger" in codes(growing)
    assert codes(whole) == set()


def test_the_rows_of_batches_lead_to_the_count(auditor: Auditor) -> None:
    found = auditor(ledgers.sample())
    live: dict[str, int] = {}
    pledges: dict[str, int] = {}
    for row in found["rows"]:
        live |= row["live"]
        for scope, number in row["pledges"].items():
            pledges[scope] = pledges.get(scope, 0) + number
    scopes = found["report"]["scopes"]
    assert live == {scope: count["count"] for scope, count in scopes.items()}
    assert pledges == {scope: count["gross"] for scope, count in scopes.items()}
    assert [row["day"] for row in found["rows"]] == [batch.day for batch in ledgers.sample().batches]


def test_a_sample_tells_what_it_saw_and_what_it_is_worth(auditor: Auditor) -> None:
    whole = ledgers.long(600)
    scope = ledgers.campaign().scope_id.hex()
    found = auditor(whole, sample=3)
    assert (found["bundles"], found["bundlesInAll"], found["largestHiddenShare"]) == (3, 3, 0)
    assert (found["pledges"], found["invalid"]) == (3, 0)
    assert found["scopes"] == {scope: 3}
    # One bundle of three: two thirds could be wrong and not show, and more.
    assert auditor(whole, sample=1)["largestHiddenShare"] == pytest.approx(0.99)


def test_a_sample_knows_the_rows_of_options_from_those_of_scopes(auditor: Auditor) -> None:
    scope = quota_ledgers.campaign().scope_id.hex()
    found = auditor(ledgers.build(quota_ledgers.story()), sample=1)
    assert found["scopes"] == {scope: 4}
    surplus = quota_ledgers.edited(quota_ledgers.with_row(4, 1, 1), number=len(quota_ledgers.story()) - 1)
    assert auditor(surplus, sample=1) == {"error": "not-found"}


def test_a_sample_shows_what_is_wrong_in_what_it_reads(auditor: Auditor) -> None:
    one = ledgers.campaign()
    pledges = [manifests.pledge(one, 0), ledgers.forged_pledge(one, 3)]
    notices = [manifests.manifest_notice(one), *manifests.text_notices(one), *manifests.openings(one)]
    ledger = ledgers.build((Batch(OPENS - 1, raw(*notices)), Batch(OPENS, raw(*pledges))))
    found = auditor(ledger, sample=1)
    assert (found["pledges"], found["invalid"]) == (2, 1)
    for index in (0, 1, 2):
        changed = ledgers.long(600)
        path = f"tile/entries/{index:03d}" + (".p/88" if index == 2 else "")
        data = changed.files[path]
        changed.files[path] = data[:-1] + bytes([data[-1] ^ 1])
        assert auditor(changed, sample=3) == {"error": "bad-proof"}


def spoilt(seed: int) -> Ledger:
    """A sample with one or two published files changed at random."""
    draw = random.Random(seed)
    make = draw.choice((ledgers.small, ledgers.sample, lambda: ledgers.long(300)))
    ledger = make()
    for _ in range(draw.choice((1, 1, 2))):
        path = draw.choice(sorted(ledger.files))
        data = bytearray(ledger.files[path])
        kind = draw.choice(("flip", "flip", "cut", "double", "drop", "swap", "move"))
        if kind == "flip" and data:
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif kind == "cut":
            del data[draw.randrange(len(data) + 1) :]
        elif kind == "double":
            data += data[draw.randrange(len(data) + 1) :]
        elif kind == "move" and len(data) > 64:
            start = draw.randrange(len(data) // 32) * 32
            data = data[:start] + data[start + 32 :] + data[start : start + 32]
        if kind == "drop":
            del ledger.files[path]
        elif kind == "swap":
            other = draw.choice(sorted(ledger.files))
            ledger.files[path], ledger.files[other] = ledger.files[other], bytes(data)
        else:
            ledger.files[path] = bytes(data)
    return ledger


def disagreements(auditor: Auditor, seeds: range) -> dict[int, list[str]]:
    wrong = {}
    for seed in seeds:
        ledger = spoilt(seed)
        found = differs(auditor(ledger)["report"], audit(ledger.fetch, ledger.policy))
        if found:
            wrong[seed] = found
    return wrong


def test_both_audits_say_the_same_of_spoilt_files(auditor: Auditor) -> None:
    assert disagreements(auditor, range(25)) == {}


@pytest.mark.long
def test_both_audits_say_the_same_of_many_spoilt_files(auditor: Auditor) -> None:
    assert disagreements(auditor, range(25, 1000)) == {}
