"""Signatures for many at once: signed in other processes, granted in groups, one transaction a group.

    submit → to sign → (threads: refused already? else signed) → to grant → (one thread: burn all) → deliver

A thread takes all that wait, up to a batch, and waits for the process that signs them; a group is what was
signed while the group before was written. So nobody waits for the GIL after every signature. A signature is
delivered when its tags are durably used up and not before. The database's log, which shows the order of the
groups, is emptied when no other comes, and in a rush again and again: what stands in it is a moment old.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from headcount_engine.engine import BlindSigner
from headcount_issuer.store import Store, Wish
from headcount_spec.errors import CorruptionError, ProtocolError, UnavailableError

MAX_WAITING = 2000  # orders; then 503
MAX_BATCH = 16  # for one process: five milliseconds
MAX_GROUP = 256  # in one transaction
GATHER_S = 0.001  # for so long a group waits for others, if any are about to be signed
LOG_QUIET_S = 0.02  # after so long without another group the database's log is emptied
LOG_MAX_S = 0.1  # and when groups go on coming, as soon as its oldest is so old

A = TypeVar("A")

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Order:
    """One blinded message to be signed, checked in every respect but whether its person has a token."""

    key: BlindSigner
    blinded_msg: bytes = field(repr=False)
    wish: Wish
    blind_sig: bytes | None = field(default=None, repr=False)  # to be told only if error is None
    error: ProtocolError | None = None


def sign(store: Store, order: Order) -> bytes:
    """Sign one order, waiting for it.

    Raises:
        MalformedError: the blinded message is none.
        AlreadyIssuedError, QuotaUsedError: as Store.burn.
        UnavailableError: the key or the database does not answer; nothing is used up.
    """
    _sign(store, [order])
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
        self._to_grant: queue.SimpleQueue[list[Order] | None] = queue.SimpleQueue()
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
        self._to_sign.put(None)
        for thread in self._threads:
            thread.join()
        self._to_grant.put(None)
        self._granter.join()

    def _sign(self) -> None:
        while batch := self._batch():
            _sign(self._store, batch)
            refused = [order for order in batch if order.error is not None]
            if len(refused) < len(batch):
                self._to_grant.put([order for order in batch if order.error is None])
            if refused:
                self._deliver(refused)

    def _batch(self) -> list[Order]:
        """What waits, shared among the threads; nothing at the end."""
        order = self._to_sign.get()
        batch: list[Order] = []
        while order is not None:
            batch.append(order)
            if len(batch) > min(MAX_BATCH - 1, self._to_sign.qsize() // len(self._threads)):
                return batch
            try:
                order = self._to_sign.get_nowait()
            except queue.Empty:
                return batch
        self._to_sign.put(None)  # for the other threads, and for this one's next time
        return batch

    def _grant(self) -> None:
        while (signed := self._signed()) is not None:
            if self._to_sign.qsize():
                time.sleep(GATHER_S)
            group = list(signed)
            while len(group) < MAX_GROUP:
                try:
                    further = self._to_grant.get_nowait()
                except queue.Empty:
                    break
                if further is None:
                    self._to_grant.put(None)  # the last of all
                    break
                group += further
            self._burn(group)
        self._empty_log()

    def _signed(self) -> list[Order] | None:
        """What is to be granted next, None at the end; the log is emptied in between."""
        while (age := self._store.log_age()) is not None:
            if age < LOG_MAX_S:
                with contextlib.suppress(queue.Empty):
                    return self._to_grant.get(timeout=LOG_QUIET_S)
            self._empty_log()
        return self._to_grant.get()

    def _empty_log(self) -> None:
        try:
            self._store.empty_log()
        except ProtocolError:  # tried again after as long, and when the database is opened
            _log.warning("the database's log was not emptied")

    def _burn(self, group: Sequence[Order]) -> None:
        waiting = [group]

        def decided() -> None:
            for order in waiting.pop():
                order.error = order.wish.error
            self._deliver(group)

        try:
            self._store.burn_all([order.wish for order in group], decided)
        except Exception as exc:  # noqa: BLE001 - without this thread everybody would wait for ever
            _log.error("a group was not granted: %s", type(exc).__name__)
            if waiting:
                for order in group:
                    order.wish.error = CorruptionError("the database contradicts itself")
                decided()


def _sign(store: Store, orders: Sequence[Order]) -> None:
    # Who has a token for another message is refused before: one person must not have the key work on many
    # messages of their choice. Signed before the tags are used up: a security module that fails costs nobody
    # their token.
    by_key: dict[BlindSigner, list[Order]] = {}
    errors = _told(len(orders), lambda: store.check([order.wish for order in orders]))
    for order, error in zip(orders, errors, strict=True):
        order.error = error
        if error is None:
            by_key.setdefault(order.key, []).append(order)
    for key, ours in by_key.items():
        for order, found in zip(ours, _told(len(ours), partial(_ask, key, ours)), strict=True):
            if isinstance(found, bytes):
                order.blind_sig = found
            else:
                order.error = found


def _ask(key: BlindSigner, orders: Sequence[Order]) -> list[bytes | ProtocolError]:
    return key.blind_sign([order.blinded_msg for order in orders])


def _told(number: int, work: Callable[[], list[A]]) -> list[A | ProtocolError]:
    """What work answers to so many, or why it does not: a thread that ends would leave people waiting."""
    try:
        return [*work()]
    except ProtocolError as exc:
        return [exc] * number
    except Exception as exc:  # noqa: BLE001 - as said
        _log.error("a signature failed: %s", type(exc).__name__)
        return [CorruptionError("signing failure")] * number
