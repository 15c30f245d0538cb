"""The RSA private operation by halves modulo p and q, composed of libcrypto's numbers.

RFC 8017, Section 5.1.2 (RSASP1) by the Chinese remainder theorem:

    c = m * r^e mod n                        blinded, r is new for each message
    c_p = c mod p,  c_q = c mod q
    s_p = c_p^dP mod p,  s_q = c_q^dQ mod q
    h = (s_p - s_q) * qInv mod p
    s = (s_q + h * q) / r mod n

It is what RSA_sign does inside but for one thing: OpenSSL raises its result to the power e, and where that is
not c it repeats the work without the theorem, unchecked. Who signs blindly has to check what leaves anyway
(RFC 9474, Section 4.3), so that it was done twice. NOTHING IS CHECKED HERE: the caller does (rsa.blind_sign).

What is computed from p and q is done by functions of libcrypto whose time depends on sizes alone, on numbers
that are blinded by OpenSSL's own BN_BLINDING. A number that begins with 64 zero bits is handled as a shorter
one; these are random, and none does.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_void_p
from dataclasses import replace
from typing import Any

from headcount_engine.pkcs1 import crt_parameters
from headcount_spec.blind_rsa import PrivateKey, PublicKey
from headcount_spec.errors import CorruptionError, MalformedError

_FLG_CONSTTIME = 4  # bn.h: BN_FLG_CONSTTIME

# name: (result, arguments); bn.h of OpenSSL 3.0
SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "BN_new": (c_void_p, ()),
    "BN_bin2bn": (c_void_p, (c_char_p, c_int, c_void_p)),
    "BN_set_flags": (None, (c_void_p, c_int)),
    "BN_clear_free": (None, (c_void_p,)),
    "BN_CTX_new": (c_void_p, ()),
    "BN_CTX_free": (None, (c_void_p,)),
    "BN_MONT_CTX_new": (c_void_p, ()),
    "BN_MONT_CTX_set": (c_int, (c_void_p, c_void_p, c_void_p)),
    "BN_MONT_CTX_free": (None, (c_void_p,)),
    "BN_to_montgomery": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p)),
    "BN_BLINDING_create_param": (c_void_p, (c_void_p,) * 6),
    "BN_BLINDING_free": (None, (c_void_p,)),
}
# Called for each signature, with arguments that are converted once: the checks of declared arguments would
# take longer than most of these functions do. They keep the GIL: giving it up and getting it back does, too.
_SHORT = (
    *("BN_bin2bn", "BN_bn2binpad", "BN_BLINDING_convert_ex", "BN_BLINDING_invert_ex", "BN_div", "BN_is_zero"),
    *("BN_usub", "BN_uadd", "BN_mod_add_quick", "BN_mul", "BN_mod_mul_montgomery", "BN_mod_exp_mont"),
)


class Numbers:
    """Numbers of libcrypto that nobody writes into, so that threads share them."""

    def __init__(self, lib: ctypes.CDLL) -> None:
        """lib has SIGNATURES declared."""
        self._lib = lib
        self._context = _argument(made(self, lib, lib.BN_CTX_new(), lib.BN_CTX_free))

    def number(self, value: int) -> Any:
        """A number that everybody may know."""
        data = value.to_bytes((value.bit_length() + 7) // 8, "big")
        lib = self._lib
        return _argument(made(self, lib, lib.BN_bin2bn(data, len(data), None), lib.BN_clear_free))

    def secret(self, value: int) -> Any:
        """A number with which libcrypto takes no way that depends on values."""
        number = self.number(value)
        self._lib.BN_set_flags(number, _FLG_CONSTTIME)
        return number

    def montgomery(self, modulus: Any) -> Any:
        """What products modulo this number are made with."""
        lib = self._lib
        found = _argument(made(self, lib, lib.BN_MONT_CTX_new(), lib.BN_MONT_CTX_free))
        ensure(lib, lib.BN_MONT_CTX_set(found, modulus, self._context))
        return found


class PublicNumbers(Numbers):
    """A public key."""

    def __init__(self, lib: ctypes.CDLL, key: PublicKey) -> None:
        super().__init__(lib)
        self.size = key.modulus_bytes
        self.n, self.e = self.number(key.n), self.number(key.e)
        self.mont_n = self.montgomery(self.n)


class Halves(Numbers):
    """A private key."""

    def __init__(self, lib: ctypes.CDLL, key: PrivateKey) -> None:
        super().__init__(lib)
        if key.p < key.q:  # p is the larger of them, so that s_q is below p
            key = replace(key, p=key.q, q=key.p)
        self.size = key.public.modulus_bytes
        d_p, d_q, q_inv = crt_parameters(key)
        self.e = self.number(key.e)
        # As in OpenSSL, n is treated as a secret, because the inverse of the blind is found with it.
        self.n, self.p, self.q = (self.secret(number) for number in (key.n, key.p, key.q))
        self.d_p, self.d_q, self.q_inv = (self.secret(number) for number in (d_p, d_q, q_inv))
        self.mont_n, self.mont_p, self.mont_q = map(self.montgomery, (self.n, self.p, self.q))
        ensure(lib, lib.BN_to_montgomery(self.q_inv, self.q_inv, self.mont_p, self._context))


def private_operation(lib: ctypes.CDLL, key: Halves) -> Callable[[bytes], bytes]:
    """The operation for one thread, with numbers and a blinding of its own: m^d mod n, not checked.

    m and the result are as long as n.

    Raises, when it is called:
        MalformedError: p or q divides m. Nothing was computed under the key.
        CorruptionError: libcrypto refused a step.
    """
    owner = _Owner()
    context = _argument(made(owner, lib, lib.BN_CTX_new(), lib.BN_CTX_free))
    power = ctypes.cast(lib.BN_mod_exp_mont, c_void_p)
    blinds = lib.BN_BLINDING_create_param(None, key.e, key.n, context, power, key.mont_n)
    blinding = _argument(made(owner, lib, blinds, lib.BN_BLINDING_free))
    number, by_p, by_q, h = (_argument(made(owner, lib, lib.BN_new(), lib.BN_clear_free)) for _ in range(4))
    length, size = key.size, c_int.from_param(key.size)
    out = ctypes.create_string_buffer(length)
    short = _short(lib._name)
    read, write = short["BN_bin2bn"], short["BN_bn2binpad"]
    blind, unblind = short["BN_BLINDING_convert_ex"], short["BN_BLINDING_invert_ex"]
    divide, is_zero, subtract, add = short["BN_div"], short["BN_is_zero"], short["BN_usub"], short["BN_uadd"]
    add_modulo, multiply_modulo = short["BN_mod_add_quick"], short["BN_mod_mul_montgomery"]
    multiply = short["BN_mul"]
    powers = lib["BN_mod_exp_mont_consttime_x2"]  # by index: a new one, without declarations
    p, q, mont_p, q_inv = key.p, key.q, key.mont_p, key.q_inv
    to_powers = (by_p, by_p, key.d_p, p, mont_p, by_q, by_q, key.d_q, q, key.mont_q, context)

    def run(m: bytes, _alive: tuple[_Owner, Halves] = (owner, key)) -> bytes:
        if len(m) != length:
            raise ValueError("raw RSA takes exactly as many bytes as the modulus has")
        if not (
            read(m, size, number)
            and blind(number, None, blinding, context)
            and divide(None, by_p, number, p, context)
            and divide(None, by_q, number, q, context)
        ):
            ensure(lib, 0)
        # r has no factor in common with n, so that p divides c only where it divides m.
        if is_zero(by_p) or is_zero(by_q):
            raise MalformedError("the blinded message is out of range")
        if not (
            powers(*to_powers)
            and subtract(h, p, by_q)  # 0 < s_q < q < p: nothing to borrow, and below p
            and add_modulo(h, by_p, h, p)
            and multiply_modulo(h, h, q_inv, mont_p, context)
            and multiply(h, h, q, context)
            and add(number, h, by_q)
            and unblind(number, None, blinding, context)
            and write(number, out, size) == length
        ):
            ensure(lib, 0)
        return out.raw

    return run


def public_operation(lib: ctypes.CDLL, key: PublicNumbers) -> Callable[[bytes], bytes]:
    """The public operation for one thread: s^e mod n; s and the result are as long as n.

    Raises, when it is called:
        CorruptionError: libcrypto refused a step.
    """
    owner = _Owner()
    context = _argument(made(owner, lib, lib.BN_CTX_new(), lib.BN_CTX_free))
    number, found = (_argument(made(owner, lib, lib.BN_new(), lib.BN_clear_free)) for _ in range(2))
    length, size = key.size, c_int.from_param(key.size)
    out = ctypes.create_string_buffer(length)
    short = _short(lib._name)
    read, power, write = short["BN_bin2bn"], short["BN_mod_exp_mont"], short["BN_bn2binpad"]
    to_power = (found, number, key.e, key.n, context, key.mont_n)

    def run(s: bytes, _alive: tuple[_Owner, PublicNumbers] = (owner, key)) -> bytes:
        if len(s) != length:
            raise ValueError("raw RSA takes exactly as many bytes as the modulus has")
        if not (read(s, size, number) and power(*to_power) and write(found, out, size) == length):
            ensure(lib, 0)
        return out.raw

    return run


class _Owner:
    # What is made for an operation is freed when nobody can call it any more.
    __slots__ = ("__weakref__",)


def _argument(pointer: int) -> Any:
    # As a function takes it without converting it again.
    return c_void_p.from_param(pointer)


def made(owner: object, lib: ctypes.CDLL, pointer: int | None, free: Any) -> int:
    """What libcrypto has made, to be freed with its owner.

    Raises:
        CorruptionError: it has made nothing.
    """
    if not pointer:
        ensure(lib, 0)
    assert pointer is not None  # noqa: S101 - ensure has raised
    finalizer = weakref.finalize(owner, free, pointer)
    # At the end of the process a daemon thread may still be inside a call on this pointer.
    finalizer.atexit = False
    return pointer


def ensure(lib: ctypes.CDLL, result: int) -> None:
    """Raise CorruptionError unless a function of libcrypto returned 1."""
    if result != 1:
        lib.ERR_clear_error()  # of this thread; a stale one would blame the next call
        raise CorruptionError("libcrypto refused an operation on one of our keys")


@functools.cache
def _short(name: str) -> dict[str, Any]:
    library = ctypes.PyDLL(name)
    functions = {function: library[function] for function in _SHORT}
    functions["BN_bin2bn"].restype = c_void_p
    return functions
