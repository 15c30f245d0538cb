"""Keeping the evidence of a party that contradicted itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from headcount import private_file
from headcount_spec.errors import MisbehaviourError
from headcount_spec.text import encode_base64


def save_evidence(
    error: MisbehaviourError, folder: Path, proofs: Sequence[dict[str, object]] = ()
) -> Path | None:
    """Write the signed bytes that contradict each other to a file; None if there are none.

    proofs are what shows that they do, where the bytes alone do not.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    if not error.evidence:
        return None
    name = hashlib.sha256(b"".join(error.evidence)).hexdigest()[:12]
    path = folder / f"headcount-evidence-{name}.json"
    evidence = [_readable(item) for item in error.evidence]
    value = {"headcount_evidence": 1, "says": str(error), "evidence": evidence}
    if proofs:
        value["proofs"] = list(proofs)
    private_file.write(path, json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n")
    return path


def _readable(item: bytes) -> dict[str, str]:
    # Checkpoints are text and stay readable; entries and promises are not.
    try:
        return {"text": item.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": encode_base64(item)}
