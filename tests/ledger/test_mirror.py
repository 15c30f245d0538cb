from __future__ import annotations

import fcntl
import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

import keys
import ledgers
import manifests
from headcount import cli as headcount_cli
from headcount_ledger import cli, durable
from headcount_ledger.audit import audit
from headcount_ledger.mirror import LOCK, NEXT, mirror
from headcount_ledger.reader.fetch import directory_fetch, http_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    MisbehaviourError,
    NotFoundError,
    ProofError,
    ProtocolError,
    UnavailableError,
    UnknownKeyError,
    VerificationError,
)
from headcount_spec.note import SigningKey
from headcount_spec.policy import Log, Policy
from headcount_spec.tile import Fetch
from ledgers import Ledger

URL = "https://ledger.example/2026"
BOMB = gzip.compress(bytes(80_000_000))


def grown(n: int) -> Ledger:
    return ledgers.build(ledgers.copied()[:n], witnesses=(ledgers.WITNESS,))


def forked(n: int) -> Ledger:
    batches = ledgers.copied()[:n]
    batches[1].entries[0] = manifests.pledge(ledgers.campaign(), 77).to_bytes()
    return ledgers.build(batches, witnesses=(ledgers.WITNESS,))


def files(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file() and path.name != LOCK)
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def check_copy(directory: Path, ledger: Ledger) -> None:
    """The mirror is the ledger, less partial files that full ones have replaced."""
    copied = files(directory)
    assert {path: ledger.files[path] for path in copied} == copied
    for path in ledger.files.keys() - copied.keys():
        assert path.partition(".p/")[0] in copied
        assert ".p/" in path
    original = audit(ledger.fetch, ledger.policy).to_json()
    assert audit(directory_fetch(directory), ledger.policy).to_json() == original


@pytest.mark.parametrize("size", [255, 256, 257, 520])
def test_a_mirror_is_a_full_ledger(tmp_path: Path, size: int) -> None:
    ledger = ledgers.long(size)
    held = mirror(ledger.fetch, ledger.policy, tmp_path / "m")
    assert (held.checkpoint, held.added) == (ledger.checkpoint, size)
    check_copy(tmp_path / "m", ledger)


def test_a_mirror_follows_a_ledger_that_grows(tmp_path: Path) -> None:
    size = 0
    for n in range(1, 8):
        ledger = grown(n)
        held = mirror(ledger.fetch, ledger.policy, tmp_path)
        assert held.added == ledger.checkpoint.size - size
        size = ledger.checkpoint.size
        check_copy(tmp_path, ledger)
    assert mirror(ledger.fetch, ledger.policy, tmp_path).added == 0


def test_a_mirror_follows_over_the_ends_of_tiles(tmp_path: Path) -> None:
    whole = ledgers.long(600)
    for n in range(1, len(whole.batches) + 1):
        ledger = ledgers.build(whole.batches[:n])
        mirror(ledger.fetch, ledger.policy, tmp_path)
        if ledger.checkpoint.size > 190:
            check_copy(tmp_path, ledger)
    assert not (tmp_path / "tile/0/000.p").exists()
    assert (tmp_path / "tile/0/002.p/88").exists()


def test_a_ledger_without_entries_is_mirrored(tmp_path: Path) -> None:
    ledger = ledgers.build([])
    ledger.files["checkpoint"] = ledgers.sign(ledger, 0)
    assert mirror(ledger.fetch, ledger.policy, tmp_path).added == 0
    assert files(tmp_path) == {"checkpoint": ledger.files["checkpoint"]}


def test_of_a_mirror_a_mirror_can_be_made(tmp_path: Path) -> None:
    ledger = grown(7)
    mirror(ledger.fetch, ledger.policy, tmp_path / "a")
    mirror(directory_fetch(tmp_path / "a"), ledger.policy, tmp_path / "b")
    check_copy(tmp_path / "b", ledger)


