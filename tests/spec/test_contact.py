from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.contact import CHANNELS, CONTACT_BYTES, EMAIL, PHONE, Contact
from headcount_spec.errors import MalformedError

GOOD = [
    ("email", "ada@example.org"),
    ("email", "o'brien+x@sub.example.museum"),
    ("email", "a?=b=@example.org"),
    ("email", "zoë@köln.example"),
    ("matrix", "@ada:example.org"),
    ("matrix", "@a_b.c=d-e/f+1:matrix.example.org:8448"),
    ("phone", "+4915112345678"),
    ("none", ""),
]
BAD = [
    ("email", ""),
    ("email", "ada"),
    ("email", "ada@localhost"),
    ("email", "ada@example.org\r\nBcc: eve@example.org"),
    ("email", "ada@example.org\n"),
    ("email", "Ada <ada@example.org>"),
    ("email", "ada@example.org, eve@example.org"),
    ("email", '"a b"@example.org'),
    ("email", "ada@-example.org"),
    ("email", "=?utf-8?q?=0a?=@example.org"),
    ("email", "a=?utf-8?b?w6k=?=@example.org"),
    ("email", "a" * 65 + "@example.org"),
    ("email", "zoe\u0308@example.org"),
    ("email", "a@" + "b" * 63 + "." + "c" * 63 + "." + "d" * 63 + "." + "e" * 62),
    ("matrix", "ada:example.org"),
    ("matrix", "@Ada:example.org"),
    ("matrix", "@ada"),
    ("phone", "004915112345678"),
    ("phone", "+0123456789"),
    ("phone", "+49 151 123"),
    ("phone", "+1234567890123456"),
    ("phone", "+٤٩١٥١١٢٣٤٥"),
    ("none", "x"),
    ("pigeon", "x"),
    ("email", "a\ud800@example.org"),
]


@pytest.mark.parametrize(("channel", "value"), GOOD)
def test_a_contact_is_read_as_written(channel: str, value: str) -> None:
    contact = Contact.of(channel, value)
    data = contact.to_bytes()
    assert len(data) == CONTACT_BYTES
    assert Contact.from_bytes(data) == contact
    assert contact.channel == channel


@pytest.mark.parametrize(("channel", "value"), BAD)
def test_what_cannot_be_written_to_is_refused(channel: str, value: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Contact.of(channel, value)
    assert value not in str(caught.value) or not value


def test_every_channel_has_a_number() -> None:
    assert sorted(CHANNELS.values()) == [0, 1, 2, 3]


def test_a_contact_does_not_show_itself() -> None:
    assert "ada" not in repr(Contact(EMAIL, "ada@example.org"))
    assert "4915" not in str(Contact(PHONE, "+4915112345678"))


@given(st.binary(max_size=300))
def test_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        contact = Contact.from_bytes(data)
    except MalformedError:
        return
    assert contact.to_bytes() == data


@given(
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=20) | st.just(b"ada@example.org") | st.just(b"@ada:example.org"),
)
def test_padded_bytes_are_read_or_malformed(type: int, length: int, value: bytes) -> None:
    data = bytes((type, length)) + value.ljust(254, b"\x00")
    try:
        contact = Contact.from_bytes(data)
    except MalformedError:
        return
    assert contact.to_bytes() == data
