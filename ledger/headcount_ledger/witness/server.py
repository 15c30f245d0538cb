"""What a witness decides, without HTTP: check a checkpoint against the last one, store, then cosign."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headcount_ledger import durable
from headcount_ledger.clock import wall_clock
from headcount_ledger.witness.evidence import FORK, UNPROVEN, Evidence
from headcount_ledger.witness.store import Seen, WitnessStore
from headcount_spec.checkpoint import SignedCheckpoint, parse_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    ProofError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.merkle import verify_consistency
from headcount_spec.note import Note, NoteSignature, SigningKey, VerificationKey, verify_note
from headcount_spec.policy import NO_QUORUM, Log, Policy
from headcount_spec.tlog_witness import AddCheckpoint, monitoring_path

KEY, LOGS, DATABASE, EVIDENCE = "key", "logs", "witness.sqlite", "evidence"


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The checkpoint was stored and cosigned."""

    signatures: tuple[NoteSignature, ...]


@dataclass(frozen=True, slots=True)
class Stale:
    """The request starts from another size than that of the last checkpoint."""

    size: int  # of the last checkpoint


def create(directory: Path, name: str, logs: tuple[VerificationKey, ...] = ()) -> VerificationKey:
    """Make a witness of this name in a directory that has none; the key under which it cosigns.

    Raises:
        ConfigurationError: there is a witness, or the remains of one, already.
        MalformedError: the name is no key name, or a log's key is not of type Ed25519 or is listed twice.
    """
    key = SigningKey(name, secrets.token_bytes(32))
    trusted = Policy(logs=tuple(map(Log, logs))).to_bytes()
    Policy.from_bytes(trusted)
    paths = [directory / file for file in (KEY, LOGS, DATABASE, EVIDENCE)]
    for path in paths:
        if path.exists():
            raise ConfigurationError(f"{path} exists: a witness is created once")
    durable.make_directory(directory / EVIDENCE)
    durable.create_files([(directory / LOGS, trusted)])
    os.close(os.open(directory / DATABASE, os.O_RDWR | os.O_CREAT | os.O_EXCL, durable.PRIVATE_MODE))
    store = WitnessStore(directory / DATABASE)
    try:
        store.create()
    finally:
        store.close()
    # The key is the last: a witness that was created half does not open.
    durable.create_files([(directory / KEY, key.to_text().encode() + b"\n")], durable.PRIVATE_MODE)
    return key.cosigner_key


class Witness:
    """An open witness."""

    def __init__(
        self,
        key: SigningKey,
        logs: Policy,
        store: WitnessStore,
        evidence: Evidence,
        clock: Callable[[], int] = wall_clock,
    ) -> None:
        """Cosign the logs of a policy, with times of the clock in seconds since 1970."""
        self._key = key
        self._logs = logs
        self._store = store
        self._evidence = evidence
        self._clock = clock
        self._store.admit({log.key.name for log in logs.logs})

    @classmethod
    def open(cls, directory: Path, clock: Callable[[], int] = wall_clock) -> Witness:
        """The witness of a directory; a log that was added to its list of logs begins at size 0.

        Raises:
            ConfigurationError: there is none, or one of its files holds something else.
        """
        key = read_key(directory)
        try:
            logs = Policy.from_bytes((directory / LOGS).read_bytes())
        except (OSError, MalformedError) as exc:
            raise ConfigurationError(f"{directory / LOGS} is no list of logs: {exc}") from exc
        if logs.witnesses or logs.quorum != NO_QUORUM:
            raise ConfigurationError(f"{directory / LOGS} lists logs, and nothing else")
        if not (directory / DATABASE).is_file():
            # Without it the witness would vouch for a second history of every log.
            raise ConfigurationError(f"{directory / DATABASE} is missing: this witness has lost its memory")
        return cls(key, logs, WitnessStore(directory / DATABASE), Evidence(directory / EVIDENCE), clock)

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def verification_key(self) -> VerificationKey:
        """The key under which it cosigns."""
        return self._key.cosigner_key

    def origins(self) -> tuple[str, ...]:
        """The origin lines of the logs that it knows."""
        return tuple(dict.fromkeys(log.key.name for log in self._logs.logs))

    def add_checkpoint(self, body: bytes) -> Cosigned | Stale:
        """Cosign a checkpoint that extends the last one, once it is stored durably.

        tlog-witness, "add-checkpoint", in its order of checks. The answer to Stale is 409.

        Raises:
            MalformedError: 400: no such request, or it goes back.
            NotFoundError: 404: another log's.
            NotEligibleError: 403: not signed by a key of the log.
            ProofError: 422: it does not extend the last checkpoint.
            UnavailableError: it cannot be stored now.
            SystemExit: it is not known whether it was stored.
        """
        request = AddCheckpoint.from_bytes(body)
        signed = parse_checkpoint(request.checkpoint)
        new = signed.checkpoint
        if request.old_size > new.size:
            raise MalformedError("the old size is larger than the checkpoint's")
        keys = self._logs.log_keys(new.origin)
        if not keys:
            raise NotFoundError("this witness does not know the log")
        try:
            by_log = verify_note(signed.note, keys)
        except (SignatureError, UnknownKeyError) as exc:
            raise NotEligibleError("the checkpoint is not signed by its log") from exc
        last = self._store.last(new.origin)
        if request.old_size != last.size:
            self._keep_fork(last, signed, request.proof)
            return Stale(last.size)
        try:
            verify_consistency(request.proof, last.size, new.size, last.root, new.root)
        except ProofError:
            if not self._keep_fork(last, signed, request.proof) and last.note is not None:
                self._evidence.keep(UNPROVEN, signed, request.proof, last.note)
            raise
        # What was parsed is encoded anew and signed, never the bytes that somebody sent.
        cosigned = (cosign(new, self._key, self._clock()),)
        note = Note(new.to_text(), (*by_log, *cosigned)).to_bytes()
        if not self._store.advance(new.origin, last, Seen(new.size, new.root, note)):
            # Somebody else's request was first. The signature above has left nobody.
            return Stale(self._store.last(new.origin).size)
        return Cosigned(cosigned)

    def last_checkpoint(self, path: str) -> bytes:
        """The last checkpoint of the log with this monitoring path, with our cosignature.

        Raises:
            NotFoundError: no such log, or nothing of it was seen.
        """
        for origin in self.origins():
            if monitoring_path(origin) == path:
                note = self._store.last(origin).note
                if note is not None:
                    return note
        raise NotFoundError("this witness has no checkpoint of such a log")

    def _keep_fork(self, last: Seen, refused: SignedCheckpoint, proof: tuple[bytes, ...]) -> bool:
        """Keep the evidence if the log has signed two trees of one size."""
        new = refused.checkpoint
        if last.note is None or new.size != last.size or new.root == last.root:
            return False
        self._evidence.keep(FORK, refused, proof, last.note)
        return True


def read_key(directory: Path) -> SigningKey:
    """The private key of a witness.

    Raises:
        ConfigurationError: there is none, or the file holds something else.
    """
    path = directory / KEY
    try:
        return SigningKey.from_text(path.read_text("ascii").removesuffix("\n"))
    except OSError as exc:
        raise ConfigurationError(f"no witness in {directory}: `headcount witness create` makes one") from exc
    except (MalformedError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is no private key of a witness") from exc
