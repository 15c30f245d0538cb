from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import corrupter
import keys
import ledgers
import manifests
from headcount import cli
from headcount.cosigner import Cosigner
from headcount.finding import Event
from headcount.monitor import Holding, Looked, Monitor
from headcount.monitor_evidence import EvidenceFolder
from headcount.monitor_state import StateFile
from headcount.pledge_file import PledgeFile, Step
from headcount_ledger.reader.fetch import directory_fetch
from headcount_spec.accusation import Accusation, verify_accusation
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import verify_cosignature
from headcount_spec.merkle import RootHash, leaf_hash, verify_consistency
from headcount_spec.note import SigningKey, find_signatures
from headcount_spec.policy import Policy
from headcount_spec.promise import KIND_PLEDGE, sign_promise
from headcount_spec.seal import Seal
from headcount_spec.tlog_proof import TlogProof, verify_tlog_proof
from headcount_spec.tlog_witness import monitoring_path
from headcount_spec.webhook import Head, check, parse_checker
from ledgers import CLOSES, OPENS, Batch, Ledger
from receivers import SECRET, Receiver, receiving

DAY_S = 86400
NOON = DAY_S // 2
END = (CLOSES + 1) * DAY_S + NOON  # on the day of the sample's last seal
KEY = SigningKey("monitor.example/w", keys.seed("monitor"))


