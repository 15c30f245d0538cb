from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

import fakes
import witnessing
from headcount_ledger.witness import evidence
from headcount_ledger.witness.app import create_app
from headcount_ledger.witness.cli import witness as witness_command
from headcount_ledger.witness.evidence import Evidence
from headcount_ledger.witness.server import Cosigned, Stale, Witness, create, read_key
from headcount_ledger.witness.store import Seen, WitnessStore
from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import verify_cosignature
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    ProofError,
    ProtocolError,
    UnavailableError,
)
from headcount_spec.note import Note, NoteSignature, SigningKey, VerificationKey
from headcount_spec.policy import Log, Policy
from headcount_spec.policy import Witness as PolicyWitness
from headcount_spec.tlog_witness import (
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    monitoring_path,
    parse_cosignatures,
)
from ports import free_ports
from witnessing import LEAVES, LOG, OTHER, checkpoint, request

STRANGER = SigningKey("stranger.example", b"\7" * 32)
IMPOSTOR = SigningKey(LOG.name, b"\7" * 32)


@pytest.fixture
def clock() -> fakes.FakeClock:
    return fakes.FakeClock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def witness(folder: Path, clock: fakes.FakeClock) -> Iterator[Witness]:
    with witnessing.new_witness(folder, clock) as opened:
        yield opened


@pytest.fixture
def client(witness: Witness) -> FlaskClient:
    return create_app(witness).test_client()


def post(client: FlaskClient, body: bytes) -> tuple[int, str, bytes]:
    answer = client.post("/add-checkpoint", data=body)
    return answer.status_code, answer.mimetype, answer.data


def kept(folder: Path, kind: str) -> list[Path]:
    return sorted((folder / "evidence").glob(f"{kind}-*.json"))


def with_extension(raw: bytes, key: SigningKey = LOG) -> bytes:
    text = parse_checkpoint(raw).note.text + "extension\n"
    line = NoteSignature(key.name, key.verification_key.key_id, key.sign(text.encode()))
    return Note(text, (line,)).to_bytes()


def signed_by(raw: bytes, key: SigningKey) -> bytes:
    return sign_checkpoint(parse_checkpoint(raw).checkpoint, key)


def add(old: int, raw: bytes, *proof: bytes) -> bytes:
    return AddCheckpoint(old, proof, raw).to_bytes()


# Each request has the fault of its row and every later one that it can have.
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"old 0\n\n", 400),
        (b"old x\n\n" + checkpoint(8, key=STRANGER), 400),
        (add(3, with_extension(checkpoint(8, OTHER))), 400),
        (add(3, b"not a note"), 400),
        (add(9, checkpoint(8, key=STRANGER)), 400),
        (add(3, checkpoint(8, OTHER, STRANGER)), 404),
        (add(3, checkpoint(8, OTHER, IMPOSTOR)), 403),
        (add(3, checkpoint(8).replace(b"\n8\n", b"\n9\n")), 403),
        (add(3, checkpoint(8, OTHER)), 409),
        (add(0, checkpoint(8), bytes(32)), 409),
        (add(5, checkpoint(8)), 422),
        (add(5, checkpoint(8), bytes(32)), 422),
        (request(5, 8, OTHER), 422),
        (add(5, checkpoint(5), bytes(32)), 422),
        (request(5, 5, OTHER), 422),
        (request(5, 5), 200),
        (request(5, 8), 200),
    ],
)
def test_the_first_fault_in_the_order_of_the_specification_is_answered(
    client: FlaskClient, witness: Witness, body: bytes, status: int
) -> None:
    assert post(client, request(0, 5))[0] == 200
    code, mimetype, data = post(client, body)
    assert code == status
    if status == 200:
        assert mimetype == "text/plain"
    elif status == 409:
        assert (mimetype, data) == ("text/x.tlog.size", b"5\n")
    else:
        assert mimetype == "application/problem+json"
        assert json.loads(data)["status"] == status
    expected = b"8\n" if body == request(5, 8) else b"5\n"
    assert post(client, add(1, checkpoint(9)))[2] == expected  # a refusal changes nothing


