from __future__ import annotations

from collections.abc import Iterator

import pytest

import keys
import manifests
from foreign import Node
from headcount_engine import rsa
from headcount_spec import authorization, blind_rsa, spki
from headcount_spec.authorization import Challenge
from headcount_spec.token import TOKEN_TYPE, Token, TokenChallenge, TokenRequest, TokenResponse, token_input

SPKI, DER = keys.token_spki(0), keys.token_key_der(0)
KEY_ID = spki.token_key_id(SPKI)
MANIFEST = manifests.manifest()
CHALLENGE = MANIFEST.challenge(0)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


def scope_token() -> Token:
    """The token inside a pledge."""
    pledge = manifests.pledge(MANIFEST, 1)
    return Token(TOKEN_TYPE, pledge.nullifier, CHALLENGE.digest(), KEY_ID, pledge.authenticators[0])


def verified(node: Node, token: Token, token_key: bytes = SPKI) -> bool:
    answer = node("verify_token", token_key=token_key, token=token.to_bytes())
    return bool(answer["verified"])


def test_their_client_gets_a_token_from_our_issuer(node: Node) -> None:
    asked = node("create_token_request", challenge=CHALLENGE.to_bytes(), token_key=SPKI)
    request = TokenRequest.from_bytes(bytes.fromhex(asked["token_request"]))
    assert request.truncated_token_key_id == KEY_ID[-1]
    response = TokenResponse(rsa.blind_sign(rsa.load_private_key(DER), request.blinded_msg))
    token = Token.from_bytes(
        node.octets("finish_token", client=asked["client"], token_response=response.to_bytes())
    )
    assert (token.challenge_digest, token.token_key_id) == (CHALLENGE.digest(), KEY_ID)
    rsa.verify(rsa.load_public_key(SPKI), token.signed_input(), token.authenticator)


def test_our_client_gets_a_token_from_their_issuer(node: Node) -> None:
    pledge = manifests.pledge(MANIFEST, 1)
    msg = token_input(pledge.nullifier, CHALLENGE.digest(), KEY_ID)
    public = spki.decode_token_key(SPKI)
    blinded_msg, inv = blind_rsa.blind(public, msg, bytes(48), 2**2000 + 1)
    response = node.octets(
        "issue",
        issuer_name=CHALLENGE.issuer_name,
        private_key=DER,
        token_key=SPKI,
        token_request=TokenRequest(KEY_ID[-1], blinded_msg).to_bytes(),
    )
    blind_sig = TokenResponse.from_bytes(response).blind_sig
    assert blind_rsa.finalize(public, msg, blind_sig, inv) == pledge.authenticators[0]


def test_the_token_of_a_pledge_verifies_at_their_origin(node: Node) -> None:
    token = scope_token()
    assert verified(node, token)
    assert not verified(node, token, keys.token_spki(1))
    changed = Token(TOKEN_TYPE, bytes(32), token.challenge_digest, KEY_ID, token.authenticator)
    assert not verified(node, changed)


def test_challenge_headers_are_read_both_ways(node: Node) -> None:
    challenge = Challenge(CHALLENGE.to_bytes(), SPKI, 10)
    ours = authorization.format_www_authenticate([challenge, challenge])
    theirs = node("parse_challenges", header=ours)["challenges"]
    expected = {"challenge": challenge.challenge.hex(), "token_key": SPKI.hex(), "max_age_s": 10}
    assert theirs == [expected, expected]
    header = node("format_challenge", **expected)["header"]
    assert authorization.parse_www_authenticate(header) == (challenge,)


def test_authorization_headers_are_read_both_ways(node: Node) -> None:
    token = scope_token().to_bytes()
    ours = authorization.format_authorization(token)
    assert node("parse_authorization", header=ours) == {"tokens": [token.hex()]}
    assert authorization.parse_authorization(node("format_authorization", token=token)["header"]) == token


def test_challenge_with_origins_is_encoded_alike(node: Node) -> None:
    challenge = TokenChallenge(TOKEN_TYPE, "issuer.example", b"", "a.example,b.example")
    header = node("format_challenge", challenge=challenge.to_bytes(), token_key=SPKI, max_age_s=None)
    (parsed,) = authorization.parse_www_authenticate(header["header"])
    assert TokenChallenge.from_bytes(parsed.challenge) == challenge