class Watched:
    """A folder that a ledger is published to, and one in which a monitor remembers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.public = folder / "public"
        self.state = folder / "state"
        self.state.mkdir()
        self.policy = folder / "policy"

    def publish(self, ledger: Ledger) -> None:
        for path in sorted(self.public.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        ledger.write(self.public)
        self.policy.write_bytes(ledger.policy.to_bytes())

    def monitor(self, policy: Policy | None = None, **changes: object) -> Monitor:
        return Monitor(
            target=str(self.public),
            fetch=directory_fetch(self.public),
            policy=policy or Policy.from_bytes(self.policy.read_bytes()),
            state_file=StateFile(self.state, str(self.public)),
            evidence=EvidenceFolder(self.state / "evidence"),
            silent_after_h=48,
            **changes,  # type: ignore[arg-type]
        )

    def kept(self, pattern: str) -> list[Path]:
        return sorted((self.state / "evidence").glob(pattern))

    def run(self, *arguments: str | Path, target: Path | None = None) -> int:
        options = ["--policy", self.policy, "--state", self.state, "--once", "--silent-after", "1e9"]
        return cli.run(["monitor", str(target or self.public), *map(str, (*options, *arguments))])


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def until(number: int, *, witnessed: bool = False) -> Ledger:
    """The sample after so many batches."""
    witnesses = (ledgers.WITNESS,) if witnessed else ()
    return ledgers.build(ledgers.sample_batches()[:number], witnesses=witnesses)


def codes(events: tuple[Event, ...]) -> list[tuple[str, str]]:
    return sorted((event.status, event.finding.code) for event in events)


def test_a_growing_ledger_is_followed_without_an_event(watched: Watched) -> None:
    for number in range(1, 8):
        ledger = until(number)
        watched.publish(ledger)
        looked = watched.monitor().look(ledger.batches[-1].day * DAY_S + NOON)
        assert looked.events == ()
        assert looked.size == len(ledger.leaves)


def test_an_unchanged_ledger_is_not_recounted(watched: Watched) -> None:
    watched.publish(until(3))
    at = (OPENS + 1) * DAY_S
    watched.monitor().look(at)
    read = []
    inner = directory_fetch(watched.public)

    def fetch(path: str) -> bytes:
        read.append(path)
        return inner(path)

    dataclasses.replace(watched.monitor(), fetch=fetch).look(at)
    assert read == ["checkpoint"]


# A deletion by an operator who rebuilds everything is found only from what was seen before: the next test.
ATTACKS = [
    (attack, style)
    for attack in corrupter.ATTACKS
    for style in ("host", "operator", "operator-seals")
    if (attack, style) != ("deleted-entry", "operator-seals")
]


def test_only_new_entries_are_recounted_and_now_and_then_all(watched: Watched) -> None:
    def look(ledger: Ledger, at: int) -> tuple[Looked, set[str]]:
        watched.publish(ledger)
        read = set()
        inner = directory_fetch(watched.public)

        def fetch(path: str) -> bytes:
            read.add(path)
            return inner(path)

        looked = dataclasses.replace(watched.monitor(), fetch=fetch).look(at)
        return looked, {path for path in read if path.startswith("tile/entries/")}

    at = OPENS * DAY_S
    batches = ledgers.long(800).batches
    first, second, third = (ledgers.build(batches[:number]) for number in (8, 11, 12))
    assert len(first.leaves) > 256
    assert "tile/entries/000" in look(first, at)[1]
    looked, read = look(second, at)
    assert looked.size == len(second.leaves)
    assert looked.standing == ()
    assert read
    assert "tile/entries/000" not in read
    # Something was changed that had been read before.
    changed = third
    changed.files["tile/entries/000"] = changed.files["tile/entries/000"][:-1] + b"x"
    assert look(changed, at)[0].standing == ()
    later, read = look(changed, at + 8 * DAY_S)
    assert "tile/entries/000" in read
    assert "changed-entry" in {finding.code for finding in later.standing}
    # It does not pass because the state of the audit before knows nothing of it.
    assert "changed-entry" in {finding.code for finding in look(changed, at + 8 * DAY_S)[0].standing}


@pytest.mark.parametrize(("attack", "style"), ATTACKS)
def test_each_attack_is_told_once_with_evidence(watched: Watched, attack: str, style: str) -> None:
    case = corrupter.corrupt(attack, style)
    if case.remembered:
        watched.publish(ledgers.sample())
        assert watched.monitor().look(END).events == ()
    watched.publish(case.ledger)
    first = watched.monitor().look(END)
    assert ("new", attack) in codes(first.events)
    assert all(event.evidence for event in first.events)
    assert all(
        (watched.state / "evidence" / name).exists() for event in first.events for name in event.evidence
    )
    assert watched.kept("report-*.json")
    again = watched.monitor().look(END + 60)
    assert again.events == ()
    assert attack in {finding.code for finding in again.standing}
    watched.publish(ledgers.sample())
    assert ("resolved", attack) in codes(watched.monitor().look(END + 120).events)


def test_a_rewritten_ledger_is_a_fork_from_what_was_seen(watched: Watched) -> None:
    watched.publish(ledgers.sample())
    watched.monitor().look(END)
    watched.publish(corrupter.corrupt("deleted-entry", "operator-seals").ledger)
    looked = watched.monitor().look(END)
    assert codes(looked.events) == [("new", "rolled-back-ledger")]
    (path,) = watched.kept("headcount-evidence-*.json")
    both = [item["text"].encode() for item in json.loads(path.read_text())["evidence"]]
    # Who has the ledger's key needs nobody's word.
    policy = ledgers.sample().policy
    sizes = [policy.verify_checkpoint(raw).signed.checkpoint.size for raw in both]
    assert sizes == [44, 43]


def test_a_fork_that_has_grown_is_proven_to_who_has_only_the_file(watched: Watched) -> None:
    watched.publish(until(3))
    watched.monitor().look((OPENS + 1) * DAY_S)
    batches = list(ledgers.sample_batches())
    batches[1] = Batch(batches[1].day, batches[1].entries[:-1])
    fork = ledgers.build(batches)
    watched.publish(fork)
    assert ("new", "forked-ledger") in codes(watched.monitor().look(END).events)
    (path,) = watched.kept("headcount-evidence-*.json")
    evidence = json.loads(path.read_text())
    raw = [item["text"].encode() for item in evidence["evidence"]]
    old, new = (fork.policy.verify_checkpoint(item).signed.checkpoint for item in raw)
    (proof,) = evidence["proofs"]
    here = RootHash(bytes.fromhex(proof["root"]))
    hashes = [bytes.fromhex(item) for item in proof["consistency"]]
    verify_consistency(hashes, old.size, new.size, here, new.root)
    assert here != old.root


def test_an_entry_that_must_not_be_there_is_shown_to_others(watched: Watched) -> None:
    case = corrupter.corrupt("foreign-key", "operator")
    watched.publish(case.ledger)
    watched.monitor().look(END)
    shown = [TlogProof.from_bytes(path.read_bytes()) for path in watched.kept("entry-*.tlog-proof")]
    assert shown
    for proof in shown:
        assert proof.extra is not None
        verify_tlog_proof(proof, leaf_hash(proof.extra), case.ledger.policy)


def test_silence_is_told_and_ends(watched: Watched) -> None:
    watched.publish(until(3, witnessed=True))
    seen = (OPENS + 1) * DAY_S + 3600  # the witness's time
    assert watched.monitor().look(seen + 47 * 3600).events == ()
    assert codes(watched.monitor().look(seen + 49 * 3600).events) == [("new", "silent-ledger")]
    assert watched.monitor().look(seen + 60 * 3600).events == ()
    watched.publish(until(5, witnessed=True))
    assert codes(watched.monitor().look(seen + 61 * 3600).events) == [("resolved", "silent-ledger")]


def test_without_witnesses_silence_runs_from_the_first_look(watched: Watched) -> None:
    watched.publish(until(3))
    at = END + 1000 * DAY_S
    assert codes(watched.monitor().look(at).events) == [("new", "missing-issuance")] * 3
    assert ("new", "silent-ledger") in codes(watched.monitor().look(at + 3 * DAY_S).events)


def test_a_missing_number_of_tokens_is_told_although_no_seal_comes(watched: Watched) -> None:
    watched.publish(until(2))
    assert watched.monitor().look((OPENS + 7) * DAY_S).events == ()
    found = watched.monitor().look((OPENS + 8) * DAY_S).events
    assert ("new", "missing-issuance") in codes(found)


def test_issuance_below_the_pledges(watched: Watched) -> None:
    given = [Batch(b.day, list(b.entries)) for b in ledgers.sample_batches()]
    scope = ledgers.campaign()
    low = manifests.issuance(scope, OPENS + 2, 0, manifests.openings(scope)[0])
    given[3].entries = ledgers.raw(low)
    watched.publish(ledgers.build(given[:4]))
    assert ("new", "issuance-below-pledges") in codes(watched.monitor().look((OPENS + 2) * DAY_S).events)


def test_a_ledger_that_cannot_be_read(watched: Watched) -> None:
    ledger = until(3)
    watched.publish(ledger)
    at = (OPENS + 1) * DAY_S
    monitor = watched.monitor(patience=2)
    monitor.look(at)
    (watched.public / "checkpoint").unlink()
    assert monitor.look(at).events == ()
    assert codes(monitor.look(at).events) == [("new", "unreachable-ledger")]
    watched.publish(ledger)
    assert codes(monitor.look(at).events) == [("resolved", "unreachable-ledger")]


def pledge_file(watched: Watched, seed: int) -> Path:
    """A pledge of the sample's campaign that the ledger has promised to publish."""
    scope = ledgers.campaign()
    pledge = manifests.pledge(scope, seed)
    promise = sign_promise(
        manifests.LEDGER_KEY,
        leaf_hash(pledge.to_bytes()),
        KIND_PLEDGE,
        pledge.nullifier,
        0,
        scope.deadline_day,
    )
    content = PledgeFile(
        ledger=str(watched.public),
        policy=ledgers.sample().policy.to_bytes(),
        manifest=scope,
        choice=0,
        seed=manifests.client_seed(seed),
        checkpoint=until(2).files["checkpoint"],
        steps=tuple(Step(authenticator=a) for a in pledge.authenticators),
        since=0,
        verifier="http://localhost:8000",
        promise=promise,
    )
    path = watched.folder / "me.pledge"
    path.write_bytes(content.to_bytes())
    return path


