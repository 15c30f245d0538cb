"""Private keys encrypted at rest: PKCS #8 under a passphrase.

    EncryptedPrivateKeyInfo (RFC 5958, Section 3), PBES2 (RFC 8018, Section 6.2)
    key derivation: scrypt (RFC 7914, Section 7), N = 2^14, r = 8, p = 5: 16 MiB, a fifth of a second
    cipher: AES-256-CBC

`openssl pkcs8` and `cryptography` read it. The latter writes PBKDF2 only, with a count that is not
ours to choose, hence this module. What was decrypted is checked against the key's id by the caller.
"""

from __future__ import annotations

import base64
import hashlib
import textwrap

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SALT_BYTES = 16
IV_BYTES = 16
LABEL = "ENCRYPTED PRIVATE KEY"  # of the PEM file, RFC 7468, Section 11

_N, _R, _P = 1 << 14, 8, 5
_KEY_BYTES = 32
_PBES2 = bytes.fromhex("06092a864886f70d01050d")  # 1.2.840.113549.1.5.13
_SCRYPT = bytes.fromhex("06092b06010401da47040b")  # 1.3.6.1.4.1.11591.4.11
_AES_256_CBC = bytes.fromhex("060960864801650304012a")  # 2.16.840.1.101.3.4.1.42


def seal(private_key: bytes, passphrase: bytes, salt: bytes, iv: bytes) -> bytes:
    """The PEM of an encrypted key. private_key is its PKCS #8 DER; salt and iv are fresh and random.

    Raises:
        ValueError: a salt or iv of another length, or no passphrase.
    """
    if len(salt) != SALT_BYTES or len(iv) != IV_BYTES or not passphrase:
        raise ValueError("salt and iv have 16 bytes, and there is a passphrase")
    key = hashlib.scrypt(passphrase, salt=salt, n=_N, r=_R, p=_P, maxmem=64 << 20, dklen=_KEY_BYTES)
    padding = 16 - len(private_key) % 16  # RFC 5652, Section 6.3
    encryptor = Cipher(algorithms.AES256(key), modes.CBC(iv)).encryptor()
    encrypted = encryptor.update(private_key + bytes([padding]) * padding) + encryptor.finalize()
    derivation = _sequence(_SCRYPT, _sequence(_octets(salt), _integer(_N), _integer(_R), _integer(_P)))
    scheme = _sequence(_AES_256_CBC, _octets(iv))
    der = _sequence(_sequence(_PBES2, _sequence(derivation, scheme)), _octets(encrypted))
    lines = textwrap.wrap(base64.b64encode(der).decode(), 64)
    return "\n".join([f"-----BEGIN {LABEL}-----", *lines, f"-----END {LABEL}-----", ""]).encode()


def is_sealed(pem: bytes) -> bool:
    """Whether this is the PEM of an encrypted key."""
    return f"-----BEGIN {LABEL}-----".encode() in pem


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _octets(data: bytes) -> bytes:
    return _tlv(0x04, data)


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _tlv(tag: int, value: bytes) -> bytes:
    # X.690, Section 8.1.3
    size = len(value)
    if size < 0x80:
        return bytes([tag, size]) + value
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + value
