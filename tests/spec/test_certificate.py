from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.certificate import Certificate, Reached
from headcount_spec.errors import MalformedError
from mutations import spoilt_bytes

CERTIFICATE = Certificate(
    Reached(b"\x01" * 32, b"\x02" * 32, 7, 50, 20_000), b"\x03" * 32, (1, 3, 32), b"\x04" * 96
)


def test_a_certificate_is_read_as_written() -> None:
    data = CERTIFICATE.to_bytes()
    assert Certificate.from_bytes(data) == CERTIFICATE
    assert b'"signers":"80000005"' in data


def test_the_message_names_scope_seal_batch_count_and_day() -> None:
    message = CERTIFICATE.reached.message
    assert message[:21] == b"headcount/reached/v1\x00"
    assert message[21:] == b"\x01" * 32 + b"\x02" * 32 + bytes.fromhex(
        "0000000000000007000000000000003200004e20"
    )


@given(st.binary(max_size=400) | spoilt_bytes(CERTIFICATE.to_bytes()))
def test_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        certificate = Certificate.from_bytes(data)
    except MalformedError:
        return
    assert certificate.to_bytes() == data
