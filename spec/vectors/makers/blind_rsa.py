"""Vectors of blinding, blind signing and verification, where a strict reader must refuse."""

from __future__ import annotations

import functools
import hashlib
import math
from typing import Any

import keys
from headcount_spec import blind_rsa, spki
from headcount_spec.errors import MalformedError, SignatureError

from . import Case, fails, ok

FILE = "blind_rsa.json"

_KEY = keys.token_key(0)
_N = _KEY.n
_SPKI = keys.token_spki(0)
_MSG = b"\x00\x02" + keys.seed("token input") * 3
_SALT = keys.seed("salt") + keys.seed("more salt")[:16]
_R = int.from_bytes(keys.seed("blind") * 8, "big") % _N


def make() -> dict[str, Any]:
    """One run, and what must be refused at each step."""
    return {
        "about": "RSABSSA-SHA384-PSS-Deterministic (RFC 9474) under a 2048-bit token key: blind, "
        "blind_sign, finalize and verify. In a case of blind_sign private_key is {d, p, q}.",
        "source": "Made by makers/blind_rsa.py.",
        "cases": [*_blind(), *_blind_sign(), *_finalize(), *_verify()],
    }


def _bytes(m: int, size: int = 256) -> str:
    return m.to_bytes(size, "big").hex()


@functools.cache
def _run() -> tuple[bytes, int, bytes]:
    blinded_msg, inv = blind_rsa.blind(_KEY.public, _MSG, _SALT, _R)
    blind_sig = keys.crt(_KEY, int.from_bytes(blinded_msg, "big")).to_bytes(256, "big")
    return blinded_msg, inv, blind_sig


def _blind() -> list[Case]:
    blinded_msg, inv, _ = _run()
    inputs = {"operation": "blind", "token_key": _SPKI.hex(), "msg": _MSG.hex(), "salt": _SALT.hex()}
    refused = {"zero": 0, "equal-to-n": _N, "with-a-factor-of-n": _KEY.p}
    return [
        ok("blind", **inputs, r=_bytes(_R), blinded_msg=blinded_msg.hex(), inv=_bytes(inv)),
        *(fails(f"blind-r-{name}", MalformedError, **inputs, r=_bytes(r)) for name, r in refused.items()),
    ]


def _blind_sign() -> list[Case]:
    blinded_msg, _, blind_sig = _run()
    private = {name: f"{getattr(_KEY, name):x}" for name in ("d", "p", "q")}
    inputs = {"operation": "blind-sign", "token_key": _SPKI.hex(), "private_key": private}
    refused = {
        "zero": _bytes(0),
        "one": _bytes(1),
        "n-minus-one": _bytes(_N - 1),
        "equal-to-n": _bytes(_N),
        "above-n": "ff" * 256,
        "with-a-factor-of-n": _bytes(_KEY.q),
        "255-bytes": _bytes(2, 255),
        "257-bytes": _bytes(2, 257),
        "empty": "",
    }
    return [
        ok("blind-sign", **inputs, blinded_msg=blinded_msg.hex(), blind_sig=blind_sig.hex()),
        ok("blind-sign-two", **inputs, blinded_msg=_bytes(2), blind_sig=_bytes(keys.crt(_KEY, 2))),
        *(
            fails(f"blind-sign-{name}", MalformedError, **inputs, blinded_msg=data)
            for name, data in refused.items()
        ),
    ]


def _finalize() -> list[Case]:
    _, inv, blind_sig = _run()
    right = {
        "operation": "finalize",
        "token_key": _SPKI.hex(),
        "msg": _MSG.hex(),
        "blind_sig": blind_sig.hex(),
        "inv": _bytes(inv),
    }
    return [
        ok("finalize", **right, sig=keys.sign_pss(_KEY, _MSG, _SALT).hex()),
        fails("finalize-other-message", SignatureError, **{**right, "msg": _MSG[1:].hex()}),
        fails("finalize-other-blind", SignatureError, **{**right, "inv": _bytes(inv + 1)}),
        fails(
            "finalize-other-signature", SignatureError, **{**right, "blind_sig": _bytes(keys.crt(_KEY, 2))}
        ),
        fails("finalize-255-bytes", MalformedError, **{**right, "blind_sig": blind_sig[1:].hex()}),
        fails("finalize-257-bytes", MalformedError, **{**right, "blind_sig": "00" + blind_sig.hex()}),
    ]


