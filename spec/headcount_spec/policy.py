"""Whom to trust about the ledger: logs, witnesses and a quorum, c2sp.org/tlog-policy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from headcount_spec.checkpoint import SignedCheckpoint, parse_checkpoint
from headcount_spec.cosignature import verify_cosignature
from headcount_spec.errors import MalformedError, UnknownKeyError
from headcount_spec.note import (
    COSIGNATURE_V1,
    ED25519,
    MLDSA44,
    VerificationKey,
    find_signatures,
    verify_note,
)
from headcount_spec.text import parse_decimal

MAX_POLICY_BYTES = 1 << 20  # five hundred ML-DSA-44 keys
NO_QUORUM = "none"  # the predefined name

_OCTETS = re.compile(rb"\A[\t\n\x20-\x7e\x80-\xff]*\Z")
_SPACES = re.compile(r"[ \t]+")


@dataclass(frozen=True, slots=True)
class Log:
    """A log whose checkpoints are accepted; the key's name is its origin line."""

    key: VerificationKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness, by a name that means something in its policy only."""

    name: str
    key: VerificationKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Has witnessed a checkpoint if at least k of its members have."""

    name: str
    k: int  # 1 to the number of members
    members: tuple[str, ...]  # witnesses or groups defined before this one


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint signed by a log and cosigned by a quorum of a policy."""

    signed: SignedCheckpoint
    cosignatures: tuple[tuple[str, int], ...]  # the policy's witness name, seconds since 1970


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy file. Octets above 0x7F that are not UTF-8 appear as lone surrogates in names."""

    logs: tuple[Log, ...] = ()
    witnesses: tuple[Witness, ...] = ()
    groups: tuple[Group, ...] = ()
    quorum: str = NO_QUORUM  # a witness, a group, or none

    @classmethod
    def from_bytes(cls, data: bytes) -> Policy:
        """The policy of a file.

        tlog-policy, "Policy file syntax and structure".

        Raises:
            MalformedError: over 1 MiB, octets that are not allowed, an unknown line, a vkey of another
                type, a duplicate key or name, an undefined or doubly used member, not one quorum.
        """
        if len(data) > MAX_POLICY_BYTES:
            raise MalformedError(f"policy longer than {MAX_POLICY_BYTES} bytes")
        if not _OCTETS.match(data):
            raise MalformedError("control character in a policy")
        if data and not data.endswith(b"\n"):
            raise MalformedError("the last line of a policy has no newline")
        parser = _Parser()
        for number, line in enumerate(data.split(b"\n"), 1):
            fields = [f for f in _SPACES.split(line.decode("utf-8", "surrogateescape")) if f]
            if fields and not fields[0].startswith("#"):
                try:
                    parser.add(*fields)
                except MalformedError as exc:
                    raise MalformedError(f"policy line {number}: {exc}") from exc
        return parser.finish()

    def to_bytes(self) -> bytes:
        """The policy file in one spelling: logs, witnesses, groups, quorum."""
        lines = [_join("log", log.key.to_text(), log.url) for log in self.logs]
        lines += [_join("witness", w.name, w.key.to_text(), w.url) for w in self.witnesses]
        lines += [_join("group", g.name, str(g.k), *g.members) for g in self.groups]
        lines.append(_join("quorum", self.quorum))
        return "".join(lines).encode("utf-8", "surrogateescape")

    def log_keys(self, origin: str) -> tuple[VerificationKey, ...]:
        """The keys of the log with this origin line; a log that changes its key has two for a while."""
        return tuple(log.key for log in self.logs if log.key.name == origin)

    def log_key(self, origin: str) -> VerificationKey:
        """The first key of the log with this origin line.

        Raises:
            UnknownKeyError: the policy does not list the log.
        """
        keys = self.log_keys(origin)
        if not keys:
            raise UnknownKeyError("log is not in the policy")
        return keys[0]

    def verify_checkpoint(self, raw: bytes) -> VerifiedCheckpoint:
        """The checkpoint of a signed note: by one of the logs, cosigned by the quorum.

        Raises:
            MalformedError: not a signed checkpoint.
            SignatureError: a line of a known key does not verify.
            UnknownKeyError: a log that is not listed, or too few witnesses.
        """
        signed = parse_checkpoint(raw)
        self.log_key(signed.checkpoint.origin)
        verify_note(signed.note, self.log_keys(signed.checkpoint.origin))
        return VerifiedCheckpoint(signed, self.verify_cosignatures(signed))

    def verify_cosignatures(self, signed: SignedCheckpoint) -> tuple[tuple[str, int], ...]:
        """The (witness name, time) of each known witness that cosigned; they reach the quorum.

        The log's own signature is not looked at: a manifest's policy lists no log.

        Raises:
            SignatureError: a line of a known witness does not verify.
            UnknownKeyError: too few witnesses.
        """
        names = {w.key: w.name for w in self.witnesses}
        found = find_signatures(signed.note, names.keys())
        cosignatures = tuple(
            (names[key], verify_cosignature(signed.checkpoint, signature, key)) for key, signature in found
        )
        self.check_quorum([name for name, _ in cosignatures])
        return cosignatures

    def check_quorum(self, witnesses: Iterable[str]) -> None:
        """Check that these witnesses are enough.

        Raises:
            UnknownKeyError: they are not.
        """
        witnessed = {NO_QUORUM, *witnesses}
        for group in self.groups:  # members stand before their group
            if sum(member in witnessed for member in group.members) >= group.k:
                witnessed.add(group.name)
        if self.quorum not in witnessed:
            raise UnknownKeyError("witness quorum not reached")


