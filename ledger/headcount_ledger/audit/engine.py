"""The audit of a bare log from its published files.

A first look at the entry bundles says what must be kept in full (``survey``). Then workers cut, hash and
verify ranges of blocks (``work``, ``scan``), and their results are merged in the order of the log into
the recount; seals are judged as they come. A block in which anything is unusual is gone through here,
entry by entry. If at the end two nullifiers look alike, everything is recounted with those kept in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

from headcount_ledger.audit.receipt import (
    Receipt,
)
from headcount_ledger.audit.report import AuditReport
from headcount_ledger.audit.run import Progress, Run, Task, policy_hash
from headcount_ledger.audit.spent import watch_list
from headcount_ledger.audit.spool import Spool
from headcount_ledger.audit.state import AuditState, LoadedState, believing, load_state
from headcount_ledger.audit.unit import Extent
from headcount_ledger.audit.work import Work
from headcount_ledger.reader.bucket import Bucket
from headcount_ledger.reader.fetch import Folder, Web
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import ConfigurationError
from headcount_spec.merkle import (
    RootHash,
)
from headcount_spec.policy import Policy
from headcount_spec.scope import scope_id
from headcount_spec.tile import Fetch

EVERYTHING = Extent()
MAX_LOOKS = 4  # runs: one, one for what is alike, and some for files that change meanwhile
SHARED = (Folder, Web, Bucket)  # what every worker can read by itself


def audit(
    fetch: Fetch,
    policy: Policy,
    *,
    remembered: Iterable[Checkpoint] = (),
    receipts: Sequence[Receipt] = (),
    progress: Progress | None = None,
    executor: Executor | None = None,
    extent: Extent = EVERYTHING,
    connections: int = 1,
    resume: Path | None = None,
    fetching: Progress | None = None,
) -> AuditReport:
    """Recount everything that a log has published. Protocol, Section 4.

    remembered are checkpoints that the caller has verified before, of this log or of others; what the
    log has published must begin with their trees. Each receipt's entry must be there.

    The work is done by the executor, here without one; the report is the same. A Folder, a Bucket or the
    Web is read by the workers themselves; what any other fetch reads is read once, over so many
    connections at a time, and kept on this machine meanwhile; fetching is told of it. extent says which
    signatures are verified.

    resume is a file with the state of an earlier audit, which makes this one cost its new entries only,
    and in which this one leaves its own every minute and at the end, as long as nothing is wrong.

    Raises:
        ProofError: a receipt does not verify in itself.
        ConfigurationError: the state is damaged, of another ledger or policy, or cannot be written.
    """
    if resume is not None and extent != EVERYTHING:
        raise ConfigurationError("a state is of an audit that verifies everything")
    spool = None if isinstance(fetch, SHARED) else Spool(fetch, connections)
    try:
        held = tuple(receipts)
        task = Task(
            spool or fetch, policy, tuple(remembered), held, progress, executor, extent, resume, fetching
        )
        return _look_until_sure(task, spool)
    finally:
        if spool is not None:
            spool.close()


def _look_until_sure(task: Task, spool: Spool | None) -> AuditReport:
    head = Head(task.fetch)
    unwatched: set[int] = set()
    work: Work | None = None
    loaded = saved = None if task.resume is None else load_state(task.resume)
    looks = 0
    while True:
        looks += 1
        run = Run(task, head)
        try:
            judged = run.read_checkpoint()
            if judged is None:
                return run.report(None)
            if task.extent.start and not _goes_on(judged.checkpoint, task):
                raise ConfigurationError("the earlier checkpoint is of another ledger")
            if saved is not None:
                _check_own(saved.state, judged.checkpoint, task)
                with believing():
                    task = _remember(task, saved.state)
                run = Run(task, head)
                judged = run.read_checkpoint() or judged
            if saved is not None and judged.checkpoint.size < saved.state.size:
                saved.verify()
                saved = None  # it went back: what is left is recounted, to say so with its reasons
            if work is None:
                work = _prepare(task, spool, saved, judged.checkpoint.size)
            report = run.run(judged, work, watch_list(work.revised, unwatched), saved)
            if saved is not None and not run.is_coherent:
                # The earlier entries are not what they were, or cannot be read: recount all of them.
                saved, work = None, None
                continue
            more = run.unwatched() - unwatched
            if not more or (looks >= MAX_LOOKS and not report.ok):
                run.keep(report)
                return report
            if looks >= MAX_LOOKS:
                run.faults.add("unreadable-file", "the files change while they are read")
                return run.report(judged)
            unwatched |= more
        finally:
            run.close()
            if loaded is not None:
                loaded.verify()  # whatever was found with it: a damaged state is what must be said


def _prepare(task: Task, spool: Spool | None, saved: LoadedState | None, size: int) -> Work:
    start = 0 if saved is None else saved.state.size
    source = task.fetch if spool is None else spool.fill(start, size, task.fetching)
    work = Work(source, start, size, task.executor)
    if saved is not None:
        with believing():
            manifests = [scope["manifest"].encode() for scope in saved.state.scopes]
        work.learn((scope_id(raw), raw) for raw in manifests)
    work.survey()
    return work


def _goes_on(checkpoint: Checkpoint, task: Task) -> bool:
    """Whether what was verified before, if the caller says where that ended, was of this ledger."""
    return not task.remembered or any(old.origin == checkpoint.origin for old in task.remembered)


def _check_own(state: AuditState, checkpoint: Checkpoint, task: Task) -> None:
    if state.policy != policy_hash(task.policy):
        raise ConfigurationError("the state is of an audit under another trust policy")
    if state.origin != checkpoint.origin:
        raise ConfigurationError("the state is of another ledger")


def _remember(task: Task, state: AuditState) -> Task:
    """The tree that an earlier audit has found good is one that the ledger must continue."""
    old = Checkpoint(state.origin, state.size, RootHash(bytes.fromhex(state.root)))
    return task if old in task.remembered else replace(task, remembered=(*task.remembered, old))


class Head:
    """The checkpoint as it was read first: a ledger may grow while it is audited."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._raw: bytes | None = None

    def __call__(self, path: str) -> bytes:
        """The bytes of a file."""
        if path != "checkpoint":
            return self._fetch(path)
        if self._raw is None:
            self._raw = self._fetch(path)
        return self._raw