def _verify() -> list[Case]:
    sig = keys.sign_pss(_KEY, _MSG, _SALT)
    s = int.from_bytes(sig, "big")
    inputs = {"operation": "verify", "token_key": _SPKI.hex()}
    cases = [
        ok("verify", **inputs, msg=_MSG.hex(), sig=sig.hex()),
        fails("verify-other-message", SignatureError, **inputs, msg=_MSG[1:].hex(), sig=sig.hex()),
        fails("verify-other-key", SignatureError, **{**inputs, "token_key": keys.token_spki(1).hex()},
              msg=_MSG.hex(), sig=sig.hex()),
    ]  # fmt: skip
    assert _sign_with("sha384", "sha384") == sig.hex()  # noqa: S101 - the variants differ in the hash alone
    refused = {
        f"salt-of-{size}": keys.sign_pss(_KEY, _MSG, bytes(size)).hex() for size in (0, 20, 32, 47, 49, 206)
    }
    refused |= {
        "sha-256": _sign_with("sha256", "sha384"),
        "mgf1-sha-256": _sign_with("sha384", "sha256"),
        "leading-zero": "00" + sig.hex(),
        "trailing-zero": sig.hex() + "00",
        "first-byte-missing": sig[1:].hex(),
        "minus-s": _bytes(_N - s),
        "square": _bytes(s * s % _N),
        "inverse": _bytes(pow(s, -1, _N)),
        "times-two": _bytes(2 * s % _N),
        "zero": _bytes(0),
        "one": _bytes(1),
        "n": _bytes(_N),
        "product-of-two": _bytes(s * int.from_bytes(keys.sign_pss(_KEY, _MSG, bytes(48)), "big") % _N),
    }
    cases += [
        fails(f"verify-{name}", SignatureError, **inputs, msg=_MSG.hex(), sig=data)
        for name, data in refused.items()
    ]
    low_msg, low = _below(2**2048 - _N)
    short_msg, short = _below(2**2040)
    return [
        *cases,
        ok("verify-low", **inputs, msg=low_msg.hex(), sig=_bytes(low)),
        fails("verify-low-plus-n", SignatureError, **inputs, msg=low_msg.hex(), sig=_bytes(low + _N)),
        ok("verify-short", **inputs, msg=short_msg.hex(), sig=_bytes(short)),
        fails(
            "verify-short-without-zero", SignatureError, **inputs, msg=short_msg.hex(), sig=_bytes(short, 255)
        ),
        *_product_trick(inputs),
    ]


def _below(limit: int) -> tuple[bytes, int]:
    for i in range(2000):
        msg = _MSG + i.to_bytes(2, "big")
        s = int.from_bytes(keys.sign_pss(_KEY, msg, _SALT), "big")
        if s < limit:
            return msg, s
    raise AssertionError("no such signature")


def _sign_with(digest: str, mask: str) -> str:
    """RFC 8017, Section 9.1.1 with other hashes and the right salt."""

    def hash_of(data: bytes) -> bytes:
        return hashlib.new(digest, data).digest()

    h = hash_of(bytes(8) + hash_of(_MSG) + _SALT)
    db = bytes(256 - len(h) - len(_SALT) - 2) + b"\x01" + _SALT
    blocks = (hashlib.new(mask, h + i.to_bytes(4, "big")).digest() for i in range(8))
    masked = int.from_bytes(db, "big") ^ int.from_bytes(b"".join(blocks)[: len(db)], "big")
    masked &= (1 << (8 * len(db) - 1)) - 1
    em = masked.to_bytes(len(db), "big") + h + b"\xbc"
    return _bytes(keys.crt(_KEY, int.from_bytes(em, "big")))


def _product_trick(inputs: dict[str, Any]) -> list[Case]:
    """Two messages under one blind signature on their product: neither half verifies."""
    msgs = [_MSG + b"\x00", _MSG + b"\x01"]
    product = math.prod(int.from_bytes(blind_rsa.encode(_KEY.public, msg, _SALT), "big") for msg in msgs) % _N
    root = keys.crt(_KEY, product)
    halves = [3, root * pow(3, -1, _N) % _N]
    return [
        fails(f"verify-product-half-{i}", SignatureError, **inputs, msg=msg.hex(), sig=_bytes(half))
        for i, (msg, half) in enumerate(zip(msgs, halves, strict=True), 1)
    ]


def check(case: Case) -> None:
    """Do the operation and compare what it gives."""
    public = spki.decode_token_key(bytes.fromhex(case["token_key"]))
    operation = case["operation"]
    found: dict[str, str] = {}
    if operation == "blind":
        msg, salt = bytes.fromhex(case["msg"]), bytes.fromhex(case["salt"])
        blinded_msg, inv = blind_rsa.blind(public, msg, salt, int(case["r"], 16))
        found = {"blinded_msg": blinded_msg.hex(), "inv": _bytes(inv)}
    elif operation == "blind-sign":
        d, p, q = (int(case["private_key"][name], 16) for name in ("d", "p", "q"))
        private = blind_rsa.PrivateKey(public.n, public.e, d, p, q)
        found = {"blind_sig": blind_rsa.blind_sign(private, bytes.fromhex(case["blinded_msg"])).hex()}
    elif operation == "finalize":
        msg, blind_sig = bytes.fromhex(case["msg"]), bytes.fromhex(case["blind_sig"])
        found = {"sig": blind_rsa.finalize(public, msg, blind_sig, int(case["inv"], 16)).hex()}
    else:
        blind_rsa.verify(public, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
    wrong = [name for name, value in found.items() if case[name] != value]
    if wrong:
        raise AssertionError(f"{case['name']}: {wrong}")
