from __future__ import annotations

from collections.abc import Iterator

import pytest

import keys
from foreign import ForeignError, Node
from headcount_engine import rsa
from headcount_spec import blind_rsa
from headcount_spec.errors import SignatureError

KEY = keys.token_key(0)
SPKI, DER = keys.token_spki(0), keys.token_key_der(0)
VARIANTS = {
    "RSABSSA-SHA384-PSS-Deterministic": 48,
    "RSABSSA-SHA384-PSSZERO-Deterministic": 0,
    "RSABSSA-SHA384-PSS-Randomized": 48,
    "RSABSSA-SHA384-PSSZERO-Randomized": 0,
}
MSG = b"a message of any length"
R = int.from_bytes(keys.seed("blind") * 8, "big") % KEY.n

pytestmark = pytest.mark.parametrize("variant", VARIANTS)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


def prepared(node: Node, variant: str) -> bytes:
    msg = node.octets("prepare", variant=variant, msg=MSG)
    prefix = msg[: -len(MSG)]
    if "Randomized" in variant:
        assert blind_rsa.prepare_randomize(MSG, prefix) == msg
    else:
        assert blind_rsa.prepare_identity(MSG) == msg
    return msg


def test_they_blind_and_finalize_what_we_sign(node: Node, variant: str) -> None:
    msg = prepared(node, variant)
    blinded = node("blind", variant=variant, token_key=SPKI, msg=msg)
    blind_sig = rsa.blind_sign(rsa.load_private_key(DER), bytes.fromhex(blinded["blinded_msg"]))
    sig = node.octets(
        "finalize", variant=variant, token_key=SPKI, msg=msg, blind_sig=blind_sig, inv=blinded["inv"]
    )
    blind_rsa.verify(KEY.public, msg, sig, VARIANTS[variant])


def test_we_blind_and_finalize_what_they_sign(node: Node, variant: str) -> None:
    msg = prepared(node, variant)
    salt = bytes(range(VARIANTS[variant]))
    blinded_msg, inv = blind_rsa.blind(KEY.public, msg, salt, R)
    blind_sig = node.octets("blind_sign", variant=variant, private_key=DER, blinded_msg=blinded_msg)
    assert blind_sig == blind_rsa.blind_sign(KEY, blinded_msg)
    sig = blind_rsa.finalize(KEY.public, msg, blind_sig, inv, VARIANTS[variant])
    assert node("verify", variant=variant, token_key=SPKI, msg=msg, sig=sig) == {"verified": True}


def test_both_refuse_a_wrong_blind_signature(node: Node, variant: str) -> None:
    blinded = node("blind", variant=variant, token_key=SPKI, msg=MSG)
    wrong = blind_rsa.blind_sign(KEY, (5).to_bytes(256, "big"))
    with pytest.raises(ForeignError, match="invalid signature"):
        node("finalize", variant=variant, token_key=SPKI, msg=MSG, blind_sig=wrong, inv=blinded["inv"])
    with pytest.raises(SignatureError):
        blind_rsa.finalize(KEY.public, MSG, wrong, int(blinded["inv"], 16), VARIANTS[variant])


def test_both_refuse_the_other_salt_length(node: Node, variant: str) -> None:
    other = 48 - VARIANTS[variant]
    sig = keys.sign_pss(KEY, MSG, bytes(other))
    assert node("verify", variant=variant, token_key=SPKI, msg=MSG, sig=sig) == {"verified": False}
    with pytest.raises(SignatureError):
        blind_rsa.verify(KEY.public, MSG, sig, VARIANTS[variant])
