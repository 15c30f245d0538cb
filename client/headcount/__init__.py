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

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

# Loaded when they are asked for: each command needs a few of them.
_MODULES = {
    "Answer": "headcount_ledger.reader.transport",
    "Ask": "headcount.question",
    "HttpTransport": "headcount_ledger.reader.transport",
    "LedgerView": "headcount_ledger.reader.view",
    "Memory": "headcount.memory",
    "PledgeFile": "headcount.pledge_file",
    "PledgeStore": "headcount.pledge_file",
    "Question": "headcount.question",
    "Receipt": "headcount.receipt",
    "ScopeView": "headcount.scope_view",
    "Transport": "headcount_ledger.reader.transport",
    "find_scope": "headcount.scope_view",
    "open_ledger": "headcount_ledger.reader.view",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
