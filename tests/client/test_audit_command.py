from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import corrupter
import ledgers
import manifests
import quota_ledgers
import servers
from headcount import cli
from headcount.audit_verdict import count_words
from headcount.pledge_file import PledgeFile, Step
from headcount_ledger.audit import SENTENCES
from headcount_ledger.bucket import BucketStorage
from headcount_ledger.config import BucketConfig
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.merkle import leaf_hash
from headcount_spec.policy import Policy
from headcount_spec.promise import KIND_PLEDGE, sign_promise
from headcount_spec.tlog_proof import TlogProof
from ledgers import CLOSES, Ledger


class Audited:
    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.out = self.err = ""
        self.state = folder / "state"

    def publish(self, ledger: Ledger, name: str = "public") -> Path:
        (self.folder / "policy").write_bytes(ledger.policy.to_bytes())
        return ledger.write(self.folder / name)

    def run(self, target: Path | str, *arguments: str | Path) -> int:
        policy = str(self.folder / "policy")
        code = cli.run(["audit", str(target), "--policy", policy, *map(str, arguments)])
        self.out, self.err = self.capsys.readouterr()
        return code

    def report(self, target: Path | str, *arguments: str | Path) -> dict[str, Any]:
        self.run(target, "--json", *arguments)
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


@pytest.fixture
def audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Audited:
    return Audited(tmp_path, capsys)


def test_the_verdict_can_be_read(audited: Audited) -> None:
    assert audited.run(audited.publish(ledgers.sample())) == 0
    lines = audited.out.splitlines()
    assert "We move together: 11 confirmed e-mail addresses" in lines
    assert "  12 pledged, 1 withdrawn" in lines
    assert "  the threshold of 8 was reached at batch 3, 2026-01-12" in lines
    assert "  option 2: 3" in lines
    assert "whom the numbers still trust:" in lines
    assert any("is the sole issuer and is trusted for the count" in line for line in lines)
    assert lines[-1].startswith("consistent: ")
    assert audited.err == ""


def test_the_verdict_as_json(audited: Audited) -> None:
    report = audited.report(audited.publish(ledgers.sample()))
    assert report["ok"] is True
    assert report["size"] == 44
    assert report["faults"] == []
    assert report["scopes"][ledgers.campaign().scope_id.hex()]["count"] == 11


@pytest.mark.parametrize("style", ["host", "operator", "operator-seals"])
@pytest.mark.parametrize("attack", corrupter.ATTACKS)
def test_each_attack_has_its_own_message(audited: Audited, attack: str, style: str) -> None:
    case = corrupter.corrupt(attack, style)
    good = ledgers.sample()
    arguments: list[str | Path] = []
    if case.remembered:
        assert audited.run(audited.publish(good, "before"), "--resume", audited.state) == 0
        arguments += ["--resume", audited.state]
    for _, proof in case.receipts:
        path = audited.folder / "mine.tlog-proof"
        entry = good.leaves[proof.index]
        path.write_bytes(TlogProof(proof.index, proof.hashes, proof.checkpoint, entry).to_bytes())
        arguments += ["--receipt", path]
    target = audited.publish(case.ledger)
    assert audited.run(target, *arguments) == 1
    faults = [line for line in audited.out.splitlines() if line.startswith(f"fault: {attack}")]
    assert faults
    assert SENTENCES[attack] in faults[0]
    assert audited.out.splitlines()[-1].startswith("NOT PROVEN")
    report = audited.report(target, *arguments)
    assert report["ok"] is False
    assert attack in {fault["code"] for fault in report["faults"]}


def test_the_state_is_private_and_grows(audited: Audited) -> None:
    whole = ledgers.sample()
    early = audited.publish(ledgers.build(whole.batches[:3]), "early")
    late = audited.publish(whole, "late")
    for target in (early, early, late, late):
        assert audited.run(target, "--resume", audited.state) == 0
    assert audited.state.stat().st_mode & 0o777 == 0o600
    assert "Nothing was remembered" not in audited.out
    assert audited.run(early, "--resume", audited.state) == 1
    assert "fault: rolled-back-ledger" in audited.out


