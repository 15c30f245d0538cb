from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import fakes
import manifests
from fakes import DAY
from headcount_ledger import work as works
from headcount_ledger.channel import MAX_FRAME_BYTES, Frames, answer, frame, result
from headcount_ledger.ledger import Ledger
from headcount_ledger.work import StageNotice, StagePledge, StageRevision, parse_work
from headcount_ledger.writer_client import WriterClient
from headcount_ledger.writer_server import WriterServer
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NoticeConflictError,
    RevisionConflictError,
    UnavailableError,
)
from headcount_spec.merkle import leaf_hash

SCOPE = manifests.manifest(min_batch=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with fakes.new_ledger(tmp_path) as ledger:
        fakes.open_scopes(ledger, SCOPE)
        yield ledger


@pytest.fixture
def server(ledger: Ledger) -> Iterator[WriterServer]:
    server = ledger.writer_server()
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server
    server.stop()
    thread.join(10)
    assert not thread.is_alive()


def stage(i: int) -> StagePledge:
    pledge = manifests.pledge(SCOPE, i)
    return StagePledge(pledge.nullifier, leaf_hash(pledge.to_bytes()), pledge.to_bytes())


async def outcome(client: WriterClient, work: works.Work) -> object:
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    client.ask(work, future.set_result)
    return await future


def ask(ledger: Ledger, *asked: works.Work, max_waiting: int = 100) -> list[object]:
    async def run() -> list[object]:
        client = WriterClient(ledger.config.socket, max_waiting)
        try:
            outcomes = (outcome(client, work) for work in asked)
            return list(await asyncio.gather(*outcomes, return_exceptions=True))
        finally:
            client.close()
            await asyncio.sleep(0.01)  # the loop tells the connection that it is lost

    return asyncio.run(run())


def test_works_are_run_and_answered(ledger: Ledger, server: WriterServer) -> None:
    assert ask(ledger, stage(1), stage(2), stage(1)) == [True, True, False]
    assert ledger.waiting() == 2
    revision = manifests.revision(manifests.pledge(SCOPE, 1), 1)
    notice = manifests.notice(
        SCOPE, "organiser", "child", {"scope": "11" * 32}, manifests.text_notices(SCOPE)[-1]
    )
    assert ask(ledger, StageRevision(revision.to_bytes()), StageNotice(notice.to_bytes(), DAY)) == [
        True,
        True,
    ]


def test_an_error_arrives_with_its_number(ledger: Ledger, server: WriterServer) -> None:
    notice = manifests.notice(
        SCOPE, "organiser", "child", {"scope": "11" * 32}, manifests.manifest_notice(SCOPE)
    )
    (error,) = ask(ledger, StageNotice(notice.to_bytes(), DAY))
    assert isinstance(error, NoticeConflictError)
    assert error.seq == 3


def test_a_work_that_breaks_does_not_keep_the_others_out(ledger: Ledger, server: WriterServer) -> None:
    broken = StagePledge(stage(1).nullifier, stage(1).leaf_hash, b"")
    revision = StageRevision(b"junk")
    results = ask(ledger, stage(2), broken, revision, stage(3))
    assert results[0] is True
    assert results[3] is True
    assert isinstance(results[1], UnavailableError)
    assert isinstance(results[2], MalformedError)
    assert ledger.waiting() == 2


def test_what_finds_the_queue_full_is_told_so_and_kept_nowhere(ledger: Ledger, server: WriterServer) -> None:
    results = ask(ledger, *map(stage, range(1, 9)), max_waiting=3)
    refused = [one for one in results if isinstance(one, UnavailableError)]
    assert results.count(True) == 3
    assert len(refused) == 5
    assert {error.retry_after_s for error in refused} == {2}
    assert ledger.waiting() == 3


def test_those_that_wait_are_told_when_the_writer_is_gone(ledger: Ledger, server: WriterServer) -> None:
    async def run() -> object:
        listener = await asyncio.start_unix_server(lambda _reader, writer: writer.close(), str(other))
        client = WriterClient(other, 10)
        came = await outcome(client, stage(1))
        listener.close()
        return came

    other = ledger.config.directory / "gone.sock"
    assert isinstance(asyncio.run(run()), UnavailableError)


def test_only_the_owner_can_write(ledger: Ledger, server: WriterServer) -> None:
    assert stat.S_IMODE(os.stat(ledger.config.socket).st_mode) == 0o600


def test_there_is_one_writer(ledger: Ledger, server: WriterServer) -> None:
    with pytest.raises(UnavailableError):
        ledger.writer_server()
    assert ask(ledger, stage(1)) == [True]


def test_a_socket_that_a_killed_writer_left_is_no_obstacle(ledger: Ledger) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(ledger.config.socket))
    server = ledger.writer_server()
    thread = threading.Thread(target=server.serve)
    thread.start()
    assert ask(ledger, stage(1)) == [True]
    server.stop()
    thread.join()
    assert not ledger.config.socket.exists()


