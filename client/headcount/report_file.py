"""The report of an audit as a file that other auditors make again, byte for byte.

It names the checkpoint, the policy and the version of the program, and nothing of the machine, the hour or
the auditor's own receipts, so that two reports of one checkpoint can be compared with ``cmp``.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from headcount import output_file
from headcount_ledger.audit import AuditReport, BatchRow
from headcount_ledger.audit.trust import NOTHING_REMEMBERED, RECOUNTED_BEFORE
from headcount_spec import jcs
from headcount_spec.policy import Policy
from headcount_spec.text import format_day


def write_report(report: AuditReport, policy: Policy, path: Path) -> None:
    """Write it.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    output_file.write(path, report_bytes(report, policy))


def report_bytes(report: AuditReport, policy: Policy) -> bytes:
    """The file: RFC 8785. The policy is named by the hash of its one spelling, without comments."""
    value: dict[str, Any] = report.to_json()
    del value["receipts"]
    value["headcount_report"] = 1
    value["tool"] = f"headcount {tool_version()}"
    value["checkpoint"] = report.checkpoint.decode()
    value["policy"] = hashlib.sha256(policy.to_bytes()).hexdigest()
    ours = (NOTHING_REMEMBERED, RECOUNTED_BEFORE)  # of this auditor, not of the ledger
    value["trusts"] = [sentence for sentence in report.trusts if not sentence.endswith(ours)]
    value["growth"] = [_row(row) for row in report.batch_rows]
    value["issuances"] = {
        scope.hex(): {
            name: [{"batch": s.batch, "day": format_day(s.day), "issued": s.issued} for s in said]
            for name, said in issuers.items()
        }
        for scope, issuers in report.issuances.items()
    }
    return jcs.canonicalise(value)


def tool_version() -> str:
    """The version of this distribution."""
    try:
        return version("headcount")
    except PackageNotFoundError:
        return "(not installed)"


def _row(row: BatchRow) -> dict[str, Any]:
    return {
        "batch": row.number,
        "first": row.first,
        "size": row.size,
        "day": format_day(row.day),
        "root": row.root.hex(),
        "pledges": {scope.hex(): number for scope, number in row.pledges.items()},
        "live": {scope.hex(): number for scope, number in row.live.items()},
    }
