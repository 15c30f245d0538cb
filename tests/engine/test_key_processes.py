from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import keys
from headcount_engine import key_process, rsa, worker
from headcount_engine.engine import SigningKey
from headcount_engine.key_process import KEY, SIGN, KeyProcess
from headcount_engine.key_processes import KeyProcesses, ProcessKey
from headcount_spec.blind_rsa import PrivateKey
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.spki import token_key_id

IDS = [token_key_id(keys.token_spki(i)) for i in range(2)]
N = keys.token_key(0).public.n
MESSAGES = [(3 + i).to_bytes(256, "big") for i in range(40)]


def private(i: int) -> PrivateKey:
    return keys.token_key(i)


def new_key(processes: KeyProcesses, i: int = 0) -> ProcessKey:
    return processes.key(IDS[i], private(i).public, lambda: private(i))


def pids(processes: KeyProcesses) -> list[int]:
    return [one._process.pid for one in processes._workers._idle if one is not None]


@pytest.fixture
def processes() -> Iterator[KeyProcesses]:
    made = KeyProcesses(2)
    yield made
    made.close()


@pytest.fixture
def key(processes: KeyProcesses) -> ProcessKey:
    made = new_key(processes)
    processes.start()
    return made


def test_they_sign_as_one_process_does(key: ProcessKey) -> None:
    own = rsa.load_private_key(keys.token_key_der(0))
    assert key.blind_sign(MESSAGES) == [rsa.blind_sign(own, message) for message in MESSAGES]
    assert key.blind_sign([]) == []


def test_each_is_answered_in_its_place(key: ProcessKey) -> None:
    p = private(0).p
    bad = [bytes(256), (1).to_bytes(256, "big"), (N - 1).to_bytes(256, "big"), N.to_bytes(256, "big")]
    bad += [b"\xff" * 256, p.to_bytes(256, "big")]
    found = key.blind_sign([one for pair in zip(bad, MESSAGES, strict=False) for one in pair])
    assert [type(one) for one in found] == [MalformedError, bytes] * len(bad)
    assert found[1::2] == key.blind_sign(MESSAGES[: len(bad)])


def test_another_length_is_a_bug_and_asks_nobody(processes: KeyProcesses) -> None:
    with pytest.raises(ValueError, match="as many bytes"):
        new_key(processes).blind_sign([MESSAGES[0], b"short"])
    assert pids(processes) == []


def test_two_keys_and_many_threads_share_them(processes: KeyProcesses) -> None:
    mine = [new_key(processes, i) for i in range(2)]
    expected = [one.blind_sign(MESSAGES[:5]) for one in mine]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: mine[i % 2].blind_sign(MESSAGES[:5]), range(100)))
    assert found == [expected[i % 2] for i in range(100)]
    assert expected[0] != expected[1]


def test_a_started_one_has_the_keys(processes: KeyProcesses) -> None:
    reads: list[int] = []

    def read() -> PrivateKey:
        reads.append(1)
        return private(0)

    mine = processes.key(IDS[0], private(0).public, read)
    processes.start()
    assert len(pids(processes)) == 2
    assert len(reads) == 1
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: mine.blind_sign(MESSAGES), range(8)))
    assert len(reads) == 1


def test_a_key_that_cannot_be_read_stops_no_other(processes: KeyProcesses) -> None:
    def unreadable() -> PrivateKey:
        raise ConfigurationError("the passphrase is not here")

    broken = processes.key(IDS[0], private(0).public, unreadable)
    good = new_key(processes, 1)
    processes.start()
    for _ in range(3):
        with pytest.raises(ConfigurationError):
            broken.blind_sign(MESSAGES[:1])
    assert isinstance(good.blind_sign(MESSAGES[:1])[0], bytes)


def test_one_that_dies_is_replaced(processes: KeyProcesses, key: ProcessKey) -> None:
    expected = key.blind_sign(MESSAGES[:1])
    os.kill(pids(processes)[-1], signal.SIGKILL)
    with pytest.raises(UnavailableError) as raised:
        key.blind_sign(MESSAGES[:1])
    assert str(raised.value) == "a signing process does not answer"
    assert key.blind_sign(MESSAGES[:1]) == expected


