"""What a log has signed and a witness has refused, kept as files for people to look at.

Each file has the refused checkpoint and the one that the witness had cosigned, both signed by the log. A
*fork* (one size, two roots) convicts the log by itself. *Unproven* is a larger checkpoint for which nobody
has shown that it extends the earlier one: the log can still clear itself by a proof, and whoever has
an honest checkpoint can send it with a false one; so they are bounded apart from the forks.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from headcount_ledger import durable
from headcount_spec.checkpoint import SignedCheckpoint
from headcount_spec.errors import CorruptionError, UnavailableError
from headcount_spec.text import encode_base64

FORK = "fork"
UNPROVEN = "unproven"
MAX_FILES = 200  # of each kind; a note has at most 64 KiB

log = logging.getLogger("headcount.witness")


class Evidence:
    """A folder of JSON files, one for each refused checkpoint."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, kind: str, refused: SignedCheckpoint, proof: tuple[bytes, ...], cosigned: bytes) -> None:
        """Write it down, once for each checkpoint, as long as there is room. Whoever asked is not named."""
        tree = hashlib.sha256(refused.checkpoint.to_text().encode()).hexdigest()
        path = self.folder / f"{kind}-{tree[:32]}.json"
        log.warning("refused a checkpoint of %s: %s", refused.checkpoint.origin, kind)
        if path.exists():
            return
        if len(list(self.folder.glob(f"{kind}-*.json"))) >= MAX_FILES:
            log.error("no room for further evidence: look at %s and move it away", self.folder)
            return
        value = {
            "headcount_evidence": 1,
            "says": f"{refused.checkpoint.origin} signed both; {_SAYS[kind]}",
            "evidence": [{"text": cosigned.decode("utf-8")}, {"text": refused.raw.decode("utf-8")}],
            "proof": [encode_base64(hash_) for hash_ in proof],
        }
        data = json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"
        try:
            durable.create_files([(path, data)])
        except (CorruptionError, UnavailableError, OSError) as exc:  # the refusal stands all the same
            log.error("evidence was not kept: %s", exc)


_SAYS = {
    FORK: "one size has two roots",
    UNPROVEN: "the proof that came with the second does not show that it extends the first",
}