def test_before_any_checkpoint_the_size_is_zero(client: FlaskClient) -> None:
    assert post(client, request(3, 5))[2] == b"0\n"
    assert post(client, add(0, checkpoint(5), bytes(32)))[0] == 422
    wrong_empty = sign_checkpoint(Checkpoint(LOG.name, 0, merkle.RootHash(bytes(32))), LOG)
    assert post(client, add(0, wrong_empty))[0] == 422
    assert post(client, request(0, 0))[0] == 200
    assert post(client, request(0, 5))[0] == 200


def test_a_cosignature_has_the_time_of_the_clock_and_verifies(
    client: FlaskClient, witness: Witness, clock: fakes.FakeClock
) -> None:
    for size, seconds in ((5, 1_800_000_000), (5, 1_800_000_100), (8, 1_800_000_200)):
        clock.seconds = seconds
        status, _, data = post(client, request(min(size, 5) if size == 8 or seconds % 1000 else 0, size))
        assert status == 200
        (line,) = parse_cosignatures(data)
        signed = parse_checkpoint(checkpoint(size)).checkpoint
        assert verify_cosignature(signed, line, witness.verification_key) == seconds


def test_what_is_signed_is_encoded_anew(client: FlaskClient, witness: Witness) -> None:
    note = parse_checkpoint(checkpoint(5)).note
    others = [NoteSignature("other.example", b"abcd", b"whatever"), NoteSignature(LOG.name, b"abcd", b"?")]
    body = add(0, note.with_signatures(others).to_bytes())
    assert post(client, body)[0] == 200
    shown = client.get("/" + monitoring_path(LOG.name)).data
    names = [(line.name, line.key_id) for line in parse_checkpoint(shown).note.signatures]
    ours = witness.verification_key
    assert names == [(LOG.name, LOG.verification_key.key_id), (ours.name, ours.key_id)]


def test_the_last_checkpoint_is_shown_with_both_signatures(client: FlaskClient, witness: Witness) -> None:
    path = "/" + monitoring_path(LOG.name)
    assert client.get(path).status_code == 404
    post(client, request(0, 5))
    post(client, request(5, 9))
    answer = client.get(path)
    assert answer.content_type == "text/plain; charset=utf-8"
    policy = Policy((Log(LOG.verification_key),), (PolicyWitness("w", witness.verification_key),), (), "w")
    assert policy.verify_checkpoint(answer.data).signed.checkpoint.size == 9
    for other in ("/", "/add-checkpoint/", "/00/checkpoint", path + "/", path.upper(), "/x" + path):
        assert client.get(other).status_code in (404, 405)


