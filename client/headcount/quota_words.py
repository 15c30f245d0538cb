"""Quotas by option in words: the English of the command line, and the languages of pages and posters."""

from __future__ import annotations

from collections.abc import Mapping

from headcount.catalogue import Catalogue
from headcount_spec.quotas import enough_at
from headcount_spec.terms import Quotas


def asked(quotas: Quotas, options: int) -> str:
    """What the terms ask for, of so many options."""
    return f"at least {quotas.each} each at {quotas.options} of the {options} options"


def standing(quotas: Quotas, counts: Mapping[int, int]) -> str:
    """The same, and how many options have it; counts are those of all options."""
    return f"{asked(quotas, len(counts))}: so far at {enough_at(quotas, counts)}"


def asked_in(quotas: Quotas, options: int, words: Catalogue) -> str:
    """What the terms ask for, of so many options, in a language."""
    return words.text("quotas.needed", None, **_names(quotas, words), total=words.number(options))


def standing_in(quotas: Quotas, counts: Mapping[int, int], words: Catalogue) -> str:
    """How many options have it, in a language."""
    return words.text("quotas.standing", enough_at(quotas, counts), **_names(quotas, words))


def _names(quotas: Quotas, words: Catalogue) -> dict[str, str]:
    return {"each": words.number(quotas.each), "options": words.number(quotas.options)}
