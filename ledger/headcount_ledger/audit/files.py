"""The published files as an auditor reads them: what cannot be read is a fault with a name."""

from __future__ import annotations

from headcount_ledger.audit.fault import FaultList
from headcount_spec.errors import NotFoundError, ProtocolError, UnavailableError
from headcount_spec.tile import Fetch

MAX_STALLS = 4  # after so many failures in a row the host is gone, and no verdict is fair


class Files:
    """Reads through a Fetch and records what fails."""

    __slots__ = ("_faults", "_fetch", "_stalls")

    def __init__(self, fetch: Fetch, faults: FaultList) -> None:
        self._fetch = fetch
        self._faults = faults
        self._stalls = 0

    @property
    def fetch(self) -> Fetch:
        """To read what may be missing without a fault."""
        return self._fetch

    def find(self, path: str) -> bytes | None:
        """The bytes, or None if there is no such file."""
        try:
            data = self._fetch(path)
        except NotFoundError:
            return None
        except UnavailableError as exc:
            self._stalls += 1
            if self._stalls >= MAX_STALLS:
                raise
            self._faults.add("unreadable-file", f"{path}: {exc}")
            return None
        except ProtocolError as exc:
            self._faults.add("unreadable-file", f"{path}: {exc}")
            return None
        self._stalls = 0
        return data

    def read(self, path: str, *, batch: int | None = None) -> bytes | None:
        """The bytes; that there is no such file is a fault."""
        known = len(self._faults)
        data = self.find(path)
        if data is None and len(self._faults) == known:
            self._faults.add("unreadable-file", f"{path} is missing", batch=batch)
        return data
