from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_spec.bundle import Bundle, BundledFile
from headcount_spec.errors import MalformedError
from mutations import JSON_VALUES, spoilt_bytes

FILES = {"assets/sign-AbCd_123.js": b"sign()\n", "headcount-counter.js": b"count()\n"}


def listed(files: dict[str, bytes] | None = None, **changes: Any) -> dict[str, Any]:
    found = {}
    for name, data in (FILES if files is None else files).items():
        facts = BundledFile.of(data)
        found[name] = {"bytes": facts.size, "integrity": facts.integrity, "sha256": facts.sha256.hex()}
    lines = "".join(f"{found[name]['sha256']}  {name}\n" for name in sorted(found))
    return {"bundle": hashlib.sha256(lines.encode()).hexdigest(), "files": found, **changes}


def test_the_hash_is_that_of_the_lines_of_sha256sum() -> None:
    bundle = Bundle.from_bytes(json.dumps(listed()).encode())
    assert bundle.hash.hex() == listed()["bundle"]
    assert bundle.files == {name: BundledFile.of(data) for name, data in FILES.items()}


@pytest.mark.parametrize(
    "value",
    [
        [],
        listed(bundle="00" * 32),
        listed(more=1),
        listed() | {"files": {}},
        listed() | {"files": []},
        listed({"../x.js": b""}),
        listed({"a//b.js": b""}),
        listed({"/a.js": b""}),
        listed({"a?.js": b""}),
        listed({".hidden": b""}),
        listed({"a" * 201: b""}),
        listed({f"{i}.js": b"" for i in range(1001)}),
        listed() | {"files": {"a.js": {"bytes": 1, "integrity": "sha256-x", "sha256": "00" * 32}}},
    ],
    ids=range(13),
)
def test_what_is_no_list_is_refused(value: Any) -> None:
    with pytest.raises(MalformedError):
        Bundle.from_bytes(json.dumps(value).encode())


@given(spoilt_bytes(json.dumps(listed()).encode()) | JSON_VALUES.map(lambda item: json.dumps(item).encode()))
def test_anything_is_read_or_malformed(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        Bundle.from_bytes(data)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}\.js", fullmatch=True), st.binary(max_size=9), min_size=1))
def test_another_byte_is_another_hash(files: dict[str, bytes]) -> None:
    first = Bundle.from_bytes(json.dumps(listed(files)).encode())
    name = min(files)
    other = Bundle.from_bytes(json.dumps(listed({**files, name: files[name] + b"!"})).encode())
    assert first.hash != other.hash
