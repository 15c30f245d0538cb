"""The private keys of an issuer: files of their own, readable by their owner only.

    keys/notice.pem           Ed25519, signs notices, one an issuer
    keys/<token key id>.pem   RSA-2048, signs blinded messages of one scope and nothing else
    keys/<scope id>.tag       32 random bytes, keys the tags of one scope; destroyed with the scope

The first two are encrypted if there is a passphrase. A token key is known by its id; where its private half
lives is its custody's business: a PKCS #11 token can take the place of the files.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from headcount_engine.engine import BlindSigner
from headcount_issuer.custody import CustodyConfig, encode_key, load_key
from headcount_issuer.private_file import destroy, read_private, write_private
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import ScopeId
from headcount_spec.spki import TokenKeyId

__all__ = ["TAG_KEY_BYTES", "Keys", "make_tag", "read_private", "write_private"]

TAG_KEY_BYTES = 32
_PLAIN = CustodyConfig()


class Keys:
    """The keys of one issuer; threads share them."""

    def __init__(self, folder: Path, custody: CustodyConfig = _PLAIN) -> None:
        self._folder = folder
        self._passphrase = custody.passphrase
        self._custody = custody.open(folder)
        self._lock = threading.Lock()
        self._signing: dict[bytes, BlindSigner] = {}  # token key id → handle
        self._seed: tuple[bytes, bytes] | None = None  # SHA-256 of its file, the seed

    @classmethod
    def create(cls, folder: Path, custody: CustodyConfig = _PLAIN) -> None:
        """Make the folder and the notice key.

        Raises:
            ConfigurationError: there is a notice key already, or the folder cannot be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"cannot create {folder.name}: {exc.strerror}") from exc
        write_private(folder / "notice.pem", encode_key(Ed25519PrivateKey.generate(), custody.passphrase))

    def close(self) -> None:
        """End what the custody has started."""
        self._custody.close()

    @property
    def custody(self) -> str:
        """How token keys are kept, in words."""
        return self._custody.name

    @property
    def at_once(self) -> int:
        """How many signatures are made at the same time."""
        return self._custody.at_once

    def start(self) -> None:
        """Start what signs, so that the first person does not wait for it."""
        self._custody.start()

    @property
    def notice_seed(self) -> bytes:
        """The Ed25519 seed that signs notices.

        Raises:
            ConfigurationError: missing, open to others, or not such a key.
        """
        path = self._folder / "notice.pem"
        read = hashlib.sha256(read_private(path)).digest()
        with self._lock:
            if self._seed is None or self._seed[0] != read:  # a passphrase takes a fifth of a second
                key = load_key(path, self._passphrase)
                if not isinstance(key, Ed25519PrivateKey):
                    raise ConfigurationError("notice.pem is no Ed25519 key")
                self._seed = (read, key.private_bytes_raw())
            return self._seed[1]

    def create_token_key(self) -> bytes:
        """Make a token key for a scope that is being drafted; its SPKI, as manifests carry it.

        Raises:
            ConfigurationError, UnavailableError: as Custody.create.
        """
        return self._custody.create()

    def signing_key(self, key_id: TokenKeyId) -> BlindSigner:
        """The handle that signs blinded messages under a token key; threads share it.

        Raises:
            UnknownKeyError: the private half is not here.
            ConfigurationError, UnavailableError: as Custody.load.
        """
        with self._lock:
            handle = self._signing.get(key_id)
            if handle is None:
                handle = self._custody.load(key_id)
                self._signing[key_id] = handle
            return handle

    def forget(self, key_id: TokenKeyId) -> None:
        """Have a key leave the memory: it signs nothing any more."""
        with self._lock:
            self._signing.pop(key_id, None)
        self._custody.forget(key_id)

    def destroy_token_key(self, key_id: TokenKeyId) -> bool:
        """Destroy the private half of a token key, for ever; whether it was there.

        Raises:
            ConfigurationError, UnavailableError: it cannot be destroyed now.
        """
        self.forget(key_id)
        return self._custody.destroy(key_id)

    def create_tag_key(self, scope: ScopeId) -> None:
        """Make the key of a scope's tags, unless it is there.

        Raises:
            ConfigurationError: it cannot be written.
        """
        path = self._tag_path(scope)
        if not path.exists():
            write_private(path, secrets.token_bytes(TAG_KEY_BYTES))

    def tag_key(self, scope: ScopeId) -> bytes:
        """The key of a scope's tags.

        Raises:
            ConfigurationError: missing (it is destroyed with the scope), open to others, or cut short.
        """
        key = read_private(self._tag_path(scope))
        if len(key) != TAG_KEY_BYTES:
            raise ConfigurationError("a tag key has another length")
        return key

    def has_tag_key(self, scope: ScopeId) -> bool:
        """Whether the key of a scope's tags is here."""
        return self._tag_path(scope).exists()

    def destroy_tag_key(self, scope: ScopeId) -> bool:
        """Destroy the key of a scope's tags, for ever; whether it was there.

        Raises:
            ConfigurationError: it cannot be destroyed.
        """
        return destroy(self._tag_path(scope))

    def _tag_path(self, scope: ScopeId) -> Path:
        return self._folder / f"{scope.hex()}.tag"


def make_tag(key: bytes, value: bytes) -> bytes:
    """The 32-byte tag of a uniqueness input under a scope's key: HMAC-SHA256."""
    return hmac.new(key, value, hashlib.sha256).digest()
