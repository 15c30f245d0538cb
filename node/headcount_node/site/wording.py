"""What a manifest's names of levels and checks are in a reader's language."""

from __future__ import annotations

from headcount.catalogue import Catalogue
from headcount_spec.scope import Manifest


def how(attester: str, words: Catalogue) -> str:
    """A kind of check in words; an unknown one by its name."""
    key = f"how.{attester}"
    return words.text(key) if key in words.messages else attester


def level(manifest: Manifest, number: int, words: Catalogue) -> str:
    """What is counted, in the form that goes with the number."""
    key = f"level.{manifest.level}"
    if key in words.messages:
        return words.text(key, number)
    return words.text("level.other", number, level=manifest.level)


def checks(manifest: Manifest, words: Catalogue) -> list[tuple[str, str]]:
    """Each issuer's name, and how it checks."""
    return [
        (issuer.name, ", ".join(how(name, words) for name in issuer.attesters)) for issuer in manifest.issuers
    ]
