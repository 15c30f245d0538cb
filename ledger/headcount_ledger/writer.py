"""Group commit: one thread commits what many requests want written, in one durable transaction.

The answer to each leaves only after the commit. A queue of bounded length stands before it; what
finds it full is told to come again, and nothing of it was kept.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NoReturn

from headcount_ledger.notices import ANYBODY, Admission
from headcount_ledger.store import Store
from headcount_ledger.work import AnyWork, Work, run_group
from headcount_spec.errors import ProtocolError, UnavailableError

MAX_GROUP = 1000  # works in one transaction
RETRY_AFTER_S = 2

log = logging.getLogger("headcount.ledger")


def end_process(reason: str) -> NoReturn:
    """Stop at once: it is not known what is durable, and the next start finds out."""
    log.critical("%s; the process ends", reason)
    os._exit(5)


class Writer:
    """The thread, started by the first work so that a forked worker has its own."""

    def __init__(
        self,
        store: Store,
        max_waiting: int,
        halt: Callable[[str], object] = end_process,
        admission: Admission = ANYBODY,
    ) -> None:
        self._store = store
        self._admission = admission
        self._queue: queue.Queue[tuple[Work | AnyWork, Future[Any]] | None] = queue.Queue(max_waiting)
        self._halt = halt
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def run(self, work: Work | AnyWork) -> Any:
        """Run the work in a transaction and wait until that is durable.

        Raises:
            UnavailableError: too many wait, or the transaction failed.
            ProtocolError: what the work raises.
        """
        return self.submit(work).result()

    def submit(self, work: Work | AnyWork) -> Future[Any]:
        """Queue the work; the future has what ``run`` returns or raises.

        Raises:
            UnavailableError: too many wait.
        """
        future: Future[Any] = Future()
        self._start()
        try:
            self._queue.put_nowait((work, future))
        except queue.Full:
            raise UnavailableError("too many requests wait for the ledger", RETRY_AFTER_S) from None
        return future

    def close(self) -> None:
        """Finish what waits and stop."""
        with self._starting:
            if self._thread is not None:
                self._queue.put(None)
                self._thread.join()
                self._thread = None

    def _start(self) -> None:
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._loop, name="ledger-writer", daemon=True)
                    thread.start()
                    self._thread = thread

    def _loop(self) -> None:
        running = True
        while running:
            group = [self._queue.get()]
            while len(group) < MAX_GROUP:
                try:
                    group.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            running = None not in group
            self._commit([item for item in group if item is not None])

    def _commit(self, group: list[tuple[Work | AnyWork, Future[Any]]]) -> None:
        if not group:
            return
        try:
            with self._store.write() as tx:
                results = run_group(tx, [work for work, _ in group], self._admission)
        except SystemExit as exc:
            self._halt(str(exc))
            _fail(group, UnavailableError("the ledger stops"))
        except BaseException as exc:  # noqa: BLE001 the requests must not wait for ever; each raises it
            _fail(group, exc)
        else:
            for (_, future), result in zip(group, results, strict=True):
                if isinstance(result, ProtocolError):
                    future.set_exception(result)
                else:
                    future.set_result(result)


def _fail(group: list[tuple[Work | AnyWork, Future[Any]]], error: BaseException) -> None:
    for _, future in group:
        future.set_exception(error)
