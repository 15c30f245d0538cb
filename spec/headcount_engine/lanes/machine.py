"""This processor: LLVM's compiler for it, and the code it has made."""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from headcount_engine.lanes.function import LANES, VECTOR_BYTES
from headcount_spec.errors import ConfigurationError

NEEDED = ("avx512f", "avx512dq", "avx512ifma")


class Processor:
    """What compiles for the processor that this process runs on."""

    def __init__(self) -> None:
        """Look at it.

        Raises:
            ConfigurationError: it has no AVX-512 IFMA.
        """
        features = llvm.get_host_cpu_features()
        if not all(features.get(name) for name in NEEDED):
            raise ConfigurationError("this processor has no AVX-512 IFMA")
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        cpu, with_ = llvm.get_host_cpu_name(), features.flatten()
        self.name = f"{cpu} {with_} {version()}"  # of what compiled code is for
        target = llvm.Target.from_default_triple()
        self._machine: Any = target.create_target_machine(cpu=cpu, features=with_, opt=2)

    def compile(self, module: ir.Module) -> bytes:
        """An object file; a quarter of a second for the whole of lanes."""
        parsed = llvm.parse_assembly(str(module))
        parsed.verify()
        # The one pass of the optimiser that matters here; all of them would take as long as everything else.
        builder = llvm.create_pass_builder(self._machine, llvm.create_pipeline_tuning_options())
        passes = llvm.create_new_function_pass_manager()
        passes.add_sroa_pass()
        for function in parsed.functions:
            if not function.is_declaration:
                passes.run(function, builder)
        return bytes(self._machine.emit_object(parsed))

    def load(self, compiled: bytes) -> Code:
        """What compile has made, ready to be called. It must come from there: nothing is looked at."""
        return Code(self._machine, compiled)


class Code:
    """Functions in this processor's instructions; freed when nobody holds it."""

    def __init__(self, machine: Any, compiled: bytes) -> None:
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(compiled))
        self._engine.finalize_object()

    def function(self, name: str, *parameters: Any) -> Any:
        """A function with parameters of these ctypes; valid as long as this object is."""
        return ctypes.CFUNCTYPE(None, *parameters)(self._engine.get_function_address(name))


class Vectors:
    """Memory that begins where vectors may, zero at first."""

    def __init__(self, number: int) -> None:
        self.size_bytes = number * VECTOR_BYTES
        self._memory = ctypes.create_string_buffer(self.size_bytes + VECTOR_BYTES)
        self.place = -(-ctypes.addressof(self._memory) // VECTOR_BYTES) * VECTOR_BYTES

    def write(self, data: bytes) -> None:
        """Fill it."""
        if len(data) != self.size_bytes:
            raise ValueError(f"the vectors take {self.size_bytes} bytes")
        ctypes.memmove(self.place, data, len(data))

    def read(self) -> bytes:
        """What is in it."""
        return ctypes.string_at(self.place, self.size_bytes)


def in_all_lanes(*words: int) -> bytes:
    """Vectors that have each of these words in every lane."""
    return b"".join(word.to_bytes(8, "little") * LANES for word in words)


def version() -> str:
    """As "LLVM 22.1.0"."""
    return f"LLVM {'.'.join(map(str, llvm.llvm_version_info))}"
