"""Known answers that an engine must give before it is used.

The first issuance of RFC 9578, Appendix A.2: the key is published and signs nothing else.
"""

from __future__ import annotations

import hashlib

from headcount_engine.engine import Check, SigningEngine, VerifyingEngine
from headcount_spec.blind_rsa import PrivateKey
from headcount_spec.errors import CorruptionError, SignatureError

_P = bytes.fromhex(
    "ef730b0f514bc0f59d995fd5f9988c4c4c135d105cd56d43ee28a035c969f550c0cd7148ea87ecdeffb937c85c648744"
    "05df56eaeb478bf741884a200ee4a39633d10aa3ec404366da2b531f398d46fbc8f305752906cf78939dd2f3cc9798ae"
    "a7c9d82fef4049f198797e452a5b6d2849b86486345d4b31f69111a2ae0f944b"
)
_Q = bytes.fromhex(
    "d924c9ebcb61316bfdc4abb3dba2cc403cc8989e4e4900f486cb6cf467b4d46feb8740effec4f33b9c2d2ec8b20c0fd9"
    "5a4cc1f09fab3bfcb6c6a043f5591829a181ff075e24fd19fa7eec1137ad88a3db5cf7e0022ed501eefb466b2dfe811c"
    "18b520b66f979df252227a0b5391e6b4874b83491c40b55b379f99326b643dbd"
)
_BLINDED_MSG = bytes.fromhex(
    "6a95be84b63cfed0993bb579194a72a95057e1548ac463a9a5b33b011f2b2011d59487f01862f1d8e4d5ea42e73a660f"
    "bc3d010b944a54da3a4e0942f8894c0884589b438cb902e9a34278970f33c16f351f7dae58d273c3ab66ef368da36f78"
    "5e89e24d1d983d5c34311cd21f290f9e89e8646ab0d0a48988fcd46230de5e7603cd12cc95c7ec5002e5e26737aa7eb6"
    "9c626476e6c8d46510ee404a3d7daf3a23b7c66735d363ca13676925c6ed0117f60d165ce1f8ba616d041b6384baf6da"
    "3e2f757cb18e879a4f8595c2dc895ddf1f4279c75768d108b5c47f95f94e81e2d8b9c8b74476924ab3b7c45243fc99ac"
    "5466e8a3680ad37fa15c96010b274094"
)
_BLIND_SIG = bytes.fromhex(
    "675d84b751d9e593330ec4b6d7ab69c9a61517e98971f4b736150508174b4335761464f237be2d72bbae4b94dffc6143"
    "413f6351f1aa4efde6c32d4d6d9392a008290d56d1222f9b77a1336213e01934f7d972f3bf9ea5a5786c321352f103b3"
    "667e605379a55f0fb925fbb09b8a9f85e7dd4b388a3b49d06fd70ba28f6a780e3bc8f6421554fd6c38b63ef19f84ccfc"
    "f14709dd0b4d72213c1f060893854eba0ea1a147e275da320db5e9849882d5f9179efa8a2d8d3b803f9d1445ef5c1f66"
    "0be08883ce9b29a0a992fc035d2938cbb61c440044438dbb8b3ce7158a8f9827d230482f622d291406ab236b32b12262"
    "7ae0fd36bd0d6b7607b8044ace404d44"
)
_TOKEN_INPUT = bytes.fromhex(
    "0002aa72019d1f951df197021ce63876fe8b0a02dc1c31a12b0a2dd1508d07827f055969f643b4cfda5196d4aa86aeb5"
    "368834f4f06de46950ed435b3b81bd036d44ca572f8982a9ca248a3056186322d93ca147266121ddeb5632c07f1f71cd"
    "2708"
)
_AUTHENTICATOR = bytes.fromhex(
    "bc6a21b533d07294b5e900faf5537dd3eb33cee4e08c9670d1e5358fd184b0e00c637174f5206b14c7bb0e724ebf6b56"
    "271e5aa2ed94c051c4a433d302b23bc52460810d489fb050f9de5c868c6c1b06e3849fd087629f704cc724bc0d0984d5"
    "c339686fcdd75f9a9cdd25f37f855f6f4c584d84f716864f546b696d620c5bd41a811498de84ff9740ba3003ba2422d2"
    "6b91eb745c084758974642a42078201543246ddb58030ea8e722376aa82484dca9610a8fb7e018e396165462e17a03e4"
    "0ea7e128c090a911ecc708066cb201833010c1ebd4e910fc8e27a1be467f78671836a508257123a45e4e0ae2180a434b"
    "d1037713466347a8ebe46439d3da1970"
)
# By the same key over the same input, with a salt of 32 bytes.
_SHORT_SALT = bytes.fromhex(
    "b80db3f74fa80dab6d5d94c2488b431094cbb8b0405b4239754a29f490f5f1e22edb8e4995b87f125a52c6f9ec0377a1"
    "b41ac782c135c5ac6d1e1b7dadb5886b2e17b117579733038b478cdd6d55ba14cc028e2e6458a76f731158ea03abd53e"
    "d88357522dd571b64926c882db5d103db00d6aadcde549867b6a901aaaacb2c4a8e3e8334efca9eb1aaf8b693d1b9f10"
    "cce04a45bbee82e061c72c95175f6c650978bf08b3f322c9d9c122f016ee846ec225c11b5f16708c9edb24723399cf7f"
    "603b1b922364c093d858b9409f72e28a23b9c7b40a028a1b0b929817ac7aa15ec0f503bfbd4e47e288d77697bf7c5dbc"
    "478ffdce0f7d14c723de90c1751cc348"
)


