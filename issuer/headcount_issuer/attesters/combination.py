"""Several proofs of one person, collected in one session until the scope's level is reached.

Each evidence is used up by itself: the token costs every input of every proof, in one transaction, and one
that is used already refuses. So whoever has n kinds of evidence gets one token at a level k of n, as long as
2k > n: any two choices of k share one. People who put their evidence together cannot be told from people:
m of them have m·n pieces and get at most ⌊m·n/k⌋ tokens; with all of n demanded, m.
"""

from __future__ import annotations

from collections.abc import Sequence

from headcount_issuer.attester import Proof, merge
from headcount_spec.errors import NotEligibleError
from headcount_spec.level import Level


class Combination:
    """What one session has proved, and what may come next."""

    def __init__(self, level: Level, attesters: Sequence[str]) -> None:
        """attesters are those that the manifest lists for this issuer."""
        self._level = level
        self._attesters = tuple(attesters)
        self._needed = level.needed_of(attesters)
        self._proofs: dict[str, Proof] = {}  # by what they prove: the same twice is once

    @property
    def wanted(self) -> tuple[str, ...]:
        """The evidence that may come next; empty when it is enough."""
        if len(self._proofs) >= self._needed:
            return ()
        return tuple(name for name in self._attesters if name not in self._proofs)

    def add(self, proof: Proof) -> None:
        """Keep a proof.

        Raises:
            NotEligibleError: it proves what is proven already, or what is not asked for.
        """
        if proof.proves not in self.wanted:
            raise NotEligibleError("this scope asks for another proof of personhood here")
        self._proofs[proof.proves] = proof

    def found(self, name: str) -> Proof | None:
        """The proof of this name, if it was given."""
        return self._proofs.get(name)

    def proof(self) -> Proof:
        """All of them as one."""
        return merge(list(self._proofs.values()), str(self._level))
