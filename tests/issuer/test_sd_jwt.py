from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials import AUDIENCE, COUNTRY, NONCE, NOW, VCT, Government, Wallet, sign
from headcount_issuer.base64url import encode as encode_base64url
from headcount_issuer.jose import Jws, KeySet, parse_key
from headcount_issuer.sd_jwt import Presented, verify_presentation
from headcount_spec.errors import (
    ChallengeError,
    MalformedError,
    NotEligibleError,
    ProtocolError,
    SignatureError,
    UnknownKeyError,
)

STATE, OTHER_STATE = Government("https://pid.example"), Government("https://pid.example")
CLAIMS = {"personal_administrative_number": "123456", "issuing_country": "FR", "family_name": "Doe"}


def verify(text: str, **changes: Any) -> Presented:
    wanted = {
        "issuers": {STATE.name: STATE.key_set},
        "types": frozenset({VCT}),
        "audience": AUDIENCE,
        "nonce": NONCE,
        "now": NOW,
    }
    return verify_presentation(text, **(wanted | changes))


def wallet(government: Government = STATE, **claims: Any) -> Wallet:
    holder = Wallet()
    holder.receive(government.issue(CLAIMS | claims, holder))
    return holder


def test_what_is_disclosed_is_read_and_the_rest_is_not():
    found = verify(wallet().present("issuing_country", "personal_administrative_number"))
    assert found.issuer == STATE.name
    assert found.claims["issuing_country"] == COUNTRY
    assert found.claims["personal_administrative_number"] == "123456"
    assert "family_name" not in found.claims
    assert "_sd" not in found.claims


def test_nested_and_array_disclosures_are_put_in_their_place():
    holder = Wallet()
    holder.receive(
        STATE.issue({"place": {"city": "Paris", "street": "x"}, "nations": ["FR", "DE"]}, holder, deep=True)
    )
    found = verify(holder.present({"place": {"city": True}, "nations": [False, True]}))
    assert found.claims["place"] == {"city": "Paris"}
    assert found.claims["nations"] == ["DE"]


def test_a_foreign_issuer_is_refused():
    foreign = Government("https://elsewhere.example")
    with pytest.raises(UnknownKeyError):
        verify(wallet(foreign).present("issuing_country"))


def test_a_key_that_is_not_the_issuers_is_refused():
    # Same name, same key id, another key.
    with pytest.raises(SignatureError):
        verify(wallet(OTHER_STATE).present("issuing_country"))
    renamed = Government(STATE.name, kid="other")
    with pytest.raises(UnknownKeyError):
        verify(wallet(renamed).present("issuing_country"))


def test_a_replayed_nonce_and_another_audience_are_refused():
    text = wallet().present("issuing_country")
    for changes in ({"nonce": "another"}, {"audience": AUDIENCE + "/"}, {"nonce": NONCE + "\n"}):
        with pytest.raises(ChallengeError):
            verify(text, **changes)


@pytest.mark.parametrize("late", [601, 86_400, -61])
def test_a_presentation_of_another_time_is_refused(late):
    with pytest.raises(ChallengeError):
        verify(wallet().present("issuing_country"), now=NOW + late)


@pytest.mark.parametrize(
    "claims", [{"exp": NOW - 60}, {"exp": NOW - 10**6}, {"nbf": NOW + 61}, {"exp": 0}, {"nbf": 2**50}]
)
def test_a_credential_that_is_not_valid_now_is_refused(claims):
    with pytest.raises(NotEligibleError):
        verify(wallet(**claims).present())


def test_another_type_of_credential_is_refused():
    with pytest.raises(NotEligibleError):
        verify(wallet(vct="urn:example:library-card").present())


def test_a_credential_without_key_binding_is_refused():
    text = wallet().present("issuing_country")
    bare = text[: text.rindex("~") + 1]
    with pytest.raises(MalformedError):
        verify(bare)
    with pytest.raises(MalformedError):
        verify(bare.rstrip("~"))


