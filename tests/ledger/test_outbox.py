from __future__ import annotations

import email.utils
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headcount_ledger.reader import outbox as outboxes
from headcount_ledger.reader.outbox import MAX_TRIES, Letter, Outbox, check_url, read_signers, retry_after
from headcount_ledger.reader.transport import Answer, HttpTransport
from headcount_spec import webhook
from headcount_spec.errors import ConfigurationError, MalformedError
from receivers import SECRET, Receiver, receiving

NOW = 1_700_000_000
SIGNERS = (webhook.parse_signer(SECRET),)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    with HttpTransport(timeout_s=1.0) as found:
        yield found


def box(folder: Path, url: str, transport: HttpTransport, draw: float = 1.0) -> Outbox:
    return Outbox(folder / "box", url, SIGNERS, transport, lambda: draw)


def test_events_are_signed_and_sent_in_their_order(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport
):
    outbox = box(tmp_path, receiver.url, transport)
    for number in (2, 0, 1):
        outbox.put(f"msg_{number}", number, b'{"n":%d}' % number)
    assert outbox.deliver(NOW) == 0
    assert receiver.ids == ["msg_0", "msg_1", "msg_2"]
    for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
        webhook.check([SIGNERS[0]], webhook.Head.from_headers(headers), body, NOW)  # type: ignore[list-item]
    assert receiver.headers[0]["content-type"] == "application/json"


@pytest.mark.parametrize("answer", [500, 503, 429, 408])
def test_who_cannot_now_is_asked_again_and_the_order_stays(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport, answer: int
):
    outbox = box(tmp_path, receiver.url, transport)
    outbox.put("msg_0", 0, b"{}")
    outbox.put("msg_1", 1, b"{}")
    receiver.answers = [answer, answer]
    assert [outbox.deliver(NOW + s) for s in (0, 1, 2, 7, 8)] == [2, 2, 2, 2, 0]
    assert receiver.ids == ["msg_0", "msg_0", "msg_0", "msg_1"]
    stamps = [int(item["webhook-timestamp"]) - NOW for item in receiver.headers]
    assert stamps == [0, 2, 8, 8]  # of each attempt, so that one that waited is not taken for a replay


@pytest.mark.parametrize("answer", [400, 401, 404, 422, 301, 302])
def test_an_event_that_is_refused_does_not_hold_up_the_others(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport, answer: int
):
    outbox = box(tmp_path, receiver.url, transport)
    receiver.always = answer
    for number in range(3):
        outbox.put(f"msg_{number}", number, b"{}")
    assert outbox.deliver(NOW) == 3
    assert receiver.ids == ["msg_0", "msg_1", "msg_2"]
    now, rounds = NOW, 0
    while outbox.deliver(now):
        due = outbox.due()
        assert due is not None
        now, rounds = max(due, now + 1), rounds + 1
    assert rounds == MAX_TRIES - 1
    assert receiver.ids.count("msg_2") == MAX_TRIES
    assert 1.5 < (now - NOW) / 86_400 < 2


def test_no_redirect_is_followed(tmp_path: Path, receiver: Receiver, transport: HttpTransport):
    with receiving() as other:
        receiver.always = 204
        receiver.answers = [(307, {"Location": other.url}), (301, {"Location": other.url})]
        outbox = box(tmp_path, receiver.url, transport)
        outbox.put("msg_0", 0, b"{}")
        assert [outbox.deliver(NOW + s) for s in (0, 10, 100)] == [1, 1, 0]
        assert other.bodies == []


def test_who_is_gone_is_told_nothing_again(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport, caplog: pytest.LogCaptureFixture
):
    outbox = box(tmp_path, receiver.url + "?key=unspoken", transport)
    receiver.answers = [410]
    outbox.put("msg_0", 0, b"{}")
    assert outbox.deliver(NOW) == 0
    assert "msg_0 is given up after 1 tries: answer 410" in caplog.text
    assert "unspoken" not in caplog.text


def test_a_receiver_that_never_answers_is_given_up_by_name(
    tmp_path: Path, transport: HttpTransport, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.ERROR)
    outbox = box(tmp_path, "http://127.0.0.1:9/hook", transport)
    outbox.put("msg_0", 0, b"{}")
    now, pauses = NOW, []
    while outbox.deliver(now):
        due = outbox.due()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses[:5] == [2, 6, 18, 54, 162]
    assert pauses == sorted(pauses)
    assert pauses[-1] == outboxes.MAX_PAUSE_S
    assert len(pauses) == MAX_TRIES - 1
    assert "msg_0 is given up after 16 tries: no answer" in caplog.text


def test_pauses_are_spread(tmp_path: Path, transport: HttpTransport):
    found = set()
    for number, draw in enumerate((0.0, 0.5, 1.0)):
        outbox = box(tmp_path / str(number), "http://127.0.0.1:9/hook", transport, draw)
        outbox.put("msg_0", 0, b"{}")
        for _ in range(5):
            now = outbox.due() or NOW
            outbox.deliver(now)
        due = outbox.due()
        assert due is not None
        found.add(due - now)
    assert found == {81, 122, 162}


def test_a_slow_receiver_is_not_waited_for(tmp_path: Path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent, HttpTransport(timeout_s=0.3) as transport:
        outbox = box(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}/", transport)
        outbox.put("msg_0", 0, b"{}")
        began = time.monotonic()
        assert outbox.deliver(NOW) == 1
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("999999999", 86_400),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
        ("soon", 0),
        ("-5", 0),
        ("", 0),
    ],
)
def test_what_retry_after_says(said: str, seconds: int):
    assert retry_after(Answer(503, b"", {"retry-after": said}), NOW) == seconds


