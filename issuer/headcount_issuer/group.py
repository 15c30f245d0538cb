"""Group commit: requests that wait at the same time are decided together, by one of their own threads.

The first that comes leads: it decides all that wait when its turn comes. While it does, others gather;
the first of them leads next. There is no thread to start or to stop, and a lone request waits for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

W = TypeVar("W")


class _Place(Generic[W]):
    """One request in the queue."""

    __slots__ = ("decided", "turn", "wish")

    def __init__(self, wish: W) -> None:
        self.wish = wish
        self.decided = False
        self.turn = threading.Event()  # it is decided, or it leads now


class Group(Generic[W]):
    """The queue in front of something that is dear to do once and cheap to do for many."""

    def __init__(self, decide: Callable[[Sequence[W]], None]) -> None:
        """decide is never called twice at a time; it writes its answers into the wishes."""
        self._decide = decide
        self._mutex = threading.Lock()
        self._waiting: list[_Place[W]] = []
        self._led = False  # somebody is deciding, or has been told to

    def submit(self, wish: W) -> None:
        """Return when decide has seen this wish.

        Raises:
            BaseException: what decide raises, in the thread that led; the others of the group return,
                so a wish must hold a refusal until it is granted.
        """
        place = _Place(wish)
        with self._mutex:
            self._waiting.append(place)
            leads = not self._led
            self._led = True
        if not leads:
            place.turn.wait()
        if not place.decided:
            self._lead()

    def _lead(self) -> None:
        with self._mutex:
            group, self._waiting = self._waiting, []
        try:
            self._decide([place.wish for place in group])
        finally:
            with self._mutex:
                follower = self._waiting[0] if self._waiting else None
                self._led = follower is not None
            if follower is not None:
                follower.turn.set()
            for place in group:
                place.decided = True
                place.turn.set()
