"""The vector code, compiled for this processor, as an ``engine.Check``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llvmlite.binding as llvm
from llvmlite import ir

from headcount_engine.engine import Check
from headcount_engine.lanes.function import LANES, VECTOR_BYTES
from headcount_engine.lanes.montgomery import BITS, DIGITS, R
from headcount_engine.lanes.pss import DIGEST_BYTES, KEY_VECTORS, SCRATCH_VECTORS, SIGNATURE_BYTES, sound
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import ConfigurationError

_NEEDED = ("avx512f", "avx512ifma")
_EXPONENT = 65537


class Lanes:
    """The compiled code; compiling takes a quarter of a second of one core."""

    def __init__(self) -> None:
        """Compile.

        Raises:
            ConfigurationError: this processor has no AVX-512 IFMA.
        """
        features = llvm.get_host_cpu_features()
        if not all(features.get(name) for name in _NEEDED):
            raise ConfigurationError("this processor has no AVX-512 IFMA")
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=2
        )
        module = ir.Module("lanes")
        name = sound(module).name
        compiled = llvm.parse_assembly(str(module))
        compiled.verify()
        _use_registers(compiled, machine)
        self._code = llvm.create_mcjit_compiler(compiled, machine)  # frees the code when it goes
        self._code.finalize_object()
        pointers = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p]
        kind = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_uint64)
        self._sound = kind(self._code.get_function_address(name))

    @property
    def name(self) -> str:
        """As "AVX-512 IFMA by LLVM 22.1.0"."""
        return f"AVX-512 IFMA by LLVM {'.'.join(map(str, llvm.llvm_version_info))}"

    def checker(self, key: PublicKey) -> Check:
        """A check for one thread and very many signatures of a key of 2048 bits with e = 65537."""
        if key.n.bit_length() != 8 * SIGNATURE_BYTES or key.e != _EXPONENT:
            raise ValueError("token keys have 2048 bits and e = 65537")
        sound, numbers, scratch = self._sound, _Vectors(KEY_VECTORS), _Vectors(SCRATCH_VECTORS)
        numbers.write(_digits(key.n) + _digits(R * R % key.n) + [-pow(key.n, -1, 1 << BITS) % (1 << BITS)])
        answer = ctypes.c_uint64()
        place = ctypes.byref(answer)
        code = self._code

        def check(digests: Sequence[bytes], sigs: Sequence[bytes], _alive: object = code) -> bool:
            number = len(sigs)
            if len(digests) != number:
                raise ValueError("as many digests as signatures are checked")
            if not number:
                return True
            missing = -number % LANES
            signatures = b"".join(sigs) + sigs[-1] * missing
            hashes = b"".join(digests) + digests[-1] * missing
            if any(len(sig) != SIGNATURE_BYTES for sig in sigs):
                return False
            if any(len(digest) != DIGEST_BYTES for digest in digests):
                raise ValueError("digests are those of SHA-384")
            sound(place, signatures, hashes, numbers.place, scratch.place, (number + missing) // LANES)
            return not answer.value

        return check


class _Vectors:
    """Memory that begins where vectors may."""

    def __init__(self, number: int) -> None:
        self._memory = ctypes.create_string_buffer((number + 1) * VECTOR_BYTES)
        self.place = -(-ctypes.addressof(self._memory) // VECTOR_BYTES) * VECTOR_BYTES

    def write(self, words: Sequence[int]) -> None:
        """Each word in all lanes of a vector."""
        data = b"".join(value.to_bytes(8, "little") * LANES for value in words)
        ctypes.memmove(self.place, data, len(data))


def _digits(number: int) -> list[int]:
    return [number >> BITS * i & (1 << BITS) - 1 for i in range(DIGITS)]


def _use_registers(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    """The one pass of the optimiser that matters here; all of them would take as long as the rest twice over."""
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)
