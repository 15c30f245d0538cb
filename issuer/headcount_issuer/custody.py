"""Where the private halves of token keys live: in encrypted files, or in a PKCS #11 token.

    [issuer.custody]
    passphrase_file = "issuer.passphrase"          # or passphrase_credential = "…", of systemd

    # and, for token keys that never leave a security module:
    pkcs11 = "/usr/lib/softhsm/libsofthsm2.so"     # the module's file
    token = "headcount"                            # the token's label
    pin_file = "issuer.pin"                        # or pin_credential
    sessions = 2

Passphrase and PIN come from files that only their owner may read, never from arguments or variables. Without
a passphrase, keys lie in plain: for trying things out, and said at every start.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import rsa as pyca_rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from headcount_engine import rsa
from headcount_engine.engine import BlindSigner
from headcount_engine.hsm import Hsm
from headcount_engine.key_processes import KeyProcesses, ProcessKey
from headcount_issuer import sealed_key
from headcount_issuer.private_file import (
    destroy,
    destroy_replaced,
    read_private,
    replace_private,
    write_private,
)
from headcount_spec import spki
from headcount_spec.blind_rsa import PrivateKey, PublicKey
from headcount_spec.errors import ConfigurationError, CorruptionError, MalformedError, UnknownKeyError
from headcount_spec.members import Members
from headcount_spec.spki import TokenKeyId

MIN_SECRET_BYTES = 16  # of a passphrase: thieves of the files may try as long as they like
CREDENTIALS = "CREDENTIALS_DIRECTORY"  # systemd.exec(5), LoadCredential
_NAME = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,100}\Z")


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a passphrase or a PIN is read when it is needed."""

    path: Path | None  # a file; else
    credential: str | None = None  # the name of one of systemd's credentials

    @classmethod
    def take(cls, members: Members, name: str, folder: Path) -> Secret | None:
        """Read ``<name>_file`` or ``<name>_credential``."""
        path = folder / members.text(f"{name}_file", 1000) if members.has(f"{name}_file") else None
        credential = None
        if members.has(f"{name}_credential"):
            credential = members.text(f"{name}_credential", 101, _NAME)
        if path is not None and credential is not None:
            raise ConfigurationError(f"issuer.custody: {name}_file and {name}_credential exclude each other")
        return None if path is None and credential is None else cls(path, credential)

    def read(self, minimum: int = 1) -> bytes:
        """The secret, without the newline that editors leave.

        Raises:
            ConfigurationError: missing, open to others, or shorter than minimum bytes.
        """
        path = self.path
        if path is None:
            folder = os.environ.get(CREDENTIALS)
            if not folder or self.credential is None:
                raise ConfigurationError(
                    f"the credential {self.credential} is not here: systemd did not load it"
                )
            path = Path(folder) / self.credential
        value = read_private(path).rstrip(b"\r\n")
        if len(value) < minimum:
            raise ConfigurationError(f"{path.name} is too short: it must have {minimum} bytes or more")
        return value

    def draw(self) -> None:
        """Fill the file with a fresh secret, if it is a file and not there.

        Raises:
            ConfigurationError: it cannot be written.
        """
        if self.path is not None and not self.path.exists():
            write_private(self.path, secrets.token_urlsafe(32).encode() + b"\n")