def test_key_binding_by_another_key_is_refused():
    thief, victim = Wallet(), wallet()
    thief.credential = victim.credential
    with pytest.raises(SignatureError):
        verify(thief.present("issuing_country"))


def test_a_credential_without_the_holders_key_is_refused():
    holder = Wallet()
    holder.receive(STATE.issue(CLAIMS, None))
    with pytest.raises(MalformedError):
        verify(holder.present())


def taken_apart(text: str) -> tuple[str, list[str], str]:
    signed, *disclosures, binding = text.split("~")
    return signed, disclosures, binding


def bound(holder: Wallet, signed: str, disclosures: list[str]) -> str:
    """The same presentation with other disclosures, bound anew by the holder who cheats."""
    head = "~".join([signed, *disclosures, ""])
    return head + holder.bind(head)


def disclosure(*value: Any) -> str:
    return encode_base64url(json.dumps(value).encode())


def test_disclosures_that_the_holder_did_not_sign_are_refused():
    holder = wallet()
    signed, disclosures, binding = taken_apart(holder.present("issuing_country", "family_name"))
    for other in (disclosures[:1], disclosures[::-1], []):
        with pytest.raises(SignatureError):
            verify("~".join([signed, *other, binding]))


def test_broken_disclosures_are_refused_even_if_the_holder_signs_them():
    holder = wallet()
    signed, disclosures, _ = taken_apart(holder.present("issuing_country"))
    (good,) = disclosures
    salt, name, value = json.loads(base64.urlsafe_b64decode(good + "=="))
    for bad in (
        [disclosure(salt, name, "DE")],  # another value
        [disclosure(salt, "personal_administrative_number", value)],  # another name
        [good, disclosure("salt", "personal_administrative_number", "1")],  # never signed
        [good, good],
        [good + "="],
        [good[:-1]],
        [""],
        [disclosure(salt)],
        [disclosure(salt, name, value, 1)],
        [encode_base64url(b"{}")],
        [encode_base64url(b'["a","b",1.5]')],
        [encode_base64url(b'["a","b",{"x":1,"x":2}]')],
    ):
        with pytest.raises(MalformedError):
            verify(bound(holder, signed, bad))
    assert verify(bound(holder, signed, [good])).claims["issuing_country"] == COUNTRY


def digest(text: str) -> str:
    return encode_base64url(hashlib.sha256(text.encode()).digest())


@pytest.mark.parametrize(
    "payload",
    [
        lambda a, e: {"_sd": [digest(a), digest(a)]},
        lambda a, e: {"_sd": [digest(a)], "inner": {"_sd": [digest(a)]}},
        lambda a, e: {"_sd": [digest(a)], "name": "signed"},  # a claim twice
        lambda a, e: {"_sd": [digest(e)]},  # an element where a claim belongs
        lambda a, e: {"list": [{"...": digest(a)}]},
        lambda a, e: {"list": [{"...": digest(e), "x": 1}]},
        lambda a, e: {"list": [{"...": 1}]},
        lambda a, e: {"...": "x"},
        lambda a, e: {"_sd": "x"},
        lambda a, e: {"_sd": [1]},
        lambda a, e: {"_sd": [digest(a)], "_sd_alg": "sha-1"},
        lambda a, e: {"inner": {"_sd_alg": "sha-256"}},
    ],
)
def test_credentials_that_contradict_themselves_are_refused(payload):
    holder = Wallet()
    claim, element = disclosure("salt", "name", "Ada"), disclosure("salt", "Ada")
    body = payload(claim, element)
    signed = STATE.sign_raw(body, holder)
    used = [text for text in (claim, element) if digest(text) in json.dumps(body)]
    with pytest.raises(MalformedError):
        verify(bound(holder, signed, used))


