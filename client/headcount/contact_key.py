"""The organiser's contact key, which opens the inner layer, and three paper shares of which two restore it.

headcount-contact-key-1 <base64 private key>
headcount-contact-share-1 <number> <base64 share> <first 8 hex digits of SHA-256(public key)>
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from headcount import private_file
from headcount_spec import hpke, shamir
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.text import decode_base64, encode_base64, parse_decimal

SHARES, NEEDED = 3, 2
_KEY, _SHARE = "headcount-contact-key-1", "headcount-contact-share-1"


def create(path: Path, draw: Callable[[int], bytes] = secrets.token_bytes) -> tuple[bytes, list[str]]:
    """Write a new key to a file that must not exist yet; the public key, and the lines to print on paper.

    Raises:
        ConfigurationError: the file exists or cannot be written.
    """
    private_key = draw(hpke.KEY_BYTES)
    public_key = hpke.public_key(private_key)
    _write(path, private_key)
    shares = shamir.split(private_key, [draw(hpke.KEY_BYTES) for _ in range(NEEDED - 1)], SHARES)
    mark = _mark(public_key)
    return public_key, [f"{_SHARE} {i} {encode_base64(share)} {mark}" for i, share in enumerate(shares, 1)]


def read(path: Path) -> bytes:
    """The private key of a key file, 32 bytes.

    Raises:
        ConfigurationError: it cannot be read or is another kind of file.
    """
    try:
        text = private_file.read(path).decode("ascii")
        label, _, value = text.rstrip("\n").rpartition("\n")[2].partition(" ")
        if label != _KEY:
            raise MalformedError("another kind of file")
        return decode_base64(value, hpke.KEY_BYTES)
    except (UnicodeDecodeError, MalformedError) as exc:
        raise ConfigurationError(f"{path.name} is not a contact key file") from exc


def restore(path: Path, lines: Sequence[str]) -> bytes:
    """Write the key that two different shares lead to; its public key.

    Raises:
        ConfigurationError: the lines are not two shares of one key, or the file exists.
    """
    try:
        shares = [_read_share(line) for line in lines]
    except MalformedError as exc:
        raise ConfigurationError(f"a line is not a share of a contact key: {exc}") from exc
    marks = {mark for _, _, mark in shares}
    by_number = {number: share for number, share, _ in shares}
    if len(marks) != 1 or len(by_number) != NEEDED or len(shares) != NEEDED:
        raise ConfigurationError(f"{NEEDED} different shares of one key are needed")
    private_key = shamir.combine(by_number)
    public_key = hpke.public_key(private_key)
    if _mark(public_key) not in marks:
        raise ConfigurationError("the shares lead to another key: one of them was copied wrongly")
    _write(path, private_key)
    return public_key


def _write(path: Path, private_key: bytes) -> None:
    text = (
        "# Keep this secret: with the trustees' keys it opens every contact of the campaign.\n"
        f"# public key: {encode_base64(hpke.public_key(private_key))}\n"
        f"{_KEY} {encode_base64(private_key)}\n"
    )
    private_file.create(path, text.encode())


def _read_share(line: str) -> tuple[int, bytes, str]:
    parts = line.strip().split(" ")
    if len(parts) != 4 or parts[0] != _SHARE:
        raise MalformedError("another kind of line")
    number = parse_decimal(parts[1])
    if not 1 <= number <= SHARES:
        raise MalformedError("no such share")
    return number, decode_base64(parts[2], hpke.KEY_BYTES), parts[3]


def _mark(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:8]