@dataclass(frozen=True, slots=True)
class CustodyConfig:
    """What ``[issuer.custody]`` says."""

    passphrase: Secret | None = None
    pkcs11: Path | None = None
    token: str = ""
    pin: Secret | None = None
    sessions: int = 2

    @classmethod
    def read(cls, members: Members, folder: Path) -> CustodyConfig:
        """Take the table; paths are relative to folder.

        Raises:
            MalformedError, ConfigurationError: a value is missing, unknown or out of its range.
        """
        passphrase = Secret.take(members, "passphrase", folder)
        if not members.has("pkcs11"):
            members.finish()
            return cls(passphrase)
        config = cls(
            passphrase,
            folder / members.text("pkcs11", 1000),
            members.text("token", 32),  # PKCS #11, CK_TOKEN_INFO
            Secret.take(members, "pin", folder),
            members.integer("sessions", 1, 64) if members.has("sessions") else 2,
        )
        members.finish()
        if config.pin is None:
            raise ConfigurationError("issuer.custody: pin_file or pin_credential is missing")
        return config

    def open(self, folder: Path) -> Custody:
        """The custody of the token keys of an issuer whose keys are in this folder."""
        if self.pkcs11 is None or self.pin is None:
            return FileCustody(folder, self.passphrase)
        return HsmCustody(Hsm(self.pkcs11, self.token, self.pin.read(4), self.sessions))


class Custody(Protocol):
    """Keeps token keys."""

    @property
    def name(self) -> str:
        """For the log and the inventory."""
        ...

    @property
    def at_once(self) -> int:
        """How many signatures are made at the same time."""
        ...

    def start(self) -> None:
        """Start what signs, so that the first person does not wait for it."""
        ...

    def create(self) -> bytes:
        """Make a token key; its SPKI."""
        ...

    def load(self, key_id: TokenKeyId) -> BlindSigner:
        """The handle of a key; threads share it.

        Raises:
            UnknownKeyError: the private half is not here.
            ConfigurationError, UnavailableError: it cannot be used, or not now.
        """
        ...

    def forget(self, key_id: TokenKeyId) -> None:
        """Have a key leave the memory: it signs nothing any more."""
        ...

    def destroy(self, key_id: TokenKeyId) -> bool:
        """Destroy the private half; whether it was there."""
        ...

    def close(self) -> None:
        """End what was started for it."""
        ...


class FileCustody:
    """keys/<token key id>.pem, encrypted if there is a passphrase; read here, kept by processes that sign."""

    def __init__(self, folder: Path, passphrase: Secret | None) -> None:
        self._folder = folder
        self._passphrase = passphrase
        self._processes = KeyProcesses()
        self._loaded: dict[bytes, ProcessKey] = {}

    @property
    def name(self) -> str:
        """For the log and the inventory."""
        return "files in plain" if self._passphrase is None else "files encrypted under a passphrase"

    @property
    def at_once(self) -> int:
        """How many signatures are made at the same time."""
        return self._processes.number

    def start(self) -> None:
        """Start the processes."""
        self._processes.start()

    def create(self) -> bytes:
        """Make a token key; its SPKI.

        Raises:
            ConfigurationError: it cannot be written, or the passphrase cannot be read.
        """
        key = pyca_rsa.generate_private_key(spki.EXPONENT, spki.MODULUS_BITS)
        encoded = spki.encode_token_key(PublicKey(key.public_key().public_numbers().n, spki.EXPONENT))
        write_private(self._path(spki.token_key_id(encoded)), encode_key(key, self._passphrase))
        return encoded

    def load(self, key_id: TokenKeyId) -> BlindSigner:
        """The handle of a key.

        Raises:
            UnknownKeyError: its file is not here.
            ConfigurationError: the file is open to others, holds another key, is not encrypted although
                there is a passphrase, or does not open with it.
        """
        # Read again for each process that needs it: this process keeps no private half.
        public = self._read(key_id).public
        self._loaded[key_id] = self._processes.key(key_id, public, lambda: self._read(key_id))
        return self._loaded[key_id]

    def forget(self, key_id: TokenKeyId) -> None:
        """Have a key leave the memory of the processes."""
        loaded = self._loaded.pop(key_id, None)
        if loaded is not None:
            self._processes.forget(loaded)

    def _read(self, key_id: TokenKeyId) -> PrivateKey:
        path = self._path(key_id)
        if not path.is_file():
            raise UnknownKeyError("the private half of this token key is not at this issuer")
        key = load_key(path, self._passphrase)
        if not isinstance(key, pyca_rsa.RSAPrivateKey):
            raise ConfigurationError(f"{path.name} is no RSA key")
        try:
            private = rsa.private_numbers(key)
        except MalformedError as exc:
            raise ConfigurationError(f"{path.name} is no token key") from exc
        if spki.token_key_id(spki.encode_token_key(private.public)) != key_id:
            raise ConfigurationError(f"{path.name} holds another key")
        return private

    def destroy(self, key_id: TokenKeyId) -> bool:
        """Overwrite and remove the file; whether it was there.

        Raises:
            ConfigurationError: it cannot be destroyed.
        """
        return destroy(self._path(key_id))

    def close(self) -> None:
        """End the processes."""
        self._processes.close()

    def _path(self, key_id: TokenKeyId) -> Path:
        return self._folder / f"{key_id.hex()}.pem"


