"""What an auditor keeps when a ledger contradicts the state of an earlier audit."""

from __future__ import annotations

from pathlib import Path

from headcount.misbehaviour import save_evidence
from headcount_ledger.audit import AuditReport
from headcount_ledger.audit.state import load_state
from headcount_spec.errors import MisbehaviourError

CONTRADICTIONS = ("forked-ledger", "rolled-back-ledger")


def keep_evidence(report: AuditReport, state: Path) -> Path | None:
    """Save both checkpoints if the report contradicts the state; None if it does not.

    Raises:
        ConfigurationError: a file cannot be read or written.
    """
    if not any(fault.code in CONTRADICTIONS for fault in report.faults):
        return None
    saved = load_state(state)
    if saved is None or saved.state.checkpoint is None:
        return None
    says = f"{report.origin} has signed checkpoints that contradict each other"
    evidence = (saved.state.checkpoint.encode(), report.checkpoint)
    return save_evidence(MisbehaviourError(says, evidence), state.parent)
