from __future__ import annotations

import base64
import hashlib
import urllib.parse


def spellings(value: bytes) -> set[bytes]:
    """The value in clear and in every encoding in which a program might leave it."""
    found = {value, value[::-1], urllib.parse.quote(value).encode()}
    for data in (
        value,
        hashlib.sha256(value).digest(),
        hashlib.sha1(value, usedforsecurity=False).digest(),
        hashlib.md5(value, usedforsecurity=False).digest(),
    ):
        found |= {data, data.hex().encode(), data.hex().upper().encode(), repr(data).encode()}
        for start in range(3):  # base64 inside longer base64 has one of three alignments
            part = data[start:]
            part = part[: len(part) - len(part) % 3]
            found |= {base64.b64encode(part), base64.urlsafe_b64encode(part), base64.b32encode(data)}
    text = value.decode("latin-1")
    found |= {
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
        text.upper().encode(),
        text.lower().encode(),
    }
    return {item for item in found if len(item) >= 6}
