"""A passkey, as far as an issuer knows it."""

from __future__ import annotations

from dataclasses import dataclass, field

CHALLENGE_BYTES = 32
MAX_CREDENTIAL_ID_BYTES = 1023  # WebAuthn, Section 4
MAX_PUBLIC_KEY_BYTES = 272  # COSE; so many has RSA-2048, the longest


@dataclass(frozen=True, slots=True)
class Passkey:
    """A credential whose making was verified."""

    credential_id: bytes = field(repr=False)
    public_key: bytes = field(repr=False)  # COSE
    sign_count: int  # 0 where the authenticator does not count


def has_risen(before: int, after: int) -> bool:
    """Whether a counter shows no copy of the passkey: it rises with each use, or stays at zero for ever."""
    return after > before or before == after == 0