def test_a_broken_promise_becomes_an_accusation(watched: Watched) -> None:
    held = Holding.of_pledge("me", PledgeFile.from_bytes(pledge_file(watched, 700).read_bytes()))
    watched.publish(until(6))
    deadline = ledgers.campaign().deadline_day
    at = (OPENS + 4) * DAY_S
    assert watched.monitor(holdings=[held]).look(at).events == ()
    # The ledger is quiet while the day passes: a clock tells, and there is nothing to show yet.
    quiet = watched.monitor(holdings=[held]).look((deadline + 1) * DAY_S)
    assert ("new", "broken-promise") in codes(quiet.events)
    assert watched.kept("*.accusation") == []
    ended = [*ledgers.sample_batches(), Batch(deadline + 1, ledgers.raw(news()))]
    ledger = ledgers.build(ended)
    watched.publish(ledger)
    looked = watched.monitor(holdings=[held]).look((deadline + 1) * DAY_S + 60)
    assert ("new", "broken-promise") in codes(looked.events)
    (path,) = watched.kept("*.accusation")
    verify_accusation(Accusation.from_bytes(path.read_bytes()), ledger.policy)


def news() -> object:
    scope = ledgers.campaign()
    body = {"title": {"en": "News"}, "text": {"en": "Soon."}}
    return manifests.notice(scope, "organiser", "update", body, manifests.text_notices(scope)[-1])


