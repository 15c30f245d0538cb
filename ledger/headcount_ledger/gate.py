"""Acceptance in an event loop: the same rules as ``Ledger.accept``, which never block it.

Verification takes a tenth of a millisecond and stays in the loop. Reads, which only retries, revisions
and the first pledge of a scope need, are made by a few threads; works go to the writer process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from headcount_engine.acceptance import VerifiedPledge
from headcount_ledger.intake import Accepted, Look
from headcount_ledger.ledger import Ledger
from headcount_ledger.work import Work
from headcount_ledger.writer_client import WriterClient
from headcount_spec.errors import ProtocolError

_READERS = 4


class Gate:
    """The ledger as the processes that serve HTTP reach it. Belongs to one event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.ledger_key = ledger.verification_key
        self._writer = WriterClient(ledger.config.socket, ledger.config.max_waiting)
        self._readers = ThreadPoolExecutor(_READERS, "ledger-reader")

    async def accept(self, entry: bytes | VerifiedPledge, day: int) -> Accepted:
        """Take one entry; see ``Intake.accepting``."""
        acceptance = self._ledger.accepting(entry, day)
        send: Callable[[Any], Look | Work] = acceptance.send
        result: Any = None
        while True:
            try:
                step = send(result)
            except StopIteration as done:
                accepted: Accepted = done.value
                return accepted
            send = acceptance.send
            try:
                if isinstance(step, Look):
                    loop = asyncio.get_running_loop()
                    result = await loop.run_in_executor(self._readers, self._ledger.look, step.read)
                else:
                    result = await self._writer.run(step)
            except ProtocolError as exc:
                send, result = acceptance.throw, exc

    def close(self) -> None:
        """Close the connection to the writer."""
        self._writer.close()
        self._readers.shutdown()
