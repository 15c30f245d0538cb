"""What a client remembers of ledgers between two runs: the last checkpoint that it accepted of each.

A ledger that goes back or shows another history to this client is caught by nothing else.
"""

from __future__ import annotations

from pathlib import Path

from headcount import private_file
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.jcs import canonicalise, parse_json


class Memory:
    """A JSON file: origin line → signed checkpoint. A file that is not there yet is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def checkpoints(self) -> tuple[bytes, ...]:
        """The signed checkpoints that are remembered.

        Raises:
            ConfigurationError: the file cannot be read or is not one of ours.
        """
        return tuple(text.encode() for text in self._read().values())

    def remember(self, origin: str, checkpoint: bytes) -> None:
        """Keep this signed checkpoint instead of the one before.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        kept = self._read()
        kept[origin] = checkpoint.decode()
        private_file.write(self.path, canonicalise({"headcount_state": 1, "checkpoints": kept}))

    def _read(self) -> dict[str, str]:
        if not self.path.exists():
            return {}
        try:
            value = parse_json(private_file.read(self.path), private_file.MAX_BYTES)
        except MalformedError as exc:
            raise ConfigurationError(f"{self.path.name} is not a state file") from exc
        kept = value.get("checkpoints") if isinstance(value, dict) else None
        if not isinstance(kept, dict) or not all(isinstance(text, str) for text in kept.values()):
            raise ConfigurationError(f"{self.path.name} is not a state file")
        return dict(kept)
