from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.merkle import EMPTY_ROOT, MAX_SIZE, RootHash
from headcount_spec.note import SigningKey, sign_note
from headcount_spec.text import encode_base64

KEY = SigningKey("ledger.example", bytes(32))
CHECKPOINT = Checkpoint("ledger.example", 5, RootHash(b"\7" * 32))
TEXT = CHECKPOINT.to_text()


@given(st.integers(0, MAX_SIZE), st.binary(min_size=32, max_size=32))
def test_checkpoints_are_read_back(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("ledger.example", size, RootHash(root))
    assert Checkpoint.from_text(checkpoint.to_text()) == checkpoint


def test_a_signed_checkpoint_is_opened() -> None:
    raw = sign_checkpoint(CHECKPOINT, KEY)
    signed = open_checkpoint(raw, KEY.verification_key)
    assert signed.checkpoint == CHECKPOINT
    assert signed.raw == raw
    assert signed.note.to_bytes() == raw
    assert parse_checkpoint(raw) == signed


def test_a_checkpoint_of_another_log_or_key_is_refused() -> None:
    raw = sign_checkpoint(CHECKPOINT, KEY)
    with pytest.raises(UnknownKeyError):
        open_checkpoint(raw, SigningKey("other.example", bytes(32)).verification_key)
    with pytest.raises(UnknownKeyError):
        open_checkpoint(raw, SigningKey("ledger.example", b"\1" * 32).verification_key)
    foreign = sign_note(Checkpoint("other.example", 0, EMPTY_ROOT).to_text(), [KEY]).to_bytes()
    with pytest.raises(UnknownKeyError):
        open_checkpoint(foreign, KEY.verification_key)
    with pytest.raises(SignatureError):
        open_checkpoint(raw.replace(b"\n5\n", b"\n6\n"), KEY.verification_key)


def test_a_log_signs_under_its_own_origin() -> None:
    with pytest.raises(ValueError, match="another log"):
        sign_checkpoint(CHECKPOINT, SigningKey("other.example", bytes(32)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension\n",
        "\n" + TEXT,
        TEXT.replace("\n5\n", "\n"),
        TEXT.replace("\n5\n", "\n\n"),
        TEXT.replace("\n5\n", "\n05\n"),
        TEXT.replace("\n5\n", "\n+5\n"),
        TEXT.replace("\n5\n", "\n-5\n"),
        TEXT.replace("\n5\n", "\n 5\n"),
        TEXT.replace("\n5\n", "\n5 \n"),
        TEXT.replace("\n5\n", "\n5_0\n"),
        TEXT.replace("\n5\n", "\n٥\n"),
        TEXT.replace("\n5\n", "\n9223372036854775808\n"),
        TEXT.replace("ledger.example", ""),
        TEXT.replace("ledger.example", "ledger example"),
        TEXT.replace("ledger.example", "ledger+example"),
        TEXT.replace("=\n", "\n"),
        TEXT.replace("=\n", "==\n"),
        TEXT.replace("c=\n", "d=\n"),
        f"ledger.example\n5\n{encode_base64(bytes(31))}\n",
        f"ledger.example\n5\n{encode_base64(bytes(33))}\n",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Checkpoint.from_text(text)
    if text.endswith("\n"):
        with pytest.raises(MalformedError):
            parse_checkpoint(sign_note(text, [KEY]).to_bytes())


def test_a_checkpoint_of_ten_megabytes_is_refused() -> None:
    with pytest.raises(MalformedError, match="longer"):
        parse_checkpoint(sign_checkpoint(CHECKPOINT, KEY) * 100_000)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for some in (text, TEXT + text, text + TEXT, TEXT.replace("5", text)):
        with contextlib.suppress(MalformedError):
            assert Checkpoint.from_text(some).to_text() == some
