"""Where the published files of a ledger are read from: a web address or a folder (C2SP tlog-tiles).

A ``Fetch`` takes a relative path and returns the bytes; what they mean is checked by the reader.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from headcount_ledger.reader.transport import HttpTransport, Transport, error_of, join
from headcount_spec.errors import ConfigurationError, MalformedError, NotFoundError, UnavailableError
from headcount_spec.tile import Fetch

CONNECTIONS = 16  # files that one process reads from the web at a time

_CAPS = (
    (re.compile(r"checkpoint|checkpoints/[0-9]{1,19}"), 65_536),
    (re.compile(r"tile/entries/[x0-9/]{3,40}(\.p/[0-9]{1,3})?"), 256 * (2 + 65_535)),
    (re.compile(r"tile/[0-9]{1,2}/[x0-9/]{3,40}(\.p/[0-9]{1,3})?"), 256 * 32),
    (re.compile(r"totals/[0-9]{1,19}"), 64 * 2**20),  # a million scopes
    (re.compile(r"scopes/[0-9a-f]{64}"), 2**20),
)


def max_bytes_of(path: str) -> int:
    """The largest size that a published file of this path can have.

    Raises:
        MalformedError: not a path of the static ledger.
    """
    for pattern, cap in _CAPS:
        if pattern.fullmatch(path):
            return cap
    raise MalformedError("not a path of a ledger")


def http_fetch(base: str, transport: Transport) -> Fetch:
    """Reads below a web address.

    The Fetch raises NotFoundError for 404, UnavailableError for everything else but 200.
    """

    def fetch(path: str) -> bytes:
        answer = transport("GET", join(base, path), max_bytes=max_bytes_of(path))
        if answer.status == 200:
            return answer.body
        if answer.status in (404, 410):
            raise NotFoundError(f"the ledger has no {path}")
        error = error_of(answer, "the ledger")
        raise error if isinstance(error, UnavailableError) else UnavailableError(str(error)) from error

    return fetch


@dataclass(frozen=True, slots=True)
class Web:
    """Reads below a web address with a connection of each process. May go to other processes and machines."""

    base: str

    def __call__(self, path: str) -> bytes:
        """The bytes of a file; raises as http_fetch says."""
        return http_fetch(self.base, _transport())(path)

    @property
    def connections(self) -> int:
        """How many files it is well to read at a time."""
        return CONNECTIONS


@cache
def _transport() -> HttpTransport:
    return HttpTransport()


@dataclass(frozen=True, slots=True)
class Folder:
    """Reads a folder with a ledger's published files or a mirror of them; may go to other processes."""

    root: str

    def __call__(self, path: str) -> bytes:
        """The bytes of a file.

        Raises:
            NotFoundError: it is not there.
            UnavailableError: it cannot be read, or is longer than any such file may be.
        """
        cap = max_bytes_of(path)
        try:
            with open(os.path.join(self.root, path), "rb", buffering=0) as file:
                # Not cap + 1 outright: that much memory would be taken for each read.
                data = file.read(min(os.fstat(file.fileno()).st_size, cap) + 1)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as exc:
            raise NotFoundError(f"the ledger has no {path}") from exc
        except OSError as exc:
            raise UnavailableError(f"cannot read {path}: {exc.strerror}") from exc
        if len(data) > cap:
            raise UnavailableError(f"{path} is longer than {cap} bytes")
        return data


def directory_fetch(root: Path) -> Folder:
    """The Fetch of a folder."""
    return Folder(str(root))


def cached(fetch: Fetch, max_items: int = 64) -> Fetch:
    """Keeps the tiles and bundles that were read last; they never change."""
    kept: OrderedDict[str, bytes] = OrderedDict()

    def fetch_cached(path: str) -> bytes:
        if not path.startswith("tile/"):
            return fetch(path)
        if path in kept:
            kept.move_to_end(path)
            return kept[path]
        data = kept[path] = fetch(path)
        if len(kept) > max_items:
            kept.popitem(last=False)
        return data

    return fetch_cached


def is_url(target: str) -> bool:
    """Whether a LEDGER argument is a web address rather than a folder."""
    return target.startswith(("http://", "https://"))


def open_fetch(target: str, transport: Transport) -> Fetch:
    """The Fetch for a LEDGER argument: an http(s) URL or a folder.

    Raises:
        ConfigurationError: neither of the two.
    """
    if is_url(target):
        return http_fetch(target, transport)
    root = Path(target)
    if not root.is_dir():
        raise ConfigurationError("the ledger is neither an http(s) address nor a folder")
    return directory_fetch(root)
