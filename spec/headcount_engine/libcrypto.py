"""RSA by the system's OpenSSL 3 through ctypes, which gives up the GIL during each call.

What belongs to a key is shared, and each thread has contexts of its own, which are reused: they are
not thread-safe. How it signs is in crt. ctypes cannot check types across the border, so the known-answer test
of selftest decides whether this engine is used at all.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import threading
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_int, c_long, c_size_t, c_void_p
from itertools import repeat
from typing import Any

from headcount_engine.crt import (
    SIGNATURES,
    Halves,
    PublicNumbers,
    ensure,
    made,
    private_operation,
    public_operation,
)
from headcount_engine.engine import Check
from headcount_engine.pkcs1 import encode_public
from headcount_spec.blind_rsa import HASH_BYTES, SALT_BYTES, PrivateKey, PublicKey
from headcount_spec.errors import SignatureError

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
_RSA_PKCS1_PSS_PADDING = 6  # rsa.h

# name: (result, arguments); evp.h, rsa.h, err.h and crypto.h of OpenSSL 3.0
_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "OpenSSL_version": (c_char_p, (c_int,)),
    "ERR_clear_error": (None, ()),
    "d2i_PublicKey": (c_void_p, (c_int, c_void_p, POINTER(c_char_p), c_long)),
    "EVP_PKEY_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_new": (c_void_p, (c_void_p, c_void_p)),
    "EVP_PKEY_CTX_free": (None, (c_void_p,)),
    "EVP_PKEY_CTX_set_rsa_padding": (c_int, (c_void_p, c_int)),
    "EVP_PKEY_CTX_set_rsa_pss_saltlen": (c_int, (c_void_p, c_int)),
    "EVP_PKEY_CTX_set_rsa_mgf1_md": (c_int, (c_void_p, c_void_p)),
    "EVP_PKEY_CTX_set_signature_md": (c_int, (c_void_p, c_void_p)),
    "EVP_sha384": (c_void_p, ()),
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
        for name, (result, arguments) in (_SIGNATURES | SIGNATURES).items():
            function = getattr(self._lib, name)
            function.restype = result
            function.argtypes = arguments

    @property
    def name(self) -> str:
        """As "OpenSSL 3.0.19 27 Jan 2026"."""
        version: bytes = self._lib.OpenSSL_version(0)
        return version.decode("ascii", "replace")

    def load_private_key(self, key: PrivateKey) -> LibcryptoSigningKey:
        """A handle that signs."""
        return LibcryptoSigningKey(self._lib, key)

    def load_public_key(self, key: PublicKey) -> LibcryptoVerifyingKey:
        """A handle that verifies."""
        return LibcryptoVerifyingKey(self._lib, key)


class LibcryptoSigningKey:
    """The halves of a private key, and the public one by itself, which checks what they give."""

    def __init__(self, lib: ctypes.CDLL, key: PrivateKey) -> None:
        self.public = key.public
        self._lib = lib
        self._halves = Halves(lib, key)
        self._numbers = PublicNumbers(lib, key.public)
        self._local = threading.local()

    def private_op(self, m: bytes) -> bytes:
        """RSASP1, blinded, not checked."""
        run: Callable[[bytes], bytes]
        try:
            run = self._local.private
        except AttributeError:
            run = self._local.private = private_operation(self._lib, self._halves)
        return run(m)

    def public_op(self, s: bytes) -> bytes:
        """RSAVP1."""
        run: Callable[[bytes], bytes]
        try:
            run = self._local.public
        except AttributeError:
            run = self._local.public = public_operation(self._lib, self._numbers)
        return run(s)


class LibcryptoVerifyingKey:
    """One EVP_PKEY with its public half."""

    def __init__(self, lib: ctypes.CDLL, public: PublicKey) -> None:
        self.public = public
        self._size = public.modulus_bytes
        self._lib = lib
        der = encode_public(public)
        pkey = lib.d2i_PublicKey(_EVP_PKEY_RSA, None, byref(c_char_p(der)), len(der))
        self._pkey = made(self, lib, pkey, lib.EVP_PKEY_free)
        self._verify = lib.EVP_PKEY_verify
        self._local = threading.local()

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
        verify, clear = self._lib["EVP_PKEY_verify"], self._lib.ERR_clear_error
        is_good, size = (1).__eq__, self._size
        # Converted once: with the checks of declared arguments that would be a tenth of each call's own time.
        pointer = repeat(c_void_p(context.pointer))
        sig_size, digest_size = repeat(c_size_t(size)), repeat(c_size_t(HASH_BYTES))

        def check(digests: Sequence[bytes], sigs: Sequence[bytes], _alive: _Context = context) -> bool:
            if len(digests) != len(sigs):
                raise ValueError("as many digests as signatures are checked")
            if any(len(sig) != size for sig in sigs):
                return False
            if all(map(is_good, map(verify, pointer, sigs, sig_size, digests, digest_size))):
                return True
            clear()
            return False

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
            ensure(lib, result)
        return context


class _Context:
    # An EVP_PKEY_CTX, freed when its thread ends; it holds a reference to the EVP_PKEY.
    def __init__(self, lib: ctypes.CDLL, pkey: int) -> None:
        self.pointer = made(self, lib, lib.EVP_PKEY_CTX_new(pkey, None), lib.EVP_PKEY_CTX_free)


def _load() -> ctypes.CDLL:
    failure: OSError | None = None
    for path in _PATHS.get(sys.platform, ()):
        try:
            return ctypes.CDLL(path)
        except OSError as exc:
            failure = exc
    raise failure or OSError("no libcrypto is known on this platform")
