from __future__ import annotations

import ctypes
import hashlib
import struct
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
from engines import LANES
from headcount_engine import rsa
from headcount_engine.portable import Portable
from headcount_spec import blind_rsa

if not LANES:
    pytest.skip("this processor has no AVX-512 IFMA, or llvmlite is missing", allow_module_level=True)

from llvmlite import ir

from headcount_engine.lanes import montgomery, sha384
from headcount_engine.lanes.machine import Code, Processor, Vectors, in_all_lanes

PROCESSOR = Processor()
KEY = keys.token_key(0)
N = KEY.n
DIGEST = hashlib.sha384(b"a message").digest()
M = int.from_bytes(blind_rsa.encode(KEY.public, b"a message", bytes(48)), "big")
SIG = keys.crt(KEY, M).to_bytes(256, "big")
CHECK = LANES[0].checker(KEY.public)
SECOND = Portable().load_public_key(KEY.public).checker()


def compiled(write: Callable[[ir.Module], ir.Function]) -> tuple[Code, str]:
    module = ir.Module("test")
    name = write(module).name
    return PROCESSOR.load(PROCESSOR.compile(module)), name


CODE = {
    "multiply": compiled(lambda module: montgomery.product(module, is_square=False)),
    "square": compiled(lambda module: montgomery.product(module, is_square=True)),
    "power": compiled(montgomery.power),
    "sha384": compiled(sha384.compress),
}


def packed(numbers: Sequence[int]) -> bytes:
    columns = zip(*map(montgomery.digits, numbers), strict=True)
    return b"".join(struct.pack("<8Q", *column) for column in columns)


def unpacked(data: bytes) -> list[int]:
    words = struct.unpack(f"<{len(data) // 8}Q", data)
    assert all(word < 1 << montgomery.BITS for word in words)
    lanes = [words[lane::8] for lane in range(8)]
    return [sum(word << montgomery.BITS * i for i, word in enumerate(lane)) for lane in lanes]


def run(name: str, n: int, *inputs: Sequence[int]) -> list[int]:
    code, symbol = CODE[name]
    vectors = [Vectors(montgomery.DIGITS) for _ in inputs]
    for vector, numbers in zip(vectors, inputs, strict=True):
        vector.write(packed(numbers))
    modulus, scratch = Vectors(montgomery.MODULUS_WORDS), Vectors(montgomery.SCRATCH)
    modulus.write(in_all_lanes(*montgomery.modulus_words(n)))
    scratch.write(b"\xff" * scratch.size_bytes)
    out = Vectors(montgomery.DIGITS)
    vector_bytes = montgomery.DIGITS * 64
    places = [modulus.place, modulus.place + vector_bytes, modulus.place + 2 * vector_bytes]
    if name != "power":
        del places[1]
    arguments = [out.place, *(vector.place for vector in vectors), *places, scratch.place]
    code.function(symbol, *[ctypes.c_void_p] * len(arguments))(*arguments)
    return unpacked(out.read())


moduli = st.one_of(
    st.integers(2**2047, 2**2048 - 1).map(lambda n: n | 1),
    st.sampled_from(
        [N, 2**2048 - 1, 2**2047 + 1, 2**2048 - 2**1024 + 1, int("f" * 256 + "0" * 255 + "1", 16)]
    ),
)


def numbers_below(limit: int) -> st.SearchStrategy[list[int]]:
    edges = [0, 1, 2, limit - 1, limit - 2, limit // 2, (1 << 52) - 1, 1 << 52, (1 << 2047) - 1, 1 << 2047]
    one = st.one_of(st.integers(0, limit - 1), st.sampled_from([edge for edge in edges if edge < limit]))
    return st.lists(one, min_size=8, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_products_are_those_of_integers(data: st.DataObject) -> None:
    n = data.draw(moduli)
    x, y = data.draw(numbers_below(2 * n)), data.draw(numbers_below(2 * n))
    for name, other in (("multiply", y), ("square", x)):
        found = run(name, n, x, other)
        inverse = pow(montgomery.R, -1, n)
        assert [value % n for value in found] == [a * b * inverse % n for a, b in zip(x, other, strict=True)]
        assert all(value < 2 * n for value in found)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_powers_are_those_of_integers(data: st.DataObject) -> None:
    n = data.draw(moduli)
    x = data.draw(numbers_below(n))
    assert run("power", n, x) == [pow(value, 65537, n) for value in x]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 111), min_size=8, max_size=8))
