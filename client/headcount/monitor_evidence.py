"""What a monitor keeps of a fault, for people who trust neither the ledger nor the monitor.

Two checkpoints that contradict each other, an accusation, or a receipt of an entry that must not be there,
are checked by anybody. A report is signed by nobody; another audit of the same checkpoint writes the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from headcount import accusation as accusations
from headcount import output_file
from headcount.audit_state import CONTRADICTIONS, contradiction
from headcount.misbehaviour import save_evidence
from headcount.pledge_file import PledgeFile
from headcount.report_file import report_bytes
from headcount.site_pages import Deviation
from headcount_ledger.audit import AuditReport
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec.accusation import Preimage
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.errors import ConfigurationError, MisbehaviourError, ProtocolError
from headcount_spec.merkle import RootHash, leaf_hash, verify_consistency
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise
from headcount_spec.scope import NO_SEALED_HASH
from headcount_spec.tile import Fetch, TileReader
from headcount_spec.tlog_proof import TlogProof, verify_tlog_proof

MAX_ENTRIES = 16  # of one report that get a proof each


class EvidenceFolder:
    """A folder of files that are named by their content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of_contradiction(self, report: AuditReport, remembered: Sequence[bytes], fetch: Fetch) -> list[str]:
        """The checkpoints that the ledger cannot have signed both, and of two sizes the proof that it did."""
        if not remembered or not any(fault.code in CONTRADICTIONS for fault in report.faults):
            return []
        self._make()
        error = MisbehaviourError(contradiction(report), (*remembered, report.checkpoint))
        proofs = [proof for raw in remembered if (proof := _fork_proof(raw, report, fetch)) is not None]
        path = save_evidence(error, self.folder, proofs)
        return [] if path is None else [path.name]

    def of_report(self, report: AuditReport, policy: Policy) -> list[str]:
        """The report with its faults."""
        return [self._write("report", ".json", report_bytes(report, policy))]

    def of_entries(
        self, report: AuditReport, policy: Policy, fetch: Fetch
    ) -> dict[tuple[str, int], list[str]]:
        """By code and index, a receipt of each entry that must not be there and was signed all the same."""
        places = [(fault.code, fault.index) for fault in report.faults if fault.index is not None]
        found: dict[tuple[str, int], list[str]] = {}
        try:
            view = open_ledger(fetch, policy)
        except ProtocolError:
            return found
        if view.raw != report.checkpoint:
            return found  # it has moved on meanwhile: the next look finds the same fault
        for code, index in places[:MAX_ENTRIES]:
            proof = _receipt(view, index)
            if proof is not None:
                found[code, index] = [self._write(f"entry-{index}", ".tlog-proof", proof)]
        return found

    def of_promise(self, content: PledgeFile, promise: Promise, view: LedgerView) -> list[str]:
        """The accusation, once the ledger's own seals show that the day has passed."""
        preimage = Preimage(content.manifest.scope_id, content.choice, content.revision_key, NO_SEALED_HASH)
        try:
            first = accusations.find_manifest(view, content.manifest.scope_id)
            made, _ = accusations.build(promise, preimage, view, first)
        except ProtocolError:
            return []
        return [self._write("broken-promise", ".accusation", made.to_bytes())]

    def of_page(self, deviation: Deviation, checkpoint: bytes) -> list[str]:
        """What a site has served, and which notice says otherwise."""
        return [self._write("served", ".json", deviation.evidence(checkpoint))]

    def _write(self, name: str, suffix: str, data: bytes) -> str:
        self._make()
        path = self.folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}{suffix}"
        if not path.exists():
            output_file.write(path, data)
        return path.name

    def _make(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"cannot write to {self.folder.name}: {exc.strerror}") from exc


def _fork_proof(raw: bytes, report: AuditReport, fetch: Fetch) -> dict[str, object] | None:
    """That the tree of the report has another root at the size of an earlier checkpoint (RFC 6962, 2.1.2)."""
    try:
        old = parse_checkpoint(raw).checkpoint
        if not 0 < old.size < report.size:
            return None
        reader = TileReader(fetch, report.size)
        here, hashes = reader.root_at(old.size), reader.consistency_proof(old.size)
        verify_consistency(hashes, old.size, report.size, here, RootHash(report.root))
    except ProtocolError:
        return None  # what is served does not lead to the signed root
    if here == old.root:
        return None
    proof = [item.hex() for item in hashes]
    return {"size": old.size, "root": here.hex(), "new_size": report.size, "consistency": proof}


def _receipt(view: LedgerView, index: int) -> bytes | None:
    """Of an entry as it is served; None if it is not what the ledger has signed."""
    try:
        entry = view.entry(index)
        proof = TlogProof(index, tuple(view.reader.inclusion_proof(index)), view.raw, entry)
        verify_tlog_proof(proof, leaf_hash(entry), view.policy)
    except (ProtocolError, ValueError):  # there may be no such place
        return None
    return proof.to_bytes()
