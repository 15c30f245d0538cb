"""What an auditor keeps when a ledger contradicts the state of an earlier audit."""

from __future__ import annotations

from pathlib import Path

from headcount.misbehaviour import save_evidence
from headcount_ledger.audit import AuditReport
from headcount_ledger.audit.state import load_state
from headcount_spec.errors import MisbehaviourError

CONTRADICTIONS = ("forked-ledger", "rolled-back-ledger")


def contradiction(report: AuditReport) -> str:
    """What the checkpoints of a contradiction show, and no more: an old copy of everything is signed too."""
    if any(fault.code == "forked-ledger" for fault in report.faults):
        return f"{report.origin} has signed checkpoints of two histories"
    return f"{report.origin} was shown with fewer entries than it had signed before"


def keep_evidence(report: AuditReport, state: Path) -> Path | None:
    """Save both checkpoints if the report contradicts the state; None if it does not.

    Raises:
        ConfigurationError: a file cannot be read or written, or the state is damaged.
    """
    if not any(fault.code in CONTRADICTIONS for fault in report.faults):
        return None
    saved = load_state(state)
    if saved is None or saved.state.checkpoint is None:
        return None
    saved.verify()
    says = contradiction(report)
    evidence = (saved.state.checkpoint.encode(), report.checkpoint)
    return save_evidence(MisbehaviourError(says, evidence), state.parent)
