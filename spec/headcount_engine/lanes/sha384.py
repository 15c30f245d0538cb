"""SHA-384 of messages of one block, in eight lanes. FIPS 180-4, Sections 4.1.3, 5.3.4 and 6.4.2."""

from __future__ import annotations

import math
from itertools import count, islice

from llvmlite import ir

from headcount_engine.lanes.function import Function, Register, Value, lanes, word

BLOCK_WORDS = 16
DIGEST_WORDS = 6
PADDING = 1 << 63  # the word behind a message that ends at a word
_ROUNDS = 80
_MASK = (1 << 64) - 1


def _primes(number: int) -> list[int]:
    return list(islice((n for n in count(2) if all(n % d for d in range(2, math.isqrt(n) + 1))), number))


def _cube_root(n: int) -> int:
    root = 1 << n.bit_length() // 3 + 1
    while (lower := (2 * root + n // root**2) // 3) < root:  # Newton's way, from above
        root = lower
    return root


# The first 64 bits of the fractional parts of cube roots, Section 4.2.3, and of square roots, Section 5.3.4.
CONSTANTS = [_cube_root(p << 192) & _MASK for p in _primes(_ROUNDS)]
INITIAL = [math.isqrt(p << 128) & _MASK for p in _primes(16)[8:]]


def compress(module: ir.Module) -> ir.Function:
    """(digest, block): the first six words of the hash after one block, which is overwritten."""
    table = ir.GlobalVariable(module, ir.ArrayType(ir.IntType(64), _ROUNDS), "sha384_constants")
    table.global_constant = True
    table.initializer = ir.Constant(table.value_type, CONSTANTS)  # pyright: ignore[reportAttributeAccessIssue]
    f = Function(module, "sha384", 2)
    digest, block = f.parameters
    state = [f.register(lanes(value)) for value in INITIAL]
    schedule = [f.register(f.load(block, word(i))) for i in range(BLOCK_WORDS)]
    with f.loop(word(0), word(_ROUNDS // BLOCK_WORDS)) as sixteen:
        _rounds(f, state, schedule, table, f.build.mul(sixteen, word(BLOCK_WORDS)))
        for i in range(BLOCK_WORDS):  # of the next sixteen, in vain at the end
            schedule[i].value = f.sum(
                schedule[i].value,
                _little_sigma(f, schedule[(i + 1) % BLOCK_WORDS].value, 1, 8, 7),
                schedule[(i + 9) % BLOCK_WORDS].value,
                _little_sigma(f, schedule[(i + 14) % BLOCK_WORDS].value, 19, 61, 6),
            )
    for i in range(DIGEST_WORDS):
        f.store(f.sum(state[i].value, lanes(INITIAL[i])), digest, word(i))
    return f.end()


def _rounds(f: Function, state: list[Register], schedule: list[Register], table: Value, first: Value) -> None:
    """Sixteen rounds, the first with this number."""
    a, b, c, d, e, f_, g, h = (register.value for register in state)
    for i, register in enumerate(schedule):
        place = f.build.gep(table, [f.build.add(first, word(i))], source_etype=ir.IntType(64))
        constant = f.spread(f.build.load(place, typ=ir.IntType(64)))
        one = f.sum(h, _big_sigma(f, e, 14, 18, 41), _choice(f, e, f_, g), constant, register.value)
        two = f.sum(_big_sigma(f, a, 28, 34, 39), _majority(f, a, b, c))
        a, b, c, d, e, f_, g, h = f.sum(one, two), a, b, c, f.sum(d, one), e, f_, g
    for register, value in zip(state, (a, b, c, d, e, f_, g, h), strict=True):
        register.value = value


def _big_sigma(f: Function, x: Value, i: int, j: int, k: int) -> Value:
    return f.exclusive_or(f.rotated(x, i), f.rotated(x, j), f.rotated(x, k))


def _little_sigma(f: Function, x: Value, i: int, j: int, k: int) -> Value:
    return f.exclusive_or(f.rotated(x, i), f.rotated(x, j), f.right(x, k))


def _choice(f: Function, x: Value, y: Value, z: Value) -> Value:
    return f.build.xor(z, f.build.and_(x, f.build.xor(y, z)))


def _majority(f: Function, x: Value, y: Value, z: Value) -> Value:
    return f.build.or_(f.build.and_(x, y), f.build.and_(z, f.build.or_(x, y)))
