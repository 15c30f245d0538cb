"""The audit of a bare log: recounts the published number and names what is wrong, and where.

Reads nothing but published files through a Fetch and trusts nothing but the policy. The steps are
separate for other programs to run them their way: ``bundle`` and ``block`` are pure functions of one
block's bytes; ``recount`` and ``seals`` merge their results in the order of the log.
"""

from headcount_ledger.audit.engine import audit
from headcount_ledger.audit.fault import SENTENCES, Fault
from headcount_ledger.audit.receipt import Receipt, ReceiptState
from headcount_ledger.audit.report import AuditReport, BatchRow, ScopeCount
from headcount_ledger.audit.scopes import Issuance

__all__ = [
    "SENTENCES",
    "AuditReport",
    "BatchRow",
    "Fault",
    "Issuance",
    "Receipt",
    "ReceiptState",
    "ScopeCount",
    "audit",
]
