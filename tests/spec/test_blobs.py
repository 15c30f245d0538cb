from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

import keys
from headcount_spec import blobs
from headcount_spec.errors import MalformedError
from headcount_spec.sealed import blob_bytes
from mutations import spoilt_bytes

SCOPE = keys.seed("scope")
RECORDS = sorted((keys.seed(f"nullifier {i}"), bytes((i,)) * blob_bytes(1)) for i in range(3))
FILE = blobs.encode_header(SCOPE, 1) + b"".join(key + blob for key, blob in RECORDS)


def read(data: bytes, n: int = 1) -> list[tuple[bytes, bytes]]:
    return list(blobs.read_blobs(io.BytesIO(data).read, SCOPE, n))


def test_a_file_is_read_as_written() -> None:
    assert read(FILE) == RECORDS
    assert read(FILE[: blobs.HEADER_BYTES]) == []
    many = sorted((keys.seed(f"{i}"), bytes(blob_bytes(1))) for i in range(600))
    assert read(FILE[: blobs.HEADER_BYTES] + b"".join(a + b for a, b in many)) == many


def test_another_file_order_or_length_is_malformed() -> None:
    head, size = blobs.HEADER_BYTES, blobs.record_bytes(1)
    swapped = FILE[:head] + FILE[head + size :] + FILE[head : head + size]
    for data in (b"", b"x" + FILE[1:], FILE[:-1], FILE + b"\x00", swapped, FILE + FILE[-size:]):
        with pytest.raises(MalformedError):
            read(data)
    for n in (0, 2, 33):
        with pytest.raises(MalformedError):
            read(FILE, n)


@given(spoilt_bytes(FILE) | st.binary(max_size=100))
def test_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        found = read(data)
    except MalformedError:
        return
    assert blobs.encode_header(SCOPE, 1) + b"".join(key + blob for key, blob in found) == data
