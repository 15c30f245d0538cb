"""What an issuer needs to know from the person, asked through a callback.

The library never reads a terminal: a page, a script or a test answers in its own way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headcount_spec.scope import Manifest
from headcount_spec.terms import IssuerTerms

Kind = Literal["address", "mailed-code", "slip-code", "page-code", "evidence", "remember", "account-page"]


@dataclass(frozen=True, slots=True)
class Question:
    """One question of one issuer; the answer goes to this issuer and to nobody else."""

    kind: Kind
    issuer: IssuerTerms
    manifest: Manifest
    attempt: int = 1  # more than 1 after an answer that was refused
    page: str | None = None  # of the issuer, to be opened in a browser; most show a code at the end
    choices: tuple[str, ...] = ()  # of which the answer names one: kinds of evidence, or yes and no


Ask = Callable[[Question], str]
