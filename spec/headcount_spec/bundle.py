"""The files that a site's pages run, and the one hash over them that organisers state in a notice.

A site serves a list of them as ``/web/bundle.json``. The hash of a bundle is SHA-256 over one line a file,
``<SHA-256 in hex>  <name>\\n``, in the order of names, as ``sha256sum`` prints them.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from headcount_spec import jcs
from headcount_spec.errors import MalformedError
from headcount_spec.members import Members, check_text

PREFIX = "/web/"  # where a site serves the files, by name
LIST = "bundle.json"
MAX_LIST_BYTES = 2**20
MAX_FILE_BYTES = 2**24
MAX_FILES = 1000

# No dots but within a name: a name never leads elsewhere.
_NAME = re.compile(r"\A[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_-]+)*\Z")
_MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class BundledFile:
    """One file of a bundle."""

    size: int  # bytes
    sha256: bytes
    integrity: str  # W3C Subresource Integrity, sha384

    @classmethod
    def of(cls, data: bytes) -> BundledFile:
        """What a list says of these bytes."""
        return cls(len(data), hashlib.sha256(data).digest(), integrity(data))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A list of files; that they are what it says is for the reader to check."""

    files: Mapping[str, BundledFile]  # by name

    @property
    def hash(self) -> bytes:
        """SHA-256 over the lines."""
        lines = (f"{self.files[name].sha256.hex()}  {name}\n" for name in sorted(self.files))
        return hashlib.sha256("".join(lines).encode()).digest()

    @classmethod
    def from_bytes(cls, data: bytes) -> Bundle:
        """Read a list, which need not be canonical: the hash is over the lines.

        Raises:
            MalformedError: not such a list, or its own hash is not that of its lines.
        """
        members = Members(jcs.parse_json(data, MAX_LIST_BYTES), "bundle")
        stated = members.hex32("bundle")
        listed = members.take("files")
        members.finish()
        if not isinstance(listed, dict) or not 1 <= len(listed) <= MAX_FILES:
            raise MalformedError(f"bundle.files: not an object of 1 to {MAX_FILES} files")
        files = {}
        for name in sorted(listed):
            check_text(name, "bundle.files", _MAX_NAME_CHARS, _NAME)
            facts = Members(listed[name], "bundle.files[]")
            files[name] = BundledFile(
                facts.integer("bytes", 0, MAX_FILE_BYTES),
                facts.hex32("sha256"),
                facts.text("integrity", 71, _INTEGRITY),
            )
            facts.finish()
        bundle = cls(MappingProxyType(files))
        if bundle.hash != stated:
            raise MalformedError("bundle: the hash is not that of the files")
        return bundle


_INTEGRITY = re.compile(r"\Asha384-[A-Za-z0-9+/]{64}\Z")


def integrity(data: bytes) -> str:
    """The SRI value of bytes."""
    return f"sha384-{b64encode(hashlib.sha384(data).digest()).decode()}"
