from __future__ import annotations

import hashlib
from dataclasses import dataclass

from headcount_engine.engine import Check, SigningEngine, VerifyingEngine, VerifyingKey
from headcount_engine.gmp import Gmp
from headcount_engine.libcrypto import Libcrypto
from headcount_engine.many import ManyEngine, lanes
from headcount_engine.portable import Portable
from headcount_spec import blind_rsa
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import ConfigurationError, SignatureError


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


@dataclass(frozen=True)
class OneByOne:
    many: ManyEngine
    public: PublicKey

    def verify(self, msg: bytes, sig: bytes) -> None:
        if not self.checker()([hashlib.sha384(msg).digest()], [sig]):
            raise SignatureError("the signature does not verify")

    def checker(self) -> Check:
        return self.many.checker(self.public)


class ManyAsSingle:
    def __init__(self, many: ManyEngine) -> None:
        self.many = many
        self.name = many.name

    def load_public_key(self, key: PublicKey) -> VerifyingKey:
        return OneByOne(self.many, key)


try:
    LIBCRYPTO: list[Libcrypto] = [Libcrypto()]
except (OSError, AttributeError):
    LIBCRYPTO = []
try:
    LANES: list[ManyEngine] = [lanes()]
except (ImportError, ConfigurationError):  # another processor: nothing that could be installed helps
    LANES = []
SIGNING: list[SigningEngine] = [*LIBCRYPTO, Gmp()]
VERIFYING: list[VerifyingEngine] = [*LIBCRYPTO, Portable(), OracleEngine(), *map(ManyAsSingle, LANES)]


def named(engine: SigningEngine | VerifyingEngine) -> str:
    return type(engine).__name__


def to_bytes(m: int, size: int = 256) -> bytes:
    return m.to_bytes(size, "big")
