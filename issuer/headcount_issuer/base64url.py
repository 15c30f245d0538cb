"""Base64url without padding, as JOSE (RFC 7515, Section 2) and WebAuthn have it; one text a value."""

from __future__ import annotations

from headcount_spec import text
from headcount_spec.errors import MalformedError


def encode(data: bytes) -> str:
    """The text of bytes."""
    return text.encode_base64url(data).rstrip("=")


def decode(value: str, size_bytes: int | None = None) -> bytes:
    """The bytes of a text, exactly size_bytes of them if given.

    Raises:
        MalformedError: padding, other characters, bits that are left over, or another size.
    """
    if value.endswith("="):
        raise MalformedError("base64url with padding")
    return text.decode_base64url(value + "=" * (-len(value) % 4), size_bytes)
