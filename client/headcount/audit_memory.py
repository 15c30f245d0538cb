"""What one who recounts a whole ledger each time remembers in between: its last good checkpoint.

Trustees and organisers do, before anything that cannot be undone: no earlier state stands in for a recount.
"""

from __future__ import annotations

from pathlib import Path

from headcount.audit_state import CONTRADICTIONS
from headcount.memory import Memory
from headcount.misbehaviour import save_evidence
from headcount_ledger.audit import AuditReport
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    MisbehaviourError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.policy import Policy


class AuditMemory:
    """The checkpoint of the last good audit of each ledger, in the file that all of the client shares."""

    def __init__(self, path: Path, policy: Policy) -> None:
        self._path = path
        self._memory = Memory(path)
        self._policy = policy

    def remembered(self) -> list[Checkpoint]:
        """The checkpoints of ledgers that the policy lists.

        Raises:
            ConfigurationError: the file cannot be read, or one of them is not signed as it says.
        """
        return [checkpoint for checkpoint, _ in self._read()]

    def take(self, report: AuditReport) -> Path | None:
        """Remember a good audit; of one that contradicts what is remembered, save the evidence.

        Raises:
            ConfigurationError: a file cannot be written.
        """
        if report.ok:
            self._memory.remember(report.origin, report.checkpoint)
            return None
        if not any(fault.code in CONTRADICTIONS for fault in report.faults):
            return None
        before = [raw for checkpoint, raw in self._read() if checkpoint.origin == report.origin]
        says = f"{report.origin} has signed checkpoints that contradict each other"
        return save_evidence(MisbehaviourError(says, (*before, report.checkpoint)), self._path.parent)

    def _read(self) -> list[tuple[Checkpoint, bytes]]:
        # Today's witness policy may be younger than the file: the ledger's signature is what binds it.
        policy = Policy(logs=self._policy.logs)
        found = []
        for raw in self._memory.checkpoints():
            try:
                found.append((policy.verify_checkpoint(raw).signed.checkpoint, raw))
            except UnknownKeyError:
                continue  # of a ledger that this policy does not list
            except (MalformedError, SignatureError) as exc:
                raise ConfigurationError(f"{self._path.name}: a remembered checkpoint: {exc}") from exc
        return found
