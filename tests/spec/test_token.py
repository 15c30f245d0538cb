from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import token
from headcount_spec.errors import MalformedError
from headcount_spec.spki import TokenKeyId
from headcount_spec.token import TOKEN_TYPE, Token, TokenChallenge, TokenRequest, TokenResponse

CHALLENGE = TokenChallenge(TOKEN_TYPE, "issuer.example", bytes(range(32)), "")
TOKEN = Token(TOKEN_TYPE, b"n" * 32, b"c" * 32, TokenKeyId(b"k" * 32), b"a" * 256)
REQUEST = TokenRequest(7, b"b" * 256)
RESPONSE = TokenResponse(b"s" * 256)
ENCODED = {
    TokenChallenge: CHALLENGE.to_bytes(),
    Token: TOKEN.to_bytes(),
    TokenRequest: REQUEST.to_bytes(),
    TokenResponse: RESPONSE.to_bytes(),
}
Message = type[TokenChallenge] | type[Token] | type[TokenRequest] | type[TokenResponse]
MESSAGES = pytest.mark.parametrize("message", list(ENCODED))
ascii_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)


def test_lengths() -> None:
    assert [len(data) for data in ENCODED.values()] == [2 + 2 + 14 + 1 + 32 + 2, 354, 259, 256]
    assert len(TOKEN.signed_input()) == 98


def test_digest_is_the_hash() -> None:
    assert CHALLENGE.digest() == hashlib.sha256(ENCODED[TokenChallenge]).digest()


@given(st.integers(0, 0xFFFF), ascii_text.filter(len), st.sampled_from([b"", b"r" * 32]), ascii_text)
def test_challenge_round_trip(token_type: int, issuer: str, context: bytes, origin: str) -> None:
    challenge = TokenChallenge(token_type, issuer, context, origin)
    assert TokenChallenge.from_bytes(challenge.to_bytes()) == challenge


@given(st.binary(min_size=352, max_size=352))
def test_token_round_trip(data: bytes) -> None:
    encoded = b"\x00\x02" + data
    assert Token.from_bytes(encoded).to_bytes() == encoded


@given(st.binary(min_size=257, max_size=257))
def test_request_round_trip(data: bytes) -> None:
    encoded = b"\x00\x02" + data
    assert TokenRequest.from_bytes(encoded).to_bytes() == encoded


@given(st.binary(min_size=256, max_size=256))
def test_response_round_trip(data: bytes) -> None:
    assert TokenResponse.from_bytes(data).to_bytes() == data


@MESSAGES
def test_every_truncation_is_refused(message: Message) -> None:
    data = ENCODED[message]
    for size in range(len(data)):
        with pytest.raises(MalformedError):
            message.from_bytes(data[:size])


@MESSAGES
def test_trailing_bytes_are_refused(message: Message) -> None:
    for tail in (b"\0", b"\n", ENCODED[message]):
        with pytest.raises(MalformedError):
            message.from_bytes(ENCODED[message] + tail)


@pytest.mark.parametrize("message", [Token, TokenRequest])
@pytest.mark.parametrize("token_type", ["0000", "0001", "0003", "0200", "da7a", "ffff"])
def test_other_token_types_are_refused(message: Message, token_type: str) -> None:
    with pytest.raises(MalformedError):
        message.from_bytes(bytes.fromhex(token_type) + ENCODED[message][2:])


def test_no_token_of_another_type_is_made() -> None:
    with pytest.raises(MalformedError):
        Token(1, bytes(32), bytes(32), TokenKeyId(bytes(32)), bytes(256))


@MESSAGES
@given(data=st.binary(max_size=400))
def test_noise_is_refused_or_round_trips(message: Message, data: bytes) -> None:
    try:
        value = message.from_bytes(data)
    except MalformedError:
        return
    assert value.to_bytes() == data


@pytest.mark.parametrize("size", [1, 16, 31, 33, 255])
def test_redemption_context_is_empty_or_32_bytes(size: int) -> None:
    with pytest.raises(MalformedError):
        TokenChallenge(TOKEN_TYPE, "issuer.example", bytes(size), "")


@pytest.mark.parametrize("name", ["é", "a\n", "\0", "\x7f", "а"])
def test_names_are_printable_ascii(name: str) -> None:
    with pytest.raises(MalformedError):
        TokenChallenge(TOKEN_TYPE, name, b"", "")
    with pytest.raises(MalformedError):
        TokenChallenge(TOKEN_TYPE, "issuer.example", b"", name)
    with pytest.raises(MalformedError):
        TokenChallenge.from_bytes(
            b"\x00\x02" + len(name.encode()).to_bytes(2, "big") + name.encode() + b"\0\0\0"
        )


def test_issuer_name_is_not_empty() -> None:
    with pytest.raises(MalformedError):
        TokenChallenge(TOKEN_TYPE, "", b"", "origin.example")
    with pytest.raises(MalformedError):
        TokenChallenge.from_bytes(b"\x00\x02\x00\x00\x00\x00\x00")


def test_challenge_has_a_size_limit() -> None:
    fits = TokenChallenge(TOKEN_TYPE, "i" * (token.MAX_CHALLENGE_BYTES - 7), b"", "")
    assert TokenChallenge.from_bytes(fits.to_bytes()) == fits
    with pytest.raises(MalformedError):
        TokenChallenge.from_bytes(
            TokenChallenge(TOKEN_TYPE, "i" * (token.MAX_CHALLENGE_BYTES - 6), b"", "").to_bytes()
        )


@pytest.mark.parametrize("i", range(3))
def test_token_input_takes_32_bytes_each(i: int) -> None:
    parts = [bytes(32)] * 3
    parts[i] = bytes(31)
    with pytest.raises(ValueError, match="32 bytes"):
        token.token_input(*parts)


def test_repr_shows_no_token_material() -> None:
    for value in (TOKEN, REQUEST, RESPONSE):
        assert not any(part in repr(value) for part in ("nnnn", "aaaa", "bbbb", "ssss"))