def test_a_path_that_no_socket_can_have_is_named(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="socket's path"):
        WriterServer(ledger._store, tmp_path / ("x" * 100))


def test_nonsense_ends_only_the_connection_that_sent_it(ledger: Ledger, server: WriterServer) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(ledger.config.socket))
        stranger.sendall(b"\xff" * 100)
        assert stranger.recv(1) == b""
    assert ask(ledger, stage(1)) == [True]


def test_a_large_group_is_committed_in_parts(
    ledger: Ledger, server: WriterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headcount_ledger.writer_server.MAX_GROUP", 3)
    assert ask(ledger, *map(stage, range(1, 12))) == [True] * 11


def test_the_log_is_copied_between_commits_when_it_has_grown(
    ledger: Ledger, server: WriterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headcount_ledger.writer_server._CHECKPOINT_COMMITS", 1)
    monkeypatch.setattr("headcount_ledger.writer_server._MAX_LOG_PAGES", 0)
    for i in range(1, 8):
        assert ask(ledger, stage(i)) == [True]
    assert ledger.waiting() == 7


def test_works_have_one_binary_form() -> None:
    revision = manifests.revision(manifests.pledge(SCOPE, 1), 1)
    for work in (stage(1), StageRevision(revision.to_bytes()), StageNotice(b"notice", DAY)):
        assert parse_work(work.to_bytes()) == work


@given(st.binary(max_size=300))
def test_a_work_is_read_or_malformed(data: bytes) -> None:
    try:
        assert parse_work(data).to_bytes() == data
    except MalformedError:
        return


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 40))
def test_frames_are_cut_wherever_the_bytes_are(payloads: list[bytes], size: int) -> None:
    data = b"".join(frame(number, payload) for number, payload in enumerate(payloads))
    frames = Frames()
    taken = [one for at in range(0, len(data), size) for one in frames.take(data[at : at + size])]
    assert taken == list(enumerate(payloads))


def test_a_frame_that_is_too_long_is_malformed() -> None:
    with pytest.raises(MalformedError):
        list(Frames().take((MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(4)))


def test_results_come_through_unchanged() -> None:
    for told in (True, False):
        ((number, payload),) = Frames().take(answer(7, told))
        assert (number, result(payload)) == (7, told)
    ((_, payload),) = Frames().take(answer(7, RevisionConflictError("first", 3)))
    with pytest.raises(RevisionConflictError) as caught:
        result(payload)
    assert caught.value.serial == 3


def test_one_that_breaks_on_its_result_harms_no_other(ledger: Ledger, server: WriterServer) -> None:
    async def run() -> object:
        client = WriterClient(ledger.config.socket, 10)

        def breaks(_came: object) -> None:
            raise RuntimeError("a closed transport")

        client.ask(stage(1), breaks)
        came = await outcome(client, stage(2))
        client.close()
        await asyncio.sleep(0.01)
        return came

    assert asyncio.run(run()) is True
    assert ledger.waiting() == 2


def test_a_disk_that_fails_ends_the_process_and_a_full_one_does_not(ledger: Ledger) -> None:
    with ledger.store.write() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(UnavailableError, match="FULL"), ledger.store.write() as tx:
        works.run_group(tx, [stage(i) for i in range(40)])
