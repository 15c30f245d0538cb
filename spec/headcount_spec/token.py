"""Privacy Pass tokens of type 0x0002: the four messages of RFC 9577 and RFC 9578, Section 6."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from headcount_spec import wire
from headcount_spec.errors import MalformedError
from headcount_spec.spki import MODULUS_BYTES, TokenKeyId

TOKEN_TYPE = 0x0002  # RFC 9578, Section 8.2.2: Blind RSA (2048-bit)
NONCE_BYTES = 32
TOKEN_BYTES = 2 + NONCE_BYTES + 32 + 32 + MODULUS_BYTES  # 354
MAX_CHALLENGE_BYTES = 4096  # ours are below 300
_TYPE = wire.u16(TOKEN_TYPE)
_PRINTABLE = range(0x20, 0x7F)


@dataclass(frozen=True, slots=True)
class TokenChallenge:
    """What a token answers.

    Raises:
        MalformedError: a name that is empty or not printable ASCII, a context of another length.
    """

    # struct {                                     RFC 9577, Section 2.1
    #     uint16_t token_type;
    #     opaque issuer_name<1..2^16-1>;
    #     opaque redemption_context<0..32>;        0 or 32 bytes
    #     opaque origin_info<0..2^16-1>;
    # } TokenChallenge;
    token_type: int  # any; whoever uses the challenge decides which types it knows
    issuer_name: str
    redemption_context: bytes
    origin_info: str

    def __post_init__(self) -> None:
        if not self.issuer_name:
            raise MalformedError("the token challenge names no issuer")
        for name in (self.issuer_name, self.origin_info):
            if any(ord(c) not in _PRINTABLE for c in name):
                raise MalformedError("a name in the token challenge is not printable ASCII")
        if len(self.redemption_context) not in (0, 32):
            raise MalformedError("the redemption context is neither empty nor 32 bytes")

    def to_bytes(self) -> bytes:
        """The challenge as origins send it."""
        return (
            wire.u16(self.token_type)
            + wire.opaque16(self.issuer_name.encode("ascii"))
            + wire.opaque8(self.redemption_context)
            + wire.opaque16(self.origin_info.encode("ascii"))
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> TokenChallenge:
        """Parse a challenge.

        Raises:
            MalformedError: truncated, trailing bytes, or a field out of range.
        """
        if len(data) > MAX_CHALLENGE_BYTES:
            raise MalformedError("the token challenge is too long")
        reader = wire.Reader(data)
        token_type = reader.u16()
        # Every byte is a Latin-1 character, and __post_init__ refuses those beyond ASCII.
        issuer_name = reader.opaque16().decode("latin-1")
        redemption_context = reader.opaque8()
        origin_info = reader.opaque16().decode("latin-1")
        reader.finish()
        return cls(token_type, issuer_name, redemption_context, origin_info)

    def digest(self) -> bytes:
        """SHA-256 of the challenge, 32 bytes. RFC 9577, Section 2.2."""
        return hashlib.sha256(self.to_bytes()).digest()


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What a client sends to an issuer, media type application/private-token-request."""

    # struct {                                     RFC 9578, Section 6.1
    #     uint16_t token_type = 0x0002;
    #     uint8_t truncated_token_key_id;
    #     uint8_t blinded_msg[Nk];                 256 bytes
    # } TokenRequest;
    truncated_token_key_id: int  # the last byte of the token key id
    blinded_msg: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The 259 bytes of the request."""
        return wire.u16(TOKEN_TYPE) + wire.u8(self.truncated_token_key_id) + self.blinded_msg

    @classmethod
    def from_bytes(cls, data: bytes) -> TokenRequest:
        """Parse a request; whether the blinded message is in range is the issuer's question.

        Raises:
            MalformedError: another token type or length.
        """
        reader = wire.Reader(data)
        reader.expect(_TYPE, "token type")
        request = cls(reader.u8(), reader.take(MODULUS_BYTES))
        reader.finish()
        return request


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """What the issuer answers, media type application/private-token-response."""

    # struct {                                     RFC 9578, Section 6.2
    #     uint8_t blind_sig[Nk];                   256 bytes
    # } TokenResponse;
    blind_sig: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The 256 bytes of the response."""
        return self.blind_sig

    @classmethod
    def from_bytes(cls, data: bytes) -> TokenResponse:
        """Parse a response.

        Raises:
            MalformedError: not exactly 256 bytes.
        """
        reader = wire.Reader(data)
        response = cls(reader.take(MODULUS_BYTES))
        reader.finish()
        return response


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is redeemed."""

    # struct {                                     RFC 9577, Section 2.2
    #     uint16_t token_type = 0x0002;
    #     uint8_t nonce[32];
    #     uint8_t challenge_digest[32];
    #     uint8_t token_key_id[Nid];               32 bytes
    #     uint8_t authenticator[Nk];               256 bytes
    # } Token;
    token_type: int  # 0x0002: no other type is parsed
    nonce: bytes = field(repr=False)
    challenge_digest: bytes
    token_key_id: TokenKeyId
    authenticator: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.token_type != TOKEN_TYPE:
            raise MalformedError("wrong token type")

    def to_bytes(self) -> bytes:
        """The 354 bytes of the token."""
        return self.signed_input() + self.authenticator

    @classmethod
    def from_bytes(cls, data: bytes) -> Token:
        """Parse a token.

        Raises:
            MalformedError: another token type or length.
        """
        reader = wire.Reader(data)
        token = cls(
            reader.u16(),
            reader.take(NONCE_BYTES),
            reader.take(32),
            TokenKeyId(reader.take(32)),
            reader.take(MODULUS_BYTES),
        )
        reader.finish()
        return token

    def signed_input(self) -> bytes:
        """The 98 bytes under the authenticator."""
        return token_input(self.nonce, self.challenge_digest, self.token_key_id)


def token_input(nonce: bytes, challenge_digest: bytes, token_key_id: bytes) -> bytes:
    """The message that is blind-signed, 98 bytes. RFC 9578, Section 6.1."""
    if (len(nonce), len(challenge_digest), len(token_key_id)) != (NONCE_BYTES, 32, 32):
        raise ValueError("nonce, challenge digest and token key id are 32 bytes each")
    return wire.u16(TOKEN_TYPE) + nonce + challenge_digest + token_key_id
