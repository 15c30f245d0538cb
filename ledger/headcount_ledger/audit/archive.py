"""Checkpoints as an auditor judges them: the current one, and the archived one of each batch."""

from __future__ import annotations

import hashlib
import statistics
from dataclasses import dataclass

from headcount_ledger.audit.fault import FaultList
from headcount_ledger.audit.files import Files
from headcount_spec.checkpoint import Checkpoint, SignedCheckpoint, parse_checkpoint
from headcount_spec.cosignature import verify_cosignature
from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.note import find_signatures, verify_note
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest
from headcount_spec.text import day_of

MAX_ENTRIES = 2**53 - 1  # JSON says no larger number, and a report is JSON


@dataclass(frozen=True, slots=True)
class JudgedCheckpoint:
    """A checkpoint and who has signed it."""

    signed: SignedCheckpoint
    is_by_log: bool
    cosignatures: tuple[tuple[str, int], ...]  # the policy's witness name, seconds since 1970
    has_quorum: bool

    @property
    def checkpoint(self) -> Checkpoint:
        """What was signed."""
        return self.signed.checkpoint

    @property
    def hash(self) -> bytes:
        """What the next seal carries."""
        return hashlib.sha256(self.signed.raw).digest()

    @property
    def lines(self) -> list[bytes]:
        """The lines of the note."""
        return self.signed.raw.split(b"\n")

    @property
    def median_day(self) -> int | None:
        """Day of the median cosignature, None without any."""
        times = [time for _, time in self.cosignatures]
        return day_of(int(statistics.median_low(times))) if times else None


def judge_checkpoint(
    path: str, raw: bytes, policy: Policy, faults: FaultList, *, batch: int | None = None, quorum: bool = True
) -> JudgedCheckpoint | None:
    """Verify a checkpoint under a policy; what is wrong is a fault. None if it does not parse."""
    try:
        signed = parse_checkpoint(raw)
    except MalformedError as exc:
        faults.add("malformed-checkpoint", f"{path}: {exc}", batch=batch)
        return None
    if signed.checkpoint.size > MAX_ENTRIES:
        faults.add("malformed-checkpoint", f"{path}: more entries than a ledger can have", batch=batch)
        return None
    is_by_log, has_quorum = True, True
    cosignatures: tuple[tuple[str, int], ...] = ()
    try:
        policy.log_key(signed.checkpoint.origin)
        verify_note(signed.note, policy.log_keys(signed.checkpoint.origin))
    except (SignatureError, UnknownKeyError) as exc:
        faults.add("forged-checkpoint", f"{path}: {exc}", batch=batch)
        is_by_log = False
    try:
        cosignatures = known_cosignatures(policy, signed)
        if quorum:
            policy.check_quorum([name for name, _ in cosignatures])
    except SignatureError as exc:
        faults.add("forged-checkpoint", f"{path}: {exc}", batch=batch)
        has_quorum = False
    except UnknownKeyError as exc:
        if is_by_log:
            faults.add("witness-quorum", f"{path}: {exc}", batch=batch)
        has_quorum = False
    return JudgedCheckpoint(signed, is_by_log, cosignatures, has_quorum)


def known_cosignatures(policy: Policy, signed: SignedCheckpoint) -> tuple[tuple[str, int], ...]:
    """The cosignatures by witnesses that a policy knows, however few.

    Raises:
        SignatureError: one of them does not verify.
    """
    names = {witness.key: witness.name for witness in policy.witnesses}
    found = find_signatures(signed.note, names.keys())
    return tuple((names[key], verify_cosignature(signed.checkpoint, line, key)) for key, line in found)


class Archive:
    """The archived checkpoints, ``checkpoints/<batch>``, each read once."""

    __slots__ = ("_faults", "_files", "_last", "_policy")

    def __init__(self, files: Files, policy: Policy, faults: FaultList) -> None:
        self._files = files
        self._policy = policy
        self._faults = faults
        self._last: tuple[int, JudgedCheckpoint | None] = (-1, None)

    def read(self, batch: int) -> JudgedCheckpoint | None:
        """The checkpoint that was published with a batch; None if it is missing or not the log's."""
        if self._last[0] != batch:
            self._last = (batch, self._read(batch))
        return self._last[1]

    def _read(self, batch: int) -> JudgedCheckpoint | None:
        path = f"checkpoints/{batch}"
        raw = self._files.read(path, batch=batch)
        if raw is None:
            return None
        # Later checkpoints cover the earlier: only the current one needs today's quorum.
        judged = judge_checkpoint(path, raw, self._policy, self._faults, batch=batch, quorum=False)
        return judged if judged is not None and judged.is_by_log else None


def check_scope_quorum(
    manifest: Manifest, judged: JudgedCheckpoint, faults: FaultList, *, closing_batch: int | None = None
) -> None:
    """The witnesses that a scope's own terms ask for, besides those of the auditor's policy.

    The checkpoint of its closing batch they must have signed by the deadline day.
    """
    policy = Policy.from_bytes(manifest.witnesses.encode())
    is_closing = closing_batch is not None
    path = f"checkpoints/{closing_batch}, the closing" if is_closing else "checkpoint, for the terms"
    try:
        cosigned = known_cosignatures(policy, judged.signed)
        policy.check_quorum(
            [name for name, time in cosigned if not is_closing or day_of(time) <= manifest.deadline_day]
        )
    except (SignatureError, UnknownKeyError) as exc:
        faults.add("witness-quorum", f"{path} of {manifest.title_text!r}: {exc}", batch=closing_batch)
