from __future__ import annotations

import contextlib
from dataclasses import replace

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authenticator import AAGUID, UP, UV, Authenticator, Vendor, new_key
from headcount_issuer.attestation import AllowList, check_statement, parse_aaguid, split_roots
from headcount_issuer.base64url import encode as encode_base64url
from headcount_issuer.ceremony import Assertion, RelyingParty
from headcount_issuer.passkey import Passkey, has_risen
from headcount_spec.errors import (
    CodeRefusedError,
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    ProtocolError,
)
from headcount_spec.members import Members

ORIGIN = "http://localhost:8001"
CHALLENGE = bytes(range(32))
ANY = RelyingParty(ORIGIN, "issuer.example", verify_user=True)
VENDOR = Vendor()
LISTED = replace(ANY, allowed=AllowList(frozenset({AAGUID}), (VENDOR.root_pem,)))


def register(party: RelyingParty, evidence: dict[str, object], challenge: bytes = CHALLENGE) -> Passkey:
    return party.register(challenge, Members(evidence, "evidence"))


def recognise(party: RelyingParty, device: Authenticator, passkey: Passkey) -> Passkey:
    assertion = Assertion.read(Members(device.get(CHALLENGE), "evidence"))
    return party.recognise(CHALLENGE, assertion, passkey)


def listed(**changes: object) -> Authenticator:
    return Authenticator(ORIGIN, aaguid=AAGUID, **changes)  # type: ignore[arg-type]


def test_a_passkey_is_made_and_recognised():
    device = Authenticator(ORIGIN, sign_count=5)
    passkey = register(ANY, device.create(CHALLENGE))
    assert passkey.credential_id == device.credential_id
    assert passkey.sign_count == 5
    device.sign_count = 6
    assert recognise(ANY, device, passkey).sign_count == 6


BENT = {
    "another origin": {"origin": "http://localhost:8002"},
    "a phishing origin": {"origin": "https://localhost.example"},
    "the origin with a slash": {"origin": ORIGIN + "/"},
    "another RP id": {"rp_id": "example.org"},
    "nobody present": {"flags": UV},
    "nobody verified": {"flags": UP},
    "in a frame": {"client": {"crossOrigin": True}},
    "in a frame below another page": {"client": {"topOrigin": "https://elsewhere.example"}},
    "another ceremony": {"client": {"type": "payment.get"}},
    "another challenge": {"client": {"challenge": encode_base64url(bytes(32))}},
}


@pytest.mark.parametrize("changes", BENT.values(), ids=BENT.keys())
def test_an_answer_to_something_else_makes_no_passkey(changes):
    device = Authenticator(**{"origin": ORIGIN} | changes)
    with pytest.raises(CodeRefusedError):
        register(ANY, device.create(CHALLENGE))


@pytest.mark.parametrize("changes", BENT.values(), ids=BENT.keys())
def test_an_answer_to_something_else_is_not_recognised(changes):
    device = Authenticator(ORIGIN)
    passkey = register(ANY, device.create(CHALLENGE))
    with pytest.raises(CodeRefusedError):
        recognise(ANY, replace(device, **changes), passkey)


def test_a_passkey_of_somebody_else_is_not_recognised():
    passkey = register(ANY, Authenticator(ORIGIN).create(CHALLENGE))
    thief = Authenticator(ORIGIN, credential_id=passkey.credential_id)
    with pytest.raises(CodeRefusedError):
        recognise(ANY, thief, passkey)


def test_the_two_ceremonies_are_not_mixed_up():
    device = Authenticator(ORIGIN)
    passkey = register(ANY, device.create(CHALLENGE))
    assertion = Assertion.read(Members(device.get(CHALLENGE, "webauthn.create"), "evidence"))
    with pytest.raises(CodeRefusedError):
        ANY.recognise(CHALLENGE, assertion, passkey)