def test_a_fork_leaves_evidence_and_the_state_as_it_was(audited: Audited) -> None:
    good = audited.publish(ledgers.sample(), "good")
    assert audited.run(good, "--resume", audited.state) == 0
    before = audited.state.read_bytes()
    fork = corrupter.corrupt("forked-ledger", "operator").ledger
    assert audited.run(audited.publish(fork, "fork"), "--resume", audited.state) == 1
    assert audited.state.read_bytes() == before
    assert "headcount: hint: the evidence is in headcount-evidence-" in audited.err
    (path,) = audited.folder.glob("headcount-evidence-*.json")
    said = [parse_checkpoint(item["text"].encode()) for item in json.loads(path.read_text())["evidence"]]
    assert [signed.checkpoint.root for signed in said] == [
        ledgers.sample().checkpoint.root,
        fork.checkpoint.root,
    ]


def test_a_bad_audit_is_not_remembered(audited: Audited) -> None:
    case = corrupter.corrupt("edited-count", "host")
    assert audited.run(audited.publish(case.ledger), "--resume", audited.state) == 1
    assert not audited.state.exists()


def test_a_state_of_another_ledger_says_nothing(audited: Audited) -> None:
    good = audited.publish(ledgers.sample())
    assert audited.run(good, "--resume", audited.state) == 0
    small = ledgers.long(18)
    target = audited.publish(small, "small")
    other = audited.folder / "other-state"
    assert audited.run(target, "--resume", other) == 0


