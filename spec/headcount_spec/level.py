"""Assurance levels: what is proven of each person, and by which evidence.

    email                        one evidence
    email+device                 all of these
    2-of:email,oidc,device       two of these, whichever

The names are those of the issuers' attesters, in the order in which the manifest first lists them. A level is
what a count is told with, so it has one spelling in a manifest. k of n demands more than half of them: with
less one person could take part twice, each time with other evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from headcount_spec.errors import MalformedError

MAX_CHARS = 100
MAX_PARTS = 8  # attesters of an issuer
_NAME = r"[a-z0-9]+(?:-[a-z0-9]+)*"
NAME = re.compile(rf"\A{_NAME}\Z")
PATTERN = rf"(?:{_NAME}(?:\+{_NAME})*|[2-7]-of:{_NAME}(?:,{_NAME})+)"
_LEVEL = re.compile(rf"\A{PATTERN}\Z")


@dataclass(frozen=True, slots=True)
class Level:
    """Which evidence a person gives, and how many of them are enough."""

    parts: tuple[str, ...]  # names of attesters, distinct
    needed: int  # of the parts

    @classmethod
    def from_text(cls, text: str) -> Level:
        """Read a level as manifests have it.

        Raises:
            MalformedError: another form, a part twice, or so few that one person could take part twice.
        """
        if len(text) > MAX_CHARS or not _LEVEL.match(text):
            raise MalformedError("not of the form that is demanded")
        head, colon, tail = text.rpartition(":")
        parts = tuple(tail.split(",")) if colon else tuple(text.split("+"))
        needed = int(head.removesuffix("-of")) if colon else len(parts)
        if len(parts) > MAX_PARTS:
            raise MalformedError(f"{len(parts)} parts where 1 to {MAX_PARTS} may be")
        if len(set(parts)) != len(parts):
            raise MalformedError("the same part twice")
        if colon and not needed < len(parts) < 2 * needed:
            raise MalformedError("k of n demands more than half of n, and fewer than all")
        return cls(parts, needed)

    @property
    def is_choice(self) -> bool:
        """Whether a person chooses among the parts."""
        return self.needed < len(self.parts)

    def names(self, asked: Iterable[Iterable[str]]) -> bool:
        """Whether the issuers, asking these each, prove exactly this level.

        All parts: every issuer asks for some of them, together for all. A choice is the same at each issuer.
        """
        lists = [tuple(names) for names in asked]
        if self.is_choice:
            return all(names == self.parts for names in lists)
        return tuple(dict.fromkeys(name for names in lists for name in names)) == self.parts

    def needed_of(self, attesters: Iterable[str]) -> int:
        """How many proofs an issuer that lists these attesters asks of a person."""
        return self.needed if self.is_choice else len(tuple(attesters))

    def __str__(self) -> str:
        if self.is_choice:
            return f"{self.needed}-of:{','.join(self.parts)}"
        return "+".join(self.parts)
