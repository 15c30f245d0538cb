"""Signed text with a line per signature, c2sp.org/signed-note.

Here are keys, the format, and plain Ed25519 signatures (type 0x01). What witnesses sign is in
``cosignature``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.text import decode_base64, decode_hex, encode_base64

ED25519 = 0x01  # signed-note, "Signature types"
COSIGNATURE_V1 = 0x04
MLDSA44 = 0x06
_KEY_BYTES = {ED25519: 32, COSIGNATURE_V1: 32, MLDSA44: 1312}

MAX_NOTE_BYTES = 65536  # a checkpoint with twenty ML-DSA-44 lines
MAX_SIGNATURES = 100  # as golang.org/x/mod/sumdb/note
KEY_ID_BYTES = 4
_DASH = "\u2014 "

_P = 2**255 - 19  # RFC 8032, Section 5.1
_D = -121665 * pow(121666, -1, _P) % _P


def check_ed25519_key(public_key: bytes) -> None:
    """Refuse a public key under which a signature would not bind one message.

    RFC 8032, Section 5.1.3, without the points of order 1, 2, 4 and 8: under those, OpenSSL accepts
    one signature for many messages.

    Raises:
        MalformedError: not 32 bytes, not the canonical encoding of a point, or a point of small order.
    """
    if len(public_key) != 32:
        raise MalformedError("an Ed25519 key has 32 bytes")
    y = int.from_bytes(public_key, "little") & (1 << 255) - 1
    if y >= _P:
        raise MalformedError("non-canonical Ed25519 key")
    yy = y * y % _P
    xx = (yy - 1) * pow(_D * yy + 1, -1, _P) % _P
    # Order 1 and 2 have x = 0, order 4 has y = 0; order 8 doubles to y = 0, which is x^2 = -y^2.
    if 0 in (xx, yy, (xx + yy) % _P):
        raise MalformedError("Ed25519 key of small order")
    if pow(xx, (_P - 1) // 2, _P) != 1:
        raise MalformedError("Ed25519 key is not on the curve")


def check_name(name: str) -> None:
    """Refuse what cannot be a key name.

    Raises:
        MalformedError: empty, or with a Unicode space, a control character or a plus.
    """
    if not name or any(c == "+" or c.isspace() or ord(c) < 0x20 for c in name):
        raise MalformedError("not a key name")
    _check_encodable(name)


def _check_encodable(text: str) -> None:
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise MalformedError("text is not UTF-8")


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key with its name and signature type: a *vkey*."""

    name: str  # of a log: its origin line
    type: int  # ED25519, COSIGNATURE_V1 or MLDSA44
    public_key: bytes  # 32 bytes, ML-DSA-44: 1,312 bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.type not in _KEY_BYTES:
            raise MalformedError("unsupported signature type")
        if len(self.public_key) != _KEY_BYTES[self.type]:
            raise MalformedError("public key has another length")
        if self.type != MLDSA44:
            check_ed25519_key(self.public_key)

    @property
    def key_id(self) -> bytes:
        """signed-note, "Signatures": the first 4 bytes of a SHA-256; finds a key, proves nothing."""
        material = self.name.encode() + b"\n" + bytes([self.type]) + self.public_key
        return sha256(material).digest()[:KEY_ID_BYTES]

    def to_text(self) -> str:
        """``<name>+<hex key id>+<base64(type || public key)>``."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.type]) + self.public_key)}"

    @classmethod
    def from_text(cls, text: str) -> VerificationKey:
        """The key of a vkey text.

        Raises:
            MalformedError: another form, an unsupported type, a wrong key id, an unusable public key.
        """
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise MalformedError("not a vkey")
        name, key_id, material = parts[0], decode_hex(parts[1], KEY_ID_BYTES), decode_base64(parts[2])
        key = cls(name, material[0] if material else 0, material[1:])
        if key.key_id != key_id:
            raise MalformedError("key id does not belong to the key")
        return key

    def verify_ed25519(self, message: bytes, signature: bytes) -> None:
        """Check an Ed25519 signature of 64 bytes by this key.

        Raises:
            SignatureError: it does not verify.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(signature, message)
        except InvalidSignature as exc:
            raise SignatureError(f"signature of {self.name} does not verify") from exc


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private Ed25519 key with its name, in the text form of golang.org/x/mod/sumdb/note."""

    name: str
    seed: bytes = field(repr=False)  # 32 bytes, RFC 8032, Section 5.1.5

    def __post_init__(self) -> None:
        check_name(self.name)
        if len(self.seed) != 32:
            raise MalformedError("an Ed25519 seed has 32 bytes")

    @property
    def verification_key(self) -> VerificationKey:
        """The key that verifies notes."""
        return self._public(ED25519)

    @property
    def cosigner_key(self) -> VerificationKey:
        """The key that verifies cosignatures of a witness."""
        return self._public(COSIGNATURE_V1)

    def _public(self, signature_type: int) -> VerificationKey:
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        return VerificationKey(self.name, signature_type, private.public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature, 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)

    def to_text(self) -> str:
        """``PRIVATE+KEY+<name>+<hex key id>+<base64(0x01 || seed)>``: secret."""
        key_id = self.verification_key.key_id.hex()
        return f"PRIVATE+KEY+{self.name}+{key_id}+{encode_base64(bytes([ED25519]) + self.seed)}"

    @classmethod
    def from_text(cls, text: str) -> SigningKey:
        """The key of a private key text.

        Raises:
            MalformedError: another form, a type other than 0x01, or a wrong key id.
        """
        parts = text.split("+", 4)
        if len(parts) != 5 or parts[:2] != ["PRIVATE", "KEY"]:
            raise MalformedError("not a private note key")
        key_id, material = decode_hex(parts[3], KEY_ID_BYTES), decode_base64(parts[4], 33)
        if material[0] != ED25519:
            raise MalformedError("unsupported signature type")
        key = cls(parts[2], material[1:])
        if key.verification_key.key_id != key_id:
            raise MalformedError("key id does not belong to the key")
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line of a note."""

    name: str
    key_id: bytes  # 4 bytes
    signature: bytes  # as long as its type says; a cosignature begins with its time

    @property
    def line(self) -> str:
        """``\u2014 <name> <base64(key id || signature)>`` and a newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"

    @classmethod
    def from_line(cls, line: str) -> NoteSignature:
        """The signature of one line with its newline.

        Raises:
            MalformedError: another form, non-canonical base64, or nothing after the key id.
        """
        name, space, blob = line.removeprefix(_DASH).removesuffix("\n").partition(" ")
        if not line.startswith(_DASH) or not line.endswith("\n") or not space:
            raise MalformedError("not a signature line")
        check_name(name)
        data = decode_base64(blob)
        if len(data) <= KEY_ID_BYTES:
            raise MalformedError("signature line without a signature")
        return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])


# Signed note (c2sp.org/signed-note, "Format"):
#   <text, ends in a newline>
#   <empty line>
#   — <name> <base64(key id || signature)>      one or more
@dataclass(frozen=True, slots=True)
class Note:
    """A text, with its final newline, and its signatures; verified only by ``verify_note``."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """The note's bytes."""
        return "".join((self.text, "\n", *(s.line for s in self.signatures))).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Note:
        """The note of these bytes.

        Raises:
            MalformedError: over 65,536 bytes or 100 signatures, not UTF-8, control characters,
                no text or no signature, a malformed signature line.
        """
        if len(data) > MAX_NOTE_BYTES:
            raise MalformedError(f"note longer than {MAX_NOTE_BYTES} bytes")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedError("note is not UTF-8") from exc
        if any(c < " " and c != "\n" for c in whole):
            raise MalformedError("control character in a note")
        # The text may contain empty lines: the last one separates it from the signatures.
        text, separator, tail = whole.rpartition("\n\n")
        if not separator or not tail.endswith("\n"):
            raise MalformedError("not a signed note")
        lines = [f"{line}\n" for line in tail[:-1].split("\n")]
        if len(lines) > MAX_SIGNATURES:
            raise MalformedError(f"note with more than {MAX_SIGNATURES} signatures")
        return cls(text + "\n", tuple(map(NoteSignature.from_line, lines)))

    def with_signatures(self, signatures: Iterable[NoteSignature]) -> Note:
        """The same text with further signature lines."""
        return Note(self.text, (*self.signatures, *signatures))


