from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credentials import NOW, Government
from headcount_issuer.base64url import encode
from headcount_issuer.status_list import MAX_LIST_BYTES, StatusList, StatusLists, verify_status_list
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    ProtocolError,
    SignatureError,
    UnavailableError,
    UnknownKeyError,
)

STATE = Government("https://pid.example")
URI = "https://pid.example/status/1"
PLACES = ("https://pid.example/status",)
REVOKED = bytes([0b0000_0100])  # the third


class Host:
    """Where status lists are; counts how often it is asked."""

    def __init__(self, token: bytes | None = None) -> None:
        self.token = token
        self.asked = 0

    def __call__(self, url: str) -> bytes:
        self.asked += 1
        if self.token is None:
            raise UnavailableError("down")
        return self.token


def status(index: object = 0, uri: object = URI) -> dict[str, object]:
    return {"status_list": {"idx": index, "uri": uri}}


def check(host: Host, index: object = 0, uri: object = URI, now: int = NOW) -> None:
    StatusLists(host).check(STATE.name, status(index, uri), STATE.key_set, PLACES, now)


def test_a_valid_credential_passes_and_a_revoked_one_does_not():
    host = Host(STATE.status_list(URI, REVOKED))
    for index in (0, 1, 3, 7):
        check(host, index)
    with pytest.raises(NotEligibleError, match="revoked"):
        check(host, 2)
    with pytest.raises(MalformedError):
        check(host, 8)  # beyond the list


# Section 4.1: statuses from the least significant bits on.
@pytest.mark.parametrize(
    ("bits", "data", "statuses"),
    [
        (1, b"\xb9\xa3", [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]),  # the draft's own example
        (2, b"\xc9\x44\xf9", [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]),
        (4, b"\x21\x03", [1, 2, 3, 0]),
        (8, b"\x00\x07", [0, 7]),
    ],
)
def test_statuses_of_each_size(bits, data, statuses):
    found = verify_status_list(STATE.status_list(URI, data, bits), URI, STATE.key_set, NOW)
    assert [found.status(i) for i in range(len(statuses))] == statuses
    with pytest.raises(MalformedError):
        found.status(len(statuses))


def test_a_list_is_kept_as_long_as_it_says():
    host = Host(STATE.status_list(URI, REVOKED))  # ttl 60
    lists = StatusLists(host)
    for now in (NOW, NOW + 59):
        lists.check(STATE.name, status(), STATE.key_set, PLACES, now)
    assert host.asked == 1
    host.token = STATE.status_list(URI, b"\xff")
    with pytest.raises(NotEligibleError):
        lists.check(STATE.name, status(), STATE.key_set, PLACES, NOW + 60)
    assert host.asked == 2


def test_where_the_list_cannot_be_had_nobody_passes():
    with pytest.raises(UnavailableError):
        check(Host())


@pytest.mark.parametrize(
    "uri",
    [
        "https://elsewhere.example/status/1",
        "https://pid.example/statusx",
        "https://pid.example/status/../secret",
        "http://pid.example/status/1",
        "https://pid.example",
        "https://pid.example@evil.example/status/1",
        "file:///etc/passwd",
        "http://169.254.169.254/",
    ],
)
def test_addresses_that_are_not_trusted_are_not_asked(uri):
    host = Host(STATE.status_list(uri, b"\0"))
    with pytest.raises(NotEligibleError):
        check(host, 0, uri)
    assert host.asked == 0


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"status_list": "x"},
        {"status_list": {"idx": 0}},
        {"status_list": {"uri": URI}},
        status("0"),
        status(True),
        status(-1),
        status(2**31),
        status(0, 7),
    ],
)
def test_what_is_no_reference_is_malformed(reference):
    with pytest.raises(MalformedError):
        StatusLists(Host()).check(STATE.name, reference, STATE.key_set, PLACES, NOW)


FORGED = {
    "another key": Government(STATE.name).status_list(URI, b"\0"),
    "another key id": Government(STATE.name, kid="x").status_list(URI, b"\0"),
    "another address": STATE.status_list(URI + "2", b"\0"),
    "expired": STATE.status_list(URI, b"\0", exp=NOW - 60),
    "of tomorrow": STATE.status_list(URI, b"\0", iat=NOW + 61),
    "without a time": STATE.status_list(URI, b"\0", iat=None),
    "another type": STATE.status_list(URI, b"\0", typ="JWT"),
    "not a list": STATE.status_list(URI, b"\0", status_list=[]),
    "three bits": STATE.status_list(URI, b"\0", bits=3),
    "a boolean of bits": STATE.status_list(URI, b"\0", bits=True),
    "not deflated": STATE.status_list(URI, b"", status_list={"bits": 1, "lst": encode(b"plain")}),
    "cut short": STATE.status_list(
        URI, b"", status_list={"bits": 1, "lst": encode(zlib.compress(b"x" * 99)[:-3])}
    ),
    "with a tail": STATE.status_list(
        URI, b"", status_list={"bits": 1, "lst": encode(zlib.compress(b"x") + b"x")}
    ),
    "a bomb": STATE.status_list(URI, bytes(MAX_LIST_BYTES + 1)),
    "not ascii": b"\xff",
    "empty": b"",
}


@pytest.mark.parametrize("token", FORGED.values(), ids=FORGED.keys())
def test_forged_and_broken_lists_are_refused(token):
    with pytest.raises((MalformedError, SignatureError, UnknownKeyError)):
        verify_status_list(token, URI, STATE.key_set, NOW)


_TOKEN = STATE.status_list(URI, b"\0")


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(_TOKEN) - 1), st.binary(max_size=3))
def test_changed_bytes_never_pass_or_raise_anything_else(at, other):
    token = _TOKEN[:at] + other + _TOKEN[at + 1 :]
    if token.strip() == _TOKEN:
        return
    with pytest.raises(ProtocolError):
        verify_status_list(token, URI, STATE.key_set, NOW)


def test_a_list_says_nothing_of_its_own_when_printed():
    assert "data" not in repr(StatusList(1, b"secret", NOW))
    assert json.dumps(status())
