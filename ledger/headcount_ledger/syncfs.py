"""syncfs(2): make everything durable that was written to a file system, in one call.

For many files at once it takes a small part of the time of an fsync of each, because the journal
is committed and the disk's cache flushed once. It waits for what other programs have written there too.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
from collections.abc import Callable

_SINCE = (5, 8)  # the first Linux whose syncfs reports that a write has failed


def sync_filesystem(descriptor: int) -> bool:
    """Sync the file system of an open file; False where that cannot be relied on.

    An error of any write there since the descriptor was opened is reported: open it before writing.

    Raises:
        OSError: it is not known what is durable.
    """
    call = _call()
    if call is None:
        return False
    if call(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


@functools.cache
def _call() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < _SINCE:
        return None
    try:
        function = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        return None
    function.argtypes, function.restype = (ctypes.c_int,), ctypes.c_int
    found: Callable[[int], int] = function
    return found
