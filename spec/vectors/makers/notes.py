"""Vectors of note keys and signed notes."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.note import Note, NoteSignature, SigningKey, VerificationKey, sign_note, verify_note
from headcount_spec.text import encode_base64

from . import Case, fails, octets, ok, text

FILE = "notes.json"

_KEY = SigningKey("pledge.example/demo", bytes(32))
_OTHER = SigningKey("other.example", b"\1" * 32)
_TEXT = "A note.\n\nIts text has an empty line.\n"
_PUBLIC = _KEY.verification_key
_SLASHED = SigningKey("w1", b"\1" * 32).cosigner_key  # its base64 has slashes
_P = 2**255 - 19


def make() -> dict[str, Any]:
    """Keys and notes, and each way in which they are malformed or wrongly signed."""
    return {
        "about": "Signed notes and their keys, c2sp.org/signed-note.",
        "source": "Made by makers/notes.py; example-of-the-specification is from signed-note's text.",
        "cases": [*_keys(), *_private_keys(), *_signed(), *_malformed()],
    }


def _keys() -> list[Case]:
    vkey = _PUBLIC.to_text()
    ed25519, cosigner = _PUBLIC.public_key, _KEY.cosigner_key
    order_eight = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
    points = {
        "identity": (1).to_bytes(32, "little"),
        "order-2": (_P - 1).to_bytes(32, "little"),
        "order-4": bytes(32),
        "order-8": bytes.fromhex(order_eight),
        "non-canonical": (_P + 3).to_bytes(32, "little"),
        "off-the-curve": (2).to_bytes(32, "little"),
        "31-bytes": ed25519[:-1],
        "33-bytes": ed25519 + b"\0",
    }
    wrong = {
        "upper-case-key-id": vkey.replace("5e7290dd", "5E7290DD"),
        "key-id-of-another-name": vkey.replace("demo", "dema"),
        "key-id-of-another-type": vkey.replace(_PUBLIC.key_id.hex(), cosigner.key_id.hex()),
        "short-key-id": vkey.replace("5e7290dd", "5e7290"),
        "no-name": _vkey("", b"\1" + ed25519),
        "space-in-the-name": _vkey("pledge demo", b"\1" + ed25519),
        "no-break-space-in-the-name": _vkey("pledge\u00a0demo", b"\1" + ed25519),
        "unpadded-base64": _vkey(_PUBLIC.name, b"\1" + ed25519[:-1]).rstrip("="),
        "base64url": _SLASHED.to_text().replace("/", "_"),
        "trailing-newline": vkey + "\n",
        "no-material": _vkey(_PUBLIC.name, b""),
        "no-plus": vkey.replace("+", " "),
        "type-2": _vkey(_PUBLIC.name, b"\2" + ed25519),
        "type-255": _vkey(_PUBLIC.name, b"\xff" + ed25519),
    }
    return [
        ok("key", operation="key", vkey=vkey, type=1, public_key=ed25519.hex()),
        ok("key-of-a-witness", operation="key", vkey=cosigner.to_text(), type=4, public_key=ed25519.hex()),
        *(fails(f"key-{name}", MalformedError, operation="key", vkey=v) for name, v in wrong.items()),
        *(
            fails(f"key-{name}", MalformedError, operation="key", vkey=_vkey(_PUBLIC.name, b"\1" + point))
            for name, point in points.items()
        ),
    ]


def _vkey(name: str, material: bytes) -> str:
    """A vkey with the right key id, whatever it holds."""
    key_id = sha256(name.encode() + b"\n" + material).digest()[:4]
    return f"{name}+{key_id.hex()}+{encode_base64(material)}"


def _private_keys() -> list[Case]:
    private = _KEY.to_text()
    wrong = {
        "without-its-prefix": private.removeprefix("PRIVATE+KEY+"),
        "wrong-key-id": private.replace("5e7290dd", "5e7290de"),
        "another-type": private.replace("+AQAA", "+BAAA"),
        "short-seed": private[:-4],
        "lower-case-prefix": private.replace("PRIVATE+KEY", "private+key"),
    }
    return [
        ok("private-key", operation="private-key", private_key=private, vkey=_PUBLIC.to_text()),
        *(
            fails(f"private-key-{n}", MalformedError, operation="private-key", private_key=p)
            for n, p in wrong.items()
        ),
    ]


def _note(note: Note | bytes, *keys: VerificationKey, signers: list[str] | None = None) -> dict[str, Any]:
    data = note.to_bytes() if isinstance(note, Note) else note
    fields = {"operation": "note", **text("note", data), "keys": [k.to_text() for k in keys or (_PUBLIC,)]}
    return fields if signers is None else {**fields, "signers": signers}


def _signed() -> list[Case]:
    own, other = sign_note(_TEXT, [_KEY, _OTHER]).signatures
    both = (_PUBLIC, _OTHER.verification_key)
    specified = (
        "This is an example message.\n\n— example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    foo = VerificationKey.from_text("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    named = NoteSignature(own.name, other.key_id, bytes(64))
    flipped = NoteSignature(own.name, own.key_id, bytes([own.signature[0] ^ 1]) + own.signature[1:])
    wrong = NoteSignature(other.name, other.key_id, own.signature)
    order = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, Section 5.1
    scalar = int.from_bytes(own.signature[32:], "little") + order
    malleable = NoteSignature(own.name, own.key_id, own.signature[:32] + scalar.to_bytes(32, "little"))
    return [
        ok("example-of-the-specification", **_note(specified.encode(), foo, signers=[foo.name])),
        ok("one-signature", **_note(Note(_TEXT, (own,)), signers=[own.name])),
        ok("two-signatures", **_note(Note(_TEXT, (own, other)), *both, signers=[own.name, other.name])),
        ok("unknown-signature-ignored", **_note(Note(_TEXT, (other, own)), signers=[own.name])),
        ok("known-name-unknown-id-ignored", **_note(Note(_TEXT, (named, own)), signers=[own.name])),
        ok("a-hundred-signatures", **_note(Note(_TEXT, (own, *[other] * 99)), signers=[own.name])),
        fails("no-known-signature", UnknownKeyError, **_note(Note(_TEXT, (other,)))),
        fails("known-name-with-another-id", UnknownKeyError, **_note(Note(_TEXT, (named,)))),
        fails("signature-bit-flipped", SignatureError, **_note(Note(_TEXT, (flipped,)))),
        fails("text-changed", SignatureError, **_note(Note(_TEXT.replace("has", "had"), (own,)))),
        fails("text-with-another-newline", SignatureError, **_note(Note(_TEXT + "\n", (own,)))),
        fails("second-signature-wrong", SignatureError, **_note(Note(_TEXT, (own, wrong)), *both)),
        fails("two-signatures-of-one-key", SignatureError, **_note(Note(_TEXT, (own, own)))),
        fails(
            "signature-of-63-bytes",
            SignatureError,
            **_note(Note(_TEXT, (NoteSignature(own.name, own.key_id, own.signature[:-1]),))),
        ),
        fails("signature-with-s-plus-l", SignatureError, **_note(Note(_TEXT, (malleable,)))),
    ]


def _malformed() -> list[Case]:
    note = sign_note(_TEXT, [_KEY])
    data, line = note.to_bytes(), note.signatures[0].line.encode()
    dash = "\u2014 ".encode()
    wrong = {
        "empty": b"",
        "text-alone": _TEXT.encode(),
        "signature-alone": line,
        "no-empty-line": b"A note.\n" + line,
        "no-signature": _TEXT.encode() + b"\n",
        "no-final-newline": data[:-1],
        "trailing-newline": data + b"\n",
        "trailing-line": data + b"junk\n",
        "carriage-return": data.replace(b"A note.\n", b"A note.\r\n"),
        "control-character": data.replace(b"A note", b"A\tnote"),
        "not-utf-8": data.replace(b"A note", b"A n\xf6te"),
        "encoded-surrogate": data.replace(b"A note", b"A \xed\xa0\x80"),
        "hyphen-for-the-dash": data.replace(dash, b"- "),
        "two-spaces-after-the-dash": data.replace(dash, dash + b" "),
        "two-spaces-after-the-name": data.replace(b"demo ", b"demo  "),
        "no-name": data.replace(b"pledge.example/demo", b""),
        "plus-in-the-name": data.replace(b"/demo", b"+demo"),
        "unpadded-base64": data.replace(b"=\n", b"\n"),
        "noncanonical-base64": _loose(data),
        "key-id-alone": _TEXT.encode() + b"\n" + dash + b"a AAAAAA==\n",
        "a-hundred-and-one-signatures": _TEXT.encode() + b"\n" + line * 101,
        "65537-bytes": b"x" * (65537 - 2 - len(line)) + b"\n\n" + line,
    }
    return [fails(f"malformed-{name}", MalformedError, **_note(d)) for name, d in wrong.items()]


def _loose(data: bytes) -> bytes:
    """The last base64 group with a padding bit set: another spelling of the same bytes."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = data[-3]
    return data[:-3] + bytes([alphabet[alphabet.index(last) | 1]]) + data[-2:]


def check(case: Case) -> None:
    """Read a key, or read a note and verify it."""
    if case["operation"] == "key":
        key = VerificationKey.from_text(case["vkey"])
        found = (key.type, key.public_key.hex(), key.to_text())
        _agree(found == (case["type"], case["public_key"], case["vkey"]))
    elif case["operation"] == "private-key":
        private = SigningKey.from_text(case["private_key"])
        _agree(private.to_text() == case["private_key"])
        _agree(private.verification_key.to_text() == case["vkey"])
    else:
        note = Note.from_bytes(octets(case, "note"))
        _agree(note.to_bytes() == octets(case, "note"))
        verified = verify_note(note, [VerificationKey.from_text(vkey) for vkey in case["keys"]])
        _agree([s.name for s in verified] == case["signers"])


def _agree(found: bool) -> None:
    if not found:
        raise AssertionError("another result")
