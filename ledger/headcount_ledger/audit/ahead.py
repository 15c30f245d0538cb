"""The files of a unit, fetched several at a time where each has to travel."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from headcount_ledger.audit.spool import Memory
from headcount_spec.errors import ProtocolError
from headcount_spec.tile import Fetch


def ahead(fetch: Fetch, paths: Iterable[str]) -> Fetch:
    """A fetch of these files: a folder as it is, of anything slower what it has answered by now."""
    connections = getattr(fetch, "connections", 1)
    if connections <= 1:
        return fetch

    def get(path: str) -> tuple[str, bytes | None]:
        try:
            return path, fetch(path)
        except ProtocolError:
            return path, None  # the recount asks for it again and names what is wrong

    with ThreadPoolExecutor(connections, "audit-fetch") as pool:
        return Memory({path: data for path, data in pool.map(get, paths) if data is not None})
