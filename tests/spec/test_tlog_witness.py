from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.checkpoint import Checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import MalformedError
from headcount_spec.merkle import EMPTY_ROOT
from headcount_spec.note import SigningKey
from headcount_spec.text import encode_base64
from headcount_spec.tlog_witness import (
    MAX_PROOF_LINES,
    MAX_REQUEST_BYTES,
    AddCheckpoint,
    format_cosignatures,
    format_size,
    monitoring_path,
    parse_cosignatures,
    parse_size,
)

HASH = encode_base64(bytes(32))
LINES = [
    cosign(Checkpoint("log.example", 0, EMPTY_ROOT), SigningKey(f"w.example/{i}", bytes([i] * 32)), 1)
    for i in (1, 2)
]


def test_a_request_is_written_as_the_specification_says() -> None:
    request = AddCheckpoint(5, (bytes(32),), b"log.example\n7\n")
    assert request.to_bytes() == f"old 5\n{HASH}\n\nlog.example\n7\n".encode()
    assert AddCheckpoint(0, (), b"x").to_bytes() == b"old 0\n\nx"


def test_the_monitoring_path_is_the_hash_of_the_origin_line() -> None:
    expected = "52e3f193600affa6145b21be3af1cad0d63708d69f301352262dfd87bef6037a/checkpoint"
    assert monitoring_path("pledge.example/demo") == expected


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63),
    st.binary(min_size=1),
)
def test_a_request_reads_back(old_size: int, proof: list[bytes], checkpoint: bytes) -> None:
    request = AddCheckpoint(old_size, tuple(proof), checkpoint)
    assert AddCheckpoint.from_bytes(request.to_bytes()) == request


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"old 5",
        b"old 5\n",
        b"old 5\n\n",
        b"old 05\n\nx",
        b"old -1\n\nx",
        b"old  5\n\nx",
        b"old 5 \n\nx",
        b"old 9223372036854775808\n\nx",
        b"new 5\n\nx",
        b"OLD 5\n\nx",
        b"old 5\r\n\r\nx",
        f"old 5\n{HASH[:-1]}\n\nx".encode(),
        f"old 5\n{HASH} \n\nx".encode(),
        f"old 5\n{HASH}{HASH}\n\nx".encode(),
        b"old 5\n" + HASH.encode()[:-2] + b"B=\n\nx",  # loose padding bits
        ("old 5\n" + f"{HASH}\n" * (MAX_PROOF_LINES + 1) + "\nx").encode(),
        b"old \xb2\n\nx",
        b"old 5\n\n" + b"x" * MAX_REQUEST_BYTES,
    ],
)
def test_anything_else_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        AddCheckpoint.from_bytes(body)


@given(st.binary() | st.binary().map(lambda data: b"old 1\n" + data))
def test_bytes_are_a_request_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert AddCheckpoint.from_bytes(data).to_bytes() == data


@given(st.integers(0, 2**63 - 1))
def test_a_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"5", b"05\n", b"+5\n", b"5\n\n", b" 5\n", b"\xb2\n", b"1" * 30 + b"\n"]
)
def test_another_spelling_of_a_size_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_size(body)


def test_cosignature_lines_read_back() -> None:
    assert parse_cosignatures(format_cosignatures(LINES)) == tuple(LINES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        format_cosignatures(LINES)[:-1],
        b"\n" + format_cosignatures(LINES),
        format_cosignatures(LINES) + b"\n",
        format_cosignatures(LINES[:1]) + b"and more\n",
        format_cosignatures(LINES[:1] * 101),
        b"\xff\n",
        b"\xe2\x80\x94 name \n",
        b"x" * 70000 + b"\n",
    ],
)
def test_other_answers_are_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_cosignatures(body)


@given(st.binary())
def test_bytes_are_cosignatures_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        assert format_cosignatures(parse_cosignatures(data)) == data
