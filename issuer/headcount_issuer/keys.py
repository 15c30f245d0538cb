"""The private keys of an issuer: files of their own, readable by their owner only.

    keys/notice.pem           Ed25519, signs notices, one an issuer
    keys/<token key id>.pem   RSA-2048, signs blinded messages of one scope and nothing else
    keys/<scope id>.tag       32 random bytes, keys the tags of one scope; destroyed with the scope

A token key is known by its id; where its private half lives is this module's business alone, so that
a PKCS #11 token can take the place of the files.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa as pyca_rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from headcount_engine import rsa
from headcount_engine.engine import SigningKey
from headcount_spec import spki
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import ConfigurationError, MalformedError, UnknownKeyError
from headcount_spec.scope import ScopeId
from headcount_spec.spki import TokenKeyId

TAG_KEY_BYTES = 32
_MAX_BYTES = 65536


class Keys:
    """The folder of keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._signing: dict[bytes, SigningKey] = {}  # token key id → handle

    @classmethod
    def create(cls, folder: Path) -> Keys:
        """Make the folder and the notice key.

        Raises:
            ConfigurationError: there is a notice key already, or the folder cannot be written.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"cannot create {folder.name}: {exc.strerror}") from exc
        keys = cls(folder)
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(folder / "notice.pem", pem)
        return keys

    @property
    def notice_seed(self) -> bytes:
        """The Ed25519 seed that signs notices.

        Raises:
            ConfigurationError: missing, open to others, or not such a key.
        """
        key = _load_pem(self._folder / "notice.pem")
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigurationError("notice.pem is no Ed25519 key")
        return key.private_bytes_raw()

    def create_token_key(self) -> bytes:
        """Make a token key for a scope that is being drafted; its SPKI, as manifests carry it.

        Raises:
            ConfigurationError: it cannot be written.
        """
        key = pyca_rsa.generate_private_key(spki.EXPONENT, spki.MODULUS_BITS)
        encoded = spki.encode_token_key(PublicKey(key.public_key().public_numbers().n, spki.EXPONENT))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(self._token_path(spki.token_key_id(encoded)), pem)
        return encoded

    def signing_key(self, key_id: TokenKeyId) -> SigningKey:
        """The handle that signs blinded messages under a token key; threads share it.

        Raises:
            UnknownKeyError: the private half is not here.
            ConfigurationError: its file is open to others, or holds another key.
        """
        with self._lock:
            handle = self._signing.get(key_id)
            if handle is None:
                handle = self._load_token_key(key_id)
                self._signing[key_id] = handle
            return handle

    def _load_token_key(self, key_id: TokenKeyId) -> SigningKey:
        path = self._token_path(key_id)
        if not path.is_file():
            raise UnknownKeyError("the private half of this token key is not at this issuer")
        key = _load_pem(path)
        if not isinstance(key, pyca_rsa.RSAPrivateKey):
            raise ConfigurationError(f"{path.name} is no RSA key")
        try:
            handle = rsa.load_private_key(
                key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            )
        except MalformedError as exc:
            raise ConfigurationError(f"{path.name} is no token key") from exc
        if spki.token_key_id(spki.encode_token_key(handle.public)) != key_id:
            raise ConfigurationError(f"{path.name} holds another key")
        return handle

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

    def _token_path(self, key_id: TokenKeyId) -> Path:
        return self._folder / f"{key_id.hex()}.pem"

    def _tag_path(self, scope: ScopeId) -> Path:
        return self._folder / f"{scope.hex()}.tag"


def make_tag(key: bytes, value: bytes) -> bytes:
    """The 32-byte tag of a uniqueness input under a scope's key: HMAC-SHA256."""
    return hmac.new(key, value, hashlib.sha256).digest()


def write_private(path: Path, data: bytes) -> None:
    """Write a file that must not exist, mode 0600, durably and in one step.

    Raises:
        ConfigurationError: it exists, or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)  # unlike a rename, fails if path exists
        finally:
            os.unlink(temporary)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as exc:
        raise ConfigurationError(f"{path.name} exists already") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path.name}: {exc.strerror}") from exc


def read_private(path: Path) -> bytes:
    """The bytes of a file that only its owner may read.

    Raises:
        ConfigurationError: missing, too long, or readable by others.
    """
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_mode & 0o077:
                raise ConfigurationError(f"{path.name} is open to others: chmod 600")
            data = file.read(_MAX_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    if len(data) > _MAX_BYTES:
        raise ConfigurationError(f"{path.name} is too long")
    return data


def _load_pem(path: Path) -> object:
    try:
        return load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError) as exc:
        raise ConfigurationError(f"{path.name} is no private key in PEM") from exc
