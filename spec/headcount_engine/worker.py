"""Processes that do one thing for ours, asked and answering over a pair of sockets.

    question   length u32, operation, data      answer   length u32, status, data

REFUSED means that asking again is of no use, FAILED that it may be; both carry the name of an error and
nothing else. A fault in such a process takes it down and not ours. One that fails or hangs is ended, and the
next question starts another; the question itself is not repeated here, because its asker can, and knows
whether it still wants to. A process ends with its standard input, and so with ours, however that ends.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType, TracebackType

from headcount_spec.errors import ConfigurationError, UnavailableError, UnknownKeyError

DONE, NO_KEY, REFUSED, FAILED = b"\0", b"\1", b"\2", b"\3"

_TIMEOUT_S = 60.0  # generating a key in a slow token; a signature takes a millisecond
_END_S = 5.0
_READ_BYTES = 1 << 13  # sixteen signatures at once


class Workers:
    """So many processes of one program, each started when it is needed; threads share them."""

    def __init__(
        self, program: ModuleType, name: str, number: int, begin: Callable[[Worker], None] | None = None
    ) -> None:
        """program calls serve; name is theirs in errors; begin asks each its first questions."""
        self._program = program
        self._name = name
        self._begin = begin
        self._refused: ConfigurationError | None = None  # a wrong PIN is tried once: a third time locks it
        self._lock = threading.Lock()
        self._closed = False
        self._generation = 0
        self._idle: list[Worker | None] = [None] * number  # whoever was busy last is taken first
        self._turns: queue.SimpleQueue[None] = queue.SimpleQueue()  # as many as are idle: to wait for
        for _ in range(number):
            self._turns.put(None)

    def one(self) -> _Turn:
        """Whichever is free, for some questions: a context that waits for it.

        Raises:
            UnavailableError: it cannot be started now, or they are closed.
            ConfigurationError: it refuses what begin asks; none is asked again.
        """
        return _Turn(self)

    def ask(self, operation: bytes, data: bytes) -> bytes:
        """One question to whichever is free.

        Raises:
            UnknownKeyError, UnavailableError, ConfigurationError: as Worker.ask and one.
        """
        with self.one() as worker:
            return worker.ask(operation, data)

    def renew(self) -> None:
        """End all, and with them what they hold; those that are busy end after their answer."""
        with self._lock:
            self._generation += 1
        self._end_idle()

    def close(self) -> None:
        """End all; who asks now is refused and does not wait."""
        with self._lock:
            self._closed = True
        self._end_idle()

    def take(self) -> Worker:
        """As one; to be put back."""
        self._turns.get()
        worker = self._idle.pop()
        try:
            if self._closed:
                raise UnavailableError("the issuer is stopping")
            if self._refused is not None:
                raise self._refused
            return worker or self._new()
        except BaseException:
            self.put_back(worker)
            raise

    def _new(self) -> Worker:
        worker = Worker(self._program, self._name, self._generation)
        if self._begin is not None:
            try:
                self._begin(worker)
            except BaseException as exc:
                worker.end()
                if isinstance(exc, ConfigurationError):
                    self._refused = exc
                raise
        return worker

    def _end_idle(self) -> None:
        ended = 0
        with contextlib.suppress(queue.Empty):
            while True:
                self._turns.get_nowait()
                ended += 1
                worker = self._idle.pop()
                if worker is not None:
                    worker.end()
        for _ in range(ended):
            self._make_idle(None)

    def put_back(self, worker: Worker | None) -> None:
        """What take gave is free again, or is ended if it must not be asked again."""
        with self._lock:
            stays = (
                worker is not None
                and worker.is_sound
                and not self._closed
                and worker.generation == self._generation
            )
            if stays:
                self._make_idle(worker)
        if not stays:
            if worker is not None:
                worker.end()
            self._make_idle(None)

    def _make_idle(self, worker: Worker | None) -> None:
        self._idle.append(worker)
        self._turns.put(None)


class _Turn:
    """A worker that is taken and put back."""

    __slots__ = ("_worker", "_workers")

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._worker: Worker | None = None

    def __enter__(self) -> Worker:
        self._worker = self._workers.take()
        return self._worker

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.put_back(self._worker)


class Worker:
    """One process."""

    def __init__(self, program: ModuleType, name: str, generation: int = 0) -> None:
        """Start it.

        Raises:
            UnavailableError: it cannot be started now.
        """
        self.generation = generation
        self.is_sound = True  # answers what it is asked next, and not what it was asked before
        self._name = name
        # Found where this process found it. Secrets go through the pipe, because arguments are public.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        try:
            self._link, theirs = socket.socketpair()
        except OSError as exc:
            raise UnavailableError(f"{name} cannot be started: {exc.strerror}") from exc
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", program.__name__],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=environment,
                start_new_session=True,  # Ctrl-C is for us, who end it after the last request
            )
        except OSError as exc:
            self._link.close()
            raise UnavailableError(f"{name} cannot be started: {exc.strerror}") from exc
        finally:
            theirs.close()
        self._timeout_s = 0.0

    def ask(self, operation: bytes, data: bytes) -> bytes:
        """One question.

        Raises:
            UnknownKeyError: it has no such key.
            UnavailableError: it does not answer, or could not do it now; it is not asked again.
            ConfigurationError: it cannot be used at all.
        """
        self.is_sound = False
        try:
            self._wait_at_most(_TIMEOUT_S)
            self._link.sendall(struct.pack(">I", 1 + len(data)) + operation + data)
            answer = self._read()
        except (OSError, EOFError) as exc:
            raise UnavailableError(f"{self._name} does not answer") from exc
        status, rest = answer[:1], answer[1:]
        self.is_sound = status != FAILED
        if status == DONE:
            return rest
        if status == NO_KEY:
            raise UnknownKeyError(f"the private half of this token key is not in {self._name}")
        reason = rest.decode("ascii", "replace")
        if status == REFUSED:
            raise ConfigurationError(f"{self._name} cannot be used: {reason}")
        raise UnavailableError(f"{self._name} does not answer: {reason}")

    def end(self) -> None:
        """End the process; it keeps nothing."""
        self._link.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_at_most(self, seconds: float) -> None:
        # The kernel's timeout and not Python's, which waits and reads by two calls: after each of them a
        # thread waits for the GIL.
        if self._timeout_s != seconds:
            self._timeout_s = seconds
            whole = int(seconds)
            value = struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))  # struct timeval
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._link.setsockopt(socket.SOL_SOCKET, option, value)

    def _read(self) -> bytes:
        data = self._link.recv(_READ_BYTES)
        deadline = time.monotonic() + self._timeout_s
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            more = self._link.recv(_READ_BYTES)
            if not more or time.monotonic() > deadline:
                raise EOFError
            data += more
        return data[4:]


def serve(answer: Callable[[bytes, bytes], bytes]) -> None:
    """Be such a process: answer each operation on its data until the questions end."""
    # A service manager that stops all of a service at once means us: we end when the last is answered.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a module prints must not stand between the answers
    with os.fdopen(0, "rb", closefd=False) as questions, answers:
        while len(header := questions.read(4)) == 4:
            question = questions.read(*struct.unpack(">I", header))
            found = answer(question[:1], question[1:])
            answers.write(struct.pack(">I", len(found)) + found)
            answers.flush()
