"""Signatures for many at once: signed in several threads, granted in groups, one transaction a group.

    submit → to sign → (threads: is it refused already? sign) → to grant → (one thread: burn all) → deliver

The engine gives up the GIL while it signs, so the signers use every core, and a group is what was signed
while the group before was written. A signature is delivered when its tags are durably used up and not before.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from headcount_engine import rsa
from headcount_engine.engine import SigningKey
from headcount_issuer.store import Store, Wish
from headcount_spec.errors import CorruptionError, ProtocolError, UnavailableError

MAX_WAITING = 2000  # orders; then 503
MAX_GROUP = 256  # in one transaction
GATHER_S = 0.005  # a group waits for others to be signed, if there are any

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Order:
    """One blinded message to be signed, checked in every respect but whether its person has a token."""

    key: SigningKey
    blinded_msg: bytes = field(repr=False)
    wish: Wish
    blind_sig: bytes | None = field(default=None, repr=False)  # to be told only if error is None
    error: ProtocolError | None = None


def sign(store: Store, order: Order) -> bytes:
    """Sign one order, waiting for it.

    Raises:
        MalformedError: the blinded message is none.
        AlreadyIssuedError, NotEligibleError: as Store.burn.
        UnavailableError: the key or the database does not answer; nothing is used up.
    """
    _sign(store, order)
    if order.error is None:
        store.burn_together(order.wish)
        order.error = order.wish.error
    if order.error is not None:
        raise order.error
    assert order.blind_sig is not None  # noqa: S101
    return order.blind_sig


class Signers:
    """The threads; to be closed."""

    def __init__(self, store: Store, threads: int, deliver: Callable[[Sequence[Order]], None]) -> None:
        """deliver is called with orders that are decided, in one of our threads; it must not wait."""
        self._store = store
        self._deliver = deliver
        self._to_sign: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._to_grant: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._sign, name=f"signer-{i}") for i in range(threads)]
        self._granter = threading.Thread(target=self._grant, name="granter")
        for thread in (*self._threads, self._granter):
            thread.start()

    def submit(self, order: Order) -> None:
        """Take an order; it is delivered later.

        Raises:
            UnavailableError: too many wait.
        """
        if self._to_sign.qsize() >= MAX_WAITING:
            raise UnavailableError("too many people are asking for a signature at this moment")
        self._to_sign.put(order)

    def close(self) -> None:
        """Finish what was taken, and end the threads."""
        for _ in self._threads:
            self._to_sign.put(None)
        for thread in self._threads:
            thread.join()
        self._to_grant.put(None)
        self._granter.join()

    def _sign(self) -> None:
        while (order := self._to_sign.get()) is not None:
            _sign(self._store, order)
            if order.error is None:
                self._to_grant.put(order)
            else:
                self._deliver([order])

    def _grant(self) -> None:
        while (order := self._to_grant.get()) is not None:
            if self._to_sign.qsize():
                time.sleep(GATHER_S)  # more are about to come, and a write costs the same for all of them
            group = [order]
            while len(group) < MAX_GROUP:
                try:
                    further = self._to_grant.get_nowait()
                except queue.Empty:
                    break
                if further is None:
                    self._to_grant.put(None)  # the last of all
                    break
                group.append(further)
            try:
                self._store.burn_all([order.wish for order in group])
            except CorruptionError as exc:
                _log.error("%s: %s", exc.code, exc)
                for order in group:
                    order.wish.error = exc
            for order in group:
                order.error = order.wish.error
            self._deliver(group)


def _sign(store: Store, order: Order) -> None:
    # Who has a token for another message is refused before: one person must not have the key work on many
    # messages of their choice. Signed before the tags are used up: a security module that fails costs nobody
    # their token.
    try:
        store.check(order.wish)
        order.blind_sig = rsa.blind_sign(order.key, order.blinded_msg)
    except ProtocolError as exc:
        order.error = exc
    except Exception as exc:  # noqa: BLE001 - a thread that ends would leave its person waiting
        _log.error("a signature failed: %s", type(exc).__name__)
        order.error = CorruptionError("signing failure")
