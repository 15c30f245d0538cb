"""RSA by the system's OpenSSL 3 through ctypes, which gives up the GIL during each call.

One EVP_PKEY a key is shared, and each thread has contexts of its own, which are reused: an
EVP_PKEY_CTX is not thread-safe. ctypes cannot check types across the border, so the known-answer test
of selftest decides whether this engine is used at all.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
import weakref
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_void_p
from typing import Any

from headcount_engine.engine import Check
from headcount_engine.pkcs1 import encode_private, encode_public
from headcount_spec.blind_rsa import HASH_BYTES, SALT_BYTES, PrivateKey, PublicKey
from headcount_spec.errors import CorruptionError, SignatureError

# Versioned names and Homebrew's paths only: macOS aborts a process that loads its unversioned one.
_PATHS = {
    "linux": ("libcrypto.so.3",),
    "darwin": (
        "/opt/homebrew/opt/openssl@3/lib/libcrypto.3.dylib",
        "/usr/local/opt/openssl@3/lib/libcrypto.3.dylib",
    ),
    "win32": ("libcrypto-3-x64.dll", "libcrypto-3.dll"),
}
_EVP_PKEY_RSA = 6  # obj_mac.h: NID_rsaEncryption
_RSA_NO_PADDING = 3  # rsa.h
_RSA_PKCS1_PSS_PADDING = 6  # rsa.h
_BN_FLG_CONSTTIME = 4  # bn.h

# name: (result, arguments); evp.h, rsa.h, bn.h, err.h and crypto.h of OpenSSL 3.0
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "OpenSSL_version": (c_char_p, (c_int,)),
    "ERR_clear_error": (None, ()),
    "d2i_PrivateKey": (c_void_p, (c_int, c_void_p, POINTER(c_char_p), c_long)),
    "d2i_PublicKey": (c_void_p, (c_int, c_void_p, POINTER(c_char_p), c_long)),
    "EVP_PKEY_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_new": (c_void_p, (c_void_p, c_void_p)),
    "EVP_PKEY_CTX_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_set_rsa_padding": (c_int, (c_void_p, c_int)),
    "EVP_PKEY_CTX_set_rsa_pss_saltlen": (c_int, (c_void_p, c_int)),
    "EVP_PKEY_CTX_set_rsa_mgf1_md": (c_int, (c_void_p, c_void_p)),
    "EVP_PKEY_CTX_set_signature_md": (c_int, (c_void_p, c_void_p)),
    "EVP_sha384": (c_void_p, ()),
    "EVP_PKEY_sign_init": (c_int, (c_void_p,)),
    "EVP_PKEY_sign": (c_int, (c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "EVP_PKEY_encrypt_init": (c_int, (c_void_p,)),
    "EVP_PKEY_encrypt": (c_int, (c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t)),
    "BN_new": (c_void_p, ()),
    "BN_bin2bn": (c_void_p, (c_char_p, c_int, c_void_p)),
    "BN_num_bits": (c_int, (c_void_p,)),
    "BN_set_flags": (None, (c_void_p, c_int)),
    "BN_clear_free": (None, (c_void_p,)),
    "BN_CTX_new": (c_void_p, ()),
    "BN_CTX_free": (None, (c_void_p,)),
    "BN_div": (c_int, (c_void_p, c_void_p, c_void_p, c_void_p, c_void_p)),
    "EVP_PKEY_verify_init": (c_int, (c_void_p,)),
    "EVP_PKEY_verify": (c_int, (c_void_p, c_char_p, c_size_t, c_char_p, c_size_t)),
}


class Libcrypto:
    """The library, found and declared."""

    def __init__(self) -> None:
        """Load it.

        Raises:
            OSError: there is none on this machine.
            AttributeError: it lacks a function.
        """
        self._lib = _load()
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._lib, name)
            function.restype = result
            function.argtypes = arguments

    @property
    def name(self) -> str:
        """As "OpenSSL 3.0.19 27 Jan 2026"."""
        version: bytes = self._lib.OpenSSL_version(0)
        return version.decode("ascii", "replace")

    def load_private_key(self, key: PrivateKey) -> LibcryptoSigningKey:
        """A handle with p, q, dP, dQ, qInv and e: without e OpenSSL does not blind."""
        return LibcryptoSigningKey(self._lib, key, encode_private(key))

    def load_public_key(self, key: PublicKey) -> LibcryptoVerifyingKey:
        """A handle that verifies."""
        return LibcryptoVerifyingKey(self._lib, key)


class LibcryptoSigningKey:
    """One EVP_PKEY with its private half."""

    def __init__(self, lib: ctypes.CDLL, key: PrivateKey, der: bytes) -> None:
        """der is the key as encode_private makes it."""
        self.public = key.public
        self._lib = lib
        self._pkey = _decode(lib, lib.d2i_PrivateKey, der)
        self._local = threading.local()
        _free_with(self, lib.EVP_PKEY_free, self._pkey)
        self._primes = [_secret_number(self, lib, prime) for prime in (key.p, key.q)]

    def private_op(self, m: bytes) -> bytes:
        """RSASP1 without padding, with OpenSSL's base blinding."""
        return self._run("sign", m)

    def public_op(self, s: bytes) -> bytes:
        """RSAVP1 without padding."""
        return self._run("encrypt", s)

    def is_coprime(self, m: bytes) -> bool:
        """Whether neither p nor q divides m.

        Two divisions by the primes take a quarter of the time of gcd(m, n). BN_div takes a time that does not
        depend on the values since OpenSSL 1.1.1; OpenSSL's own CRT divides in the same way.
        """
        try:
            remainders = self._local.remainders
        except AttributeError:
            remainders = self._local.remainders = _Remainders(self._lib)
        return bool(remainders.are_not_zero(m, self._primes))

    def _run(self, operation: str, data: bytes) -> bytes:
        context: _RawContext | None = getattr(self._local, operation, None)
        if context is None:
            context = _RawContext(self._lib, self._pkey, operation, self.public.modulus_bytes)
            setattr(self._local, operation, context)
        return context.run(data)


