"""How often each link of a campaign was opened: a number for each link, and nothing about who came.

An opening is counted when the page is asked for and sent on without the link, so no pledge can be counted
by link, and none is. What is shown is the number at the last midnight (UTC), in whole tens: nobody can
watch a link being opened by asking again and again. The file has no time but one day for all links, and no
order but that of keys; its journal is removed after each opening.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from headcount_spec.errors import ConfigurationError, LinkEndedError, NotFoundError, UnavailableError
from headcount_spec.link import Link
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import day_of

STEP = 10  # fewer are shown as none
_BUSY_S = 10.0


@dataclass(frozen=True, slots=True)
class Openings:
    """What anybody who has a link may know of it."""

    opened: int  # until the last midnight, rounded down to tens
    cap: int  # 0 for none
    last_day: int
    ended: bool


class Links:
    """The counts of one verifier. Threads and processes may share the file."""

    def __init__(self, path: Path, today: Callable[[], int] = lambda: day_of(int(time.time()))) -> None:
        """Open the file; made if it is not there. Today gives the UTC day.

        Raises:
            ConfigurationError: it cannot be opened.
        """
        self._path = path
        self._today = today
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
            with self._database() as db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS links (link BLOB PRIMARY KEY, opened INTEGER NOT NULL, "
                    "shown INTEGER NOT NULL) WITHOUT ROWID"
                )
                db.execute("CREATE TABLE IF NOT EXISTS today (one INTEGER PRIMARY KEY, day INTEGER NOT NULL)")
                db.execute("INSERT OR IGNORE INTO today VALUES (1, ?)", (self._today(),))
        except (OSError, sqlite3.Error, UnavailableError) as exc:
            raise ConfigurationError(f"cannot open {path.name}") from exc

    def open(self, manifest: Manifest, link: Link, *, counts: bool = True) -> None:
        """Count an opening of a link that was checked; counts is false for who only looks ahead.

        Raises:
            LinkEndedError: its last day is over, or it was opened as often as it may be.
            UnavailableError: the file cannot be written now.
        """
        today = self._today()
        if today > link.last_day:
            raise LinkEndedError("the last day of this link is over")
        key, cap = manifest.scope_id + link.id, link.cap
        with self._database() as db:
            if not counts:
                if cap and self._opened(db, key)[0] >= cap:
                    raise _full()
                return
            db.execute("BEGIN IMMEDIATE")
            if db.execute("UPDATE today SET day = ? WHERE day < ?", (today, today)).rowcount:
                db.execute("UPDATE links SET shown = opened")
            db.execute("INSERT OR IGNORE INTO links VALUES (?, 0, 0)", (key,))
            # One statement decides, whoever else is opening it.
            opened = "UPDATE links SET opened = opened + 1 WHERE link = ? AND (? = 0 OR opened < ?)"
            done = db.execute(opened, (key, cap, cap)).rowcount
            db.execute("COMMIT")
        if done != 1:
            raise _full()

    def openings(self, manifest: Manifest, link: Link) -> Openings:
        """What is shown of a link that was checked.

        Raises:
            UnavailableError: the file cannot be read now.
        """
        today = self._today()
        with self._database() as db:
            opened, shown = self._opened(db, manifest.scope_id + link.id)
            (day,) = db.execute("SELECT day FROM today").fetchone()
        if day < today:
            shown = opened
        # Whether the cap is reached today is seen tomorrow, like every other number.
        ended = today > link.last_day or (link.cap > 0 and shown >= link.cap)
        return Openings(shown - shown % STEP, link.cap, link.last_day, ended)

    def _opened(self, db: sqlite3.Connection, key: bytes) -> tuple[int, int]:
        found = db.execute("SELECT opened, shown FROM links WHERE link = ?", (key,)).fetchone()
        return (0, 0) if found is None else (int(found[0]), int(found[1]))

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(sqlite3.connect(self._path, _BUSY_S, isolation_level=None)) as db:
                # No write-ahead log: it would show in which order links were opened.
                db.execute("PRAGMA journal_mode = DELETE")
                db.execute("PRAGMA secure_delete = ON")
                yield db
        except sqlite3.Error as exc:
            raise UnavailableError("the counts of links cannot be read or written now") from exc


def find_link(scopes: Mapping[ScopeId, Manifest], token: str) -> tuple[Manifest, Link]:
    """The link of an address, checked, and the terms that it leads to.

    Raises:
        MalformedError: it is no link.
        NotFoundError: of no scope that is known here.
        SignatureError: no organiser of the scope has made it.
    """
    link = Link.from_token(token)
    for scope_id in scopes:
        if scope_id.startswith(link.scope_prefix):
            manifest = scopes[scope_id]
            link.check(scope_id, manifest.organisers.keys)
            return manifest, link
    raise NotFoundError("the campaign of this link is not known here")


def _full() -> LinkEndedError:
    return LinkEndedError("this link was opened as often as it may be")
