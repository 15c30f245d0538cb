"""The fixed tick: a thread that seals at multiples of the tick, whatever has come or not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from headcount_ledger.clock import wall_clock as wall_clock
from headcount_ledger.ledger import Ledger
from headcount_ledger.writer import end_process
from headcount_spec.errors import UnavailableError
from headcount_spec.text import day_of

log = logging.getLogger("headcount.ledger")


class Ticker:
    """Runs the sequencer of a ledger in a thread, or in the calling one by ``run``."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Callable[[], int] = wall_clock,
        halt: Callable[[str], object] = end_process,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._halt = halt
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Ticker:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self.run, name="ledger-sequencer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the batch that is being sealed be finished, then stop."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def run(self) -> None:
        """Seal until stopped. What cannot be recovered from here ends the process."""
        try:
            while not self._stop.is_set():
                self._hold_and_seal()
        except BaseException as exc:  # noqa: BLE001 a sequencer that silently stops breaks every promise
            self._halt(f"the sequencer stops: {exc}")

    def _hold_and_seal(self) -> None:
        """Hold the sequencer's lock and seal, until stopped or told to try again."""
        try:
            with self._ledger.sequencer() as sequencer:
                sequencer.consult(sequencer.recover())
                while not self._wait():
                    sequencer.seal(day_of(self._clock()))
        except UnavailableError as exc:
            log.warning("no batch: %s", exc)
            self._stop.wait(exc.retry_after_s)

    def _wait(self) -> bool:
        """Wait for the next multiple of the tick; True if stopped."""
        tick_s = self._ledger.config.tick_s
        return self._stop.wait(tick_s - time.time() % tick_s)
