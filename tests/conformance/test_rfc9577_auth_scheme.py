from __future__ import annotations

from typing import Any

import pytest

import figures
from headcount_spec import authorization
from headcount_spec.authorization import Challenge
from headcount_spec.token import TOKEN_TYPE, Token, TokenChallenge, token_input

Case = dict[str, Any]


def challenges_of(case: Case) -> tuple[Challenge, ...]:
    return tuple(
        Challenge(bytes.fromhex(c["challenge"]), bytes.fromhex(c["token_key"]), c["max_age_s"])
        for c in case["challenges"]
    )


@pytest.mark.parametrize("case", figures.cases("rfc9577_headers.json"))
def test_www_authenticate(case: Case) -> None:
    challenges = authorization.parse_www_authenticate(case["header"])
    assert challenges == challenges_of(case)
    for challenge in challenges:
        assert TokenChallenge.from_bytes(challenge.challenge).to_bytes() == challenge.challenge
    assert (
        authorization.parse_www_authenticate(authorization.format_www_authenticate(challenges)) == challenges
    )


@pytest.mark.parametrize("case", figures.cases("rfc9577_structures.json"))
def test_token_structures(case: Case) -> None:
    issuer, context, origin, nonce, key_id = figures.unhex(
        case, "issuer_name", "redemption_context", "origin_info", "nonce", "token_key_id"
    )
    assert int(case["token_type"], 16) == TOKEN_TYPE
    challenge = TokenChallenge(TOKEN_TYPE, issuer.decode(), context, origin.decode())
    assert TokenChallenge.from_bytes(challenge.to_bytes()) == challenge
    expected = case["token_authenticator_input"]
    assert token_input(nonce, challenge.digest(), key_id).hex() == expected
    token = Token.from_bytes(bytes.fromhex(expected) + bytes(256))
    assert (token.nonce, token.challenge_digest, token.token_key_id) == (nonce, challenge.digest(), key_id)
    assert token.signed_input().hex() == expected
