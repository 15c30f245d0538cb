"""An organiser's key: what signs the terms of a campaign and everything said in its name afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from headcount import private_file
from headcount_spec import signature
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.text import decode_base64, encode_base64

SEED_BYTES = 32  # RFC 8032, Section 5.1.5
_LABEL = "headcount-organiser-key-1"


def create_key(path: Path, draw: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Write a new key to a file that must not exist yet; the Ed25519 public key.

    Raises:
        ConfigurationError: the file exists or cannot be written.
    """
    seed = draw(SEED_BYTES)
    public_key = signature.public_key(seed)
    text = (
        "# Keep this secret, and keep a copy: without it nobody can speak for the campaign.\n"
        f"# public key: {encode_base64(public_key)}\n"
        f"{_LABEL} {encode_base64(seed)}\n"
    )
    private_file.create(path, text.encode())
    return public_key


def read_key(path: Path) -> bytes:
    """The private seed of a key file, 32 bytes.

    Raises:
        ConfigurationError: it cannot be read or is not an organiser's key.
    """
    try:
        lines = [line for line in private_file.read(path).decode("ascii").splitlines() if line[:1] != "#"]
        label, _, text = lines[0].partition(" ") if len(lines) == 1 else ("", "", "")
        if label != _LABEL:
            raise MalformedError("another kind of file")
        return decode_base64(text, SEED_BYTES)
    except (UnicodeDecodeError, MalformedError) as exc:
        raise ConfigurationError(f"{path.name} is not an organiser's key file") from exc
