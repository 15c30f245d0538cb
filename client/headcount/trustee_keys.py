"""A trustee's keys: an identity for years, and for each scope a secret of its own with an encrypted backup.

    identity.key                 the Ed25519 seed and the trustee's name
    <scope key>.secret           32 random bytes, from which the X25519 and the BLS key of one scope follow
    <scope key>.backup           the same, encrypted under a passphrase; to be kept somewhere else

The X25519 key is published one day, so the BLS key is derived beside it and not from it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from headcount import private_file
from headcount_engine import bls
from headcount_spec import hpke, signature
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.members import LINE, Members
from headcount_spec.terms import MAX_NAME_CHARS
from headcount_spec.text import decode_base64, encode_base64
from headcount_spec.wire import Reader

IDENTITY = "identity.key"
SECRET_BYTES = 32
_SALT_BYTES, _IV_BYTES = 16, 12
_SCRYPT_N = 2**16  # 64 MB and a fifth of a second for each guess (RFC 7914)
_BACKUP = b"headcount-trustee-backup-1"

Draw = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the trustee is, in all scopes."""

    name: str
    seed: bytes = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """The Ed25519 key that manifests name."""
        return signature.public_key(self.seed)


@dataclass(frozen=True, slots=True)
class ScopeSecret:
    """What opens the boxes of one scope."""

    secret: bytes = field(repr=False)

    @property
    def private_key(self) -> bytes:
        """The X25519 key that is released one day, or never."""
        return self._derive(b"box")

    @property
    def scope_key(self) -> bytes:
        """Its public half, in the manifest."""
        return hpke.public_key(self.private_key)

    @property
    def bls_seed(self) -> bytes:
        """The seed of the BLS key."""
        return self._derive(b"bls")

    def _derive(self, label: bytes) -> bytes:
        info = b"headcount/trustee/v1/" + label
        return HKDF(hashes.SHA256(), 32, salt=None, info=info).derive(self.secret)


class TrusteeFolder:
    """The folder of one trustee."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, name: str, draw: Draw = secrets.token_bytes) -> Identity:
        """Make an identity; once.

        Raises:
            ConfigurationError: there is one already, or the folder cannot be written.
        """
        if not 1 <= len(name) <= MAX_NAME_CHARS or not LINE.match(name):
            raise ConfigurationError("a trustee's name is one short line")
        identity = Identity(name, draw(32))
        value: JSON = {"headcount_trustee": 1, "name": name, "seed": encode_base64(identity.seed)}
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"cannot write {self.path.name}: {exc.strerror}") from exc
        private_file.create(self.path / IDENTITY, canonicalise(value))
        return identity

    def identity(self) -> Identity:
        """The identity.

        Raises:
            ConfigurationError: there is none.
        """
        try:
            members = Members(parse_json(private_file.read(self.path / IDENTITY)), "identity")
            members.integer("headcount_trustee", 1, 1)
            identity = Identity(members.text("name", MAX_NAME_CHARS, LINE), members.sized("seed", 32))
            members.finish()
        except MalformedError as exc:
            raise ConfigurationError(f"{IDENTITY} is not a trustee's identity") from exc
        return identity

    def new_secret(self, passphrase: str, draw: Draw = secrets.token_bytes) -> ScopeSecret:
        """A secret for a scope, kept here and in a backup that only the passphrase opens.

        Raises:
            ConfigurationError: the folder cannot be written.
        """
        found = ScopeSecret(draw(SECRET_BYTES))
        salt, iv = draw(_SALT_BYTES), draw(_IV_BYTES)
        sealed = AESGCM(_stretch(passphrase, salt)).encrypt(iv, found.secret, _BACKUP)
        private_file.create(self._file(found.scope_key, "backup"), _backup_text(salt + iv + sealed))
        private_file.create(self._file(found.scope_key, "secret"), found.secret)
        return found

    def secret(self, scope_key: bytes) -> ScopeSecret | None:
        """The secret behind a scope key, None if it is not here.

        Raises:
            ConfigurationError: the file is another one.
        """
        path = self._file(scope_key, "secret")
        if not path.exists():
            return None
        data = private_file.read(path)
        found = ScopeSecret(data)
        if len(data) != SECRET_BYTES or found.scope_key != scope_key:
            raise ConfigurationError(f"{path.name} is not the secret of its name")
        return found

    def restore(self, backup: Path, passphrase: str) -> ScopeSecret:
        """Bring a secret back from its backup.

        Raises:
            ConfigurationError: not a backup, or another passphrase.
        """
        try:
            label, _, text = private_file.read(backup).decode("ascii").strip().partition(" ")
            if label != _BACKUP.decode():
                raise MalformedError("another kind of file")
            reader = Reader(decode_base64(text))
            salt, iv, sealed = (
                reader.take(_SALT_BYTES),
                reader.take(_IV_BYTES),
                reader.take(SECRET_BYTES + 16),
            )
            reader.finish()
            found = ScopeSecret(AESGCM(_stretch(passphrase, salt)).decrypt(iv, sealed, _BACKUP))
        except (UnicodeDecodeError, MalformedError) as exc:
            raise ConfigurationError(f"{backup.name} is not a trustee's backup") from exc
        except InvalidTag as exc:
            raise ConfigurationError("the backup does not open with this passphrase") from exc
        private_file.write(self._file(found.scope_key, "secret"), found.secret)
        return found

    def destroy(self, scope_key: bytes) -> bool:
        """Overwrite and remove the secret and the backup that lie here; whether there were any.

        Raises:
            ConfigurationError: a file cannot be written.
        """
        paths = [self._file(scope_key, kind) for kind in ("secret", "backup")]
        found = [path for path in paths if path.exists()]
        try:
            for path in found:
                with open(path, "r+b") as file:
                    file.write(bytes(path.stat().st_size))
                    file.flush()
                    os.fsync(file.fileno())  # otherwise only the page cache is overwritten
                path.unlink()
        except OSError as exc:
            raise ConfigurationError(f"cannot destroy a key: {exc.strerror}") from exc
        return bool(found)

    def _file(self, scope_key: bytes, kind: str) -> Path:
        return self.path / f"{scope_key.hex()[:32]}.{kind}"


def member(identity: Identity, secret: ScopeSecret) -> dict[str, JSON]:
    """The trustee's entry in a manifest."""
    return {
        "name": identity.name,
        "identity_key": encode_base64(identity.public_key),
        "scope_key": encode_base64(secret.scope_key),
        "bls_key": encode_base64(bls.public_key(secret.bls_seed)),
        "bls_proof": encode_base64(bls.prove_possession(secret.bls_seed)),
    }


def _stretch(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt, 32, _SCRYPT_N, 8, 1).derive(passphrase.encode("utf-8"))


def _backup_text(data: bytes) -> bytes:
    return _BACKUP + b" " + encode_base64(data).encode() + b"\n"
