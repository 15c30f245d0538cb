"""Very many signatures: verified one by one at first, and by vectors when that has gone on for a while.

Vector code is loaded when it is needed, which takes as long as libcrypto takes for some five thousand
signatures; the first time on a machine it is compiled, and takes four times as long. Nobody knows before how
many will come: whoever changes over when so many have been verified has lost at most half of the time, and
a process that verifies few loads no compiler.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from headcount_engine import selftest
from headcount_engine.engine import Check, VerifyingKey
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import ProtocolError

PATIENCE = 5_000  # signatures in one process

_log = logging.getLogger(__name__)


class ManyEngine(Protocol):
    """Verifies many signatures of one key at a time."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    def checker(self, key: PublicKey) -> Check:
        """As VerifyingKey.checker."""
        ...


def lanes() -> ManyEngine:
    """The engine for processors with AVX-512 IFMA, where llvmlite is installed."""
    from headcount_engine.lanes.engine import Lanes

    return Lanes()


class Vectors:
    """An engine for many, made when so many signatures have been verified without it."""

    def __init__(self, make: Callable[[], ManyEngine], patience: int) -> None:
        self._make = make
        self._patience = patience  # signatures; not exact where threads count at the same time
        self._lock = threading.Lock()
        self._is_tried = False
        self.engine: ManyEngine | None = None  # once it is made

    def checker(self, key: VerifyingKey) -> Check:
        """A check for one thread that may verify very many signatures; which of them is wrong is not told."""
        few = key.checker()
        many: Check | None = None

        def check(digests: Sequence[bytes], sigs: Sequence[bytes]) -> bool:
            nonlocal many
            if many is not None:
                return many(digests, sigs)
            if self._patience < 0 or self.engine is not None:
                engine = self.made()
                many = few if engine is None else engine.checker(key.public)
                return many(digests, sigs)
            self._patience -= len(sigs)
            return few(digests, sigs)

        return check

    def made(self) -> ManyEngine | None:
        """The engine, made now if it was not; None if there is none for this machine."""
        with self._lock:
            if not self._is_tried:
                self._is_tried = True
                self.engine = self._tried()
            return self.engine

    def _tried(self) -> ManyEngine | None:
        try:
            engine = self._make()
            selftest.check_many(engine.checker(selftest.key().public))
        except (ImportError, OSError, RuntimeError, ProtocolError) as exc:
            _log.info("signatures are verified one by one: %s", exc)
            return None
        _log.info("signatures are verified by %s", engine.name)
        return engine


_OURS = Vectors(lanes, PATIENCE)


def prepare() -> None:
    """Make the engine now: very many are to come, here or in processes that are forked from this one."""
    _OURS.made()


def checker(key: VerifyingKey) -> Check:
    """Vectors.checker, with what all keys of this process have in common."""
    return _OURS.checker(key)
