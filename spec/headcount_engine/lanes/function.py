"""Machine code in the making: an LLVM function over vectors of eight 64-bit lanes.

Python runs once and writes instructions; a Python loop is code side by side, ``Function.loop`` a loop in the
machine. What varies in such a loop is kept in a Register.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

LANES = 8
WORD_BYTES = 8
VECTOR_BYTES = LANES * WORD_BYTES

WORD = ir.IntType(64)
VECTOR = ir.VectorType(WORD, LANES)
_BYTE = ir.IntType(8)
_POINTER = ir.PointerType()

Value = Any  # of LLVM: a vector, a word or a pointer


def word(value: int) -> Value:
    """A constant."""
    return ir.Constant(WORD, value)


def lanes(value: int) -> Value:
    """A constant, the same in every lane."""
    return ir.Constant(VECTOR, [value] * LANES)


def _lane(number: int) -> Value:
    return ir.Constant(ir.IntType(32), number)


ZERO = lanes(0)
_ALL_FIRST = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)


class Register:
    """What is assigned more than once."""

    def __init__(self, builder: ir.IRBuilder, value: Value) -> None:
        self._builder = builder
        self._type = value.type
        with builder.goto_entry_block():  # elsewhere LLVM would keep it in memory
            self._slot = builder.alloca(self._type)
        self.value = value

    @property
    def value(self) -> Value:
        """As it was assigned last."""
        return self._builder.load(self._slot, typ=self._type)

    @value.setter
    def value(self, value: Value) -> None:
        self._builder.store(value, self._slot)


class Function:
    """One function of a module; all parameters are pointers, but for the last ``words`` ones."""

    def __init__(self, module: ir.Module, name: str, pointers: int, words: int = 0) -> None:
        types = [_POINTER] * pointers + [WORD] * words
        self.code = ir.Function(module, ir.FunctionType(ir.VoidType(), types), name)
        self.build = ir.IRBuilder(self.code.append_basic_block())
        self._module = module

    @property
    def parameters(self) -> Sequence[Value]:
        """Pointers, then words."""
        return self.code.args  # type: ignore[no-any-return]

    def end(self) -> ir.Function:
        """The last instruction; what others call."""
        self.build.ret_void()
        return self.code

    def register(self, value: Value) -> Register:
        """A register with this value."""
        return Register(self.build, value)

    def registers(self, number: int) -> list[Register]:
        """So many, all zero."""
        return [self.register(ZERO) for _ in range(number)]

    @contextmanager
    def loop(self, start: Value, stop: Value) -> Iterator[Value]:
        """From start to before stop, with the word that counts."""
        build, at = self.build, self.register(start)
        head, body, end = (self.code.append_basic_block() for _ in range(3))
        build.branch(head)
        build.position_at_end(head)
        now = at.value
        build.cbranch(build.icmp_unsigned("<", now, stop), body, end)
        build.position_at_end(body)
        yield now
        at.value = build.add(now, word(1))
        build.branch(head)
        build.position_at_end(end)

    def place(self, base: Value, index: Value) -> Value:
        """Where the vector with this index is."""
        return self.build.gep(base, [index], source_etype=VECTOR)

    def load(self, base: Value, index: Value) -> Value:
        """The vector with this index; base is a multiple of VECTOR_BYTES."""
        return self.build.load(self.place(base, index), align=VECTOR_BYTES, typ=VECTOR)

    def store(self, vector: Value, base: Value, index: Value) -> None:
        """Write the vector with this index; base is a multiple of VECTOR_BYTES."""
        self.build.store(vector, self.place(base, index), align=VECTOR_BYTES)

    def any_lane(self, vector: Value) -> Value:
        """A word that is zero if all lanes are."""
        total = word(0)
        for number in range(LANES):
            total = self.build.or_(total, self.build.extract_element(vector, _lane(number)))
        return total

    def load_big_endian(self, base: Value, offset: Value, stride: int) -> Value:
        """In lane i the eight bytes at base + offset + i * stride, as a number."""
        build, vector = self.build, ZERO
        swap = self._intrinsic("llvm.bswap.i64", WORD, 1)
        for lane in range(LANES):
            place = build.gep(base, [build.add(offset, word(lane * stride))], source_etype=_BYTE)
            number = build.call(swap, [build.load(place, align=1, typ=WORD)])
            vector = build.insert_element(vector, number, _lane(lane))
        return vector

    def spread(self, number: Value) -> Value:
        """A word in every lane."""
        vector = self.build.insert_element(ZERO, number, _lane(0))
        return self.build.shuffle_vector(vector, ZERO, _ALL_FIRST)

    def sum(self, *vectors: Value) -> Value:
        """Modulo 2^64."""
        total = vectors[0]
        for vector in vectors[1:]:
            total = self.build.add(total, vector)
        return total

    def exclusive_or(self, *vectors: Value) -> Value:
        """Of two and more."""
        total = vectors[0]
        for vector in vectors[1:]:
            total = self.build.xor(total, vector)
        return total

    def left(self, vector: Value, bits: int) -> Value:
        """Shifted, with zeros behind."""
        return self.build.shl(vector, lanes(bits))

    def right(self, vector: Value, bits: int) -> Value:
        """Shifted, with zeros before."""
        return self.build.lshr(vector, lanes(bits))

    def rotated(self, vector: Value, bits: int) -> Value:
        """ROTR^bits."""
        turn = self._intrinsic("llvm.fshr.v8i64", VECTOR, 3)
        return self.build.call(turn, [vector, vector, lanes(bits)])

    def add_low(self, total: Value, x: Value, y: Value) -> Value:
        """Total plus the low 52 bits of the product of the low 52 bits of x and y. VPMADD52LUQ."""
        multiply = self._intrinsic("llvm.x86.avx512.vpmadd52l.uq.512", VECTOR, 3)
        return self.build.call(multiply, [total, x, y])

    def add_high(self, total: Value, x: Value, y: Value) -> Value:
        """Total plus the high 52 bits of that product. VPMADD52HUQ."""
        multiply = self._intrinsic("llvm.x86.avx512.vpmadd52h.uq.512", VECTOR, 3)
        return self.build.call(multiply, [total, x, y])

    def _intrinsic(self, name: str, of: Any, operands: int) -> Any:
        known = self._module.globals.get(name)
        return known or ir.Function(self._module, ir.FunctionType(of, [of] * operands), name)
