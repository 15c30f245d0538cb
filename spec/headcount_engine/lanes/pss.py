"""RSASSA-PSS-VERIFY with SHA-384 and a salt of 48 bytes, for n of 2048 bits and e = 65537, in eight lanes.

RFC 8017, Sections 8.1.2 and 9.1.2. Nothing branches: what must be zero of a good signature is gathered
by "or", and one word says at the end whether all were good.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from headcount_engine.lanes.function import LANES, WORD, ZERO, Function, Value, lanes, word
from headcount_engine.lanes.montgomery import (
    DIGITS,
    MODULUS_WORDS,
    SCRATCH,
    difference,
    digits_of,
    power,
    words_of,
)
from headcount_engine.lanes.sha384 import BLOCK_WORDS, DIGEST_WORDS, PADDING, compress
from headcount_spec.blind_rsa import HASH_BYTES, SALT_BYTES
from headcount_spec.spki import MODULUS_BYTES

_WORDS = MODULUS_BYTES // 8
_SALT_WORDS = SALT_BYTES // 8
_TRAILER = 0xBC
# Places in the encoded message, in words and bits from its beginning:
#   0 … 0, 1 (bytes 0 to 158), salt (159 to 206), both masked; H (207 to 254); 0xbc
_DB_WORDS = 26  # the last byte is H's first
_ONE_IN = 19
_HASH_IN = 25
_MASKS = -(-_DB_WORDS // DIGEST_WORDS)

KEY_VECTORS = MODULUS_WORDS
SCRATCH_VECTORS = SCRATCH + 2 * DIGITS + BLOCK_WORDS + DIGEST_WORDS


@dataclass(frozen=True, slots=True)
class _Hash:
    """The compression with its places."""

    f: Function
    compress: ir.Function
    block: Value
    digest: Value

    def __call__(self, message: list[Value], bits: int) -> list[Value]:
        """Of a message whose padding's first bit is in its last word already."""
        f, padding = self.f, [ZERO] * (BLOCK_WORDS - 1 - len(message))
        for i, value in enumerate([*message, *padding, lanes(bits)]):
            f.store(value, self.block, word(i))
        f.build.call(self.compress, [self.digest, self.block])
        return [f.load(self.digest, word(i)) for i in range(DIGEST_WORDS)]


def sound(module: ir.Module, name: str) -> ir.Function:
    """(answer, signatures, digests, key, scratch, groups): the word at answer is zero if all are good.

    There are groups * LANES signatures and SHA-384 digests side by side. The key are modulus_words in all
    lanes, the scratch SCRATCH_VECTORS; these two begin at multiples of VECTOR_BYTES.
    """
    raise_to_e, hash_block = power(module), compress(module)
    f = Function(module, name, 5, words=1)
    answer, signatures, digests, key, scratch, groups = f.parameters
    r_squared, inverse = f.place(key, word(DIGITS)), f.place(key, word(2 * DIGITS))
    s, m = f.place(scratch, word(SCRATCH)), f.place(scratch, word(SCRATCH + DIGITS))
    block = f.place(scratch, word(SCRATCH + 2 * DIGITS))
    digest = f.place(scratch, word(SCRATCH + 2 * DIGITS + BLOCK_WORDS))
    sha384 = _Hash(f, hash_block, block, digest)
    wrong = f.register(ZERO)
    with f.loop(word(0), groups) as group:
        digits_of(f, _read(f, signatures, group, MODULUS_BYTES, m)[::-1], s)
        _, is_below = difference(f, s, key)
        f.build.call(raise_to_e, [m, s, key, r_squared, inverse, scratch])
        message_hash = _read(f, digests, group, HASH_BYTES, scratch)
        flaws = _flaws(f, sha384, words_of(f, m, _WORDS)[::-1], message_hash)
        for flaw in (f.exclusive_or(is_below, lanes(1)), *flaws):
            wrong.value = f.build.or_(wrong.value, flaw)
    f.build.store(f.any_lane(wrong.value), f.build.gep(answer, [word(0)], source_etype=WORD))
    return f.end()


def _read(f: Function, base: Value, group: Value, stride: int, out: Value) -> list[Value]:
    """The 64-bit words of a group of byte strings of this length, in order; they are at out too."""
    first = f.build.mul(group, word(LANES * stride))
    with f.loop(word(0), word(stride // 8)) as i:
        f.store(f.load_big_endian(base, f.build.add(first, f.build.mul(i, word(8))), stride), out, i)
    return [f.load(out, word(i)) for i in range(stride // 8)]


def _flaws(f: Function, sha384: _Hash, encoded: list[Value], message_hash: list[Value]) -> list[Value]:
    """EMSA-PSS-VERIFY, each flaw a vector that is zero in every lane that has none."""
    build = f.build
    trailer = f.exclusive_or(build.and_(encoded[-1], lanes(0xFF)), lanes(_TRAILER))  # 4.
    hash_ = [_shifted(f, encoded, _HASH_IN + i) for i in range(DIGEST_WORDS)]  # 5.
    top = f.right(encoded[0], 63)  # 6.
    mask = [part for counter in range(_MASKS) for part in _mask(f, sha384, hash_, counter)]  # 7.
    data = [f.exclusive_or(encoded[i], mask[i]) for i in range(_DB_WORDS)]  # 8.
    data[0] = build.and_(data[0], lanes((1 << 63) - 1))  # 9.
    one = f.exclusive_or(f.right(data[_ONE_IN], 8), lanes(1))  # 10.
    salt = [_shifted(f, data, _ONE_IN + i) for i in range(_SALT_WORDS)]  # 11.
    message = [ZERO, *message_hash, *salt]  # 12.
    again = sha384([*message, lanes(PADDING)], 64 * len(message))  # 13.
    differences = [f.exclusive_or(ours, theirs) for ours, theirs in zip(again, hash_, strict=True)]  # 14.
    return [trailer, top, *data[:_ONE_IN], one, *differences]


def _mask(f: Function, sha384: _Hash, seed: list[Value], counter: int) -> list[Value]:
    """MGF1, Appendix B.2.1: the hash of the seed and a counter of four bytes."""
    return sha384([*seed, lanes(counter << 32 | 1 << 31)], 64 * len(seed) + 32)


def _shifted(f: Function, words: list[Value], i: int) -> Value:
    """The eight bytes from the last one of word i on."""
    return f.build.or_(f.left(words[i], 56), f.right(words[i + 1], 8))
