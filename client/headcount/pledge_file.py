"""The pledge file: what a person keeps of one pledge, from the seed to the receipt.

JSON, readable by its owner only. It is written before the first request that depends on it and after
every answer, so that whatever happens in between, the same pledge is finished from the same seed.
Whoever reads it can change or withdraw the pledge and knows what was pledged; it names no person.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from headcount import private_file
from headcount_spec import pledge, signature
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.members import Members
from headcount_spec.pledge import AUTHENTICATOR_BYTES, Nullifier, Pledge
from headcount_spec.policy import Policy
from headcount_spec.promise import Promise
from headcount_spec.revision import MAX_SERIAL, Revision, revision_message
from headcount_spec.scope import NO_SEALED_HASH, WITHDRAWN, Manifest
from headcount_spec.seed import SEED_BYTES, revision_seed
from headcount_spec.text import encode_base64

VERSION = 1
MAX_SESSION_CHARS = 512
SESSION = re.compile(r"\A[A-Za-z0-9._~+/-]+=*\Z")  # RFC 6750, Section 2.1: a bearer token


@dataclass(frozen=True, slots=True)
class Change:
    """One revision of the pledge; without a promise it may have been sent or not."""

    serial: int
    choice: int
    promise: Promise | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """How far the pledge is with one issuer."""

    session: str | None = field(default=None, repr=False)  # proved and not yet used
    authenticator: bytes | None = field(default=None, repr=False)  # the issuer has signed


@dataclass(frozen=True, slots=True)
class PledgeFile:
    """The content of a pledge file."""

    ledger: str  # address or folder of the published files
    policy: bytes  # the trust policy under which the terms were accepted
    manifest: Manifest
    choice: int
    seed: bytes = field(repr=False)
    checkpoint: bytes  # the last one that was accepted, signed
    steps: tuple[Step, ...]  # by issuer, in the manifest's order
    since: int | None = None  # size of the ledger before the pledge was first sent
    verifier: str | None = None  # where the pledge was sent
    promise: Promise | None = None
    standing: int = 0  # serial of the last revision that is known to stand
    changes: tuple[Change, ...] = ()
    blob: bytes | None = field(default=None, repr=False)  # the sealed contact, in contact scopes
    after: int | None = None  # seconds since 1970; a contact is not sent before
    is_deposited: bool = False  # a store has taken the blob

    @property
    def sealed_hash(self) -> bytes:
        """What the pledge commits to: the blob, or nothing."""
        return NO_SEALED_HASH if self.blob is None else hashlib.sha256(self.blob).digest()

    @property
    def private_seed(self) -> bytes:
        """The private half of the revision key."""
        return revision_seed(self.seed, self.manifest.scope_id)

    @property
    def revision_key(self) -> bytes:
        """The Ed25519 key that may change the pledge."""
        return signature.public_key(self.private_seed)

    @property
    def nullifier(self) -> Nullifier:
        """The nonce of the tokens, under which the ledger counts the pledge once."""
        return pledge.nonce(self.manifest.scope_id, self.choice, self.revision_key, self.sealed_hash)

    @property
    def is_proved(self) -> bool:
        """Whether every issuer has signed."""
        return all(step.authenticator for step in self.steps)

    def pledge(self) -> Pledge:
        """The entry for the ledger.

        Raises:
            ConfigurationError: an issuer's signature is still missing.
        """
        authenticators = tuple(s.authenticator for s in self.steps if s.authenticator is not None)
        if len(authenticators) != len(self.steps):
            raise ConfigurationError("the pledge is not finished: an issuer has not signed it yet")
        return Pledge(
            self.manifest.scope_id, self.choice, self.revision_key, self.sealed_hash, authenticators
        )

    def revision(self, change: Change) -> Revision:
        """The entry of a change."""
        sealed_hash = NO_SEALED_HASH if change.choice == WITHDRAWN else self.sealed_hash
        parts = (self.manifest.scope_id, self.nullifier, change.serial, change.choice, sealed_hash)
        return Revision(*parts, signature.sign(self.private_seed, revision_message(*parts)))

    def trust(self) -> Policy:
        """The trust policy under which the terms were accepted."""
        return Policy.from_bytes(self.policy)

    def with_step(self, issuer: int, step: Step) -> PledgeFile:
        """The same, further or back with one issuer."""
        return replace(self, steps=(*self.steps[:issuer], step, *self.steps[issuer + 1 :]))

    def to_bytes(self) -> bytes:
        """The bytes of the file."""
        value: dict[str, JSON] = {
            "headcount_pledge": VERSION,
            "ledger": self.ledger,
            "policy": encode_base64(self.policy),
            "manifest": encode_base64(self.manifest.raw),
            "choice": self.choice,
            "seed": encode_base64(self.seed),
            "checkpoint": encode_base64(self.checkpoint),
            "issuers": [
                _present(session=step.session, authenticator=_base64(step.authenticator))
                for step in self.steps
            ],
            "standing": self.standing,
            "changes": [
                {"serial": change.serial, "choice": change.choice} | _promised(change.promise)
                for change in self.changes
            ],
        }
        return canonicalise(
            value
            | _present(since=self.since, verifier=self.verifier, after=self.after, blob=_base64(self.blob))
            | ({"deposited": True} if self.is_deposited else {})
            | _promised(self.promise)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> PledgeFile:
        """Read the bytes of a pledge file.

        Raises:
            MalformedError: another format or version, or a member missing, unknown or out of range.
        """
        members = Members(parse_json(data, private_file.MAX_BYTES), "pledge file")
        members.integer("headcount_pledge", VERSION, VERSION)
        manifest = members.base64("manifest", Manifest.from_bytes)
        n = len(manifest.issuers)
        content = cls(
            ledger=members.text("ledger", 4096),
            policy=members.base64("policy", _check_policy),
            manifest=manifest,
            choice=members.integer("choice", 0, 0xFFFF),
            seed=members.sized("seed", SEED_BYTES),
            checkpoint=members.base64("checkpoint", bytes),
            steps=tuple(map(_step, members.objects("issuers", (n, n)))),
            since=members.integer("since", 0) if members.has("since") else None,
            verifier=members.text("verifier", 500) if members.has("verifier") else None,
            promise=_promise(members),
            standing=members.integer("standing", 0, MAX_SERIAL),
            changes=tuple(map(_change, members.objects("changes", (0, MAX_SERIAL)))),
            blob=members.base64("blob", bytes) if members.has("blob") else None,
            after=members.integer("after", 0) if members.has("after") else None,
            is_deposited=members.has("deposited") and members.take("deposited") is True,
        )
        if (content.blob is not None) != manifest.holds_sealed:
            raise MalformedError("pledge file.blob: in contact scopes and only there")
        members.finish()
        return content


class PledgeStore:
    """The place of one pledge file; a test passes its own to make a write fail."""

    def __init__(
        self,
        path: Path,
        *,
        create: Callable[[Path, bytes], None] = private_file.create,
        write: Callable[[Path, bytes], None] = private_file.write,
    ) -> None:
        self.path = path
        self._create = create
        self._write = write

    @classmethod
    def at(cls, place: Path | PledgeStore) -> PledgeStore:
        """The store at a path, or the store itself."""
        return place if isinstance(place, PledgeStore) else cls(place)

    def exists(self) -> bool:
        """Whether there is a file already."""
        return self.path.exists()

    def load(self) -> PledgeFile:
        """Read the file.

        Raises:
            ConfigurationError: it cannot be read, or is not a pledge file.
        """
        try:
            return PledgeFile.from_bytes(private_file.read(self.path))
        except MalformedError as exc:
            raise ConfigurationError(f"{self.path.name} is not a pledge file: {exc}") from exc

    def create(self, content: PledgeFile) -> PledgeFile:
        """Write a file that does not exist yet.

        Raises:
            ConfigurationError: it exists or cannot be written.
            MalformedError: a member of the content is not one that the format can hold.
        """
        data = content.to_bytes()
        PledgeFile.from_bytes(data)  # a file that cannot be read again would lose the pledge
        self._create(self.path, data)
        return content

    def save(self, content: PledgeFile) -> PledgeFile:
        """Replace the file.

        Raises:
            ConfigurationError: it cannot be written.
        """
        self._write(self.path, content.to_bytes())
        return content


def _present(**members: JSON) -> dict[str, JSON]:
    return {name: value for name, value in members.items() if value is not None}


def _base64(data: bytes | None) -> str | None:
    return None if data is None else encode_base64(data)


def _promised(promise: Promise | None) -> dict[str, JSON]:
    return {} if promise is None else {"promise": encode_base64(promise.to_bytes())}


def _promise(members: Members) -> Promise | None:
    return members.base64("promise", Promise.from_bytes) if members.has("promise") else None


def _step(members: Members) -> Step:
    step = Step(
        members.text("session", MAX_SESSION_CHARS, SESSION) if members.has("session") else None,
        members.sized("authenticator", AUTHENTICATOR_BYTES) if members.has("authenticator") else None,
    )
    members.finish()
    return step


def _change(members: Members) -> Change:
    change = Change(
        members.integer("serial", 1, MAX_SERIAL), members.integer("choice", 0, 0xFFFF), _promise(members)
    )
    members.finish()
    return change


def _check_policy(data: bytes) -> bytes:
    Policy.from_bytes(data)
    return data
