"""RSA verification by `cryptography`, on every machine; key, padding and hash objects are reused."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import __version__
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA384

from headcount_engine.engine import Check
from headcount_spec.blind_rsa import SALT_BYTES, PublicKey
from headcount_spec.errors import SignatureError

_SHA384 = SHA384()
_PREHASHED = Prehashed(_SHA384)
# The salt length is exact: PSS.AUTO would accept other signatures of the same key.
_PSS = padding.PSS(mgf=padding.MGF1(_SHA384), salt_length=SALT_BYTES)


class Portable:
    """`cryptography` as an engine."""

    @property
    def name(self) -> str:
        """As "cryptography 50.0.2"."""
        return f"cryptography {__version__}"

    def load_public_key(self, key: PublicKey) -> PortableVerifyingKey:
        """A handle that verifies."""
        return PortableVerifyingKey(key)


class PortableVerifyingKey:
    """A public key object of `cryptography`, which any thread may use."""

    def __init__(self, public: PublicKey) -> None:
        self.public = public
        self._size = public.modulus_bytes
        self._key = rsa.RSAPublicNumbers(public.e, public.n).public_key()

    def verify(self, msg: bytes, sig: bytes) -> None:
        """RSASSA-PSS-VERIFY, salt exactly 48."""
        if len(sig) != self._size:
            raise SignatureError("the signature does not verify")
        try:
            self._key.verify(sig, msg, _PSS, _SHA384)
        except InvalidSignature as exc:
            raise SignatureError("the signature does not verify") from exc

    def checker(self) -> Check:
        """A check over digests."""
        key, size = self._key, self._size

        def check(digests: Sequence[bytes], sigs: Sequence[bytes]) -> bool:
            for digest, sig in zip(digests, sigs, strict=True):
                if len(sig) != size:
                    return False
                try:
                    key.verify(sig, digest, _PSS, _PREHASHED)
                except InvalidSignature:
                    return False
            return True

        return check
