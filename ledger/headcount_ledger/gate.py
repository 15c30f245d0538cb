"""Acceptance in an event loop: the same rules as ``Ledger.accept``, which never block it.

Verification takes a fortieth of a millisecond and stays in the loop. Reads, which only retries, revisions
and the first pledge of a scope need, are made by a few threads; works go to the writer process. What
came of an entry is told to a function: a task and a future for each cost as much as its verification.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from headcount_engine.acceptance import VerifiedPledge
from headcount_ledger.intake import Acceptance, Accepted, Look
from headcount_ledger.ledger import Ledger
from headcount_ledger.work import Work
from headcount_ledger.writer import RETRY_AFTER_S
from headcount_ledger.writer_client import WriterClient
from headcount_spec.errors import ProtocolError, UnavailableError

_READERS = 4

# Called once, with the answer or with what was raised: a ProtocolError, or a bug's exception.
Done = Callable[[Accepted | Exception], None]
# A work that is held back, and what to tell its result.
Asked = tuple[Work, Callable[[Any], None]]


class Gate:
    """The ledger as the processes that serve HTTP reach it. Belongs to one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.ledger_key = ledger.verification_key
        self.writer = WriterClient(ledger.config.socket, ledger.config.max_waiting)
        self._readers = ThreadPoolExecutor(_READERS, "ledger-reader")
        self._looks = 0  # under way
        self._most_looks = ledger.config.max_waiting

    def accept(
        self, entry: bytes | VerifiedPledge, day: int, done: Done, asked: list[Asked] | None = None
    ) -> None:
        """Take one entry; see ``Intake.accepting``. A refusal may be told before this returns.

        With ``asked``, the first work is put there instead of being sent: see ``send``.
        """
        _Run(self, self._ledger.accepting(entry, day), done, asked).advance(None)

    def send(self, asked: list[Asked]) -> None:
        """Send works that were held back until all are there: the writer commits them together, which
        costs it half as much an entry."""
        for work, advance in asked:
            try:
                self.writer.ask(work, advance)
            except ProtocolError as exc:
                advance(exc)

    def look(self, look: Look, done: Callable[[Any], None]) -> None:
        """Read from the database in a thread.

        Raises:
            UnavailableError: too many wait.
        """

        def tell(future: asyncio.Future[Any]) -> None:
            self._looks -= 1
            if future.cancelled():
                done(UnavailableError("the ledger stops"))
            else:
                done(future.exception() or future.result())

        if self._looks >= self._most_looks:
            raise UnavailableError("too many requests wait for the ledger", RETRY_AFTER_S)
        self._looks += 1
        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._readers, self._ledger.look, look.read).add_done_callback(tell)

    def close(self) -> None:
        """Close the connection to the writer."""
        self.writer.close()
        self._readers.shutdown()


class _Run:
    """An acceptance that is under way."""

    __slots__ = ("_acceptance", "_asked", "_done", "_gate")

    def __init__(self, gate: Gate, acceptance: Acceptance, done: Done, asked: list[Asked] | None) -> None:
        self._gate = gate
        self._acceptance = acceptance
        self._done = done
        self._asked = asked

    def advance(self, result: Any) -> None:
        """Go on with the result or the error of the last step."""
        try:
            if isinstance(result, Exception):
                step = self._acceptance.throw(result)
            else:
                step = self._acceptance.send(result)
        except StopIteration as end:
            self._done(end.value)
            return
        except Exception as exc:  # noqa: BLE001 whoever waits must be told, whatever it is
            self._done(exc)
            return
        try:
            if isinstance(step, Look):
                self._asked = None  # it goes on when the others have been sent
                self._gate.look(step, self.advance)
            elif self._asked is not None:
                self._asked.append((step, self.advance))
                self._asked = None
            else:
                self._gate.writer.ask(step, self.advance)
        except Exception as exc:  # noqa: BLE001 whoever waits must be told, whatever it is
            self.advance(exc)
