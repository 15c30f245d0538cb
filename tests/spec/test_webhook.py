from __future__ import annotations

import base64
import datetime

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec import webhook
from headcount_spec.errors import MalformedError, SignatureError
from receivers import SECRET

NOW = 1_700_000_000
SHARED = webhook.parse_signer(SECRET)
assert isinstance(SHARED, webhook.Secret)
SEED = webhook.Seed(bytes(range(32)))


def test_the_example_of_the_specification():
    # github.com/standard-webhooks: the same key, id, time and body give this header.
    head = webhook.sign([SHARED], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert head.to_headers()[webhook.SIGNATURE] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.binary(max_size=200), st.binary(min_size=24, max_size=64))
def test_the_library_of_others_takes_what_we_sign(body: bytes, key: bytes):
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    body = base64.b64encode(body)
    body = b'{"x":"' + body + b'"}'
    secret = webhook.Secret(key)
    headers = webhook.sign([SEED, secret], "msg_1", now, body).to_headers()
    standardwebhooks.Webhook(secret.to_text()).verify(body, headers)


def test_we_take_what_the_library_of_others_signs():
    moment = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    signed = standardwebhooks.Webhook(SECRET).sign("msg_1", moment, '{"a":1}')
    head = webhook.Head.from_headers(
        {
            "Host": "a.example",
            "Webhook-Id": "msg_1",
            "Webhook-Timestamp": str(NOW),
            "Webhook-Signature": signed,
        }
    )
    webhook.check([SHARED], head, b'{"a":1}', NOW)


@pytest.mark.parametrize("signer", [SHARED, SEED])
@pytest.mark.parametrize("changed", ["id", "timestamp", "body", "signature", "version", "key", "none"])
def test_what_was_changed_is_refused(signer: webhook.Signer, changed: str):
    checker = signer.public if isinstance(signer, webhook.Seed) else signer
    body, other = b"{}", b"{ }"
    head = webhook.sign([signer], "msg_1", NOW, body)
    webhook.check([checker], head, body, NOW)
    version, signed = head.signatures[0]
    flipped = bytes([signed[0] ^ 1]) + signed[1:]
    heads = {
        "id": webhook.Head("msg_2", NOW, head.signatures),
        "timestamp": webhook.Head("msg_1", NOW + 1, head.signatures),
        "signature": webhook.Head("msg_1", NOW, ((version, flipped),)),
        "version": webhook.Head("msg_1", NOW, (("v1a" if version == "v1" else "v1", signed),)),
        "none": webhook.Head("msg_1", NOW, ()),
    }
    checkers = [webhook.Secret(bytes(32)), webhook.Seed(bytes(32)).public] if changed == "key" else [checker]
    with pytest.raises(SignatureError):
        webhook.check(checkers, heads.get(changed, head), other if changed == "body" else body, NOW)


@pytest.mark.parametrize("away", [-301, 301])
def test_an_old_one_and_one_of_the_future_are_refused(away: int):
    head = webhook.sign([SHARED], "msg_1", NOW, b"{}")
    webhook.check([SHARED], head, b"{}", NOW + (300 if away > 0 else -300))
    with pytest.raises(SignatureError):
        webhook.check([SHARED], head, b"{}", NOW + away)


def test_one_of_several_keys_is_enough_on_either_side():
    new = webhook.Secret(b"n" * 32)
    head = webhook.sign([SHARED, new, SEED], "msg_1", NOW, b"{}")
    assert webhook.Head.from_headers(head.to_headers()) == head
    for checkers in ([SHARED], [new], [SEED.public], [webhook.Secret(b"x" * 24), new]):
        webhook.check(checkers, head, b"{}", NOW)


def test_unknown_versions_are_passed_over():
    head = webhook.sign([SHARED], "msg_1", NOW, b"{}")
    headers = head.to_headers()
    headers[webhook.SIGNATURE] = f"v2,anything {headers[webhook.SIGNATURE]} v1b,x,y"
    assert webhook.Head.from_headers(headers) == head


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook-id": "a.b"},
        {"webhook-id": ""},
        {"webhook-id": "x" * 129},
        {"webhook-timestamp": "+1700000000"},
        {"webhook-timestamp": "1700000000.0"},
        {"webhook-timestamp": " 1700000000"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,QR=="},
        {"webhook-signature": "v1,QQ==  v1,QQ=="},
        {"webhook-signature": " ".join(["v2,x"] * 17)},
        {"webhook-signature": "v2," + "x" * 5000},
        {"Webhook-Id": "msg_1"},
    ],
)
def test_other_spellings_are_malformed(wrong: dict[str, str]):
    headers = webhook.sign([SHARED], "msg_1", NOW, b"{}").to_headers()
    webhook.Head.from_headers(headers)
    with pytest.raises(MalformedError):
        webhook.Head.from_headers(headers | wrong)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_malformed(name: str):
    headers = webhook.sign([SHARED], "msg_1", NOW, b"{}").to_headers()
    del headers[name]
    with pytest.raises(MalformedError):
        webhook.Head.from_headers(headers)


@given(st.text() | st.text("v1a, QA=+/2"))
def test_any_text_is_signatures_or_malformed(text: str):
    try:
        found = webhook.parse_signatures(text)
    except MalformedError:
        return
    again = " ".join(f"{version},{base64.b64encode(signed).decode()}" for version, signed in found)
    assert not found or webhook.parse_signatures(again) == found
    assert len(found) <= text.count(",")


@given(st.text() | st.text("whsecpk_QA=").map("whsec_".__add__))
def test_any_text_is_a_key_or_malformed(text: str):
    for parse in (webhook.parse_signer, webhook.parse_checker):
        try:
            found = parse(text)
        except MalformedError:
            continue
        assert found.to_text() == text


def test_keys_keep_their_spelling_and_their_kinds():
    assert webhook.parse_signer(SEED.to_text()) == SEED
    assert webhook.parse_checker(SEED.public.to_text()) == SEED.public
    for parse, text in (
        (webhook.parse_signer, SEED.public.to_text()),
        (webhook.parse_checker, SEED.to_text()),
        (webhook.parse_checker, webhook.PublicKey(bytes(32)).to_text()),  # anybody can sign under it
        (webhook.parse_signer, webhook.Secret(bytes(23)).to_text()),
        (webhook.parse_signer, webhook.Secret(bytes(65)).to_text()),
        (webhook.parse_signer, SECRET + "\n"),
    ):
        with pytest.raises(MalformedError):
            parse(text)


def test_a_body_with_bytes_of_the_head_is_another_message():
    first = webhook.sign([SHARED], "msg_1", 17, b"5.x").signatures
    assert first != webhook.sign([SHARED], "msg_1", 175, b"x").signatures
    with pytest.raises(MalformedError):
        webhook.sign([SHARED], "msg.1", 17, b"")
