"""The hints of a ledger: where the notices of each scope stand. Clients verify what they find there."""

from __future__ import annotations

from collections.abc import Mapping

from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_ledger.audit.scopes import ScopeRecount
from headcount_spec.errors import MalformedError
from headcount_spec.scope import ScopeId
from headcount_spec.text import parse_decimal


def check_hints(files: Files, scopes: Mapping[ScopeId, ScopeRecount], size: int, faults: FaultList) -> None:
    """``scopes/<id>`` lists the places of the scope's notices, so that clients need not search."""
    for scope_id, scope in scopes.items():
        path = f"scopes/{scope_id.hex()}"
        data = files.read(path)
        if data is None:
            continue
        try:
            lines = data.decode("ascii").split("\n")
            if lines.pop():
                raise MalformedError("no newline at its end")
            indices = [parse_decimal(line) for line in lines]
        except (UnicodeDecodeError, MalformedError) as exc:
            faults.add("wrong-hint", f"{path}: {exc}")
            continue
        # A newer one than the checkpoint may have been written meanwhile.
        known = [index for index in indices if index < size]
        if known != scope.notices or indices != sorted(set(indices)):
            faults.add("wrong-hint", f"{path} lists {len(known)} of {len(scope.notices)} notices")