class LibcryptoVerifyingKey:
    """One EVP_PKEY with its public half."""

    def __init__(self, lib: ctypes.CDLL, public: PublicKey) -> None:
        self.public = public
        self._size = public.modulus_bytes
        self._lib = lib
        self._pkey = _decode(lib, lib.d2i_PublicKey, encode_public(public))
        self._verify = lib.EVP_PKEY_verify
        self._local = threading.local()
        _free_with(self, lib.EVP_PKEY_free, self._pkey)

    def verify(self, msg: bytes, sig: bytes) -> None:
        """RSASSA-PSS-VERIFY, salt exactly 48."""
        # OpenSSL takes a signature without its leading zero byte: the length is ours to check.
        if len(sig) != self._size:
            raise SignatureError("the signature does not verify")
        try:
            pointer = self._local.context.pointer
        except AttributeError:
            self._local.context = self._new_context()
            pointer = self._local.context.pointer
        if self._verify(pointer, sig, self._size, hashlib.sha384(msg).digest(), HASH_BYTES) != 1:
            self._lib.ERR_clear_error()  # of this thread; a stale one would blame the next call
            raise SignatureError("the signature does not verify")

    def checker(self) -> Check:
        """A check with a context of its own: for one thread and very many signatures."""
        context = self._new_context()
        verify, clear = self._verify, self._lib.ERR_clear_error
        pointer, size = context.pointer, self._size

        def check(digests: Sequence[bytes], sigs: Sequence[bytes], _alive: _Context = context) -> bool:
            for digest, sig in zip(digests, sigs, strict=True):
                if len(sig) != size or verify(pointer, sig, size, digest, HASH_BYTES) != 1:
                    clear()
                    return False
            return True

        return check

    def _new_context(self) -> _Context:
        lib = self._lib
        context = _Context(lib, self._pkey)
        sha384 = lib.EVP_sha384()
        for result in (
            lib.EVP_PKEY_verify_init(context.pointer),
            lib.EVP_PKEY_CTX_set_rsa_padding(context.pointer, _RSA_PKCS1_PSS_PADDING),
            lib.EVP_PKEY_CTX_set_signature_md(context.pointer, sha384),
            lib.EVP_PKEY_CTX_set_rsa_mgf1_md(context.pointer, sha384),
            lib.EVP_PKEY_CTX_set_rsa_pss_saltlen(context.pointer, SALT_BYTES),
        ):
            _check(lib, result)
        return context


