from __future__ import annotations

from dataclasses import dataclass

from headcount_engine.engine import Check, SigningEngine, VerifyingEngine, VerifyingKey
from headcount_engine.gmp import Gmp
from headcount_engine.libcrypto import Libcrypto
from headcount_engine.portable import Portable
from headcount_spec import blind_rsa
from headcount_spec.blind_rsa import PublicKey


@dataclass(frozen=True)
class Oracle:
    public: PublicKey

    def verify(self, msg: bytes, sig: bytes) -> None:
        blind_rsa.verify(self.public, msg, sig)

    def checker(self) -> Check:
        return Portable().load_public_key(self.public).checker()  # the specification takes no digests


class OracleEngine:
    name = "the specification"

    def load_public_key(self, key: PublicKey) -> VerifyingKey:
        return Oracle(key)


try:
    LIBCRYPTO: list[Libcrypto] = [Libcrypto()]
except (OSError, AttributeError):
    LIBCRYPTO = []
SIGNING: list[SigningEngine] = [*LIBCRYPTO, Gmp()]
VERIFYING: list[VerifyingEngine] = [*LIBCRYPTO, Portable(), OracleEngine()]


def named(engine: SigningEngine | VerifyingEngine) -> str:
    return type(engine).__name__


def to_bytes(m: int, size: int = 256) -> bytes:
    return m.to_bytes(size, "big")
