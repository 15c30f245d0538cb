"""Vectors of the strict Ed25519 rules for revision keys and revisions."""

from __future__ import annotations

from typing import Any

import keys
import reference
from headcount_engine import ed25519
from headcount_spec.errors import MalformedError, SignatureError
from reference import BASE, IDENTITY, L, P

from . import Case, fails, ok

FILE = "ed25519.json"

_MSG = b"headcount/revision/v1\x00 and what it revises"
_A = reference.secret(keys.seed("revision"))
_PUBLIC = BASE * _A
_KEY = _PUBLIC.to_bytes()
_R = 7
_SIG = reference.sign_with(_A, _R, _PUBLIC, BASE * _R, _MSG)
_TORSION = reference.small_order()


def make() -> dict[str, Any]:
    """Keys and signatures on which libraries disagree, and the plain ones."""
    return {
        "about": "Ed25519 for revisions: RFC 8032, Section 5.1.7 with canonical, torsion-free A and R other "
        "than the identity and S < L. verify checks the key as well.",
        "source": "Made by makers/ed25519.py with textbook arithmetic; the comment says where "
        "a library is known to differ.",
        "cases": [*_keys(), *_signatures()],
    }


def _points() -> dict[str, bytes]:
    small = {f"order-{_order(i)}-{i}": _TORSION[i].to_bytes() for i in range(1, 8)}
    return {
        "identity": IDENTITY.to_bytes(),
        **small,
        "identity-noncanonical": (P + 1).to_bytes(32, "little"),
        "identity-with-the-sign-bit": (1 | 1 << 255).to_bytes(32, "little"),
        "y-is-p": P.to_bytes(32, "little"),
        "y-is-all-ones": b"\xff" * 32,
        "not-on-the-curve": (2).to_bytes(32, "little"),
        "mixed-order": (_PUBLIC + _TORSION[1]).to_bytes(),
        "mixed-order-two": (_PUBLIC + _TORSION[4]).to_bytes(),
        "31-bytes": _KEY[:31],
        "33-bytes": _KEY + b"\x00",
    }


def _order(i: int) -> int:
    return 8 if i % 2 else 4 if i % 4 else 2


def _keys() -> list[Case]:
    return [
        ok("key", operation="key", public_key=_KEY.hex()),
        ok("key-base-point", operation="key", public_key=BASE.to_bytes().hex()),
        *(
            fails(f"key-{name}", MalformedError, operation="key", public_key=point.hex())
            for name, point in _points().items()
        ),
    ]


def _signatures() -> list[Case]:
    s = int.from_bytes(_SIG[32:], "little")

    def case(name: str, comment: str = "", **changes: bytes) -> Case:
        inputs = {"public_key": _KEY, "msg": _MSG, "signature": _SIG, **changes}
        fields: dict[str, Any] = {"comment": comment} if comment else {}
        fields |= {"operation": "verify", **{field: value.hex() for field, value in inputs.items()}}
        return fails(name, SignatureError, **fields) if changes else ok(name, **fields)

    mixed_key, mixed_msg, mixed_sig = _mixed_key()
    mixed_r = reference.sign_with(_A, _R, _PUBLIC, BASE * _R + _TORSION[1], _MSG)
    return [
        case("signature"),
        case("signature-other-message", msg=_MSG + b"."),
        case("signature-other-key", public_key=(BASE * 5).to_bytes()),
        case("signature-bit-of-r", signature=bytes([_SIG[0] ^ 1]) + _SIG[1:]),
        case("signature-bit-of-s", signature=_SIG[:32] + bytes([_SIG[32] ^ 1]) + _SIG[33:]),
        case("signature-s-plus-l", signature=_SIG[:32] + (s + L).to_bytes(32, "little")),
        case("signature-s-is-l", signature=_SIG[:32] + L.to_bytes(32, "little")),
        case("signature-truncated", signature=_SIG[:-1]),
        case("signature-trailing-byte", signature=_SIG + b"\x00"),
        case("signature-empty", signature=b""),
        case(
            "signature-identity-everywhere",
            "OpenSSL and plain RFC 8032 accept it for every message",
            public_key=IDENTITY.to_bytes(),
            signature=IDENTITY.to_bytes() + bytes(32),
        ),
        case(
            "signature-mixed-order-key",
            "libsodium verifies it, and so does every rule without a torsion check",
            public_key=mixed_key,
            msg=mixed_msg,
            signature=mixed_sig,
        ),
        case(
            "signature-mixed-order-r",
            "accepted where the cofactor is multiplied in (ZIP 215)",
            signature=mixed_r,
        ),
        *(
            case(f"signature-key-{name}", public_key=point)
            for name, point in _points().items()
        ),
        *(
            case(f"signature-r-{name}", signature=point + _SIG[32:])
            for name, point in _points().items()
            if len(point) == 32
        ),
    ]  # fmt: skip


def _mixed_key() -> tuple[bytes, bytes, bytes]:
    """A key with a torsion part and a message for which that part vanishes: 8 divides the challenge."""
    public = _PUBLIC + _TORSION[1]
    for i in range(1000):
        msg = _MSG + b" %d" % i
        if reference.challenge((BASE * _R).to_bytes(), public.to_bytes(), msg) % 8 == 0:
            return public.to_bytes(), msg, reference.sign_with(_A, _R, public, BASE * _R, msg)
    raise AssertionError("no such message")


def check(case: Case) -> None:
    """Check the key, or verify the signature."""
    public_key = bytes.fromhex(case["public_key"])
    if case["operation"] == "key":
        ed25519.check_public_key(public_key)
    else:
        ed25519.verify(public_key, bytes.fromhex(case["msg"]), bytes.fromhex(case["signature"]))