def test_hashes_are_those_of_hashlib(lengths: list[int]) -> None:
    messages = [hashlib.shake_256(bytes([i, length])).digest(length) for i, length in enumerate(lengths)]
    blocks = [
        message + b"\x80" + bytes(111 - len(message)) + (8 * len(message)).to_bytes(16, "big")
        for message in messages
    ]
    block, digest = Vectors(sha384.BLOCK_WORDS), Vectors(sha384.DIGEST_WORDS)
    words = [struct.unpack(">16Q", block) for block in blocks]
    block.write(b"".join(struct.pack("<8Q", *column) for column in zip(*words, strict=True)))
    code, symbol = CODE["sha384"]
    code.function(symbol, ctypes.c_void_p, ctypes.c_void_p)(digest.place, block.place)
    found = struct.unpack("<48Q", digest.read())
    lanes = [struct.pack(">6Q", *found[lane::8]) for lane in range(8)]
    assert lanes == [hashlib.sha384(message).digest() for message in messages]


def test_constants_are_the_standards() -> None:
    assert sha384.CONSTANTS[0] == 0x428A2F98D728AE22
    assert sha384.CONSTANTS[-1] == 0x6C44198C4A475817
    assert sha384.INITIAL[0] == 0xCBBB9D5DC1059ED8
    assert sha384.INITIAL[-1] == 0x47B5481DBEFA4FA4


def test_a_flaw_in_any_bit_of_an_encoded_message_is_found_in_any_lane() -> None:
    signing = rsa.load_private_key(keys.token_key_der(0))
    tried = 0
    for bit in range(2048):
        flawed = M ^ 1 << bit
        if flawed >= N:
            continue
        tried += 1
        sig = signing.private_op(flawed.to_bytes(256, "big"))
        sigs = [SIG] * 8
        sigs[bit % 8] = sig
        assert not CHECK([DIGEST] * 8, sigs)
    assert tried >= 2046
    assert CHECK([DIGEST] * 8, [SIG] * 8)


def test_a_flaw_in_any_bit_of_a_digest_or_a_signature_is_found() -> None:
    for bit in range(384):
        wrong = (int.from_bytes(DIGEST, "big") ^ 1 << bit).to_bytes(48, "big")
        assert not CHECK([DIGEST, wrong, DIGEST], [SIG] * 3)
    for bit in range(2048):
        sig = (int.from_bytes(SIG, "big") ^ 1 << bit).to_bytes(256, "big")
        assert not CHECK([DIGEST] * 17, [SIG] * 16 + [sig])


def test_a_signature_that_is_not_below_n_is_none_even_if_its_remainder_is_one() -> None:
    messages = [str(i).encode() for i in range(200)]
    signed = ((msg, int.from_bytes(keys.sign_pss(KEY, msg), "big")) for msg in messages)
    msg, short = next((msg, sig) for msg, sig in signed if sig + N < 1 << 2048)
    digest = hashlib.sha384(msg).digest()
    assert CHECK([digest], [short.to_bytes(256, "big")])
    assert not CHECK([digest], [(short + N).to_bytes(256, "big")])
    for odd in (0, 1, N - 1, N, N + 1, 2**2048 - 1):
        assert not CHECK([digest], [odd.to_bytes(256, "big")])


def test_every_number_of_signatures() -> None:
    assert CHECK([], [])
    for number in range(1, 20):
        digests, sigs = [DIGEST] * number, [SIG] * number
        assert CHECK(digests, sigs)
        for at in range(number):
            flawed = [*sigs[:at], SIG[:-1] + bytes([SIG[-1] ^ 1]), *sigs[at + 1 :]]
            assert not CHECK(digests, flawed)


def test_other_lengths() -> None:
    for sig in (b"", SIG[:-1], SIG + b"\0", SIG[1:]):
        assert not CHECK([DIGEST, DIGEST], [SIG, sig])
    with pytest.raises(ValueError, match="as many"):
        CHECK([DIGEST], [SIG, SIG])
    for digest in (b"", DIGEST[:-1], DIGEST + b"\0"):
        with pytest.raises(ValueError, match="SHA-384"):
            CHECK([DIGEST, digest], [SIG, SIG])
    with pytest.raises(ValueError, match="2048 bits"):
        LANES[0].checker(blind_rsa.PublicKey(N, 3))
    with pytest.raises(ValueError, match="2048 bits"):
        LANES[0].checker(blind_rsa.PublicKey(N >> 1 | 1, 65537))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(min_size=256, max_size=256), st.just(SIG)), min_size=1, max_size=20))
def test_the_verdict_is_that_of_cryptography(sigs: list[bytes]) -> None:
    digests = [DIGEST] * len(sigs)
    assert CHECK(digests, sigs) == SECOND(digests, sigs)


def test_checks_of_two_keys_do_not_disturb_each_other() -> None:
    other = keys.token_key(1)
    second = LANES[0].checker(other.public)
    theirs = keys.sign_pss(other, b"a message")
    for _ in range(3):
        assert CHECK([DIGEST], [SIG])
        assert not CHECK([DIGEST], [theirs])
        assert second([DIGEST], [theirs])
        assert not second([DIGEST], [SIG])