def test_without_verification_of_the_user_a_touch_is_enough():
    party = replace(ANY, verify_user=False)
    assert register(party, Authenticator(ORIGIN, flags=UP).create(CHALLENGE))
    with pytest.raises(CodeRefusedError):
        register(party, Authenticator(ORIGIN, flags=UV).create(CHALLENGE))


def test_a_listed_make_is_believed():
    assert register(LISTED, listed().create(CHALLENGE, VENDOR))
    assert register(LISTED, listed().create(CHALLENGE, replace(VENDOR)))  # another batch of the same root


FORGED = {
    "no statement": (listed(), None, False),
    "self attestation": (listed(), None, True),
    "a foreign root": (listed(), Vendor(), False),
    "a model that is not on the list": (Authenticator(ORIGIN, aaguid=bytes(15) + b"\1"), VENDOR, False),
    "no model": (Authenticator(ORIGIN), VENDOR, False),
    "a certificate of another model": (listed(), replace(VENDOR, aaguid=bytes(16)), False),
    "a certificate without a model": (listed(), replace(VENDOR, has_model=False), False),
    "a certificate for something else": (listed(), replace(VENDOR, unit="Web Server"), False),
    "a certificate that may certify": (listed(), replace(VENDOR, ca=True), False),
    "an expired certificate": (listed(), replace(VENDOR, days=1), False),
}


@pytest.mark.parametrize(("device", "vendor", "self_signed"), FORGED.values(), ids=FORGED.keys())
def test_a_make_that_is_not_proven_is_refused(device, vendor, self_signed):
    evidence = device.create(CHALLENGE, vendor, self_signed)
    with pytest.raises((CodeRefusedError, NotEligibleError)):
        register(LISTED, evidence)
    assert register(ANY, evidence)  # where nothing is asked, nothing is believed and nothing refused


def test_a_forged_packed_signature_is_refused():
    forger = replace(VENDOR, key=new_key())
    forger.certificate = VENDOR.certificate
    with pytest.raises(CodeRefusedError):
        register(LISTED, listed().create(CHALLENGE, forger))


def test_a_statement_of_another_passkey_is_refused():
    mine, other = listed(), listed()
    client_data = mine.client_data("webauthn.create", CHALLENGE)
    bent = other.attestation(client_data, VENDOR, False)
    with pytest.raises(CodeRefusedError):
        register(LISTED, mine.create(CHALLENGE, VENDOR, attStmt=bent["attStmt"]))


@pytest.mark.parametrize(
    "fmt", ["tpm", "apple", "android-key", "android-safetynet", "fido-u2f", "compound", "", 7]
)
def test_other_formats_are_refused_where_the_make_is_asked_for(fmt):
    with pytest.raises(NotEligibleError):
        register(LISTED, listed().create(CHALLENGE, VENDOR, fmt=fmt))


def test_an_algorithm_that_was_not_offered_is_refused():
    device = Authenticator(ORIGIN)
    data = device.data(True)
    key = cbor2.dumps({1: 3, 3: -65535, -1: b"\xff" * 256, -2: b"\1\0\1"})  # RS1: with SHA-1
    head = data[: 37 + 18 + len(device.credential_id)]
    with pytest.raises(CodeRefusedError):
        register(ANY, device.create(CHALLENGE, authData=head + key))


@pytest.mark.parametrize(
    "key",
    [b"\xa0", b"\xa1\x01\x02", b"\x04" * 65, b"", b"\xf6", cbor2.dumps({1: 2, 3: -7, -1: 1, -2: 1, -3: 2})],
)
def test_a_key_that_is_none_is_refused(key):
    device = Authenticator(ORIGIN)
    head = device.data(True)[: 37 + 18 + len(device.credential_id)]
    with pytest.raises(ProtocolError):
        register(ANY, device.create(CHALLENGE, authData=head + key))


def test_a_short_credential_id_is_refused():
    # Ids are the uniqueness input; a handful of bytes would collide or be guessed.
    with pytest.raises(CodeRefusedError):
        register(ANY, Authenticator(ORIGIN, credential_id=b"short").create(CHALLENGE))


