from __future__ import annotations

from typing import Any

import pytest

import figures
from headcount_engine import rsa
from headcount_engine.gmp import Gmp
from headcount_spec import blind_rsa
from headcount_spec.blind_rsa import PrivateKey
from headcount_spec.errors import SignatureError

Case = dict[str, Any]
CASES = figures.cases("rfc9474.json")


def key_of(case: Case) -> PrivateKey:
    n, e, d, p, q = (int(case[name], 16) for name in ("n", "e", "d", "p", "q"))
    return PrivateKey(n, e, d, p, q)


def prepared(case: Case) -> bytes:
    msg, prefix = figures.unhex(case, "msg", "msg_prefix")
    return blind_rsa.prepare_randomize(msg, prefix) if case["randomized"] else blind_rsa.prepare_identity(msg)


@pytest.mark.parametrize("case", CASES)
def test_prepare(case: Case) -> None:
    assert prepared(case).hex() == case["prepared_msg"]


@pytest.mark.parametrize("case", CASES)
def test_encode(case: Case) -> None:
    (salt,) = figures.unhex(case, "salt")
    assert len(salt) == case["salt_len"]
    assert blind_rsa.encode(key_of(case).public, prepared(case), salt).hex() == case["encoded_msg"]


@pytest.mark.parametrize("case", CASES)
def test_blind(case: Case) -> None:
    key, inv = key_of(case), int(case["inv"], 16)
    (salt,) = figures.unhex(case, "salt")
    blinded_msg, found = blind_rsa.blind(key.public, prepared(case), salt, pow(inv, -1, key.n))
    assert (blinded_msg.hex(), found) == (case["blinded_msg"], inv)


@pytest.mark.parametrize("case", CASES)
def test_blind_sign(case: Case) -> None:
    (blinded_msg,) = figures.unhex(case, "blinded_msg")
    assert blind_rsa.blind_sign(key_of(case), blinded_msg).hex() == case["blind_sig"]
    assert rsa.blind_sign(Gmp().load_private_key(key_of(case)), blinded_msg).hex() == case["blind_sig"]


@pytest.mark.parametrize("case", CASES)
def test_finalize(case: Case) -> None:
    (blind_sig,) = figures.unhex(case, "blind_sig")
    public, inv = key_of(case).public, int(case["inv"], 16)
    sig = blind_rsa.finalize(public, prepared(case), blind_sig, inv, case["salt_len"])
    assert sig.hex() == case["sig"]


@pytest.mark.parametrize("case", CASES)
def test_signature_of_one_salt_length_is_refused_at_another(case: Case) -> None:
    (sig,) = figures.unhex(case, "sig")
    public = key_of(case).public
    blind_rsa.verify(public, prepared(case), sig, case["salt_len"])
    with pytest.raises(SignatureError):
        blind_rsa.verify(public, prepared(case), sig, 48 - case["salt_len"])
