"""What an auditor takes away: the options of ``headcount audit`` that write files, and what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from headcount import terminal
from headcount.audit_database import write_database
from headcount.audit_plots import write_plots
from headcount.report_file import write_report
from headcount_ledger.audit import AuditReport
from headcount_ledger.reader.view import Progress
from headcount_spec.errors import ConfigurationError
from headcount_spec.policy import Policy
from headcount_spec.tile import Fetch

_OPTIONS = (
    click.option(
        "--report",
        "report_file",
        type=terminal.FILE,
        help="Write a JSON report that other auditors can compare.",
    ),
    click.option(
        "--database",
        type=terminal.FILE,
        help="Write an SQLite database of everything, for Datasette and SQL.",
    ),
    click.option(
        "--plots", type=terminal.FOLDER, help="Write pictures of count, batches and tokens to a folder."
    ),
)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where to write what; None is not written."""

    report: Path | None = None
    database: Path | None = None
    plots: Path | None = None

    def check(self) -> None:
        """Refuse, before hours of recounting, what could not be written after them.

        Raises:
            ConfigurationError: a library of the extra "audit" or a folder is missing.
        """
        for path, library in ((self.database, "sqlite_utils"), (self.plots, "matplotlib")):
            if path is not None and find_spec(library) is None:
                raise ConfigurationError(f"this needs {library}: pip install 'headcount[audit]'")
        for path in (self.report, self.database):
            if path is not None and not path.parent.is_dir():
                raise ConfigurationError(f"there is no folder for {path.name}")

    def write(
        self, report: AuditReport, policy: Policy, fetch: Fetch, progress: Progress | None = None
    ) -> None:
        """Write the files of an audit whose entries fetch reads.

        Raises:
            ConfigurationError: a library of the extra "audit" is missing, or a file cannot be written.
            ProofError: the ledger does not show any more what was audited.
        """
        if self.report is not None:
            write_report(report, policy, self.report)
        if not report.checkpoint:
            return  # there is nothing to read under
        if self.plots is not None:
            write_plots(report, self.plots)
        if self.database is not None:
            write_database(report, fetch, self.database, progress)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --report, --database and --plots; the command gets them as outputs."""

    def wrapped(
        *arguments: Any, report_file: Path | None, database: Path | None, plots: Path | None, **named: Any
    ) -> Any:
        outputs = Outputs(report_file, database, plots)
        outputs.check()
        return command(*arguments, outputs=outputs, **named)

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
