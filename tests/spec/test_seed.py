from __future__ import annotations

import hashlib
import hmac

import keys
from headcount_spec.seed import blinding, revision_seed

SEED, SCOPE, NONCE, KEY_ID = (keys.seed(name) for name in ("seed", "scope", "nonce", "key id"))
N = keys.token_key().n


def hkdf(seed: bytes, info: bytes, size_bytes: int) -> bytes:
    """RFC 5869, Sections 2.2 and 2.3, as it stands there."""
    prk = hmac.digest(bytes(32), seed, hashlib.sha256)
    okm = t = b""
    for i in range(1, 10):
        t = hmac.digest(prk, t + info + bytes([i]), hashlib.sha256)
        okm += t
    return okm[:size_bytes]


def test_everything_is_hkdf_of_the_seed() -> None:
    assert revision_seed(SEED, SCOPE) == hkdf(SEED, b"headcount/seed/v1/revision\x00" + SCOPE, 32)
    salt, r = blinding(SEED, NONCE, KEY_ID, N)
    assert salt == hkdf(SEED, b"headcount/seed/v1/salt\x00" + NONCE + KEY_ID, 48)
    wide = int.from_bytes(hkdf(SEED, b"headcount/seed/v1/blind\x00" + NONCE + KEY_ID, 272), "big")
    assert r == 1 + wide % (N - 1)


def test_every_input_draws_anew() -> None:
    drawn = [
        blinding(SEED, NONCE, KEY_ID, N),
        blinding(SCOPE, NONCE, KEY_ID, N),
        blinding(SEED, KEY_ID, KEY_ID, N),
        blinding(SEED, NONCE, NONCE, N),
    ]
    assert len({salt for salt, _ in drawn}) == len({r for _, r in drawn}) == 4
    assert len({revision_seed(SEED, SCOPE), revision_seed(SEED, NONCE), revision_seed(SCOPE, SCOPE)}) == 3


def test_a_blind_is_from_one_to_below_the_modulus() -> None:
    for n in (3, 4, N):
        for i in range(20):
            _, r = blinding(SEED, bytes([i]) * 32, KEY_ID, n)
            assert 1 <= r < n