def test_a_kept_promise_is_none(watched: Watched) -> None:
    held = Holding.of_pledge(
        "me", PledgeFile.from_bytes(pledge_file(watched, 11).read_bytes())
    )  # published in the last batch
    watched.publish(until(6))
    monitor = watched.monitor(holdings=[held])
    assert monitor.look((OPENS + 4) * DAY_S).events == ()
    watched.publish(ledgers.sample())
    assert monitor.look(END).events == ()
    later = (CLOSES + 30) * DAY_S
    assert {finding.code for finding in monitor.look(later).standing} <= {"silent-ledger", "missing-issuance"}


# As a witness


def test_it_cosigns_what_it_has_audited(watched: Watched) -> None:
    out = watched.folder / "out"
    for number in (3, 5, 7):
        ledger = until(number)
        watched.publish(ledger)
        at = ledger.batches[-1].day * DAY_S + NOON
        looked = watched.monitor(cosigner=Cosigner(KEY, out)).look(at)
        assert looked.cosigned
        note = parse_checkpoint((out / monitoring_path(manifests.ORIGIN)).read_bytes())
        assert note.checkpoint == ledger.checkpoint
        ((_, line),) = find_signatures(note.note, [KEY.cosigner_key])
        assert verify_cosignature(ledger.checkpoint, line, KEY.cosigner_key) == at
        assert find_signatures(note.note, [manifests.LEDGER_KEY.verification_key])
    assert watched.monitor(cosigner=Cosigner(KEY, out)).look(at + 60).cosigned == ""


@pytest.mark.parametrize("attack", ["changed-entry", "forked-ledger", "rolled-back-ledger"])
def test_it_never_cosigns_what_has_a_fault(watched: Watched, attack: str) -> None:
    out = watched.folder / "out"
    watched.publish(ledgers.sample())
    watched.monitor(cosigner=Cosigner(KEY, out)).look(END)
    before = (out / monitoring_path(manifests.ORIGIN)).read_bytes()
    watched.publish(corrupter.corrupt(attack, "operator").ledger)
    looked = watched.monitor(cosigner=Cosigner(KEY, out)).look(END)
    assert looked.standing
    assert looked.cosigned == ""
    assert (out / monitoring_path(manifests.ORIGIN)).read_bytes() == before


def test_what_was_cosigned_is_remembered_before_it_is_shown(watched: Watched) -> None:
    blocked = watched.folder / "blocked"
    blocked.write_text("a file where the folder must be")
    watched.publish(until(5))
    monitor = watched.monitor(cosigner=Cosigner(KEY, blocked))
    with pytest.raises(Exception, match="cannot write"):
        monitor.look((OPENS + 3) * DAY_S)
    assert monitor.state_file.load().cosigned == until(5).files["checkpoint"]
    blocked.unlink()
    # An earlier tree is not cosigned any more, the same one is.
    watched.publish(until(3))
    assert watched.monitor(cosigner=Cosigner(KEY, blocked)).look((OPENS + 3) * DAY_S).cosigned == ""
    watched.publish(until(5))
    assert watched.monitor(cosigner=Cosigner(KEY, blocked)).look((OPENS + 3) * DAY_S).cosigned


def at(watched: Watched, name: str, ledger: Ledger) -> Monitor:
    """A monitor of another host of the log, with the memory and the key of the first."""
    public = ledger.write(watched.folder / name)
    return dataclasses.replace(
        watched.monitor(cosigner=Cosigner(KEY, watched.folder / "out")),
        target=str(public),
        fetch=directory_fetch(public),
        state_file=StateFile(watched.state, str(public)),
    )


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_two_hosts_that_show_two_histories_are_a_fork(watched: Watched, order: tuple[str, str]) -> None:
    watched.publish(until(1))
    fork = corrupter.corrupt("forked-ledger", "operator-seals").ledger
    hosts = {"one": ledgers.build(ledgers.sample_batches()[:6]), "two": fork}
    first, second = (at(watched, name, hosts[name]).look(END) for name in order)
    assert "forked-ledger" not in {finding.code for finding in first.standing}
    assert first.cosigned
    path = watched.folder / "out" / monitoring_path(manifests.ORIGIN)
    shown = path.read_bytes()
    if order[0] == "one":
        assert "forked-ledger" in {finding.code for finding in second.standing}
        (evidence,) = watched.kept("headcount-evidence-*.json")
        assert "two histories" in json.loads(evidence.read_text())["says"]
    # A key that has signed one history signs no other, longer or not.
    assert second.cosigned == ""
    assert path.read_bytes() == shown


