"""Numbers below 2^2080 in eight lanes, multiplied modulo n after Montgomery, and the power 65537.

A number is 40 digits of 52 bits, the lowest first, a vector a digit. R is 2^2080 and n has 2048 bits: the
product of two factors below 2n is below (1 + 2^-30) n without a subtraction; only the last result needs one.

Products go by columns of tiles of 5 × 5 digits: ten registers take what the tiles of one column give, ten
hold the digits. No lane overflows its 64 bits: not 200 terms below 2^52 meet in one, a carry among them.
"""

from __future__ import annotations

from llvmlite import ir

from headcount_engine.lanes.function import ZERO, Function, Register, Value, lanes, word

BITS = 52  # of a digit
DIGITS = 40
TILE = 5
TILES = DIGITS // TILE
R = 1 << BITS * DIGITS
SQUARINGS = 16  # 65537 is 2^16 + 1
SCRATCH = 3 * DIGITS  # vectors that power needs
MODULUS_WORDS = 2 * DIGITS + 1
_DIGIT = lanes((1 << BITS) - 1)


def digits(number: int) -> list[int]:
    """From 0 to before 2^2080."""
    return [number >> BITS * i & (1 << BITS) - 1 for i in range(DIGITS)]


def modulus_words(n: int) -> list[int]:
    """MODULUS_WORDS that power is told of an odd n of 2048 bits: n, R^2 mod n, -1/n mod 2^52."""
    return [*digits(n), *digits(R * R % n), -pow(n, -1, 1 << BITS) % (1 << BITS)]


def product(module: ir.Module, *, is_square: bool) -> ir.Function:
    """(out, x, y, n, inverse, scratch): out = x * y / R mod n; all three numbers are below 2n.

    A square takes no notice of y. out may be neither x nor y. The scratch are DIGITS vectors.
    """
    f = Function(module, "square" if is_square else "multiply", 6)
    out, x, y, n, inverse, quotient = f.parameters
    build = f.build
    total = f.registers(2 * TILE)
    crossed = f.registers(2 * TILE) if is_square else []
    unit = f.load(inverse, word(0))

    def add_product(column: Value, first: Value, last: Value) -> None:
        if not is_square:
            _add_tiles(f, total, (first, last), x, y, column)
            return
        # x_i x_j and x_j x_i are one product, counted twice; tiles on the diagonal are counted as they are.
        _add_tiles(f, crossed, (first, build.lshr(build.add(column, word(1)), word(1))), x, x, column)
        with build.if_then(build.icmp_unsigned("==", build.and_(column, word(1)), word(0))):
            digits = _tile(f, x, build.lshr(column, word(1)))
            _assign(total, _tile_product(f, _values(total), digits, digits))
        for sum_, double in zip(total[:TILE], crossed, strict=False):
            sum_.value = build.add(sum_.value, f.left(double.value, 1))
        _next_column(crossed)

    with f.loop(word(0), word(TILES)) as column:
        add_product(column, word(0), build.add(column, word(1)))
        _add_tiles(f, total, (word(0), column), quotient, n, column)
        sums, low = _values(total), _tile(f, n, word(0))
        for i in range(TILE):  # the digit of the quotient that makes this digit of the sum zero
            digit = f.add_low(ZERO, sums[i], unit)
            f.store(digit, quotient, _digit(f, column, i))
            sums = sums[:i] + _row_product(f, sums[i:], digit, low)
            sums[i + 1] = build.add(sums[i + 1], f.right(sums[i], BITS))
        _assign(total, sums)
        _next_column(total)
    with f.loop(word(TILES), word(2 * TILES)) as column:
        first = build.sub(column, word(TILES - 1))
        add_product(column, first, word(TILES))
        _add_tiles(f, total, (first, word(TILES)), quotient, n, column)
        sums = _values(total)
        for i in range(TILE):
            f.store(build.and_(sums[i], _DIGIT), out, _digit(f, build.sub(column, word(TILES)), i))
            sums[i + 1] = build.add(sums[i + 1], f.right(sums[i], BITS))
        _assign(total, sums)
        _next_column(total)
    return f.end()


