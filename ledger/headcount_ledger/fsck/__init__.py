"""fsck: verifies every byte that a ledger stores, and names what is wrong, one finding a line.

The published tree is judged by the same audit that everybody runs (``headcount_ledger.audit``). What
only the operator has is compared with it here: ``rows`` the database's tables, ``waiting`` what is
staged, ``unfinished`` a batch that a crash has left between its commit and its publication, ``folder``
the files themselves. Nothing is repaired, and nothing but the lock is written.
"""

from headcount_ledger.fsck.check import FsckReport, fsck
from headcount_ledger.fsck.finding import SENTENCES, Finding

__all__ = ["SENTENCES", "Finding", "FsckReport", "fsck"]