def test_only_what_is_new_is_fetched(tmp_path: Path) -> None:
    whole = ledgers.long(600)
    ledger = ledgers.build(whole.batches[:-1])
    mirror(ledger.fetch, ledger.policy, tmp_path)
    asked: list[str] = []

    def fetch(path: str) -> bytes:
        asked.append(path)
        return whole.fetch(path)

    mirror(fetch, whole.policy, tmp_path)
    assert not {"tile/entries/000", "tile/entries/001", "tile/0/000", "tile/0/001", "totals/0"} & {*asked}
    assert len(asked) < 12


# Interrupted.


class Stop(BaseException):
    """The power goes out."""


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, bool], None]:
    """The n-th rename or removal does not happen, or happens and is the last thing."""
    rename, unlink = os.rename, os.unlink

    def arm(number: int, persisted: bool) -> None:
        left = [number]

        def around(call: Callable[..., None]) -> Callable[..., None]:
            def run(*arguments: object, **named: object) -> None:
                left[0] -= 1
                if left[0] == -1 and not persisted:
                    raise Stop
                call(*arguments, **named)
                if left[0] == -1:
                    raise Stop

            return run

        monkeypatch.setattr(os, "rename", around(rename))
        monkeypatch.setattr(os, "unlink", around(unlink))

    return arm


@pytest.mark.parametrize("persisted", [False, True], ids=["not-persisted", "persisted"])
def test_a_mirror_that_is_stopped_at_any_file_goes_on(
    tmp_path: Path, stop_at: Callable[[int, bool], None], persisted: bool
) -> None:
    whole = ledgers.long(300)
    old = ledgers.build(whole.batches[:3])
    mirror(old.fetch, old.policy, tmp_path / "old")
    shutil.copytree(tmp_path / "old", tmp_path / "undisturbed")
    mirror(whole.fetch, whole.policy, tmp_path / "undisturbed")
    check_copy(tmp_path / "undisturbed", whole)
    expected = files(tmp_path / "undisturbed")
    number = 0
    while True:
        directory = tmp_path / str(number)
        shutil.copytree(tmp_path / "old", directory)
        stop_at(number, persisted)
        try:
            mirror(whole.fetch, whole.policy, directory)
        except Stop:
            stop_at(-10, False)
            known = directory / "checkpoint"
            assert known.read_bytes() in (old.files["checkpoint"], whole.files["checkpoint"])
            at = old if known.read_bytes() == old.files["checkpoint"] else whole
            if number % 8 == 0 or at is whole:
                assert audit(directory_fetch(directory), at.policy).ok
            mirror(whole.fetch, whole.policy, directory)
            assert files(directory) == expected
            shutil.rmtree(directory)
            number += 1
        else:
            break
    assert number > 15


def test_a_first_run_is_taken_up_with_a_ledger_that_grew_meanwhile(tmp_path: Path) -> None:
    ledger, later = grown(5), grown(7)
    asked: list[str] = []

    def failing(path: str) -> bytes:
        if path == "totals/3":
            raise UnavailableError("no answer in time")
        return ledger.fetch(path)

    def counting(path: str) -> bytes:
        asked.append(path)
        return later.fetch(path)

    with pytest.raises(UnavailableError):
        mirror(failing, ledger.policy, tmp_path)
    assert not (tmp_path / "checkpoint").exists()
    mirror(counting, later.policy, tmp_path)
    check_copy(tmp_path, later)
    assert "totals/1" not in asked


def test_a_fork_is_seen_across_a_run_that_was_not_finished(tmp_path: Path) -> None:
    ledger, other = grown(5), forked(6)

    def failing(path: str) -> bytes:
        if path == "totals/3":
            raise UnavailableError("no answer in time")
        return ledger.fetch(path)

    with pytest.raises(UnavailableError):
        mirror(failing, ledger.policy, tmp_path)
    with pytest.raises(MisbehaviourError) as caught:
        mirror(other.fetch, other.policy, tmp_path)
    assert caught.value.evidence == (ledger.files["checkpoint"], other.files["checkpoint"])
    with pytest.raises(MisbehaviourError, match="went back"):
        mirror(grown(4).fetch, other.policy, tmp_path)


