"""Proof of work in ALTCHA's format, version 1: what it costs to have a mail sent to anybody.

    challenge = SHA-256(salt || decimal number), 0 <= number <= maxnumber, in lower-case hex
    salt      = random hex || "?expires=" || seconds since 1970 || "&"
    signature = HMAC-SHA-256(key, challenge), in lower-case hex

https://altcha.org/docs/v1/ ; the widget and the libraries of that version solve it. Whoever asks tries the
numbers until one fits, half of maxnumber on average; whoever gave it hashes once. The "&" ends the salt, so
that no digit of the number can be moved into the time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from headcount_spec.errors import MalformedError
from headcount_spec.jcs import JSON, canonicalise, parse_json
from headcount_spec.members import Members
from headcount_spec.text import decode_base64, encode_base64

ALGORITHM = "SHA-256"
SALT_BYTES = 16
MAX_NUMBER = 10**8  # a minute or two of a telephone
MAX_PAYLOAD_CHARS = 1024

_HASH = re.compile(r"\A[0-9a-f]{64}\Z")
_SALT = re.compile(r"\A[0-9a-f]{32}\?expires=[1-9][0-9]{0,11}&\Z")


@dataclass(frozen=True, slots=True)
class WorkChallenge:
    """What is to be solved."""

    challenge: str
    salt: str
    maxnumber: int
    signature: str

    @classmethod
    def make(cls, key: bytes, random: bytes, number: int, maxnumber: int, expires_at: int) -> WorkChallenge:
        """A challenge whose solution is number; random is 16 bytes, expires_at seconds since 1970."""
        salt = f"{random.hex()}?expires={expires_at}&"
        challenge = _challenge(salt, number)
        return cls(challenge, salt, maxnumber, _signature(key, challenge))

    @classmethod
    def read(cls, members: Members) -> WorkChallenge:
        """Take it from an issuer's answer.

        Raises:
            MalformedError: another form, or more work than is reasonable.
        """
        _read_algorithm(members)
        challenge = cls(
            challenge=members.text("challenge", 64, _HASH),
            salt=members.text("salt", 100, _SALT),
            maxnumber=members.integer("maxnumber", 1, MAX_NUMBER),
            signature=members.text("signature", 64, _HASH),
        )
        members.finish()
        return challenge

    def to_json(self) -> JSON:
        """As ALTCHA's widget takes it."""
        return {
            "algorithm": ALGORITHM,
            "challenge": self.challenge,
            "maxnumber": self.maxnumber,
            "salt": self.salt,
            "signature": self.signature,
        }

    def solve(self) -> WorkSolution:
        """Try all numbers.

        Raises:
            MalformedError: none fits.
        """
        wanted, start = bytes.fromhex(self.challenge), hashlib.sha256(self.salt.encode())
        for number in range(self.maxnumber + 1):
            attempt = start.copy()
            attempt.update(b"%d" % number)
            if attempt.digest() == wanted:
                return WorkSolution(self.challenge, self.salt, number, self.signature)
        raise MalformedError("the proof of work has no solution")


@dataclass(frozen=True, slots=True)
class WorkSolution:
    """A solved challenge."""

    challenge: str
    salt: str
    number: int
    signature: str

    @classmethod
    def from_text(cls, text: str) -> WorkSolution:
        """Read base64 of JSON, as ALTCHA's widget makes it; the time that it took is passed over.

        Raises:
            MalformedError: another form.
        """
        if len(text) > MAX_PAYLOAD_CHARS:
            raise MalformedError("not a proof of work")
        members = Members(parse_json(decode_base64(text), MAX_PAYLOAD_CHARS), "work")
        _read_algorithm(members)
        solution = cls(
            challenge=members.text("challenge", 64, _HASH),
            salt=members.text("salt", 100, _SALT),
            number=members.integer("number", 0, MAX_NUMBER),
            signature=members.text("signature", 64, _HASH),
        )
        if members.has("took"):
            members.take("took")
        members.finish()
        return solution

    def to_text(self) -> str:
        """As evidence carries it."""
        value: JSON = {
            "algorithm": ALGORITHM,
            "challenge": self.challenge,
            "number": self.number,
            "salt": self.salt,
            "signature": self.signature,
        }
        return encode_base64(canonicalise(value))

    @property
    def expires_at(self) -> int:
        """Seconds since 1970."""
        return int(self.salt.rpartition("=")[2].removesuffix("&"))

    def solves(self, key: bytes) -> bool:
        """Whether the number fits a challenge that was made with this key."""
        return hmac.compare_digest(
            _challenge(self.salt, self.number), self.challenge
        ) and hmac.compare_digest(_signature(key, self.challenge), self.signature)


def _challenge(salt: str, number: int) -> str:
    return hashlib.sha256(f"{salt}{number}".encode()).hexdigest()


def _signature(key: bytes, challenge: str) -> str:
    return hmac.new(key, challenge.encode(), hashlib.sha256).hexdigest()


def _read_algorithm(members: Members) -> None:
    members.text("algorithm", 16, re.compile(rf"\A{ALGORITHM}\Z"))