def test_a_host_that_lags_is_no_fault_and_its_tree_is_not_cosigned_again(watched: Watched) -> None:
    watched.publish(until(1))
    early = at(watched, "lags", until(3))
    assert early.look(END).cosigned
    ahead = at(watched, "ahead", until(5)).look(END)
    assert "rolled-back-ledger" not in {finding.code for finding in ahead.standing}
    assert ahead.cosigned
    later = early.look(END + 60)
    assert later.events == ()
    assert later.cosigned == ""
    shown = (watched.folder / "out" / monitoring_path(manifests.ORIGIN)).read_bytes()
    assert parse_checkpoint(shown).checkpoint == until(5).checkpoint


# The webhook


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


# The command


def test_the_command_says_each_event_and_exits(
    watched: Watched, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = watched.folder / "secret"
    secret.write_text(SECRET + "\n")
    hook = ("--webhook", receiver.url, "--webhook-secret", secret)
    watched.publish(ledgers.sample())
    code = watched.run(*hook)
    assert code == 1  # years later, as this test runs, issuers have published nothing for days
    out = capsys.readouterr().out
    assert "missing-issuance" in out
    told = [json.loads(body) for body in receiver.bodies]
    assert {(item["type"], *item) for item in told} == {("finding.new", "data", "timestamp", "type")}
    posted = [item["data"] for item in told]
    assert {item["code"] for item in posted} == {"missing-issuance"}
    for headers, body, item in zip(receiver.headers, receiver.bodies, posted, strict=True):
        head = Head.from_headers(headers)
        check([parse_checker(SECRET)], head, body, head.timestamp)
        assert head.id == item["id"]
    watched.publish(corrupter.corrupt("changed-entry", "operator").ledger)
    assert watched.run(*hook) == 1
    out = capsys.readouterr().out
    assert "new: " in out
    assert "changed-entry (batch 2, entry " in out
    assert len(receiver.bodies) > len(posted)


def test_many_ledgers_have_a_policy_each(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    young = ledgers.build(ledgers.sample_batches()[:1], witnesses=(ledgers.WITNESS,))
    watched.publish(until(1))
    other = young.write(watched.folder / "other")
    (watched.folder / "other-policy").write_bytes(young.policy.to_bytes())
    arguments = ["monitor", str(watched.public), str(other), "--state", str(watched.state), "--once"]
    arguments += ["--silent-after", "1e9", "--policy", str(watched.policy)]
    assert cli.run([*arguments, "--policy", str(watched.folder / "other-policy")]) == 0
    assert capsys.readouterr().out.count("nothing is wrong") == 2
    # One policy for both: the second asks for no witness, and the first has none.
    assert cli.run(arguments) == 0
    assert cli.run([*arguments, "--policy", "x", "--policy", "y"]) == 2


def test_two_monitors_cannot_share_a_state(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.publish(until(1))
    with (watched.state / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert watched.run() == 2
    assert "another monitor" in capsys.readouterr().err
    assert watched.run() == 0


def test_a_damaged_state_is_not_taken_for_none(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    watched.publish(until(1))
    assert watched.run() == 0
    (path,) = watched.state.glob("ledger-*.json")
    path.write_bytes(path.read_bytes()[:-5])
    assert watched.run() == 2
    assert "is not the state of this ledger" in capsys.readouterr().err


def test_an_address_that_is_none_is_refused_before_anything_is_told(watched: Watched) -> None:
    watched.publish(until(1))
    secret = watched.folder / "secret"
    secret.write_text(SECRET + "\n")
    assert watched.run("--webhook", "ftp://example", "--webhook-secret", secret) != 0
    assert not list(watched.state.glob("ledger-*"))


@pytest.mark.parametrize("where", ["seal", "checkpoint"])
def test_absurd_numbers_do_not_end_the_watch(watched: Watched, where: str) -> None:
    def lie(seal: Seal) -> Seal:
        return dataclasses.replace(seal, batch=2**64 - 1, prev_seal=bytes(32)) if seal.batch == 4 else seal

    ledger = ledgers.sample()
    if where == "seal":
        ledger = ledgers.build(ledgers.sample_batches(), edit_seal=lie)
    else:
        huge = Checkpoint(ledger.key.name, 2**62, RootHash(bytes(32)))
        ledger.files["checkpoint"] = sign_checkpoint(huge, ledger.key)
    watched.publish(ledger)
    assert watched.monitor().look(END).standing
    assert watched.monitor().look(END + 60).events == ()


@pytest.mark.parametrize("wrong", ["--webhook=http://x", "--key=k", "--cosignatures=c"])
def test_options_that_belong_together(watched: Watched, wrong: str) -> None:
    watched.publish(until(1))
    assert watched.run(wrong) == 2
