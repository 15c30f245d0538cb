"""The code sheets of an issuer: made and announced once, looked up at a helper's table.

What is kept of a slip is its tag. Nobody can tell from it where on which sheet the slip stood, or who has it.
"""

from __future__ import annotations

from dataclasses import dataclass

from headcount_issuer.attester import Proof
from headcount_issuer.attesters.in_person import draw_sheet, parse_code, sheet_root, uniqueness_input
from headcount_issuer.enrolment import own_terms
from headcount_issuer.keys import Keys, make_tag
from headcount_issuer.notices import Notices
from headcount_issuer.person import key_proof
from headcount_issuer.store import ScopeRow, Store
from headcount_spec.errors import CodeRefusedError, NotEligibleError, NotFoundError
from headcount_spec.scope import Manifest, ScopeId

MAX_CODES = 100_000  # on one sheet
ATTESTER = "in-person"


@dataclass(frozen=True, slots=True)
class Counts:
    """How a scope's slips stand."""

    slips: int  # on all sheets
    cap: int | None  # by the terms
    tokens: int  # that were asked for; each has used a slip up, unless the level leaves a choice


class Sheets:
    """All code sheets of an issuer."""

    def __init__(self, name: str, store: Store, keys: Keys, account_key: bytes, notices: Notices) -> None:
        self._name = name
        self._store = store
        self._keys = keys
        self._account_key = account_key
        self._notices = notices

    def make(self, scope_id: ScopeId, number: int) -> tuple[Manifest, list[bytes]]:
        """A new sheet of codes for a scope; the codes are returned and not kept.

        Write them down, then send the notice: the sheet is public before it is handed out.

        Raises:
            NotFoundError: this issuer has not opened the scope.
            NotEligibleError: the scope asks for no codes, or has no room for so many.
        """
        row, cap = self._row(scope_id)
        if row.manifest.eligible == "parent-token-holders":
            raise NotEligibleError("in this scope the slips of its parent are shown again")
        if not 1 <= number <= MAX_CODES:
            raise NotEligibleError(f"a sheet has 1 to {MAX_CODES} codes")
        if cap is not None and self._store.count_codes(row.number) + number > cap:
            raise NotEligibleError(f"the terms of the scope allow {cap} slips")
        codes = draw_sheet(number)
        key = self._keys.tag_key(scope_id)
        tags = [make_tag(key, uniqueness_input(code)) for code in codes]
        self._notices.announce_codes(row, sheet_root(scope_id, codes), number, tags)
        return row.manifest, codes

    def is_used(self, scope_id: ScopeId, text: str) -> bool:
        """Whether a token was asked for with a slip; nothing is changed, and nobody learns who.

        Raises:
            CodeRefusedError: it is on no sheet of the scope.
            NotFoundError, NotEligibleError: as make.
        """
        row, _ = self._row(scope_id)
        value = uniqueness_input(parse_code(text))
        key = self._keys.tag_key(scope_id)
        if not self._store.has_code(row.number, make_tag(key, value)):
            raise CodeRefusedError("this code is on no sheet of this scope")
        (pseudonym,) = key_proof(self._account_key, Proof(ATTESTER, (value,))).inputs
        return self._store.is_burnt(row.number, make_tag(key, pseudonym))

    def counts(self, scope_id: ScopeId) -> Counts:
        """How many slips there are, and tokens.

        Raises:
            NotFoundError, NotEligibleError: as make.
        """
        row, cap = self._row(scope_id)
        return Counts(self._store.count_codes(row.number), cap, row.issued)

    def manifest(self, scope_id: ScopeId) -> Manifest:
        """The terms of a scope that asks for codes.

        Raises:
            NotFoundError, NotEligibleError: as make.
        """
        return self._row(scope_id)[0].manifest

    def _row(self, scope_id: ScopeId) -> tuple[ScopeRow, int | None]:
        """The scope, and how many slips its terms allow this issuer."""
        row = self._store.scope(scope_id)
        if row is None or not row.opened:
            raise NotFoundError("this issuer has not opened the scope")
        terms = own_terms(row.manifest, self._name)
        if ATTESTER not in terms.attesters:
            raise NotEligibleError("this scope asks for no codes")
        return row, terms.slips