def key() -> PrivateKey:
    """The key of the known answers."""
    p, q = int.from_bytes(_P, "big"), int.from_bytes(_Q, "big")
    return PrivateKey(p * q, 65537, pow(65537, -1, (p - 1) * (q - 1)), p, q)


def check_signing(engine: SigningEngine) -> None:
    """Sign and check the known message.

    Raises:
        CorruptionError: another answer, or none.
    """
    handle = engine.load_private_key(key())
    if handle.private_op(_BLINDED_MSG) != _BLIND_SIG or handle.public_op(_BLIND_SIG) != _BLINDED_MSG:
        raise CorruptionError("the RSA engine gave a wrong known answer")


def check_verifying(engine: VerifyingEngine) -> None:
    """Refuse what is near the known authenticator, then accept it on the same handle.

    Raises:
        CorruptionError: another answer, or none.
    """
    public = key().public
    handle = engine.load_public_key(public)
    n = public.n.to_bytes(public.modulus_bytes, "big")
    flipped = bytes([_TOKEN_INPUT[0] ^ 1]) + _TOKEN_INPUT[1:]
    for msg, sig in (
        (flipped, _AUTHENTICATOR),
        (_TOKEN_INPUT, _SHORT_SALT),
        (_TOKEN_INPUT, n),
        (_TOKEN_INPUT, _AUTHENTICATOR[:-1]),
        (_TOKEN_INPUT, _AUTHENTICATOR + b"\0"),
    ):
        try:
            handle.verify(msg, sig)
        except SignatureError:
            continue
        raise CorruptionError("the RSA engine accepted a wrong signature")
    try:
        handle.verify(_TOKEN_INPUT, _AUTHENTICATOR)
    except SignatureError as exc:
        raise CorruptionError("the RSA engine refused a good signature") from exc
    check_many(handle.checker())


def check_many(check: Check) -> None:
    """Take good ones, and find a wrong one at any place among eight, by a check under the key of key().

    Raises:
        CorruptionError: another answer.
    """
    flipped = bytes([_TOKEN_INPUT[0] ^ 1]) + _TOKEN_INPUT[1:]
    good, bad = hashlib.sha384(_TOKEN_INPUT).digest(), hashlib.sha384(flipped).digest()
    eight = [_AUTHENTICATOR] * 8
    one_is_bad = [[bad if place == at else good for place in range(8)] for at in range(8)]
    accepted = [check(digests, eight) for digests in one_is_bad] + [check([good], [_SHORT_SALT])]
    if any(accepted) or not check([good], [_AUTHENTICATOR]) or not check([good] * 8, eight):
        raise CorruptionError("the RSA engine is wrong about many signatures")
