"""The process that owns the database: commits everything readable on its socket in one transaction.

A loop that blocks, with no thread and no event loop: read from every connection that has something,
run all of it, commit, answer. While a commit waits for the disk the next group gathers in the sockets.
What is not read yet is bounded by the sockets' buffers and by what each front lets wait.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headcount_ledger.channel import Frames, answer
from headcount_ledger.lock import FileLock
from headcount_ledger.notices import ANYBODY, Admission
from headcount_ledger.store import Store
from headcount_ledger.work import parse_work, run_group
from headcount_ledger.writer import MAX_GROUP, RETRY_AFTER_S, end_process
from headcount_spec.errors import ConfigurationError, MalformedError, UnavailableError

MAX_PATH_BYTES = 100  # sun_path has 108 on Linux, 104 elsewhere
MAX_UNSENT_BYTES = 1 << 22  # answers that a front does not read; it is dropped then
_READ_BYTES = 1 << 18
_CHECKPOINT_COMMITS = 64  # commits between two copyings of the write-ahead log
_MAX_LOG_PAGES = 1 << 15  # 128 MiB: from here on the log is emptied while nobody writes

log = logging.getLogger("headcount.ledger")


class _Front:
    """A connection of a process that serves HTTP."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.frames = Frames()
        self.unsent = bytearray()


class WriterServer:
    """Serves works on a Unix socket until stopped. One on a ledger at a time."""

    def __init__(
        self,
        store: Store,
        path: Path,
        halt: Callable[[str], object] = end_process,
        admission: Admission = ANYBODY,
    ) -> None:
        """Listen; the store's engine was opened with ``checkpoints=False``.

        Raises:
            ConfigurationError: the path is too long for a socket.
            UnavailableError: another writer runs on this ledger.
        """
        self._store = store
        self._halt = halt
        self._admission = admission
        self._lock = FileLock(path.with_suffix(".lock"), "writer")
        self._selector = selectors.DefaultSelector()
        self._path = path
        self._listener = _listen(path)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._checkpointer = _Checkpointer(store, halt)
        self._group: list[tuple[_Front, int, bytes]] = []
        self._stopping = False

    def stop(self) -> None:
        """Let ``serve`` answer what it has read, and return; from any thread or signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._waker.send(b"\0")

    def serve(self) -> None:
        """Commit and answer until stopped."""
        self._checkpointer.start()
        try:
            while not self._stopping or self._group:
                self._read()
                self._commit()
        finally:
            self._close()

    def _read(self) -> None:
        # Frames beyond one group wait here and are committed before anything else is read.
        if len(self._group) >= MAX_GROUP:
            return
        for key, events in self._selector.select(0 if self._group else None):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wake:
                self._wake.recv(64)
            else:
                if events & selectors.EVENT_WRITE:
                    self._send(key.data)
                if events & selectors.EVENT_READ:
                    self._receive(key.data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ, _Front(connection))

    def _receive(self, front: _Front) -> None:
        try:
            data = front.connection.recv(_READ_BYTES)
            if not data:
                raise ConnectionResetError
            self._group += [(front, number, work) for number, work in front.frames.take(data)]
        except BlockingIOError:
            return
        except (OSError, MalformedError):
            self._drop(front)

    def _commit(self) -> None:
        group, self._group = self._group[:MAX_GROUP], self._group[MAX_GROUP:]
        if not group:
            return
        results = self._run([work for _, _, work in group])
        fronts = set()
        for (front, number, _), result in zip(group, results, strict=True):
            front.unsent += answer(number, result)
            fronts.add(front)
        for front in fronts:
            self._send(front)
        self._checkpointer.committed()

    def _run(self, group: list[bytes]) -> list[Any]:
        try:
            works = [parse_work(work) for work in group]
            with self._store.write() as tx:
                return run_group(tx, works, self._admission)
        except SystemExit as exc:
            self._halt(str(exc))
            raise
        except UnavailableError as exc:
            return [exc] * len(group)  # undone as a whole
        except Exception as exc:  # noqa: BLE001 one bad work must not keep the others out for ever
            if len(group) > 1:
                return [result for work in group for result in self._run([work])]
            log.error("a work was undone: %s", type(exc).__name__)  # its text may hold a row
            return [UnavailableError("the ledger cannot store it now", RETRY_AFTER_S)]

    def _send(self, front: _Front) -> None:
        try:
            sent = front.connection.send(front.unsent) if front.unsent else 0
            del front.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(front)
            return
        if len(front.unsent) > MAX_UNSENT_BYTES:
            self._drop(front)
            return
        with contextlib.suppress(KeyError):
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if front.unsent else 0)
            if self._selector.get_key(front.connection).events != events:
                self._selector.modify(front.connection, events, front)

    def _drop(self, front: _Front) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(front.connection)
        front.connection.close()

    def _close(self) -> None:
        self._checkpointer.stop()
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, _Front):
                key.data.connection.setblocking(True)
                key.data.connection.settimeout(1)
                with contextlib.suppress(OSError):
                    key.data.connection.sendall(key.data.unsent)
                self._drop(key.data)
        self._selector.close()
        for end in (self._listener, self._wake, self._waker):
            end.close()
        self._path.unlink(missing_ok=True)
        self._lock.close()


class _Checkpointer:
    """Copies the write-ahead log into the database from a second connection, while commits go on."""

    def __init__(self, store: Store, halt: Callable[[str], object]) -> None:
        self._store = store
        self._halt = halt
        self._due = threading.Event()
        self._stopped = False
        self._commits = 0
        self._pages = 0  # in the log at the last copying
        self._thread = threading.Thread(target=self._run, name="ledger-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        self._due.set()
        if self._thread.is_alive():
            self._thread.join()

    def committed(self) -> None:
        """Count a commit. Under constant load the log never ends at a copied page, so that it would grow
        for ever: a long one is copied here, between two commits, and the next begins it anew."""
        self._commits += 1
        if self._pages > _MAX_LOG_PAGES:
            self._copy()
            self._pages = 0
        elif self._commits % _CHECKPOINT_COMMITS == 0:
            self._due.set()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopped:
                return
            self._copy()

    def _copy(self) -> None:
        try:
            self._pages = self._store.checkpoint_log()
        except SystemExit as exc:
            self._halt(str(exc))
        except Exception as exc:  # noqa: BLE001 the next one tries again: without any, the log grows for ever
            log.error("the write-ahead log was not copied: %s", type(exc).__name__)


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ConfigurationError(f"{path} is longer than a socket's path may be ({MAX_PATH_BYTES} bytes)")
    path.unlink(missing_ok=True)  # left by a process that was killed; we hold the lock
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    finally:
        os.umask(before)
    listener.listen(64)
    return listener
