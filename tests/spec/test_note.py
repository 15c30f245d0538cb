from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.note import (
    COSIGNATURE_V1,
    ED25519,
    MLDSA44,
    Note,
    NoteSignature,
    SigningKey,
    VerificationKey,
    check_ed25519_key,
    find_signatures,
    sign_note,
    verify_note,
)

KEY = SigningKey("pledge.example/demo", bytes(32))
OTHER = SigningKey("other.example", b"\1" * 32)
TEXT = "one\n\ntwo\n"
P = 2**255 - 19


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=20
).filter(lambda s: "+" not in s)


@given(names, st.binary(min_size=32, max_size=32))
def test_keys_are_read_back_from_their_text(name: str, seed: bytes) -> None:
    key = SigningKey(name, seed)
    assert SigningKey.from_text(key.to_text()) == key
    for public in (key.verification_key, key.cosigner_key, VerificationKey(name, MLDSA44, seed * 41)):
        assert VerificationKey.from_text(public.to_text()) == public
    assert key.verification_key.key_id != key.cosigner_key.key_id


def test_a_private_key_is_not_shown() -> None:
    assert "seed" not in repr(KEY)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: "",
        lambda t: t.replace("+", " "),
        lambda t: t.split("+")[0],
        lambda t: t.rpartition("+")[0],
        lambda t: t.replace("5e7290dd", "5E7290DD"),
        lambda t: t.replace("5e7290dd", "5e7290"),
        lambda t: t.replace("5e7290dd", "5e7290de"),
        lambda t: t.replace("pledge", "plegde"),
        lambda t: t + "A",
        lambda t: t + "\n",
        lambda t: " " + t,
        lambda t: t.partition("+")[0] + "+5e7290dd+",
        lambda t: t.partition("+")[0] + "+5e7290dd+" + b64(b"\1"),
        lambda t: "+" + t.partition("+")[2],
        lambda t: "\udc80" + t,
    ],
)
def test_another_text_of_a_key_is_refused(change) -> None:
    with pytest.raises(MalformedError):
        VerificationKey.from_text(change(KEY.verification_key.to_text()))
    with pytest.raises(MalformedError):
        SigningKey.from_text(change(KEY.to_text().removeprefix("PRIVATE+KEY+")))
    with pytest.raises(MalformedError):
        SigningKey.from_text("PRIVATE+KEY+" + change(KEY.to_text().removeprefix("PRIVATE+KEY+")))


@pytest.mark.parametrize("signature_type", [0, 2, 5, 0xFF])
def test_other_signature_types_are_refused(signature_type: int) -> None:
    material = b64(bytes([signature_type]) + KEY.verification_key.public_key)
    with pytest.raises(MalformedError, match="unsupported"):
        VerificationKey.from_text("pledge.example/demo+00000000+" + material)
    with pytest.raises(MalformedError, match="unsupported"):
        SigningKey.from_text("PRIVATE+KEY+pledge.example/demo+00000000+" + material)


@pytest.mark.parametrize(
    ("signature_type", "size"), [(ED25519, 31), (ED25519, 33), (COSIGNATURE_V1, 0), (MLDSA44, 1311)]
)
def test_a_public_key_of_another_length_is_refused(signature_type: int, size: int) -> None:
    with pytest.raises(MalformedError, match="length"):
        VerificationKey("a", signature_type, bytes(size))


def test_a_seed_of_another_length_is_refused() -> None:
    with pytest.raises(MalformedError, match="32"):
        SigningKey("a", bytes(31))


@given(st.text(max_size=60), st.text(alphabet="0123456789abcdef", max_size=10), st.binary(max_size=40))
@example("a", "00000000", b"")
def test_any_key_text_is_read_or_refused(name: str, key_id: str, material: bytes) -> None:
    for text in (name, f"{name}+{key_id}+{b64(material)}", f"PRIVATE+KEY+{name}+{key_id}+{b64(material)}"):
        for kind in (VerificationKey, SigningKey):
            with contextlib.suppress(MalformedError):
                assert kind.from_text(text).to_text() == text