def power(module: ir.Module) -> ir.Function:
    """(out, x, n, r_squared, inverse, scratch): out = x^65537 mod n, below n, of an x below 2n.

    The scratch are SCRATCH vectors.
    """
    square, multiply = product(module, is_square=True), product(module, is_square=False)
    f = Function(module, "power", 6)
    out, x, n, r_squared, inverse, scratch = f.parameters
    here, there = scratch, f.place(scratch, word(DIGITS))
    quotient = f.place(scratch, word(2 * DIGITS))
    f.build.call(multiply, [here, x, r_squared, n, inverse, quotient])
    with f.loop(word(0), word(SQUARINGS // 2)):
        f.build.call(square, [there, here, here, n, inverse, quotient])
        f.build.call(square, [here, there, there, n, inverse, quotient])
    # x itself is no Montgomery number: the product with it is none either.
    f.build.call(multiply, [there, here, x, n, inverse, quotient])
    less, borrow = difference(f, there, n)
    is_below = f.build.icmp_unsigned("!=", borrow, ZERO)
    for i, digit in enumerate(less):
        f.store(f.build.select(is_below, f.load(there, word(i)), digit), out, word(i))
    return f.end()


def difference(f: Function, x: Value, y: Value) -> tuple[list[Value], Value]:
    """The digits of x - y, and 1 in each lane where x is below y."""
    digits, borrow = [], ZERO
    for i in range(DIGITS):
        digit = f.build.sub(f.build.sub(f.load(x, word(i)), f.load(y, word(i))), borrow)
        borrow = f.right(digit, 63)
        digits.append(f.build.and_(digit, _DIGIT))
    return digits, borrow


def digits_of(f: Function, words: list[Value], out: Value) -> None:
    """Write the digits of a number given as 32 vectors of 64 bits, the lowest first."""
    for i in range(DIGITS):
        at, behind = divmod(BITS * i, 64)
        digit = f.right(words[at], behind)
        if behind > 64 - BITS and at + 1 < len(words):
            digit = f.build.or_(digit, f.left(words[at + 1], 64 - behind))
        f.store(f.build.and_(digit, _DIGIT), out, word(i))


def words_of(f: Function, digits: Value, number: int) -> list[Value]:
    """The lowest so many vectors of 64 bits of a number."""
    words = []
    for i in range(number):
        at, behind = divmod(64 * i, BITS)
        value, bits = f.right(f.load(digits, word(at)), behind), BITS - behind
        while bits < 64:
            at += 1
            value = f.build.or_(value, f.left(f.load(digits, word(at)), bits))
            bits += BITS
        words.append(value)
    return words


def _add_tiles(
    f: Function, total: list[Register], rows: tuple[Value, Value], x: Value, y: Value, column: Value
) -> None:
    """Add the products of tile i of x and tile column - i of y."""
    with f.loop(*rows) as row:
        xs, ys = _tile(f, x, row), _tile(f, y, f.build.sub(column, row))
        _assign(total, _tile_product(f, _values(total), xs, ys))


def _tile_product(f: Function, sums: list[Value], xs: list[Value], ys: list[Value]) -> list[Value]:
    for i, x in enumerate(xs):
        sums = sums[:i] + _row_product(f, sums[i:], x, ys)
    return sums


def _row_product(f: Function, sums: list[Value], x: Value, ys: list[Value]) -> list[Value]:
    """Sums from here on with one digit times a tile: low halves in their columns, high halves in the next."""
    sums = list(sums)
    for j, y in enumerate(ys):
        sums[j] = f.add_low(sums[j], x, y)
    for j, y in enumerate(ys):
        sums[j + 1] = f.add_high(sums[j + 1], x, y)
    return sums


def _tile(f: Function, number: Value, tile: Value) -> list[Value]:
    return [f.load(number, _digit(f, tile, i)) for i in range(TILE)]


def _digit(f: Function, tile: Value, i: int) -> Value:
    return f.build.add(f.build.mul(tile, word(TILE)), word(i))


def _values(registers: list[Register]) -> list[Value]:
    return [register.value for register in registers]


def _assign(registers: list[Register], values: list[Value]) -> None:
    for register, value in zip(registers, values, strict=True):
        register.value = value


def _next_column(registers: list[Register]) -> None:
    _assign(registers, [register.value for register in registers[TILE:]] + [ZERO] * TILE)