def test_a_state_that_is_none(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    for junk in (b"", b"{}", b"\xff", b"headcount/audit-state/1\n" + bytes(64)):
        audited.state.write_bytes(junk)
        assert audited.run(target, "--resume", audited.state) == 2
        assert audited.err.startswith("headcount: error: state")


def pledge_file(promised: bool, ledger: Ledger, number: int, deadline: int = CLOSES + 4) -> PledgeFile:
    manifest = ledgers.campaign()
    pledge = manifests.pledge(manifest, number)
    leaf = leaf_hash(pledge.to_bytes())
    promise = sign_promise(ledger.key, leaf, KIND_PLEDGE, pledge.nullifier, 0, deadline)
    return PledgeFile(
        ledger="http://localhost:8000/ledger",
        policy=ledger.policy.to_bytes(),
        manifest=manifest,
        choice=0,
        seed=manifests.client_seed(number),
        checkpoint=ledger.files["checkpoint"],
        steps=(Step(authenticator=pledge.authenticators[0]),),
        promise=promise if promised else None,
    )


@pytest.mark.parametrize("promised", [True, False])
def test_a_pledge_file_as_receipt(audited: Audited, promised: bool) -> None:
    whole = ledgers.sample()
    target = audited.publish(whole)
    path = audited.folder / "mine.pledge"
    path.write_bytes(pledge_file(promised, whole, 0).to_bytes())
    assert audited.run(target, "--receipt", path) == 0
    assert "mine.pledge: included as entry " in audited.out
    path.write_bytes(pledge_file(promised, whole, 77).to_bytes())
    assert audited.run(target, "--receipt", path) == 0
    waiting = "not published yet, promised by 2026-03-05" if promised else "missing"
    assert f"mine.pledge: {waiting}" in audited.out
    path.write_bytes(pledge_file(promised, whole, 77, CLOSES).to_bytes())
    assert audited.run(target, "--receipt", path) == (1 if promised else 0)


def test_a_pledge_file_accuses_a_rewritten_ledger(audited: Audited) -> None:
    path = audited.folder / "mine.pledge"
    path.write_bytes(pledge_file(True, ledgers.sample(), 0).to_bytes())
    fork = corrupter.corrupt("forked-ledger", "operator").ledger
    assert audited.run(audited.publish(fork), "--receipt", path) == 1
    assert "fault: forked-ledger" in audited.out


def test_a_receipt_that_is_none(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    path = audited.folder / "mine.tlog-proof"
    for junk in (b"", b"{}", b"c2sp.org/tlog-proof@v1\n"):
        path.write_bytes(junk)
        assert audited.run(target, "--receipt", path) == 2
    proof = ledgers.sample().receipt(16)
    path.write_bytes(TlogProof(16, proof.hashes, proof.checkpoint, b"\x01\x01another").to_bytes())
    assert audited.run(target, "--receipt", path) == 1
    assert "mine.tlog-proof proves nothing here" in audited.err


def test_wrong_usage(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    assert audited.run(audited.folder / "nowhere") == 2
    assert audited.run(target, "--receipt", audited.folder / "nothing") == 2
    (audited.folder / "policy").write_bytes(b"nonsense\n")
    assert audited.run(target) == 2
    assert "headcount: error: policy" in audited.err


def test_a_large_checkpoint_is_a_fault(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    (target / "checkpoint").write_bytes(b"x" * 10_000_000)
    report = audited.report(target)
    assert [fault["code"] for fault in report["faults"]] == ["unreadable-file"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/public"
        server.shutdown()
        thread.join()


def test_a_ledger_on_the_web(audited: Audited, served: str) -> None:
    audited.publish(ledgers.sample(witnessed=True))
    assert audited.run(served) == 0
    assert audited.run(f"{served}/") == 0
    (audited.folder / "public" / "totals" / "4").unlink()
    assert audited.run(served) == 1
    assert audited.run(f"{served}/elsewhere") == 1
    assert "checkpoint is missing" in audited.out


def test_the_count_with_its_level() -> None:
    assert count_words(1, "email") == "1 confirmed e-mail address"
    assert count_words(50, "email") == "50 confirmed e-mail addresses"
    assert count_words(2, "email+device") == "2 confirmed e-mail addresses, each with a device with a passkey"
    assert count_words(0, "in-person") == "0 codes handed out in person"
    two_of_three = "3 pledges, each with 2 of: confirmed e-mail address, account at an identity provider, "
    assert count_words(3, "2-of:email,oidc,device") == two_of_three + "device with a passkey"
    assert count_words(3, "vouching") == "3 pledges at level vouching"


def test_since_an_earlier_checkpoint(audited: Audited) -> None:
    whole = ledgers.sample()
    target = audited.publish(whole)
    since = audited.folder / "earlier"
    since.write_bytes(whole.files["checkpoints/2"])
    assert audited.run(target, "--since", since) == 0
    lines = audited.out.splitlines()
    said = f"  - The authenticators of the pledges among the first {whole.ends[2]} entries were not verified."
    assert said in lines
    assert lines[-1].startswith("consistent as far as it was checked")
    fork = corrupter.corrupt("forked-ledger", "operator").ledger
    since.write_bytes(whole.files["checkpoints/6"])
    assert audited.run(audited.publish(fork, "fork"), "--since", since) == 1
    assert "fault: forked-ledger" in audited.out
    since.write_bytes(b"nonsense")
    assert audited.run(target, "--since", since) == 2
    other = ledgers.build(whole.batches[:4], key=ledgers.WITNESS)
    since.write_bytes(other.files["checkpoint"])
    (audited.folder / "policy").write_bytes(Policy(logs=(*whole.policy.logs, *other.policy.logs)).to_bytes())
    assert audited.run(target, "--since", since) == 2
    assert "of another ledger" in audited.err


def test_one_scope(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    scope = ledgers.vote().scope_id.hex()
    assert audited.run(target, "--scope", scope) == 0
    assert "Where to: 4 confirmed e-mail addresses" in audited.out
    assert "We move together: 11" not in audited.out
    assert "what was not checked:" in audited.out
    assert list(audited.report(target, "--scope", scope)["scopes"]) == [scope]
    for more in ([], ["--quiet"]):
        assert audited.run(target, "--scope", "00" * 32, *more) == 1
        assert audited.out.splitlines()[-1] == f"NOT PROVEN: the ledger has no scope {'00' * 32}"
    assert audited.report(target, "--scope", "00" * 32)["ok"] is False
    assert audited.run(target, "--scope", "xyz") == 2


def test_a_sample(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    assert audited.run(target, "--sample", "44") == 0
    assert "44 of 44 entries drawn, 16 of them pledges" in audited.out
    assert "what was not checked:" in audited.out
    assert audited.report(target, "--sample", "5")["sampled"] is True
    (target / "totals" / "6").write_bytes(b"")
    assert audited.run(target, "--sample", "1") == 1
    assert "fault: edited-count" in audited.out
    (target / "checkpoint").unlink()
    assert audited.run(target, "--sample", "1") == 1


def test_quiet(audited: Audited) -> None:
    target = audited.publish(ledgers.sample())
    assert audited.run(target, "--quiet") == 0
    assert len(audited.out.splitlines()) == 1
    (target / "totals" / "6").write_bytes(b"")
    assert audited.run(target, "--quiet") == 1
    assert [line.split()[0] for line in audited.out.splitlines()] == ["fault:", "NOT"]


def test_processes_read_the_folder(audited: Audited) -> None:
    ledger = ledgers.long(513)
    target = audited.publish(ledger)
    reports = [audited.report(target, "--jobs", jobs) for jobs in ("1", "2")]
    assert reports[0] == reports[1]
    assert reports[0]["ok"]


@pytest.mark.parametrize(
    "options",
    [
        ("--sample", "1", "--resume", "state"),
        ("--resume", "state", "--scope", "00" * 32),
        ("--dask", "tcp://127.0.0.1:1", "--jobs", "2"),
        ("--jobs", "0"),
    ],
)
def test_options_that_do_not_go_together(audited: Audited, options: tuple[str, ...]) -> None:
    assert audited.run(audited.publish(ledgers.small()), *options) == 2


def test_a_bucket(audited: Audited) -> None:
    servers.require()
    whole = ledgers.sample()
    audited.publish(whole)
    config = BucketConfig(servers.BUCKET, servers.new_prefix(), endpoint=servers.s3(), credentials=None)
    credentials = audited.folder / "s3"
    credentials.write_text("[default]\naws_access_key_id = id\naws_secret_access_key = secret\n")
    storage = BucketStorage(dataclasses.replace(config, credentials=credentials))
    for path, data in whole.files.items():
        storage.put(path, data)
    target = f"{config.url}?endpoint={config.endpoint}"
    alone = audited.report(audited.folder / "public")
    assert audited.report(target) == alone
    storage.put("totals/3", b"")
    assert audited.run(target) == 1
    assert audited.run(f"{config.url}/nowhere?endpoint={config.endpoint}") == 1
    assert "checkpoint is missing" in audited.out
    for bad in (
        "s3://",
        "s3://b?endpoint=ftp://x",
        "s3://b?x=1",
        "s3://a:b@c",
        "s3://b?endpoint=http://x.example",
    ):
        assert audited.run(bad) == 2
        assert "headcount: error:" in audited.err


def test_the_verdict_says_how_quotas_stand(audited: Audited) -> None:
    whole = quota_ledgers.story()
    assert audited.run(audited.publish(ledgers.build(whole))) == 0
    lines = audited.out.splitlines()
    assert "  the threshold of 4 and the quotas were reached at batch 3, 2026-01-12" in lines
    assert "  at least 2 each at 2 of the 3 options: so far at 1" in lines
    assert any("to which option somebody belongs is only what they say" in line for line in lines)
    assert audited.run(audited.publish(ledgers.build(whole[:2]), "short")) == 0
    lines = audited.out.splitlines()
    assert "  the threshold of 4 alone is not enough: the quotas were not met" in lines