def sign_note(text: str, keys: Iterable[SigningKey]) -> Note:
    """A note of this text, which ends in a newline, signed by each key in turn."""
    if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
        raise ValueError("not the text of a note")
    return Note(
        text,
        tuple(NoteSignature(k.name, k.verification_key.key_id, k.sign(text.encode())) for k in keys),
    )


def find_signatures(
    note: Note, keys: Collection[VerificationKey]
) -> list[tuple[VerificationKey, NoteSignature]]:
    """The signature lines that claim to be by one of these keys, not yet verified.

    A line is a key's if both name and key id are; other lines are ignored.

    Raises:
        SignatureError: two lines claim the same key.
    """
    known = {(key.name, key.key_id): key for key in keys}
    if len(known) != len(keys):
        raise ValueError("two keys with one name and key id")
    found: list[tuple[VerificationKey, NoteSignature]] = []
    for signature in note.signatures:
        if (signature.name, signature.key_id) in [(s.name, s.key_id) for _, s in found]:
            raise SignatureError(f"two signatures of {signature.name}")
        if key := known.get((signature.name, signature.key_id)):
            found.append((key, signature))
    return found


def verify_note(note: Note, keys: Collection[VerificationKey]) -> tuple[NoteSignature, ...]:
    """Check a note against Ed25519 keys and return the signatures that are by them, at least one.

    signed-note, "Signatures".

    Raises:
        SignatureError: a line of a known key does not verify, or a known key has two lines.
        UnknownKeyError: no line is by a known key.
    """
    if any(key.type != ED25519 for key in keys):
        raise ValueError("verify_note is for keys of type Ed25519")
    found = find_signatures(note, keys)
    if not found:
        raise UnknownKeyError("no signature by a known key")
    for key, signature in found:
        key.verify_ed25519(note.text.encode(), signature.signature)
    return tuple(signature for _, signature in found)