def order_eight() -> list[int]:
    # d y^4 + 2 y^2 - 1 = 0, solved for y.
    d = -121665 * pow(121666, -1, P) % P
    i = pow(2, (P - 1) // 4, P)

    def sqrt(a: int) -> int | None:
        r = pow(a, (P + 3) // 8, P)
        for c in (r, r * i % P):
            if c * c % P == a % P:
                return c
        return None

    s = sqrt(1 + d)
    assert s is not None
    roots = []
    for sign in (1, -1):
        y = sqrt((-1 + sign * s) * pow(d, -1, P) % P)
        if y is not None:
            roots += [y, P - y]
    return roots


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


def test_keys_of_small_order_are_refused() -> None:
    assert len(order_eight()) == 2
    for y in (0, 1, P - 1, *order_eight()):
        for sign in (0, 1):
            with pytest.raises(MalformedError, match="small order"):
                check_ed25519_key(encoded(y, sign))


def test_non_canonical_keys_are_refused() -> None:
    for y in (P, P + 1, P + 4, 2**255 - 1):
        for sign in (0, 1):
            with pytest.raises(MalformedError, match="non-canonical"):
                check_ed25519_key(encoded(y, sign))


def test_keys_off_the_curve_are_refused() -> None:
    with pytest.raises(MalformedError, match="curve"):
        check_ed25519_key(encoded(2))
    with pytest.raises(MalformedError, match="32 bytes"):
        check_ed25519_key(bytes(31))


@given(st.binary(min_size=32, max_size=32))
def test_real_keys_are_accepted(seed: bytes) -> None:
    check_ed25519_key(SigningKey("a", seed).verification_key.public_key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\u2028", "a\n", "a\0", "\t", "\udc80"])
def test_other_key_names_are_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        VerificationKey(name, ED25519, KEY.verification_key.public_key)
    with pytest.raises(MalformedError):
        SigningKey(name, bytes(32))


def test_a_note_is_signed_and_verified() -> None:
    note = sign_note(TEXT, [KEY, OTHER])
    read = Note.from_bytes(note.to_bytes())
    assert read == note
    keys = [KEY.verification_key, OTHER.verification_key]
    assert verify_note(read, keys) == note.signatures
    assert verify_note(read, keys[:1]) == note.signatures[:1]
    assert verify_note(read, keys[1:]) == note.signatures[1:]


def test_unknown_signatures_are_ignored_and_do_not_suffice() -> None:
    note = sign_note(TEXT, [OTHER])
    with pytest.raises(UnknownKeyError):
        verify_note(note, [KEY.verification_key])
    with pytest.raises(UnknownKeyError):
        verify_note(note, [])
    own = KEY.verification_key
    for stranger in (
        NoteSignature(own.name, b"\0\0\0\0", bytes(64)),
        NoteSignature("stranger", own.key_id, bytes(64)),
    ):
        with pytest.raises(UnknownKeyError):
            verify_note(note.with_signatures([stranger]), [own])
        signed = sign_note(TEXT, [KEY]).with_signatures([stranger, stranger])
        assert len(verify_note(signed, [own])) == 1


def test_one_wrong_signature_of_a_known_key_spoils_the_note() -> None:
    keys = [KEY.verification_key, OTHER.verification_key]
    own, other = sign_note(TEXT, [KEY, OTHER]).signatures
    for signature in (bytes(64), other.signature[:-1], other.signature + b"\0", own.signature):
        wrong = NoteSignature(other.name, other.key_id, signature)
        with pytest.raises(SignatureError):
            verify_note(Note(TEXT, (own, wrong)), keys)
    for text in (TEXT + "\n", TEXT[:-1], TEXT.upper()):
        with pytest.raises(SignatureError):
            verify_note(Note(text, (own,)), keys)


def test_two_lines_of_one_known_key_are_refused() -> None:
    note = sign_note(TEXT, [KEY, KEY])
    with pytest.raises(SignatureError, match="two"):
        verify_note(note, [KEY.verification_key])
    with pytest.raises(UnknownKeyError):
        verify_note(note, [OTHER.verification_key])


def test_misuse_is_a_bug() -> None:
    note = sign_note(TEXT, [KEY])
    with pytest.raises(ValueError, match="type Ed25519"):
        verify_note(note, [KEY.cosigner_key])
    with pytest.raises(ValueError, match="one name and key id"):
        find_signatures(note, [KEY.verification_key, KEY.verification_key])
    for text in ("", "no newline", "tab\there\n"):
        with pytest.raises(ValueError, match="not the text"):
            sign_note(text, [KEY])


LINE = sign_note(TEXT, [KEY]).signatures[0].line


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        LINE[:-1],
        LINE + "\n",
        LINE[1:],
        LINE.replace("— ", "- "),
        LINE.replace("— ", "—  "),
        LINE.replace("— ", "—"),
        LINE.replace("demo ", "demo  "),
        LINE.replace("demo ", "demo\t"),
        LINE.replace("demo ", "demo\u00a0"),
        LINE.replace("demo ", "de+mo "),
        LINE.replace("\n", " \n"),
        LINE.replace("\n", "\r\n"),
        LINE.replace("=\n", "\n"),
        LINE.replace("/", "_"),
        "— a AAAAAA==\n",  # the key id alone
        "— a AAAA\n",
        "— a \n",
        "— AAAAAAA=\n",
    ],
)
def test_other_signature_lines_are_refused(line: str) -> None:
    with pytest.raises(MalformedError):
        NoteSignature.from_line(line)
    with pytest.raises(MalformedError):
        Note.from_bytes(f"text\n\n{line}".encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n\n",
        b"text\n",
        b"text",
        LINE.encode(),
        b"\n" + LINE.encode(),
        b"text\n" + LINE.encode(),
        b"te\rxt\n\n" + LINE.encode(),
        b"te\0xt\n\n" + LINE.encode(),
        b"te\xffxt\n\n" + LINE.encode(),
        b"te\xed\xb2\x80xt\n\n" + LINE.encode(),
        b"text\n\n" + LINE.encode()[:-1],
        b"text\n\n" + LINE.encode() + b"\n",
        b"text\n\n" + LINE.encode() + b"junk\n",
        b"text\n\n" + LINE.encode() * 101,
        b"t" * 65536 + b"\n\n" + LINE.encode(),
    ],
)
def test_other_notes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedError):
        Note.from_bytes(data)


def test_a_hundred_signatures_are_read() -> None:
    assert len(Note.from_bytes(b"text\n\n" + LINE.encode() * 100).signatures) == 100


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=60)


@given(
    plain, st.lists(st.tuples(names, st.binary(min_size=4, max_size=4), st.binary(min_size=1)), min_size=1)
)
@example("\n\n", [("a", bytes(4), b"\0")])
def test_notes_are_read_back(text: str, signatures: list[tuple[str, bytes, bytes]]) -> None:
    note = Note(text + "\n", tuple(NoteSignature(*s) for s in signatures))
    assert Note.from_bytes(note.to_bytes()) == note


@given(st.binary(max_size=80), plain)
def test_any_note_is_read_or_refused(data: bytes, text: str) -> None:
    for some in (data, data + b"\n\n" + LINE.encode(), text.encode() + LINE.encode() + data):
        with contextlib.suppress(MalformedError):
            assert Note.from_bytes(some).to_bytes() == some