def test_one_that_hangs_is_ended(
    processes: KeyProcesses, key: ProcessKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pids(processes)
    monkeypatch.setattr(worker, "_TIMEOUT_S", 0.3)
    monkeypatch.setattr(worker, "_END_S", 0.2)
    os.kill(before[-1], signal.SIGSTOP)
    with pytest.raises(UnavailableError):
        key.blind_sign(MESSAGES[:1])
    assert not Path(f"/proc/{before[-1]}").exists()
    monkeypatch.undo()
    assert isinstance(key.blind_sign(MESSAGES[:1])[0], bytes)


def test_a_late_answer_is_nobody_elses(
    processes: KeyProcesses, key: ProcessKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = key.blind_sign(MESSAGES[1:2])
    victim = pids(processes)[-1]
    monkeypatch.setattr(worker, "_TIMEOUT_S", 0.2)
    os.kill(victim, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(key.blind_sign, MESSAGES[:1])
        time.sleep(0.4)
        os.kill(victim, signal.SIGCONT)
        assert isinstance(asked.exception(), UnavailableError)
    monkeypatch.undo()
    assert [key.blind_sign(MESSAGES[1:2]) for _ in range(5)] == [mine] * 5


def test_a_forgotten_key_is_in_no_process(processes: KeyProcesses, key: ProcessKey) -> None:
    other = new_key(processes, 1)
    expected = other.blind_sign(MESSAGES[:1])
    before = pids(processes)
    assert len(before) == 2
    processes.forget(key)
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
    with pytest.raises(UnknownKeyError):
        key.blind_sign(MESSAGES[:1])
    assert other.blind_sign(MESSAGES[:1]) == expected
    processes.start()
    with pytest.raises(UnknownKeyError):
        key.blind_sign(MESSAGES[:1])


def test_what_is_signed_while_a_key_is_forgotten_ends_with_its_process(processes: KeyProcesses) -> None:
    reading: list[str] = []

    def read() -> PrivateKey:
        reading.append("now")
        processes.forget(mine)  # between the look at the key and its arrival in the process
        return private(0)

    mine = processes.key(IDS[0], private(0).public, read)
    assert isinstance(mine.blind_sign(MESSAGES[:1])[0], bytes)
    assert pids(processes) == []
    assert reading == ["now"]


def test_signals_for_a_whole_terminal_or_service_leave_them_to_their_parent(
    processes: KeyProcesses, key: ProcessKey
) -> None:
    for pid in pids(processes):
        assert os.getsid(pid) != os.getsid(0)
        os.kill(pid, signal.SIGTERM)
    time.sleep(0.2)
    with ThreadPoolExecutor(2) as pool:
        assert all(isinstance(found[0], bytes) for found in pool.map(key.blind_sign, [MESSAGES[:1]] * 8))


PARENT = """
import sys, time
import test_key_processes as t
processes = t.KeyProcesses(2)
t.new_key(processes)
processes.start()
print(*t.pids(processes), flush=True)
time.sleep(60)
"""


def test_they_end_with_their_parent_however_that_ended() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    parent = subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        started = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(started) == 2
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_key_is_in_no_argument_and_in_no_dump(processes: KeyProcesses, key: ProcessKey) -> None:
    primes = [prime.to_bytes(128, "big") for prime in (private(0).p, private(0).q)]
    for pid in pids(processes):
        folder = Path(f"/proc/{pid}")
        seen = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        for prime in primes:
            assert prime not in seen
            assert prime.hex().encode() not in seen
        (limit,) = [
            line for line in (folder / "limits").read_text().splitlines() if line.startswith("Max core")
        ]
        assert limit.split()[4:6] == ["0", "0"]


def test_a_closed_one_answers_nobody(processes: KeyProcesses, key: ProcessKey) -> None:
    before = pids(processes)
    processes.close()
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]
    with pytest.raises(UnavailableError):
        key.blind_sign(MESSAGES[:1])
    processes.start()
    assert pids(processes) == []


def test_one_that_cannot_be_started_is_told(processes: KeyProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = new_key(processes)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(UnavailableError, match="cannot be started"):
            mine.blind_sign(MESSAGES[:1])
    assert isinstance(mine.blind_sign(MESSAGES[:1])[0], bytes)


class Faulty:
    """A key whose private operation goes wrong once in a while: a bit of a half is flipped."""

    def __init__(self, good: SigningKey) -> None:
        self.public = good.public
        self.public_op = good.public_op
        self._good = good

    def private_op(self, m: bytes) -> bytes:
        s = self._good.private_op(m)
        return s if m == MESSAGES[1] else s[:9] + bytes([s[9] ^ 1]) + s[10:]


def test_no_byte_of_a_wrong_result_leaves_the_process() -> None:
    held = KeyProcess()
    good = rsa.load_private_key(keys.token_key_der(0))
    held._keys[IDS[0]] = Faulty(good)
    answer = held.answer(SIGN, IDS[0] + b"".join(MESSAGES[:3]))
    wrong = key_process.WRONG + bytes(256)
    right = key_process.SIGNED + rsa.blind_sign(good, MESSAGES[1])
    assert answer == worker.DONE + wrong + right + wrong


def test_a_wrong_result_is_told(processes: KeyProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = new_key(processes)

    def ask(_self: worker.Worker, operation: bytes, data: bytes) -> bytes:
        return key_process.WRONG + bytes(256)

    monkeypatch.setattr(worker.Worker, "ask", ask)
    (found,) = mine.blind_sign(MESSAGES[:1])
    assert isinstance(found, CorruptionError)
    with pytest.raises(CorruptionError, match="another number"):
        mine.blind_sign(MESSAGES[:2])


def test_what_is_no_key_is_refused_and_named_by_its_kind_alone() -> None:
    held = KeyProcess()
    other = b"".join(prime.to_bytes(256, "big") for prime in (private(1).p, private(1).q))
    for data in (secrets.token_bytes(512), b"", other):
        answer = held.answer(KEY, IDS[0] + data)
        assert answer[:1] == worker.FAILED
        assert answer[1:].isalpha()
    assert held.answer(SIGN, IDS[0] + MESSAGES[0]) == worker.NO_KEY
