"""Token keys in processes of their own, one for each core: see key_process.

A thread gives up the GIL while it signs and then waits for it behind those that serve, after each signature.
Our own process reads a key and hands it over, and keeps none.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence

from headcount_engine import key_process
from headcount_engine.key_process import KEY, MALFORMED, MESSAGE_BYTES, SIGN, SIGNED
from headcount_engine.worker import Worker, Workers
from headcount_spec.blind_rsa import PrivateKey, PublicKey
from headcount_spec.errors import (
    CorruptionError,
    MalformedError,
    ProtocolError,
    UnknownKeyError,
)
from headcount_spec.spki import TokenKeyId

_ANSWER_BYTES = 1 + MESSAGE_BYTES


class KeyProcesses:
    """The processes; threads share them. They start with the first question."""

    def __init__(self, number: int | None = None) -> None:
        """number: one for each core, if it is not told."""
        self.number = number or os.cpu_count() or 1
        self._workers = Workers(key_process, "a signing process", self.number)
        self._keys: list[ProcessKey] = []
        self._starting = threading.Lock()  # two that take all of them would wait for each other

    def start(self) -> None:
        """Start them and give them the keys, so that nobody waits for it; what fails is told to who asks."""
        with self._starting, contextlib.ExitStack() as taken, contextlib.suppress(ProtocolError):
            workers = [taken.enter_context(self._workers.one()) for _ in range(self.number)]
            for key in list(self._keys):
                key.give(workers)

    def key(self, key_id: TokenKeyId, public: PublicKey, read: Callable[[], PrivateKey]) -> ProcessKey:
        """The handle of a key; read is called whenever processes have to be given it."""
        key = ProcessKey(self._workers, key_id, public, read)
        self._keys.append(key)
        return key

    def forget(self, key: ProcessKey) -> None:
        """Have a key leave the memory of all processes: they end, and others start when they are needed."""
        self._keys.remove(key)
        key.forgotten = True
        self._workers.renew()

    def close(self) -> None:
        """End the processes."""
        self._workers.close()


class ProcessKey:
    """A key in the processes, as engine.BlindSigner."""

    def __init__(
        self, workers: Workers, key_id: TokenKeyId, public: PublicKey, read: Callable[[], PrivateKey]
    ) -> None:
        self.public = public
        self._workers = workers
        self._key_id = key_id
        self._read = read
        self.forgotten = False

    def blind_sign(self, blinded_msgs: Sequence[bytes]) -> list[bytes | ProtocolError]:
        """One question to whichever process is free."""
        if any(len(msg) != MESSAGE_BYTES for msg in blinded_msgs):
            raise ValueError("a token request holds exactly as many bytes as the modulus has")
        question = self._key_id + b"".join(blinded_msgs)
        with self._workers.one() as worker:
            # Looked at with a process in hand: forget ends those that were taken before.
            if self.forgotten:
                raise UnknownKeyError("the private half of this token key is not at this issuer any more")
            try:
                answer = worker.ask(SIGN, question)
            except UnknownKeyError:
                self.give([worker])
                answer = worker.ask(SIGN, question)
        if len(answer) != len(blinded_msgs) * _ANSWER_BYTES:
            raise CorruptionError("a signing process gave another number of answers")
        return [_told(answer[at : at + _ANSWER_BYTES]) for at in range(0, len(answer), _ANSWER_BYTES)]

    def give(self, workers: Sequence[Worker]) -> None:
        """Give the key to processes."""
        key = self._read()
        primes = (prime.to_bytes(MESSAGE_BYTES, "big") for prime in (key.p, key.q))
        data = self._key_id + b"".join(primes)
        for worker in workers:
            worker.ask(KEY, data)


def _told(answer: bytes) -> bytes | ProtocolError:
    outcome, blind_sig = answer[:1], answer[1:]
    if outcome == SIGNED:
        return blind_sig
    if outcome == MALFORMED:
        return MalformedError("the blinded message is out of range")
    return CorruptionError("signing failure: the private operation gave a wrong result")
