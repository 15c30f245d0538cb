from __future__ import annotations

from typing import Any

import pytest

import figures
from headcount_engine import rsa
from headcount_spec import blind_rsa, spki
from headcount_spec.token import TOKEN_TYPE, Token, TokenChallenge, TokenRequest, TokenResponse, token_input

Case = dict[str, Any]
CASES = [*figures.cases("rfc9578_type2.json"), *figures.cases("rfc9578_type2_rust.json")]


@pytest.mark.parametrize("case", CASES)
def test_token_key(case: Case) -> None:
    private_key, token_key = figures.unhex(case, "private_key", "token_key")
    assert spki.encode_token_key(rsa.load_private_key(private_key).public) == token_key
    assert spki.encode_token_key(spki.decode_token_key(token_key)) == token_key


@pytest.mark.parametrize("case", CASES)
def test_issuance(case: Case) -> None:
    token_key, encoded, nonce, salt = figures.unhex(case, "token_key", "token_challenge", "nonce", "salt")
    public, key_id = spki.decode_token_key(token_key), spki.token_key_id(token_key)
    challenge = TokenChallenge.from_bytes(encoded)
    assert challenge.to_bytes() == encoded
    # The client asks.
    msg = token_input(nonce, challenge.digest(), key_id)
    blinded_msg, inv = blind_rsa.blind(public, msg, salt, int(case["blind"], 16))
    request = TokenRequest(key_id[-1], blinded_msg)
    assert request.to_bytes().hex() == case["token_request"]
    assert TokenRequest.from_bytes(request.to_bytes()) == request
    # The issuer signs.
    handle = rsa.load_private_key(bytes.fromhex(case["private_key"]))
    response = TokenResponse(rsa.blind_sign(handle, request.blinded_msg))
    assert response.to_bytes().hex() == case["token_response"]
    assert TokenResponse.from_bytes(response.to_bytes()) == response
    # The client finishes, and anybody verifies.
    authenticator = blind_rsa.finalize(public, msg, response.blind_sig, inv)
    token = Token(TOKEN_TYPE, nonce, challenge.digest(), key_id, authenticator)
    assert token.to_bytes().hex() == case["token"]
    assert Token.from_bytes(token.to_bytes()) == token
    rsa.verify(rsa.load_public_key(token_key), token.signed_input(), token.authenticator)