@pytest.mark.parametrize("name", ["iss", "vct", "exp", "nbf", "cnf", "status", "_sd", "...", "_sd_alg"])
def test_claims_that_must_be_open_are_not_disclosed(name):
    holder = Wallet()
    text = disclosure("salt", name, "x")
    body = {"_sd": [digest(text)]}
    signed = STATE.sign_raw(body, holder, without=name)
    with pytest.raises(ProtocolError) as caught:
        verify(bound(holder, signed, [text]))
    assert isinstance(caught.value, MalformedError | UnknownKeyError | NotEligibleError)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"typ": "JWT"},
        {"typ": None},
        {"crit": ["b64"], "b64": False},
    ],
)
def test_other_algorithms_and_types_are_refused(header):
    holder = Wallet()
    signed = STATE.sign_raw({}, holder, header=header)
    with pytest.raises((SignatureError, MalformedError)):
        verify(bound(holder, signed, []))
    signed = STATE.sign_raw({}, holder)
    head = signed + "~"
    binding = holder.bind(head, header={"typ": "kb+jwt"} | header)
    with pytest.raises((SignatureError, MalformedError)):
        verify(head + binding)


def test_a_key_of_the_header_is_not_trusted():
    attacker = Government(STATE.name)
    holder = Wallet()
    signed = attacker.sign_raw({}, holder, header={"jwk": attacker.jwk, "kid": None})
    with pytest.raises((SignatureError, UnknownKeyError)):
        verify(bound(holder, signed, []))


@pytest.mark.parametrize("text", ["", "~", "~~", "a~b", "a.b.c~", "a.b.c~~d.e.f", "é~", "a" * 70_000 + "~x"])
def test_what_is_no_presentation_is_refused(text):
    with pytest.raises(MalformedError):
        verify(text)


_TEXT = wallet().present("issuing_country", "family_name")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(_TEXT) - 1), st.sampled_from("Aa0-_~.= é\0"))
def test_no_changed_character_passes_or_raises_anything_else(at, char):
    text = _TEXT[:at] + char + _TEXT[at + 1 :]
    if text == _TEXT:
        return
    with pytest.raises(ProtocolError) as caught:
        verify(text)
    assert isinstance(
        caught.value, MalformedError | SignatureError | UnknownKeyError | ChallengeError | NotEligibleError
    )


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_junk_is_malformed(text):
    with pytest.raises(MalformedError):
        Jws.from_text(text, 100)
    with pytest.raises(MalformedError):
        KeySet.from_bytes(text.encode("utf-8", "surrogatepass"))


def test_key_sets_are_read_strictly():
    jwk = STATE.jwk
    assert KeySet.from_bytes(
        json.dumps({"keys": [jwk, {"kty": "RSA", "n": "x"}, {"kty": "OKP"}]}).encode()
    ).keys
    private = jwk | {"d": jwk["x"]}
    off_curve = jwk | {"y": encode_base64url(bytes(32))}
    for keys in ([], [jwk, jwk], [private], [off_curve], [jwk | {"kid": None}], [jwk | {"use": "enc"}], "x"):
        with pytest.raises(MalformedError):
            KeySet.from_bytes(json.dumps({"keys": keys}).encode())
    with pytest.raises(MalformedError):
        parse_key(jwk | {"x": jwk["x"] + "A"})


def test_a_signature_has_one_length():
    key = ec.generate_private_key(ec.SECP256R1())
    text = sign(key, {"alg": "ES256", "typ": "x"}, {})
    Jws.from_text(text, 1000).verify(key.public_key())
    head, _, signature = text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    for other in (raw[:-1], raw + b"\0", b"", bytes(64)):
        with pytest.raises(SignatureError):
            Jws.from_text(f"{head}.{encode_base64url(other)}", 1000).verify(key.public_key())


def test_nothing_of_a_credential_stands_in_errors_or_representations():
    found = verify(wallet().present("family_name"))
    assert "Doe" not in repr(found)
    with pytest.raises(NotEligibleError) as caught:
        verify(wallet(exp=1).present("family_name"))
    assert "Doe" not in str(caught.value)