@pytest.mark.parametrize("member", ["client_data", "attestation"])
@pytest.mark.parametrize("value", ["", "=", "a", "!!!!", "QR==", "QR", 7, None, "A" * 20_000])
def test_malformed_members_are_refused(member, value):
    evidence = Authenticator(ORIGIN).create(CHALLENGE) | {member: value}
    with pytest.raises(MalformedError):
        register(ANY, evidence)


def test_unknown_and_missing_members_are_refused():
    evidence = Authenticator(ORIGIN).create(CHALLENGE)
    with pytest.raises(MalformedError):
        register(ANY, evidence | {"more": "x"})
    del evidence["attestation"]
    with pytest.raises(MalformedError):
        register(ANY, evidence)


_DEVICE = listed()
_CLIENT_DATA = _DEVICE.client_data("webauthn.create", CHALLENGE)
_WHOLE = cbor2.dumps({**_DEVICE.attestation(_CLIENT_DATA, VENDOR, False), "authData": _DEVICE.data(True)})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), listed_make=st.booleans())
def test_bytes_that_were_changed_never_raise_anything_else(data, listed_make):
    whole = bytearray(_WHOLE)
    at = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(at, min(at + 4, len(whole))))
    whole[at:end] = data.draw(st.binary(max_size=6))
    evidence = {"client_data": encode_base64url(_CLIENT_DATA), "attestation": encode_base64url(bytes(whole))}
    with contextlib.suppress(CodeRefusedError, MalformedError, NotEligibleError):
        register(LISTED if listed_make else ANY, evidence)


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=200))
def test_junk_never_raises_anything_else(junk):
    with pytest.raises(ProtocolError):
        check_statement(junk, LISTED.allowed)
    for client_data in (junk, b'{"type":1,"challenge":2,"origin":3}', b"[]", b'{"challenge":"x"}'):
        evidence = {
            "client_data": encode_base64url(client_data),
            "attestation": encode_base64url(junk or b"0"),
        }
        with pytest.raises(ProtocolError):
            register(ANY, evidence)


@pytest.mark.parametrize(
    ("before", "after", "risen"),
    [
        (0, 0, True),
        (0, 1, True),
        (4, 5, True),
        (4, 4, False),
        (4, 3, False),
        (4, 0, False),
        (1, 2**32 - 1, True),
    ],
)
def test_a_counter_rises_or_stays_zero(before, after, risen):
    assert has_risen(before, after) is risen


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8001", "https://127.0.0.1", "http://issuer.example", "http://[::1]:1"]
)
def test_where_browsers_have_no_passkeys_it_is_said_at_the_start(origin):
    with pytest.raises(ConfigurationError):
        RelyingParty(origin, "issuer.example", True)


def test_the_rp_id_is_the_host_alone():
    assert RelyingParty("https://issuer.example:8443", "i", True).id == "issuer.example"
    assert ANY.id == "localhost"


def test_an_allow_list_without_roots_or_models_is_refused():
    for models, roots in [
        (frozenset(), (VENDOR.root_pem,)),
        (frozenset({AAGUID}), ()),
        (frozenset({bytes(16)}), (b"",)),
    ]:
        with pytest.raises(ConfigurationError):
            AllowList(models, roots)


def test_aaguids_have_one_spelling():
    text = "cb69481e-8ff7-4039-93ec-0a2729a154a8"
    assert parse_aaguid(text).hex() == text.replace("-", "")
    for other in (text.upper(), text.replace("-", ""), "{" + text + "}", "urn:uuid:" + text, "", text + "\n"):
        with pytest.raises(MalformedError):
            parse_aaguid(other)


def test_roots_are_read_one_by_one():
    assert split_roots(VENDOR.root_pem + Vendor().root_pem)[0] == VENDOR.root_pem
    for data in (b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(ConfigurationError):
            split_roots(data)
