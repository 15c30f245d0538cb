"""What an auditor remembers between audits: the last good checkpoint, as the ledger signed it.

The file is the signed note itself, so that it accuses a ledger which later shows another history.
"""

from __future__ import annotations

from pathlib import Path

from headcount import private_file
from headcount_spec.checkpoint import Checkpoint
from headcount_spec.errors import ConfigurationError, ProtocolError
from headcount_spec.policy import Policy


def load(path: Path, policy: Policy) -> Checkpoint | None:
    """The checkpoint of the last good audit, None before the first.

    Raises:
        ConfigurationError: the file cannot be read or is not by a ledger of the policy.
    """
    if not path.exists():
        return None
    try:
        # Today's witness policy may be younger than the file: the ledger's signature is what binds it.
        return Policy(logs=policy.logs).verify_checkpoint(private_file.read(path)).signed.checkpoint
    except ConfigurationError:
        raise
    except ProtocolError as exc:
        raise ConfigurationError(f"{path.name} is no checkpoint of a ledger of the policy: {exc}") from exc


def save(path: Path, checkpoint: bytes) -> None:
    """Remember the signed checkpoint of a good audit.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    private_file.write(path, checkpoint)


def save_evidence(path: Path, checkpoint: bytes) -> Path:
    """Keep a checkpoint that contradicts the remembered one, beside it.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    evidence = path.with_name(path.name + ".contradicted-by")
    private_file.write(evidence, checkpoint)
    return evidence
