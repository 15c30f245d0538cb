"""A monitor as a witness: it cosigns a checkpoint only after its audit has found nothing wrong.

That says more than the cosignature of a witness which sees no entries. What is cosigned is written where
such a witness shows it (tlog-witness, "monitoring"): a web server over the folder serves it to everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headcount import output_file, private_file
from headcount_spec.checkpoint import SignedCheckpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import ConfigurationError, MalformedError, MisbehaviourError
from headcount_spec.note import Note, SigningKey, find_signatures
from headcount_spec.policy import Policy
from headcount_spec.tlog_witness import monitoring_path


def read_key(path: Path) -> SigningKey:
    """The private key of a witness, as ``headcount witness create`` makes it.

    Raises:
        ConfigurationError: it cannot be read or is something else.
    """
    try:
        return SigningKey.from_text(private_file.read(path).decode("ascii").removesuffix("\n"))
    except (MalformedError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path.name} is no private key of a witness") from exc


@dataclass(frozen=True, slots=True)
class Cosigner:
    """Cosigns under one key into one folder. Who calls remembers what was cosigned, before it is shown."""

    key: SigningKey
    folder: Path

    def is_published(self, signed: SignedCheckpoint) -> bool:
        """Whether the folder shows our cosignature of this tree."""
        try:
            shown = private_file.read(self._path(signed)).decode("utf-8", "replace")
        except ConfigurationError:
            return False
        return shown.startswith(signed.checkpoint.to_text() + "\n")

    def publish(self, signed: SignedCheckpoint, policy: Policy, time: int) -> Path:
        """Write the checkpoint with the log's signatures and our cosignature; the file.

        The caller has audited it, and made durable that it is the last that we cosign.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        checkpoint = signed.checkpoint
        by_log = [line for _, line in find_signatures(signed.note, policy.log_keys(checkpoint.origin))]
        note = Note(checkpoint.to_text(), (*by_log, cosign(checkpoint, self.key, time)))
        path = self._path(signed)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"cannot write to {self.folder.name}: {exc.strerror}") from exc
        output_file.write(path, note.to_bytes())
        return path

    def _path(self, signed: SignedCheckpoint) -> Path:
        return self.folder / monitoring_path(signed.checkpoint.origin)


def check_extends(old: SignedCheckpoint, new: SignedCheckpoint) -> None:
    """Check what needs no proof: a witness never goes back, and signs one tree of a size.

    Raises:
        MisbehaviourError: it would; carries both.
    """
    before, after = old.checkpoint, new.checkpoint
    if after.size < before.size or (after.size == before.size and after.root != before.root):
        raise MisbehaviourError(f"{after.origin} has signed two histories", (old.raw, new.raw))
