"""The vector code behind ``engine.Check``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from llvmlite import ir

from headcount_engine.engine import Check
from headcount_engine.lanes.function import LANES
from headcount_engine.lanes.kept import kept
from headcount_engine.lanes.machine import Code, Processor, Vectors, in_all_lanes, version
from headcount_engine.lanes.montgomery import modulus_words
from headcount_engine.lanes.pss import KEY_VECTORS, SCRATCH_VECTORS, sound
from headcount_spec.blind_rsa import HASH_BYTES, PublicKey
from headcount_spec.spki import EXPONENT, MODULUS_BITS, MODULUS_BYTES

_FUNCTION = "sound"
_POINTERS = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p)


class Lanes:
    """The compiled code; to compile it takes a core a quarter of a second, where it was not kept."""

    def __init__(self) -> None:
        """Compile, or load what was compiled.

        Raises:
            ConfigurationError: this processor has no AVX-512 IFMA.
        """
        processor = Processor()
        self._code = processor.load(kept(processor.name, lambda: processor.compile(_module())))
        self._sound = self._code.function(_FUNCTION, *_POINTERS, ctypes.c_uint64)

    @property
    def name(self) -> str:
        """As "AVX-512 IFMA by LLVM 22.1.0"."""
        return f"AVX-512 IFMA by {version()}"

    def checker(self, key: PublicKey) -> Check:
        """A check for one thread and very many signatures by a token key.

        Raises:
            ValueError: the key has another size or exponent.
        """
        if key.n.bit_length() != MODULUS_BITS or key.e != EXPONENT:
            raise ValueError("token keys have 2048 bits and e = 65537")
        numbers, scratch = Vectors(KEY_VECTORS), Vectors(SCRATCH_VECTORS)
        numbers.write(in_all_lanes(*modulus_words(key.n)))
        answer = ctypes.c_uint64()
        place, sound = ctypes.byref(answer), self._sound

        def check(digests: Sequence[bytes], sigs: Sequence[bytes], _alive: Code = self._code) -> bool:
            if len(digests) != len(sigs):
                raise ValueError("as many digests as signatures are checked")
            if not set(map(len, digests)) <= {HASH_BYTES}:
                raise ValueError("digests are those of SHA-384")
            if not sigs:
                return True
            if set(map(len, sigs)) != {MODULUS_BYTES}:
                return False
            missing = -len(sigs) % LANES  # the last lanes get the last signature once more
            signatures = b"".join(sigs) + sigs[-1] * missing
            hashes = b"".join(digests) + digests[-1] * missing
            groups = len(signatures) // (LANES * MODULUS_BYTES)
            sound(place, signatures, hashes, numbers.place, scratch.place, groups)
            return not answer.value

        return check


def _module() -> ir.Module:
    module = ir.Module("lanes")
    sound(module, _FUNCTION)
    return module
