"""Headcount's client library: pledge once, and recount what others have pledged.

    prove.prove      ask the issuers of a scope to sign a pledge blindly; the pledge is in a file
    pledge.submit    send it to a verifier and keep the ledger's promise
    receipt.fetch    prove that it stands in the ledger
    accusation.accuse    show others that the ledger has broken its promise
    revise.revise    change it; revise.withdraw takes it back
    scope.publish    publish the terms of a campaign under the organisers' keys
    find_scope       the terms and notices of a scope, proven under a checkpoint

Nothing here reads a terminal, a clock or the environment: whoever calls passes a ``Transport``,
today's day and a callback that answers an issuer's questions. Errors are headcount_spec.errors.
"""

from __future__ import annotations

from headcount.memory import Memory
from headcount.pledge_file import PledgeFile, PledgeStore
from headcount.question import Ask, Question
from headcount.receipt import Receipt
from headcount.scope_view import ScopeView, find_scope
from headcount_ledger.reader.transport import Answer, HttpTransport, Transport
from headcount_ledger.reader.view import LedgerView, open_ledger

__all__ = [
    "Answer",
    "Ask",
    "HttpTransport",
    "LedgerView",
    "Memory",
    "PledgeFile",
    "PledgeStore",
    "Question",
    "Receipt",
    "ScopeView",
    "Transport",
    "find_scope",
    "open_ledger",
]