class _Context:
    # An EVP_PKEY_CTX, freed when its thread ends; it holds a reference to the EVP_PKEY.
    def __init__(self, lib: ctypes.CDLL, pkey: int) -> None:
        self.pointer: int = lib.EVP_PKEY_CTX_new(pkey, None)
        _check(lib, 1 if self.pointer else 0)
        _free_with(self, lib.EVP_PKEY_CTX_free, self.pointer)


class _RawContext:
    # Padding-free operations in one thread, with a buffer of their own.
    def __init__(self, lib: ctypes.CDLL, pkey: int, operation: str, size_bytes: int) -> None:
        self._lib = lib
        self._context = _Context(lib, pkey)
        self._call = getattr(lib, f"EVP_PKEY_{operation}")
        self._out = ctypes.create_string_buffer(size_bytes)
        self._written = c_size_t(size_bytes)
        self._written_at = byref(self._written)
        self._size = size_bytes
        _check(lib, getattr(lib, f"EVP_PKEY_{operation}_init")(self._context.pointer))
        _check(lib, lib.EVP_PKEY_CTX_set_rsa_padding(self._context.pointer, _RSA_NO_PADDING))

    def run(self, data: bytes) -> bytes:
        size, written, out = self._size, self._written, self._out
        if len(data) != size:
            raise ValueError("raw RSA takes exactly as many bytes as the modulus has")
        written.value = size
        if self._call(self._context.pointer, out, self._written_at, data, size) != 1:
            _check(self._lib, 0)
        if written.value != size:
            raise CorruptionError("libcrypto answered another length")
        return out.raw


class _Remainders:
    # Divisions in one thread, with numbers of their own.
    def __init__(self, lib: ctypes.CDLL) -> None:
        self._lib = lib
        self._context = lib.BN_CTX_new()
        self._number, self._remainder = lib.BN_new(), lib.BN_new()
        _check(lib, 1 if self._context and self._number and self._remainder else 0)
        _free_with(self, lib.BN_CTX_free, self._context)
        for number in (self._number, self._remainder):
            _free_with(self, lib.BN_clear_free, number)

    def are_not_zero(self, m: bytes, primes: Sequence[int]) -> bool:
        lib, number, remainder = self._lib, self._number, self._remainder
        if not lib.BN_bin2bn(m, len(m), number):
            _check(lib, 0)
        for prime in primes:
            if lib.BN_div(None, remainder, number, prime, self._context) != 1:
                _check(lib, 0)
            if lib.BN_num_bits(remainder) == 0:
                return False
        return True


def _load() -> ctypes.CDLL:
    failure: OSError | None = None
    for path in _PATHS.get(sys.platform, ()):
        try:
            return ctypes.CDLL(path)
        except OSError as exc:
            failure = exc
    raise failure or OSError("no libcrypto is known on this platform")


def _decode(lib: ctypes.CDLL, function: Any, der: bytes) -> int:
    pointer: int | None = function(_EVP_PKEY_RSA, None, byref(c_char_p(der)), len(der))
    _check(lib, 1 if pointer else 0)
    assert pointer is not None  # noqa: S101 - _check has raised
    return pointer


def _secret_number(owner: object, lib: ctypes.CDLL, value: int) -> int:
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    number: int | None = lib.BN_bin2bn(data, len(data), None)
    _check(lib, 1 if number else 0)
    assert number is not None  # noqa: S101 - _check has raised
    lib.BN_set_flags(number, _BN_FLG_CONSTTIME)
    _free_with(owner, lib.BN_clear_free, number)
    return number


def _free_with(owner: object, free: Any, pointer: int) -> None:
    finalizer = weakref.finalize(owner, free, pointer)
    # At the end of the process a daemon thread may still be inside a call on this pointer.
    finalizer.atexit = False


def _check(lib: ctypes.CDLL, result: int) -> None:
    if result != 1:
        lib.ERR_clear_error()
        raise CorruptionError("libcrypto refused an operation on one of our keys")