def test_two_mirrors_do_not_write_at_once(tmp_path: Path) -> None:
    ledger = grown(2)
    with (tmp_path / LOCK).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UnavailableError, match="another mirror"):
            mirror(ledger.fetch, ledger.policy, tmp_path)


# A ledger or a host that misbehaves.


@pytest.mark.parametrize(("before", "after"), [(5, 5), (3, 6)])
def test_another_history_is_refused_with_evidence(tmp_path: Path, before: int, after: int) -> None:
    old, new = grown(before), forked(after)
    mirror(old.fetch, old.policy, tmp_path)
    kept = files(tmp_path)
    with pytest.raises(MisbehaviourError) as caught:
        mirror(new.fetch, new.policy, tmp_path)
    assert caught.value.evidence == (old.files["checkpoint"], new.files["checkpoint"])
    assert files(tmp_path) == kept


def test_an_older_ledger_is_refused(tmp_path: Path) -> None:
    old, new = grown(3), grown(5)
    mirror(new.fetch, new.policy, tmp_path)
    kept = files(tmp_path)
    with pytest.raises(MisbehaviourError, match="went back"):
        mirror(old.fetch, old.policy, tmp_path)
    assert files(tmp_path) == kept


def changed(data: bytes) -> Iterator[bytes]:
    yield data + b"\0"
    if data:
        yield data[:-1]
        yield bytes([data[0] ^ 1]) + data[1:]
        yield data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("start", [0, 3])
def test_no_byte_that_is_not_genuine_is_written(tmp_path: Path, start: int) -> None:
    whole = ledgers.long(300)
    if start:
        old = ledgers.build(whole.batches[:start])
        mirror(old.fetch, old.policy, tmp_path / "old")
    else:
        (tmp_path / "old").mkdir()
    asked: list[str] = []
    mirror(lambda path: asked.append(path) or whole.fetch(path), whole.policy, tmp_path / "all")  # type: ignore[func-returns-value]
    before = files(tmp_path / "old")
    for path in sorted({*asked} & whole.files.keys()):
        for data in changed(whole.files[path]):
            shutil.copytree(tmp_path / "old", tmp_path / "m")

            def fetch(wanted: str, path: str = path, data: bytes = data) -> bytes:
                return data if wanted == path else whole.fetch(wanted)

            # Nothing that is read is trusted, not even for what is thrown away.
            if path == "checkpoint" or path not in before:
                with pytest.raises((VerificationError, MalformedError)):
                    mirror(fetch, whole.policy, tmp_path / "m")
            for name, content in files(tmp_path / "m").items():
                if name not in (NEXT, "checkpoint") and not name.startswith("scopes/"):
                    assert content == whole.files[name], (path, name)
            assert files(tmp_path / "m").get("checkpoint") == before.get("checkpoint")
            shutil.rmtree(tmp_path / "m")


def test_a_missing_file_stops_and_is_taken_up(tmp_path: Path) -> None:
    ledger = grown(7)
    for path in [p for p in ledger.files if not p.startswith("scopes/")]:
        data = ledger.files.pop(path)
        missing = path in ("checkpoint", *(f"totals/{n}" for n in range(7)))
        if missing:
            with pytest.raises(NotFoundError):
                mirror(ledger.fetch, ledger.policy, tmp_path)
        ledger.files[path] = data
    mirror(ledger.fetch, ledger.policy, tmp_path)
    check_copy(tmp_path, ledger)


