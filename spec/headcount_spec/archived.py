"""Archived checkpoints: what was published with a batch, tied to the ledger by the seal after it.

Their cosignatures say when witnesses saw a batch, which the day in a seal, the ledger's own word, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from headcount_spec.checkpoint import SignedCheckpoint, parse_checkpoint
from headcount_spec.cosignature import verify_cosignature
from headcount_spec.errors import ProofError, UnknownKeyError
from headcount_spec.growth import CountAt
from headcount_spec.note import find_signatures, verify_note
from headcount_spec.policy import Policy
from headcount_spec.seal import Seal
from headcount_spec.text import day_of

Cosignatures = tuple[tuple[str, int], ...]  # the policy's witness name, seconds since 1970


@dataclass(frozen=True, slots=True)
class Archived:
    """The file ``checkpoints/<batch>``."""

    batch: int
    checkpoint: bytes  # the signed note as it was published


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A count, and when witnesses saw it."""

    count: CountAt
    cosignatures: Cosignatures  # of those that the policy knows, however few


@dataclass(frozen=True, slots=True)
class Judged:
    """An archived checkpoint by the log itself."""

    signed: SignedCheckpoint
    cosignatures: Cosignatures


def read(
    items: Iterable[Archived], seals: Sequence[tuple[int, Seal]], policy: Policy, origin: str
) -> dict[int, Judged]:
    """Verify archived checkpoints of batches that end with these seals (leaf index, seal).

    Raises:
        MalformedError: one is no checkpoint.
        SignatureError, UnknownKeyError: it is not signed by the log, or a known witness's line is wrong.
        ProofError: it is not the checkpoint of that batch, or the day of its seal cannot be right.
    """
    places = {seal.batch: place for place, (_, seal) in enumerate(seals)}
    found = {}
    for item in items:
        place = places.get(item.batch)
        signed = parse_checkpoint(item.checkpoint)
        if signed.checkpoint.origin != origin:
            raise UnknownKeyError("a kept checkpoint is another log's")
        verify_note(signed.note, policy.log_keys(origin))
        if place is None or signed.checkpoint.size != seals[place][0] + 1:
            raise ProofError(f"not the checkpoint of batch {item.batch}")
        if place + 1 < len(seals):
            following = seals[place + 1][1]
            if following.prev_checkpoint != sha256(item.checkpoint).digest():
                raise ProofError(f"not the checkpoint that was published with batch {item.batch}")
            if following.prev_root != signed.checkpoint.root:
                raise ProofError(f"the seal after batch {item.batch} has another root before it")
        cosignatures = known_cosignatures(policy, signed)
        check_day(item.batch, seals[place][1].day, cosignatures)
        found[item.batch] = Judged(signed, cosignatures)
    return found


def known_cosignatures(policy: Policy, signed: SignedCheckpoint) -> Cosignatures:
    """The cosignatures by witnesses that a policy knows, however few.

    Raises:
        SignatureError: one of them does not verify.
    """
    names = {witness.key: witness.name for witness in policy.witnesses}
    lines = find_signatures(signed.note, names.keys())
    return tuple((names[key], verify_cosignature(signed.checkpoint, line, key)) for key, line in lines)


def check_day(batch: int, day: int, cosignatures: Cosignatures) -> None:
    """Check that the day of a seal is, give or take one, that of the median cosignature.

    Protocol, Section 4.7.

    Raises:
        ProofError: it is not.
    """
    times = sorted(time for _, time in cosignatures)
    if times and abs(day_of(times[(len(times) - 1) // 2]) - day) > 1:
        raise ProofError(f"witnesses saw batch {batch} on another day than its seal says")


def check_closing(judged: Judged, terms: Policy, deadline_day: int) -> None:
    """Check that the witnesses of the terms cosigned the closing batch by the deadline day.

    Raises:
        SignatureError: a cosignature does not verify.
        UnknownKeyError: too few of them.
    """
    found = known_cosignatures(terms, judged.signed)
    terms.check_quorum([name for name, time in found if day_of(time) <= deadline_day])
