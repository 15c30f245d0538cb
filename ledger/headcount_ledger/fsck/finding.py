"""What fsck can find: errors, by which the exit code tells, and notes, which say only what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import MappingProxyType

from headcount_ledger.audit import SENTENCES as FAULTS

# The codes are stable. Those of the audit's faults are used as they are.
ERRORS = MappingProxyType(
    {
        "damaged-database": "the database cannot be read as it was written",
        "damaged-key": "the private key is not the one of this ledger",
        "wrong-head": "the head row is not what was published last",
        "wrong-spent": "the spent set is not what the published pledges and revisions give",
        "wrong-scope": "a scope's row is not what the published entries give",
        "wrong-notice": "the row of a notice is not what was published",
        "wrong-staged": "a row that waits for a batch is not what was accepted",
        "damaged-pending": "the batch that is on its way is not the one that was committed",
        "stray-file": "a file stands where the ledger will write, and is not the ledger's",
        "open-file": "others than the ledger may read or write a file",
    }
)
NOTES = MappingProxyType(
    {
        "temporary-file": "a crash has left a file that was never given its name; it may be removed",
        "left-over-batch": "a crash has left a batch that was never committed; the next start removes it",
        "unfinished-batch": "the last batch is committed and not published; the next start publishes it",
        "superseded-partial": "a partial file stands beside its full one; it may be removed",
        "moved-ledger": "the ledger has moved, or is moving, and takes nothing here",
        "unknown-file": "a file is not the ledger's",
        "planned-closing": "a scope accepts no more and its closing batch is not sealed yet",
    }
)
# Faults that are not in the stored bytes: what issuers and witnesses have not done.
_FAULTS_OF_OTHERS = frozenset(
    ("missing-issuance", "wrong-issuance", "issuance-below-pledges", "witness-quorum")
)
SENTENCES = MappingProxyType({**FAULTS, **ERRORS, **NOTES})

MAX_PER_CODE = 1000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found."""

    code: str  # a key of SENTENCES
    place: str  # a path below the ledger's directory, a table, or an entry
    detail: str  # names no token, nonce or nullifier

    @property
    def is_error(self) -> bool:
        """Whether it must not be so."""
        return self.code not in NOTES and self.code not in _FAULTS_OF_OTHERS

    @property
    def line(self) -> str:
        """For the terminal."""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.severity}: {self.code}: {self.place}: {SENTENCES[self.code]}{detail}"

    @property
    def severity(self) -> str:
        """Error or note."""
        return "error" if self.is_error else "note"

    def to_json(self) -> dict[str, str]:
        """The members of a report."""
        return {"severity": self.severity, "code": self.code, "place": self.place, "detail": self.detail}


class Findings:
    """Collects findings: each once, at most MAX_PER_CODE of one code."""

    def __init__(self) -> None:
        self._found: dict[Finding, None] = {}
        self._counts: Counter[str] = Counter()
        self.omitted = 0

    def add(self, code: str, place: str, detail: str = "") -> None:
        """Record one."""
        if code not in SENTENCES:
            raise ValueError(code)
        finding = Finding(code, place, detail)
        if finding in self._found:
            return
        if self._counts[code] >= MAX_PER_CODE:
            self.omitted += 1
            return
        self._counts[code] += 1
        self._found[finding] = None

    def __iter__(self) -> Iterator[Finding]:
        """Errors first."""
        return iter(sorted(self._found, key=lambda finding: not finding.is_error))
