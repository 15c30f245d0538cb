"""What a monitor looks at besides the ledger: the pages of the sites where its campaigns are signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from headcount.scope_view import find_scope
from headcount.site_pages import Deviation, SiteReader
from headcount_ledger.audit import AuditReport
from headcount_ledger.reader.transport import Transport
from headcount_ledger.reader.view import LedgerView
from headcount_spec.scope import ScopeId

MAX_DEVIATIONS = 200  # of one look: a site that makes up pages must not fill the disk


@dataclass(slots=True)
class PageWatch:
    """Compares sites with notices; a site has to be silent several looks in a row to be told."""

    transport: Transport
    patience: int = 1
    _silent: dict[str, int] = field(default_factory=dict)  # site → looks in a row

    def look(
        self, view: LedgerView, target: str, scopes: Mapping[str, tuple[int, int]], today: int
    ) -> list[Deviation]:
        """What is not as stated at the sites of the campaigns that are open.

        Raises:
            ProtocolError: the ledger's notices cannot be read.
        """
        reader = SiteReader(self.transport)
        found: list[Deviation] = []
        for scope_id, (opens, closes) in scopes.items():
            if opens <= today <= closes:
                scope = find_scope(view, ScopeId(bytes.fromhex(scope_id)), need_openings=False)
                found += reader.check(scope, target)
        silent = {item.site for item in found if item.code == "unreachable-pages"}
        self._silent = {site: self._silent.get(site, 0) + 1 for site in silent}
        told = [item for item in found if self._silent.get(item.site, self.patience) >= self.patience]
        once = {(item.code, item.mark): item for item in told}  # two campaigns share a site
        return list(once.values())[:MAX_DEVIATIONS]


def campaigns(report: AuditReport) -> dict[str, tuple[int, int]]:
    """The scopes that people sign on a page of their own, with their first and last day."""
    return {
        scope_id.hex(): (count.opens, count.closes)
        for scope_id, count in report.scopes.items()
        if count.kind != "contact"
    }
