"""Contacts: one way to reach a person, padded so that its length and its kind do not show.

    struct {
        uint8  type;                       0 none, 1 e-mail, 2 Matrix, 3 telephone
        opaque value<0..254>;              UTF-8
        opaque zeros[254 - length];
    } Contact;                             256 bytes

A contact of type none says: I am there, and read the campaign's signed feed myself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.text import is_plain

CONTACT_BYTES = 256
MAX_VALUE_BYTES = CONTACT_BYTES - 2

NONE, EMAIL, MATRIX, PHONE = 0, 1, 2, 3
CHANNELS = {"none": NONE, "email": EMAIL, "matrix": MATRIX, "phone": PHONE}  # names in manifests

_HOST = r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W_](?:[\w-]{0,61}[^\W_])?"
_FORMS = {
    NONE: re.compile(r"\A\Z"),
    # RFC 5321 and 6531, without quoted local parts, comments and address literals: what stands here goes
    # into the header of a mail, where =? begins what is decoded into another text (RFC 2047).
    EMAIL: re.compile(rf"\A(?![^@]*=\?)[^\s\"(),:;<>@\[\\\]]{{1,64}}@{_HOST}\Z"),
    # Matrix, Appendices, User Identifiers.
    MATRIX: re.compile(r"\A@[a-z0-9._=/+-]+:[A-Za-z0-9.-]+(?::[0-9]{1,5})?\Z", re.ASCII),
    PHONE: re.compile(r"\A\+[1-9][0-9]{6,14}\Z", re.ASCII),  # E.164; Signal, or a call
}


@dataclass(frozen=True, slots=True, repr=False)
class Contact:
    """How to reach one person; its text is shown by nothing but its own members."""

    type: int
    value: str

    def __post_init__(self) -> None:
        form = _FORMS.get(self.type)
        if form is None:
            raise MalformedError("a contact of an unknown type")
        if len(self.value.encode("utf-8", "surrogatepass")) > MAX_VALUE_BYTES:
            raise MalformedError(f"a contact is longer than {MAX_VALUE_BYTES} bytes")
        if not is_plain(self.value) or not form.match(self.value):
            raise MalformedError("a contact is not of the form of its type")

    @classmethod
    def of(cls, channel: str, value: str) -> Contact:
        """A contact by the name of its channel.

        Raises:
            MalformedError: an unknown channel, or a value that is not of its form.
        """
        if channel not in CHANNELS:
            raise MalformedError("a contact of an unknown channel")
        return cls(CHANNELS[channel], value)

    @property
    def channel(self) -> str:
        """The name of its type."""
        return next(name for name, type in CHANNELS.items() if type == self.type)

    def to_bytes(self) -> bytes:
        """The padded form, 256 bytes."""
        value = self.value.encode("utf-8")
        return bytes((self.type, len(value))) + value.ljust(MAX_VALUE_BYTES, b"\x00")

    @classmethod
    def from_bytes(cls, data: bytes) -> Contact:
        """Read the padded form.

        Raises:
            MalformedError: another length, an unknown type, a value that is not of its form, or padding
                that is not zeros.
        """
        if len(data) != CONTACT_BYTES:
            raise MalformedError(f"{len(data)} bytes where a contact has {CONTACT_BYTES}")
        type, length = data[0], data[1]
        if length > MAX_VALUE_BYTES or any(data[2 + length :]):
            raise MalformedError("the padding of a contact is not zeros")
        try:
            value = data[2 : 2 + length].decode("utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedError("a contact is not UTF-8") from exc
        return cls(type, value)
