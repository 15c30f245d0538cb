"""Executors for the audit: processes on this machine, or an existing Dask cluster.

Processes are forked from this one while it has one thread only, with all that it has loaded: a fork of more
threads would copy locks that others hold. They end with the process that started them, however that ends.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from headcount_engine import many
from headcount_ledger.audit import scan, survey  # noqa: F401 - loaded before processes are forked
from headcount_spec.errors import ConfigurationError, UnavailableError

CONNECT_S = 20
_THREADS = Path("/proc/self/task")  # Linux's; a library's own threads are there too


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def processes(jobs: int, very_many: bool = False) -> Iterator[Executor | None]:
    """So many processes; none for one job, which this process does.

    To be entered early: before there are threads, and before there is anything that they should not keep
    open. With very_many, each gets vector code ready from now on, while this process goes on; otherwise each
    does when it has verified many signatures.
    """
    if jobs <= 1:
        yield None
        return
    pool = ProcessPoolExecutor(jobs, mp_context=_context(), initializer=_begin, initargs=(very_many,))
    try:
        pool.submit(os.getpid)  # starts them
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context() -> BaseContext:
    if _THREADS.is_dir() and len(list(_THREADS.iterdir())) == 1:
        return get_context("fork")
    return get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")


@contextmanager
def dask(address: str) -> Iterator[Executor]:
    """The workers of a Dask cluster. They need this package and must be able to read the ledger.

    Raises:
        ConfigurationError: the package distributed is not installed, or the address is none.
        UnavailableError: no scheduler answers there.
    """
    try:
        from distributed import Client
    except ModuleNotFoundError as exc:
        raise ConfigurationError("a Dask cluster needs: pip install 'headcount[audit]'") from exc
    try:
        make: Any = Client  # distributed has no types
        client = make(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError) as exc:
        raise UnavailableError("the Dask scheduler does not answer") from exc
    except (ValueError, TypeError) as exc:
        raise ConfigurationError("not the address of a Dask scheduler, as tcp://127.0.0.1:8786") from exc
    try:
        # Retries move a unit away from a worker that dies; pure is wrong, as files may have changed.
        yield client.get_executor(pure=False, retries=2)
    finally:
        client.close()


def _begin(very_many: bool) -> None:
    """End with the parent; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent.sentinel,), daemon=True).start()
    if very_many:
        many.prepare()


def _wait_for(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
