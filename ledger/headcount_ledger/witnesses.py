"""The witnesses that a ledger asks at each batch, and the quorum that they must reach.

All are asked at once, each in a thread of its own, and each may fail in any way: what counts is whether
the cosignatures that verify reach the policy's quorum in time.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import httpx

from headcount_ledger.witness_client import WitnessClient
from headcount_spec.checkpoint import SignedCheckpoint, parse_checkpoint
from headcount_spec.cosignature import verify_cosignature
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    ProtocolError,
    SignatureError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.note import Note, NoteSignature, VerificationKey, find_signatures
from headcount_spec.policy import Policy, Witness
from headcount_spec.tile import Fetch

TIMEOUT_S = 10.0  # for all witnesses together
GRACE_S = 2.0  # for the others, once those that have answered are enough
RETRY_AFTER_S = 5  # when they are not enough
MAX_SKEW_S = 3600  # an audit compares the day of a batch with the times of its cosignatures

log = logging.getLogger("headcount.ledger")

Outcome = tuple[NoteSignature, ...] | BaseException


def read_policy(path: Path, log_key: VerificationKey) -> Policy:
    """The policy of a file, if those of its witnesses that have a URL can reach its quorum.

    Raises:
        ConfigurationError: it cannot be read, is no tlog-policy, or cannot be fulfilled.
    """
    try:
        policy = Policy.from_bytes(path.read_bytes())
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name} is no trust policy: {exc}") from exc
    if policy.logs and log_key not in policy.log_keys(log_key.name):
        raise ConfigurationError(f"{path.name} is about other logs than this ledger")
    for witness in policy.witnesses:
        if witness.url is not None and not witness.url.startswith(("https://", "http://")):
            raise ConfigurationError(f"{path.name}: the URL of {witness.name} is not one of HTTP")
    try:
        policy.check_quorum([witness.name for witness in policy.witnesses if witness.url])
    except UnknownKeyError as exc:
        raise ConfigurationError(f"{path.name}: the witnesses that have a URL are too few") from exc
    return policy


class _Asked:
    """One URL, under which one or more of the policy's keys cosign."""

    def __init__(self, client: WitnessClient) -> None:
        self.client = client
        self.witnesses: list[Witness] = []
        self.is_busy = False  # a thread still waits for an answer

    @property
    def name(self) -> str:
        return self.witnesses[0].name


class Witnesses:
    """Asks the witnesses of a policy; an instance is the sequencer's ``Cosign``."""

    def __init__(
        self,
        policy: Policy,
        log_key: VerificationKey,
        read: Fetch,
        clock: Callable[[], int],
        *,
        timeout_s: float = TIMEOUT_S,
        grace_s: float = GRACE_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Proofs are made from the ledger's tiles through read; the clock gives seconds since 1970."""
        self.policy = policy
        self._read = read
        self._clock = clock
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        by_url: dict[str, _Asked] = {}
        for witness in policy.witnesses:
            if witness.url:
                asked = by_url.setdefault(witness.url, _Asked(WitnessClient(witness.url, log_key, transport)))
                asked.witnesses.append(witness)
        self._asked = list(by_url.values())

    def __call__(self, checkpoint: bytes) -> bytes:
        """Our signed checkpoint with the cosignatures of at least the quorum.

        Raises:
            UnavailableError: too few cosignatures in time; nothing is lost by asking again.
            CorruptionError: a witness shows a checkpoint signed by us that is newer than this one, or of
                another history.
        """
        signed = parse_checkpoint(checkpoint)
        found: dict[VerificationKey, NoteSignature] = {}
        for asked, outcome in self._outcomes(signed, found):
            try:
                if isinstance(outcome, BaseException):
                    raise outcome
                found.update(self._verified(signed, asked, outcome))
            except CorruptionError:
                raise
            except ProtocolError as exc:
                log.warning("no cosignature of witness %s: %s", asked.name, exc)
        if not self._is_enough(found):
            text = f"{len(found)} of {len(self.policy.witnesses)} witnesses have cosigned, which are too few"
            raise UnavailableError(text, RETRY_AFTER_S)
        lines = [found[witness.key] for witness in self.policy.witnesses if witness.key in found]
        raw = signed.note.with_signatures(lines).to_bytes()
        self.policy.verify_cosignatures(parse_checkpoint(raw))  # as everybody will read it
        return raw

    def _is_enough(self, found: Collection[VerificationKey]) -> bool:
        try:
            self.policy.check_quorum([w.name for w in self.policy.witnesses if w.key in found])
        except UnknownKeyError:
            return False
        return True

    def _verified(
        self, signed: SignedCheckpoint, asked: _Asked, lines: tuple[NoteSignature, ...]
    ) -> dict[VerificationKey, NoteSignature]:
        """The cosignatures of an answer by the keys that the policy has there; other lines are ignored.

        Raises:
            SignatureError: one does not verify or has a time that cannot be right, or a key has two lines.
            UnknownKeyError: there is none.
        """
        keys = [witness.key for witness in asked.witnesses]
        found = find_signatures(Note(signed.note.text, lines), keys)
        if not found:
            raise UnknownKeyError("no line of its key in its answer")
        now = self._clock()
        for key, line in found:
            if abs(verify_cosignature(signed.checkpoint, line, key) - now) > MAX_SKEW_S:
                raise SignatureError("its clock and ours are more than an hour apart")
        return dict(found)

    def _outcomes(
        self, signed: SignedCheckpoint, found: Collection[VerificationKey]
    ) -> Iterator[tuple[_Asked, Outcome]]:
        """What comes of asking each, in the order in which they answer, until it is too late.

        Found fills up meanwhile; once it is enough, the others have only the grace time.
        """
        answers: queue.SimpleQueue[tuple[_Asked, Outcome]] = queue.SimpleQueue()
        waiting = set()
        for asked in self._asked:
            if asked.is_busy:
                log.warning("no cosignature of witness %s: it has not answered the last time yet", asked.name)
                continue
            asked.is_busy = True
            waiting.add(asked)
            # A daemon: nobody waits for a witness when the process ends.
            arguments = (asked, signed, answers)
            threading.Thread(target=self._ask, args=arguments, name="ledger-witness", daemon=True).start()
        deadline = time.monotonic() + self._timeout_s
        while waiting:
            if self._is_enough(found):
                deadline = min(deadline, time.monotonic() + self._grace_s)
            try:
                asked, outcome = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            waiting.discard(asked)
            yield asked, outcome
        for asked in waiting:
            log.warning("no cosignature of witness %s: no answer in time", asked.name)

    def _ask(
        self,
        asked: _Asked,
        signed: SignedCheckpoint,
        answers: queue.SimpleQueue[tuple[_Asked, Outcome]],
    ) -> None:
        """In a thread of its own: ask one."""
        outcome: Outcome
        try:
            outcome = asked.client.add_checkpoint(signed, self._read)
        except BaseException as exc:  # noqa: BLE001 raised again where the answers are taken
            outcome = exc
        asked.is_busy = False
        answers.put((asked, outcome))