class HsmCustody:
    """Keys of a PKCS #11 token, made there and never read out."""

    name = "a PKCS #11 token"

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self.at_once = hsm.sessions

    def start(self) -> None:
        """The first question opens a session: a token that is missing now is told then."""

    def create(self) -> bytes:
        """Make a token key; its SPKI.

        Raises:
            ConfigurationError, UnavailableError: the token refuses, or does not answer.
        """
        return self._hsm.generate()

    def load(self, key_id: TokenKeyId) -> BlindSigner:
        """The handle of a key.

        Raises:
            UnknownKeyError: the token does not have it.
            ConfigurationError, UnavailableError: the token refuses, does not answer, or signs wrongly.
        """
        try:
            return rsa.InTurn(self._hsm.signing_key(key_id))
        except CorruptionError as exc:
            raise ConfigurationError(str(exc)) from exc

    def forget(self, key_id: TokenKeyId) -> None:
        """Nothing of it is here."""

    def destroy(self, key_id: TokenKeyId) -> bool:
        """Destroy the key in the token; whether it was there.

        Raises:
            ConfigurationError, UnavailableError: the token refuses, or does not answer.
        """
        return self._hsm.destroy(key_id)

    def close(self) -> None:
        """End the sessions."""
        self._hsm.close()


def encode_key(key: PrivateKeyTypes, passphrase: Secret | None) -> bytes:
    """The PEM of a private key: encrypted if there is a passphrase.

    Raises:
        ConfigurationError: the passphrase cannot be read.
    """
    if passphrase is None:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, iv = secrets.token_bytes(sealed_key.SALT_BYTES), secrets.token_bytes(sealed_key.IV_BYTES)
    return sealed_key.seal(der, passphrase.read(MIN_SECRET_BYTES), salt, iv)


def load_key(path: Path, passphrase: Secret | None) -> PrivateKeyTypes:
    """The private key in a PEM file, as `cryptography` has it.

    Raises:
        ConfigurationError: missing, open to others, no key; encrypted without a passphrase or the other
            way round; another passphrase.
    """
    pem = read_private(path)
    if sealed_key.is_sealed(pem):
        if passphrase is None:
            raise ConfigurationError(f"{path.name} is encrypted, and issuer.custody names no passphrase")
    elif passphrase is not None:
        raise ConfigurationError(f"{path.name} is not encrypted: run headcount issuer encrypt-keys")
    try:
        return load_pem_private_key(pem, None if passphrase is None else passphrase.read(MIN_SECRET_BYTES))
    except (ValueError, TypeError) as exc:
        reason = "is no private key in PEM" if passphrase is None else "does not open with the passphrase"
        raise ConfigurationError(f"{path.name} {reason}") from exc


def encrypt_keys(folder: Path, passphrase: Secret) -> list[str]:
    """Encrypt every private key in the folder that lies there in plain; the names of their files.

    Raises:
        ConfigurationError: a file cannot be read or written, or is no key.
    """
    done = []
    for path in sorted(folder.glob("*.pem")):
        if sealed_key.is_sealed(read_private(path)):
            destroy_replaced(path)
        else:
            replace_private(path, encode_key(load_key(path, None), passphrase))
            done.append(path.name)
    return done