def test_other_methods_and_bodies_are_refused(client: FlaskClient) -> None:
    assert client.get("/add-checkpoint").status_code == 405
    assert client.put("/add-checkpoint", data=b"").status_code == 405
    assert client.post("/" + monitoring_path(LOG.name)).status_code == 405
    assert client.post("/add-checkpoint", data=b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413
    answer = client.post("/add-checkpoint", data=request(0, 5), content_type="application/json")
    assert answer.status_code == 200  # the specification names no type
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


@given(st.binary() | st.builds(add, st.integers(0, 9), st.binary()))
def test_whatever_comes_is_answered_with_an_error_of_the_protocol(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    with (
        Witness(
            LOG, Policy(), WitnessStore(tmp_path_factory.getbasetemp() / "none"), Evidence(Path("none"))
        ) as nobody,
        pytest.raises(ProtocolError),
    ):
        nobody.add_checkpoint(body)


# Evidence


def test_two_roots_of_one_size_are_kept_as_evidence(client: FlaskClient, folder: Path) -> None:
    post(client, request(0, 5))
    assert kept(folder, "*") == []
    assert post(client, request(5, 5, OTHER))[0] == 422
    (path,) = kept(folder, "fork")
    found = json.loads(path.read_text())
    first, second = (parse_checkpoint(item["text"].encode()) for item in found["evidence"])
    assert first.checkpoint.size == second.checkpoint.size == 5
    assert first.checkpoint.root != second.checkpoint.root
    for signed in (first, second):
        (line,) = [line for line in signed.note.signatures if line.name == LOG.name]
        LOG.verification_key.verify_ed25519(signed.note.text.encode(), line.signature)
    post(client, request(5, 5, OTHER))
    assert kept(folder, "*") == [path]


def test_a_fork_is_kept_even_when_the_request_is_stale(client: FlaskClient, folder: Path) -> None:
    post(client, request(0, 5))
    assert post(client, request(3, 5, OTHER))[0] == 409
    assert len(kept(folder, "fork")) == 1


def test_a_larger_tree_without_its_proof_is_kept_apart(client: FlaskClient, folder: Path) -> None:
    post(client, request(0, 5))
    post(client, request(5, 8, OTHER))
    (path,) = kept(folder, "unproven")
    assert len(json.loads(path.read_text())["proof"]) == len(merkle.consistency_path(OTHER[:8], 5))
    assert kept(folder, "fork") == []


def test_what_is_not_signed_by_the_log_is_no_evidence(client: FlaskClient, folder: Path) -> None:
    post(client, request(0, 5))
    post(client, add(5, checkpoint(5, OTHER, IMPOSTOR)))
    post(client, add(0, checkpoint(4)))
    assert kept(folder, "*") == []


def test_evidence_is_bounded_and_forks_are_not_crowded_out(
    client: FlaskClient, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(evidence, "MAX_FILES", 3)
    post(client, request(0, 5))
    for size in range(6, 12):
        assert post(client, add(5, checkpoint(size), bytes(32)))[0] == 422
    assert len(kept(folder, "unproven")) == 3
    assert "no room" in caplog.text
    post(client, request(5, 5, OTHER))
    assert len(kept(folder, "fork")) == 1


def test_a_refusal_stands_when_its_evidence_cannot_be_kept(client: FlaskClient, folder: Path) -> None:
    post(client, request(0, 5))
    (folder / "evidence").rmdir()
    (folder / "evidence").write_text("in the way")
    assert post(client, request(5, 5, OTHER))[0] == 422


def test_a_split_view_is_refused_by_both_witnesses(tmp_path: Path, clock: fakes.FakeClock) -> None:
    with (
        witnessing.new_witness(tmp_path / "1", clock) as one,
        witnessing.new_witness(tmp_path / "2", clock, name="witness.example/w2") as two,
    ):
        assert isinstance(one.add_checkpoint(request(0, 5)), Cosigned)
        assert isinstance(two.add_checkpoint(request(0, 5, OTHER)), Cosigned)
        for witness, other in ((one, OTHER), (two, LEAVES)):
            for size in (5, 6, 300):
                with pytest.raises(ProofError):
                    witness.add_checkpoint(request(5, size, other))
        for number in ("1", "2"):
            assert len(kept(tmp_path / number, "fork")) == 1
            assert len(kept(tmp_path / number, "unproven")) == 2


# Check and store are one step


class SlowStore(WitnessStore):
    """Lets everybody look before anybody writes."""

    barrier: threading.Barrier

    def last(self, origin: str) -> Seen:
        found = super().last(origin)
        if found.size == 5 and not self.barrier.broken:
            self.barrier.wait(10)
        return found


class CarelessStore(SlowStore):
    """Looks, then writes: without the condition."""

    def advance(self, origin: str, old: Seen, new: Seen) -> bool:
        from headcount_ledger.witness.store import _seen

        with self._store.write() as tx:
            tx.execute(update(_seen).values(size=new.size, root=new.root, note=new.note))
        return True


def race(folder: Path, clock: fakes.FakeClock, store_class: type[SlowStore]) -> list[object]:
    """What two get who show different trees at once, and what the witness then says."""
    witnessing.new_witness(folder, clock).close()
    store = store_class(folder / "witness.sqlite")
    logs = Policy((Log(LOG.verification_key),))
    answers: list[object] = []
    with Witness(read_key(folder), logs, store, Evidence(folder / "evidence"), clock) as witness:
        store.barrier = threading.Barrier(2)
        witness.add_checkpoint(request(0, 5))

        def show(size: int) -> None:
            answers.append(witness.add_checkpoint(request(5, size)))

        threads = [threading.Thread(target=show, args=(size,)) for size in (8, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.barrier.abort()
        answers.append(store.last(LOG.name).size)
    return answers


def test_of_two_at_once_exactly_one_wins(tmp_path: Path, clock: fakes.FakeClock) -> None:
    for attempt in range(5):
        *answers, size = race(tmp_path / str(attempt), clock, SlowStore)
        winners = [answer for answer in answers if isinstance(answer, Cosigned)]
        assert len(winners) == 1
        assert Stale(size) in answers


def test_the_race_shows_what_a_careless_store_does(tmp_path: Path, clock: fakes.FakeClock) -> None:
    *answers, _ = race(tmp_path / "careless", clock, CarelessStore)
    assert all(isinstance(answer, Cosigned) for answer in answers)


def test_many_processes_worth_of_requests_make_one_history(tmp_path: Path, clock: fakes.FakeClock) -> None:
    folder = tmp_path / "witness"
    witnessing.new_witness(folder, clock).close()
    cosigned: list[int] = []
    with Witness.open(folder, clock) as one, Witness.open(folder, clock) as two:

        def grow(witness: Witness, sizes: range) -> None:
            old = 0
            for size in sizes:
                while old <= size:
                    answer = witness.add_checkpoint(request(old, size))
                    if isinstance(answer, Cosigned):
                        cosigned.append(size)
                        old = size
                        break
                    old = answer.size

        threads = [
            threading.Thread(target=grow, args=(witness, range(start, 60, 4)))
            for start, witness in enumerate((one, two, one, two), 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.add_checkpoint(request(59, 59)) != Stale(0)
    assert max(cosigned) == 59
    assert len(cosigned) == len(set(cosigned))


KILLED = """
import os, signal, sys
from pathlib import Path
from headcount_ledger.witness.server import Witness
from headcount_ledger.witness.store import WitnessStore

real = WitnessStore.advance

def advance(self, *arguments):
    if sys.argv[2] == "after":
        real(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)

WitnessStore.advance = advance
print(Witness.open(Path(sys.argv[1])).add_checkpoint(sys.stdin.buffer.read()))
"""


@pytest.mark.parametrize(("when", "size"), [("before", 5), ("after", 8)])
def test_a_kill_between_check_and_answer_leaves_one_history(
    folder: Path, clock: fakes.FakeClock, when: str, size: int
) -> None:
    with witnessing.new_witness(folder, clock) as witness:
        witness.add_checkpoint(request(0, 5))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), when],
        input=request(5, 8),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == b""  # nobody has a cosignature
    with Witness.open(folder, clock) as witness:
        assert witness.add_checkpoint(request(1, 9)) == Stale(size)
        if when == "after":
            with pytest.raises(ProofError):
                witness.add_checkpoint(request(8, 8, OTHER))
        assert isinstance(witness.add_checkpoint(request(size, 8)), Cosigned)


def test_a_witness_in_doubt_stops_and_signs_nothing(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons: list[str] = []
    client = create_app(witness, reasons.append).test_client()

    def fail(error: BaseException) -> Callable[..., bool]:
        def advance(*_: object) -> bool:
            raise error

        return advance

    monkeypatch.setattr(WitnessStore, "advance", fail(SystemExit("it is not known")))
    assert post(client, request(0, 5))[0] == 503
    assert reasons == ["it is not known"]
    monkeypatch.setattr(WitnessStore, "advance", fail(UnavailableError("disk full")))
    assert post(client, request(0, 5))[0] == 503
    assert len(reasons) == 1


def test_its_memory_is_written_through(folder: Path, witness: Witness) -> None:
    with witness._store._store.read() as tx:
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


# The directory and the commands


def test_a_witness_without_its_memory_does_not_open(folder: Path, clock: fakes.FakeClock) -> None:
    witnessing.new_witness(folder, clock).close()
    (folder / "witness.sqlite").unlink()
    with pytest.raises(ConfigurationError, match="lost its memory"):
        Witness.open(folder, clock)


def test_a_log_that_is_added_later_begins_at_zero(folder: Path, clock: fakes.FakeClock) -> None:
    with witnessing.new_witness(folder, clock) as witness:
        witness.add_checkpoint(request(0, 5))
    with (folder / "logs").open("a") as file:
        file.write(f"log {STRANGER.verification_key.to_text()}\n")
    with Witness.open(folder, clock) as witness:
        assert witness.add_checkpoint(add(3, checkpoint(4, key=STRANGER))) == Stale(0)
        assert witness.add_checkpoint(request(3, 6)) == Stale(5)
    (folder / "logs").write_text("quorum none\n")
    with (
        Witness.open(folder, clock) as witness,
        pytest.raises(ProtocolError, match="does not know the log"),
    ):
        witness.add_checkpoint(request(5, 6))
    (folder / "logs").write_text(f"log {LOG.verification_key.to_text()}\nquorum none\n")
    with Witness.open(folder, clock) as witness:
        assert witness.add_checkpoint(request(0, 6)) == Stale(5)  # nothing is forgotten


def test_a_log_may_have_two_keys_while_it_changes_them(folder: Path, clock: fakes.FakeClock) -> None:
    create(folder, "witness.example/w1", (LOG.verification_key, IMPOSTOR.verification_key))
    with Witness.open(folder, clock) as witness:
        assert isinstance(witness.add_checkpoint(add(0, checkpoint(5))), Cosigned)
        proof = merkle.consistency_path(LEAVES[:8], 5)
        assert isinstance(
            witness.add_checkpoint(add(5, signed_by(checkpoint(8), IMPOSTOR), *proof)), Cosigned
        )


def test_the_logs_file_lists_nothing_but_logs(folder: Path, clock: fakes.FakeClock) -> None:
    witnessing.new_witness(folder, clock).close()
    for text in ("", "log x\nquorum none\n", f"witness w {STRANGER.cosigner_key.to_text()}\nquorum w\n"):
        (folder / "logs").write_text(text)
        with pytest.raises(ConfigurationError, match="logs"):
            Witness.open(folder, clock)


def test_a_witness_is_created_once_and_its_key_is_private(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(witness_command, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    folder = tmp_path / "w"
    vkey = run("create", str(folder), "--name", "w.example/1", "--log", LOG.verification_key.to_text())
    key = VerificationKey.from_text(vkey.strip())
    assert (key.name, key.type) == ("w.example/1", 4)
    assert run("vkey", str(folder)) == vkey
    assert (folder / "key").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigurationError, match="created once"):
        create(folder, "w.example/2")
    assert run("vkey", str(folder)) == vkey
    for name in ("", "a b", "a+b"):
        with pytest.raises(MalformedError):
            create(tmp_path / "x", name)
    with pytest.raises(MalformedError):
        create(tmp_path / "x", "w", (LOG.verification_key, LOG.verification_key))
    assert not (tmp_path / "x").exists()


def test_a_directory_without_a_witness_is_not_served(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        witness_command, ["serve", str(tmp_path), "--listen", f"127.0.0.1:{free_ports(0)[0]}"]
    )
    assert isinstance(result.exception, ConfigurationError)
    for listen in ("8000", ":8000", "host:", "host:0", "host:65536", "host:x"):
        result = CliRunner().invoke(witness_command, ["serve", str(tmp_path), "--listen", listen])
        assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_witness_does_not_share_its_port(folder: Path, witness: Witness) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as Granian does
        other.bind(("127.0.0.1", 0))
        other.listen()
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        result = CliRunner().invoke(witness_command, ["serve", str(folder), "--listen", listen])
    assert isinstance(result.exception, ConfigurationError)
    assert "Address already in use" in str(result.exception)


def test_nothing_is_logged_about_who_asks(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        post(client, request(0, 5))
        post(client, request(5, 5, OTHER))
        post(client, b"")
        client.get("/" + monitoring_path(LOG.name))
    assert [record.getMessage() for record in caplog.records if record.name.startswith("headcount")] == [
        f"refused a checkpoint of {LOG.name}: fork"
    ]
    assert "127.0.0.1" not in caplog.text