def test_a_ledger_that_grows_under_the_reader_is_read_from_its_full_files(tmp_path: Path) -> None:
    whole = ledgers.long(600)
    old = ledgers.build(whole.batches[:7])  # its partial tiles are gone as soon as the full ones are there
    assert old.checkpoint.size > 256

    def fetch(path: str) -> bytes:
        if path == "checkpoint":
            return old.fetch(path)
        if ".p/" in path and path.partition(".p/")[0] in whole.files:
            raise NotFoundError("superseded")
        return whole.fetch(path)

    mirror(fetch, whole.policy, tmp_path)
    assert audit(directory_fetch(tmp_path), whole.policy).ok
    mirror(whole.fetch, whole.policy, tmp_path)
    check_copy(tmp_path, whole)


def test_a_newest_checkpoint_with_other_cosignatures_is_replaced_when_a_seal_has_its_hash(
    tmp_path: Path,
) -> None:
    ledger, later = grown(5), grown(6)
    lax = Policy(logs=ledger.policy.logs)
    stripped = ledger.files["checkpoint"].rsplit("—".encode(), 1)[0]
    mirror(lambda path: stripped if path == "checkpoint" else ledger.fetch(path), lax, tmp_path)
    assert (tmp_path / "checkpoints/4").read_bytes() == stripped
    mirror(later.fetch, later.policy, tmp_path)
    check_copy(tmp_path, later)


def test_a_checkpoint_of_the_same_tree_with_more_cosignatures_is_taken(tmp_path: Path) -> None:
    ledger = grown(5)
    lax = Policy(logs=ledger.policy.logs)
    stripped = ledger.files["checkpoint"].rsplit("—".encode(), 1)[0]
    mirror(lambda path: stripped if path == "checkpoint" else ledger.fetch(path), lax, tmp_path)
    mirror(ledger.fetch, ledger.policy, tmp_path)
    assert (tmp_path / "checkpoint").read_bytes() == ledger.files["checkpoint"]


def test_a_ledger_that_is_at_fault_is_not_mirrored(tmp_path: Path) -> None:
    batches = ledgers.copied()[:3]
    for number, edit in enumerate(
        (
            lambda seal: ledgers.dataclasses.replace(seal, batch=seal.batch * 2),
            lambda seal: ledgers.dataclasses.replace(seal, totals=bytes(32)),
            lambda seal: ledgers.dataclasses.replace(seal, prev_checkpoint=bytes(32)),
        )
    ):
        ledger = ledgers.build(batches, edit_seal=edit)
        with pytest.raises(ProofError):
            mirror(ledger.fetch, ledger.policy, tmp_path / str(number))
        assert not (tmp_path / str(number) / "checkpoint").exists()
    open_end = ledgers.build(batches)
    open_end.leaves.append(b"more")
    ledgers.publish_tiles(open_end.files, open_end.leaves, 0)
    open_end.files["checkpoint"] = ledgers.sign(open_end, manifests.OPENS)
    with pytest.raises(ProofError, match="end with a seal"):
        mirror(open_end.fetch, open_end.policy, tmp_path / "open")


# Over HTTP.


