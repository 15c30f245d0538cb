"""The in-person attester: whoever was handed a slip of a code sheet, at a table or a door.

A slip carries a code of 80 bits. The issuer keeps its tag only; the Merkle root and the number of slips
of each sheet are public before they are handed out (notice type ``codes``). A slip counts once: its tag is
the person's tag.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from headcount_issuer.attester import Asking, Means, Proof, Step
from headcount_spec import merkle
from headcount_spec.errors import CodeRefusedError, MalformedError
from headcount_spec.jcs import JSON
from headcount_spec.members import Members
from headcount_spec.merkle import RootHash
from headcount_spec.scope import ScopeId

CODE_BYTES = 10  # 80 bits: nobody guesses one, and a hash of one is no hint
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U
_CHARS = 16
_GROUP = 4
_READ_AS = str.maketrans("OIL", "011", "- ")
_LEAF_DOMAIN = b"headcount/code/v1\0"


@dataclass(frozen=True, slots=True)
class InPersonConfig:
    """The table ``[issuer.attesters.in-person]``, which is empty."""

    name: ClassVar[str] = "in-person"

    @classmethod
    def read(cls, members: Members, folder: Path) -> InPersonConfig:
        """Take it from the node's file."""
        members.finish()
        return cls()

    def make(self, means: Means) -> InPersonAttester:
        """The attester."""
        return InPersonAttester(means.is_on_sheet)


class InPersonAttester:
    """Proves possession of a slip."""

    name = "in-person"

    def __init__(self, is_on_sheet: Callable[[ScopeId, bytes], bool]) -> None:
        """is_on_sheet tells whether this uniqueness input is that of a slip of this scope."""
        self._is_on_sheet = is_on_sheet

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """Nothing."""
        return {}

    def begin(self, asking: Asking, evidence: Members) -> Proof:
        """Look evidence.code up; a used slip is found out, and refused, when a token is asked for."""
        text = evidence.take("code")
        evidence.finish()
        if not isinstance(text, str):
            raise MalformedError("evidence.code: not a string")
        value = uniqueness_input(parse_code(text))
        if not self._is_on_sheet(asking.manifest.scope_id, value):
            raise CodeRefusedError("this code is on no sheet of this scope")
        return Proof(self.name, (value,), lasting=False)

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """There is no second step."""
        raise CodeRefusedError("nothing is asked for any more")

    def close(self) -> None:
        """Nothing runs."""


def uniqueness_input(code: bytes) -> bytes:
    """What makes a slip one person's."""
    return b"in-person\0" + code


def draw_sheet(number: int) -> list[bytes]:
    """So many fresh codes, in the order in which they are printed."""
    return [secrets.token_bytes(CODE_BYTES) for _ in range(number)]


def sheet_root(scope: ScopeId, codes: list[bytes]) -> RootHash:
    """The Merkle root that a ``codes`` notice publishes, over the codes in ascending order.

    A leaf is the hash of "headcount/code/v1" NUL, scope id, code: it says nothing of the code and
    nothing of where the slip lay on the sheet.
    """
    return merkle.root([merkle.leaf_hash(_LEAF_DOMAIN + scope + code) for code in sorted(codes)])


def format_code(code: bytes) -> str:
    """As it is printed: four groups of four characters."""
    number = int.from_bytes(code, "big")
    text = "".join(_ALPHABET[number >> 5 * i & 31] for i in reversed(range(_CHARS)))
    return "-".join(text[i : i + _GROUP] for i in range(0, _CHARS, _GROUP))


def parse_code(text: str) -> bytes:
    """The code of a slip as a person types it: any case, groups or none, O for 0, I and L for 1.

    Raises:
        CodeRefusedError: not sixteen such characters.
    """
    if len(text) > 64 or not text.isascii():
        raise CodeRefusedError("this code is on no sheet of this scope")
    read = text.upper().translate(_READ_AS)
    if len(read) != _CHARS or any(char not in _ALPHABET for char in read):
        raise CodeRefusedError("this code is on no sheet of this scope")
    number = 0
    for char in read:
        number = number << 5 | _ALPHABET.index(char)
    return number.to_bytes(CODE_BYTES, "big")
