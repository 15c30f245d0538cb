"""The scope's fingerprint: eight words that people compare, on a poster, in a page and aloud.

The first 88 bits of the scope id, eleven a word, over the list of ``words``. Whoever wants other terms
with the same words has to try 2^88 manifests; whoever compares four words only, 2^44, which is too few.
"""

from __future__ import annotations

from headcount_spec.scope import ScopeId
from headcount_spec.words import WORDS

NUMBER_OF_WORDS = 8
_BITS_A_WORD = 11  # 2,048 words
_BITS = NUMBER_OF_WORDS * _BITS_A_WORD


def fingerprint(scope_id: ScopeId) -> tuple[str, ...]:
    """The eight words of a scope id of 32 bytes. Protocol, Section 2.6."""
    value = int.from_bytes(scope_id, "big") >> (8 * len(scope_id) - _BITS)
    shifts = range(_BITS - _BITS_A_WORD, -1, -_BITS_A_WORD)
    return tuple(WORDS[value >> shift & len(WORDS) - 1] for shift in shifts)