def test_retry_after_is_honoured(tmp_path: Path, receiver: Receiver, transport: HttpTransport):
    receiver.answers = [(429, {"Retry-After": "100"})]
    outbox = box(tmp_path, receiver.url, transport)
    outbox.put("msg_0", 0, b"{}")
    assert [outbox.deliver(NOW + s) for s in (0, 99, 100)] == [1, 1, 0]
    assert len(receiver.ids) == 2


def test_a_restart_remembers_the_pause_and_the_tries(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport
):
    receiver.answers = [500]
    first = box(tmp_path, receiver.url, transport)
    first.put("msg_0", 0, b"{}")
    first.deliver(NOW)
    again = box(tmp_path, receiver.url, transport)
    again.put("msg_0", 0, b"{}")  # a sender that died before it knew that it had put it
    assert [again.deliver(NOW + s) for s in (1, 2)] == [1, 0]


def test_a_clock_that_was_wrong_does_not_make_it_wait_for_years(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport
):
    receiver.answers = [500]
    outbox = box(tmp_path, receiver.url, transport)
    outbox.put("msg_0", 0, b"{}")
    outbox.deliver(NOW * 2)
    assert outbox.deliver(NOW) == 0


DIES = """
import os, sys
from pathlib import Path
from headcount_ledger.reader import outbox
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec import webhook
outbox.remove_file = lambda path: os.kill(os.getpid(), 9)
box = outbox.Outbox(Path(sys.argv[1]), sys.argv[2], [webhook.parse_signer(sys.argv[3])], HttpTransport())
box.put("msg_0", 0, b"{}")
box.deliver(0)
"""


def test_a_death_between_sending_and_marking_repeats_the_id(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport
):
    died = subprocess.run(
        [sys.executable, "-c", DIES, str(tmp_path / "box"), receiver.url, SECRET], check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert receiver.ids == ["msg_0"]
    assert box(tmp_path, receiver.url, transport).deliver(NOW) == 0
    assert receiver.ids == ["msg_0", "msg_0"]
    assert receiver.bodies[0] == receiver.bodies[1]


def test_it_is_bounded_and_loses_the_oldest(
    tmp_path: Path,
    receiver: Receiver,
    transport: HttpTransport,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    monkeypatch.setattr(outboxes, "MAX_WAITING", 3)
    outbox = box(tmp_path, receiver.url, transport)
    for number in range(5):
        outbox.put(f"msg_{number}", number, b"{}")
    outbox.deliver(NOW)
    assert receiver.ids == ["msg_2", "msg_3", "msg_4"]
    assert caplog.text.count("given up, more than 3 wait") == 2


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"headcount_outbox":1,"is_refused":false}', b"\xff"])
def test_a_damaged_file_is_set_aside(
    tmp_path: Path, receiver: Receiver, transport: HttpTransport, data: bytes
):
    outbox = box(tmp_path, receiver.url, transport)
    outbox.put("msg_1", 1, b"{}")
    (tmp_path / "box" / "000000000000-msg_0.json").write_bytes(data)
    with pytest.raises(MalformedError):
        Letter.from_bytes(data)
    assert outbox.deliver(NOW) == 0
    assert receiver.ids == ["msg_1"]


def test_trying_now_waits_for_short_pauses_only(tmp_path: Path, receiver: Receiver, transport: HttpTransport):
    clock = [float(NOW)]

    def pause(seconds: float) -> None:
        clock[0] += seconds

    outbox = box(tmp_path, receiver.url, transport)
    outbox.put("msg_0", 0, b"{}")
    receiver.answers = [500, 500]
    assert outbox.deliver_now(30, lambda: clock[0], pause) == 0
    assert clock[0] == NOW + 8
    receiver.always = 500
    outbox.put("msg_1", 1, b"{}")
    assert outbox.deliver_now(30, lambda: clock[0], pause) == 1
    assert len(receiver.ids) == 3 + 4  # after 2, 6 and 18 seconds; the next pause is too long


def test_files_are_their_owners_alone(tmp_path: Path, receiver: Receiver, transport: HttpTransport):
    outbox = box(tmp_path, receiver.url, transport)
    outbox.put("msg_0", 0, b"{}")
    (path,) = outbox.waiting()
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == [path.name]


def test_what_goes_to_another_machine_goes_by_https():
    for url in ("https://partner.example/hook", "http://127.0.0.1:9/x", "http://[::1]/", "http://localhost/"):
        assert check_url(url) == url
    for url in ("http://partner.example/", "ftp://partner.example", "https://me@partner.example/", "hook"):
        with pytest.raises(MalformedError):
            check_url(url)


def test_keys_are_read_one_on_a_line(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text(f"{SECRET}\n{webhook.Seed(bytes(32)).to_text()}\n")
    assert read_signers(path) == (SIGNERS[0], webhook.Seed(bytes(32)))
    for wrong in ("", "correct horse battery\n", SECRET + "x\n", f"{SECRET}\n" * 17, "é"):
        path.write_text(wrong)
        with pytest.raises(ConfigurationError):
            read_signers(path)
    with pytest.raises(ConfigurationError):
        read_signers(tmp_path / "none")
