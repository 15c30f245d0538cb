from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_issuer.address import parse_address
from headcount_spec.errors import MalformedError

SAME = [
    ("ada@example.org", "Ada@Example.ORG"),
    ("ada@example.org", "ada+news@example.org"),
    ("adalovelace@gmail.com", "a.d.a.lovelace+x@googlemail.com"),
    ("ada.l@proton.me", "adal@pm.me"),
    ("ada@icloud.com", "ada+a@me.com"),
    ("ada@yahoo.com", "ada-shop@yahoo.com"),
    ("ada@yahoo.com", "ada+1@yahoo.com"),
    ("ada@fastmail.com", "shop@ada.fastmail.com"),
    ("x+y@ada.fastmail.fm", "Shop@ADA.fastmail.fm"),
    ("ada@bücher.de", "ada@xn--bcher-kva.de"),
    ("ada@BÜCHER.de", "ada@bu\u0308cher.de"),
    ("jose\u0301@example.org", "jos\u00e9@example.org"),
    ("straße@example.org", "STRASSE@example.org"),
    ("ａｄａ@example.org", "ada@example.org"),
]
DIFFERENT = [
    ("ada.l@example.org", "adal@example.org"),
    ("ada@example.org", "ada@example.net"),
    ("ada@mail.example.org", "ada@example.org"),
    ("ada-shop@example.org", "ada@example.org"),
    ("ada@yahoo.com", "ada@yahoo.fr"),
    ("аda@example.org", "ada@example.org"),
    ("ada@eve.fastmail.com", "ada@fastmail.com"),
    ("x@ada.gmail.com", "ada@gmail.com"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_mailbox_are_one(one, other):
    assert parse_address(one).canonical == parse_address(other).canonical


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_mailboxes_that_may_be_two_peoples_stay_two(one, other):
    assert parse_address(one).canonical != parse_address(other).canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ada",
        "@example.org",
        "ada@",
        "ada@localhost",
        "ada@co.uk",
        "ada@[127.0.0.1]",
        "ada@example..org",
        ".ada@example.org",
        "ada@example.org\r\nBcc: eve@example.org",
        "ada@example.org\nBcc: eve@example.org",
        "ada\0@example.org",
        "ada@exa\u200bmple.org",
        "ada\u202e@example.org",
        "ada\u2028@example.org",
        "ada@example.org,eve@example.org",
        "ada@example.org eve@example.org",
        "Ada <ada@example.org>",
        '"ada\r\n"@example.org',
        '"ada@x"@example.org',
        "ada@-example.org",
        "a" * 65 + "@example.org",
        "ada@" + "a." * 130 + "org",
        "\ud800@example.org",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(text):
    with pytest.raises(MalformedError) as refused:
        parse_address(text)
    assert len(text) < 3 or text not in str(refused.value)


def test_mail_goes_where_the_person_said_and_not_to_the_canonical_address():
    address = parse_address("Ada.L+x@GMAIL.com")
    assert address.deliver_to == "Ada.L+x@gmail.com"
    assert parse_address("ada@bücher.de").deliver_to == "ada@xn--bcher-kva.de"


def test_quotas_are_by_the_domain_that_had_to_be_registered():
    assert parse_address("a@x.y.example.co.uk").registrable == "example.co.uk"
    assert parse_address("a@mine.duckdns.org").registrable == "duckdns.org"
    assert not parse_address("a@example.co.uk").is_large
    assert parse_address("a@gmail.com").is_large
    assert parse_address("a@ada.fastmail.com").is_large
    assert parse_address("a@web.de").is_large


def test_an_address_is_not_shown_by_its_repr():
    assert "ada" not in repr(parse_address("ada@example.org"))


@given(st.text(max_size=300) | st.emails() | st.text(max_size=30).map(lambda text: f"{text}@example.org"))
def test_any_text_is_an_address_or_malformed(text):
    try:
        address = parse_address(text)
    except MalformedError:
        return
    assert "\n" not in address.deliver_to
    assert "\r" not in address.deliver_to
    assert address.deliver_to.count("@") == 1
    assert parse_address(address.deliver_to).canonical == address.canonical
