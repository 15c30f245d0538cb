"""Executors for the audit: processes on this machine, or an existing Dask cluster.

Processes are forked from a server that has loaded what they need and has no threads: a fork of this process
would copy locks that other threads hold. They end with the process that started them, however that ends.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import connection, forkserver, get_all_start_methods, get_context, parent_process
from multiprocessing.context import BaseContext
from typing import Any

from headcount_spec.errors import ConfigurationError, UnavailableError

CONNECT_S = 20
_LOADED = ["headcount_ledger.audit.scan", "headcount_ledger.audit.survey"]
_COMPILED = ["headcount_ledger.audit.compiled"]


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Processes(ProcessPoolExecutor):
    # Starting them takes as long as verifying so many blocks here: work looks at this member.
    worth_blocks = 32


@contextmanager
def processes(jobs: int, many: bool = False) -> Iterator[Executor | None]:
    """So many processes, started when there is work; None for one job, which this process does.

    What they need is loaded from now on, while this process goes on; with many, vector code is compiled too,
    which otherwise each process does when it has verified many signatures.
    """
    if jobs <= 1:
        yield None
        return
    pool = _Processes(jobs, mp_context=_context(many), initializer=_follow_parent)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _context(many: bool) -> BaseContext:
    if "forkserver" not in get_all_start_methods():
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(_LOADED + (_COMPILED if many else []))
    forkserver.ensure_running()
    return context


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


def _follow_parent() -> None:
    """End with the parent; leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_wait_for, args=(parent.sentinel,), daemon=True).start()


def _wait_for(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