class _Parser:
    """The lines of a policy so far."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self.names: set[str] = set()
        self.members: set[str] = set()
        self.seen: set[object] = set()  # public keys and key ids, of logs and of witnesses

    def add(self, keyword: str, *fields: str) -> None:
        handlers = {"log": self._log, "witness": self._witness, "group": self._group, "quorum": self._quorum}
        if keyword not in handlers:
            raise MalformedError("unknown keyword")
        handlers[keyword](*fields)

    def finish(self) -> Policy:
        if self.quorum is None:
            raise MalformedError("policy without a quorum")
        return Policy(tuple(self.logs), tuple(self.witnesses), tuple(self.groups), self.quorum)

    def _log(self, *fields: str) -> None:
        if not 1 <= len(fields) <= 2:
            raise MalformedError("log <vkey> [<url>]")
        key = self._key(fields[0], (ED25519,))
        self.logs.append(Log(key, *fields[1:]))

    def _witness(self, *fields: str) -> None:
        if not 2 <= len(fields) <= 3:
            raise MalformedError("witness <name> <vkey> [<url>]")
        key = self._key(fields[1], (COSIGNATURE_V1, MLDSA44))
        self._define(fields[0])
        self.witnesses.append(Witness(fields[0], key, *fields[2:]))

    def _group(self, *fields: str) -> None:
        if len(fields) < 3:
            raise MalformedError("group <name> all|any|<k> <member>...")
        name, threshold, *members = fields
        for member in members:
            if member not in self.names:
                raise MalformedError("group member is not defined above")
            if member in self.members:
                raise MalformedError("group member is listed twice")
            self.members.add(member)
        k = {"all": len(members), "any": 1}.get(threshold)
        if k is None:
            k = parse_decimal(threshold)
        if not 1 <= k <= len(members):
            raise MalformedError("group threshold out of range")
        self._define(name)
        self.groups.append(Group(name, k, tuple(members)))

    def _quorum(self, *fields: str) -> None:
        if len(fields) != 1:
            raise MalformedError("quorum <name>|none")
        if self.quorum is not None:
            raise MalformedError("a second quorum")
        if fields[0] != NO_QUORUM and fields[0] not in self.names:
            raise MalformedError("quorum is not defined above")
        self.quorum = fields[0]

    def _define(self, name: str) -> None:
        if name == NO_QUORUM or name in self.names:
            raise MalformedError("name is defined already")
        self.names.add(name)

    def _key(self, text: str, types: tuple[int, ...]) -> VerificationKey:
        key = VerificationKey.from_text(text)
        if key.type not in types:
            raise MalformedError("vkey of another signature type")
        # A log's key may be a witness's too: the two sign different messages.
        marks = {(types, key.public_key), (types, key.name, key.key_id)}
        if marks & self.seen:
            raise MalformedError("duplicate public key")
        self.seen |= marks
        return key


def _join(*fields: str | None) -> str:
    return " ".join(f for f in fields if f is not None) + "\n"