class Body(httpx.SyncByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    def __iter__(self) -> Iterator[bytes]:
        yield self.data


def response(status: int, data: bytes = b"", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, stream=Body(data))


class Host(httpx.BaseTransport):
    def __init__(self, ledger: Ledger, bend: Callable[[str, httpx.Response], httpx.Response]) -> None:
        self.ledger, self.bend = ledger, bend

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = str(request.url).removeprefix(URL + "/")
        data = self.ledger.files.get(path)
        return self.bend(path, response(404) if data is None else response(200, data))


def served(ledger: Ledger, bend: Callable[[str, httpx.Response], httpx.Response]) -> Fetch:
    return http_fetch(URL, HttpTransport(Host(ledger, bend)))


def stalls(path: str, answer: httpx.Response) -> httpx.Response:
    raise httpx.ReadTimeout("slow")


BENT: dict[str, Callable[[str, httpx.Response], httpx.Response]] = {
    "redirect": lambda path, answer: response(302, location="https://evil.example/"),
    "gzip-bomb": lambda path, answer: response(200, BOMB, content_encoding="gzip"),
    "endless": lambda path, answer: response(200, bytes(70_000_000)),
    "broken-gzip": lambda path, answer: response(200, gzip.compress(b"x" * 99)[:-4], content_encoding="gzip"),
    "stall": stalls,
    "error": lambda path, answer: response(500),
}


@pytest.mark.parametrize("bend", BENT)
@pytest.mark.parametrize("prefix", ["checkpoint", "tile/0/", "tile/entries/", "totals/", "checkpoints/"])
def test_a_hostile_host_gets_nothing_written_and_does_not_hinder_the_next_run(
    tmp_path: Path, bend: str, prefix: str
) -> None:
    ledger = grown(7)

    def bent(path: str, answer: httpx.Response) -> httpx.Response:
        return BENT[bend](path, answer) if path.startswith(prefix) else answer

    with pytest.raises(UnavailableError):
        mirror(served(ledger, bent), ledger.policy, tmp_path)
    assert not (tmp_path / "checkpoint").exists()
    mirror(served(ledger, lambda path, answer: answer), ledger.policy, tmp_path)
    check_copy(tmp_path, ledger)


# The mirror's own folder.


def test_a_damaged_file_of_the_mirror_is_never_overwritten(tmp_path: Path) -> None:
    whole = ledgers.long(300)
    old = ledgers.build(whole.batches[:5])

    def failing(path: str) -> bytes:
        if path.startswith("totals/"):
            raise UnavailableError("no answer in time")
        return whole.fetch(path)

    with pytest.raises(UnavailableError):
        mirror(failing, old.policy, tmp_path)
    for name in ("tile/entries/000", "tile/0/000", "tile/1/000.p/1", "tile/0/001.p/44"):
        right = (tmp_path / name).read_bytes()
        for wrong in (right[:-1], bytes([right[0] ^ 1]) + right[1:]):
            (tmp_path / name).write_bytes(wrong)
            with pytest.raises(CorruptionError, match="damaged"):
                mirror(whole.fetch, whole.policy, tmp_path)
            assert (tmp_path / name).read_bytes() == wrong
        (tmp_path / name).write_bytes(right)
    mirror(whole.fetch, whole.policy, tmp_path)
    check_copy(tmp_path, whole)


def test_damaged_hints_and_archives_are_named(tmp_path: Path) -> None:
    ledger, later = grown(3), grown(7)
    mirror(ledger.fetch, ledger.policy, tmp_path / "m")
    hint = f"scopes/{ledgers.campaign().scope_id.hex()}"
    for name in (hint, "checkpoints/2", "checkpoint"):
        shutil.copytree(tmp_path / "m", tmp_path / "damaged")
        (tmp_path / "damaged" / name).write_bytes(b"\xff")
        with pytest.raises(CorruptionError, match="damaged"):
            mirror(later.fetch, later.policy, tmp_path / "damaged")
        shutil.rmtree(tmp_path / "damaged")


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    ledger = grown(2)
    (tmp_path / "ledger.sqlite").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="is no mirror"):
        mirror(ledger.fetch, ledger.policy, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_a_mirror_stays_with_its_ledger(tmp_path: Path) -> None:
    key = SigningKey("other.example", keys.seed("other"))
    ledger, other = grown(2), ledgers.build(ledgers.copied()[:3], key=key)
    mirror(ledger.fetch, ledger.policy, tmp_path)
    both = Policy(logs=(*ledger.policy.logs, *other.policy.logs))
    with pytest.raises(ConfigurationError, match="another ledger"):
        mirror(other.fetch, both, tmp_path)
    with pytest.raises(ConfigurationError, match="does not list"):
        mirror(other.fetch, other.policy, tmp_path)
    changed_key = SigningKey(manifests.ORIGIN, keys.seed("other"))
    with pytest.raises(ConfigurationError, match="does not list"):
        mirror(ledger.fetch, Policy(logs=(Log(changed_key.verification_key),)), tmp_path)
    check_copy(tmp_path, ledger)


def test_a_checkpoint_that_the_policy_does_not_accept_begins_no_mirror(tmp_path: Path) -> None:
    unwitnessed = ledgers.build(ledgers.copied()[:2])
    with pytest.raises(UnknownKeyError):
        mirror(unwitnessed.fetch, grown(2).policy, tmp_path)
    assert files(tmp_path) == {}


def test_a_full_disk_is_told_and_recovered_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = grown(7)
    left = [5]

    def full(source: object, target: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        os.replace(source, target)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(durable.os, "rename", full)
        with pytest.raises(UnavailableError, match="No space"):
            mirror(ledger.fetch, ledger.policy, tmp_path)
    mirror(ledger.fetch, ledger.policy, tmp_path)
    check_copy(tmp_path, ledger)


# The command line.


def test_the_command_says_what_it_holds(tmp_path: Path) -> None:
    ledger = grown(7)
    ledger.write(tmp_path / "served")
    (tmp_path / "policy").write_bytes(ledger.policy.to_bytes())

    def run(*arguments: object) -> str:
        result = CliRunner().invoke(cli.ledger, ["mirror", *map(str, arguments)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    arguments = (tmp_path / "served", tmp_path / "m", "--policy", tmp_path / "policy")
    size = ledger.checkpoint.size
    assert run(*arguments) == f"mirrored: {manifests.ORIGIN}, {size} entries, {size} of them new\n"
    assert run(*arguments) == f"mirrored: {manifests.ORIGIN}, {size} entries, 0 of them new\n"
    check_copy(tmp_path / "m", ledger)
    result = CliRunner().invoke(cli.ledger, ["mirror", *map(str, arguments[:3]), str(tmp_path / "none")])
    assert isinstance(result.exception, ConfigurationError)


def test_a_follower_goes_on_until_the_ledger_misbehaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = grown(3).policy
    (tmp_path / "policy").write_bytes(policy.to_bytes())
    waited: list[int] = []

    def next_ledger(seconds: int) -> None:
        waited.append(seconds)
        shutil.rmtree(tmp_path / "served", ignore_errors=True)
        if len(waited) == 1:
            (tmp_path / "served").mkdir()
            (tmp_path / "served" / "checkpoint").write_bytes(bytes(70_000))  # nobody's: unavailable
        elif len(waited) == 2:
            grown(5).write(tmp_path / "served")
        else:
            grown(4).write(tmp_path / "served")

    monkeypatch.setattr(cli.time, "sleep", next_ledger)
    grown(3).write(tmp_path / "served")
    arguments = [tmp_path / "served", tmp_path / "m", "--policy", tmp_path / "policy", "--every", 7]
    result = CliRunner().invoke(cli.ledger, ["mirror", *map(str, arguments)])
    assert isinstance(result.exception, MisbehaviourError)
    assert waited == [7, 7, 7]
    assert "trying again in 7 seconds" in result.output
    check_copy(tmp_path / "m", grown(5))


def test_evidence_of_a_ledger_that_went_back_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy").write_bytes(grown(3).policy.to_bytes())
    grown(5).write(tmp_path / "new")
    grown(3).write(tmp_path / "old")
    assert headcount_cli.run(["ledger", "mirror", "new", "m", "--policy", "policy"]) == 0
    code = headcount_cli.run(["ledger", "mirror", "old", "m", "--policy", "policy"])
    assert code == MisbehaviourError.exit_code
    assert len(list(tmp_path.glob("headcount-evidence-*.json"))) == 1
    assert issubclass(MisbehaviourError, ProtocolError)
