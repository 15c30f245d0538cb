"""The errors of the protocol, one tree for every role.

    ProtocolError                         code                HTTP  exit
    ├─ MalformedError                     malformed           400   1    the only error of a parser
    ├─ VerificationError                  (abstract)                1
    │   ├─ SignatureError                 bad-signature       401
    │   ├─ ProofError                     bad-proof           422
    │   ├─ UnknownKeyError                unknown-key         401
    │   ├─ ChallengeError                 wrong-challenge     401
    │   └─ OpeningError                   cannot-open         422
    ├─ RefusedError                       (abstract)                3
    │   ├─ NotEligibleError               not-eligible        403
    │   ├─ CodeRefusedError               code-refused        403
    │   ├─ AlreadyIssuedError             already-issued      409
    │   ├─ QuotaUsedError                 quota-used          403
    │   ├─ RevisionConflictError          revision-conflict   409        carries the serial that won
    │   ├─ NoticeConflictError            notice-conflict     409        carries the seq that is next
    │   ├─ ScopeClosedError               closed-scope        403
    │   ├─ LinkEndedError                 link-ended          410
    │   ├─ NotFoundError                  not-found           404
    │   ├─ MethodRefusedError             method-refused      405
    │   ├─ TooLargeError                  too-large           413
    │   ├─ WrongTypeError                 wrong-type          415
    │   └─ RateLimitedError               rate-limited        429        carries seconds to wait
    ├─ UnavailableError                   unavailable         503   4    try again; carries seconds to wait
    ├─ ConfigurationError                 configuration       500   2    a file of ours is missing or wrong
    ├─ CorruptionError                    corruption          500   5    our own stored bytes disagree
    └─ MisbehaviourError                  misbehaviour        502   5    another party's; carries evidence

``str(error)`` is safe to log: no text contains a token, nonce, blinded message, code or address.
``ValueError``, ``TypeError`` and ``AssertionError`` mean a bug of ours and are never caught.
"""

from __future__ import annotations

from typing import ClassVar


class ProtocolError(Exception):
    """What a role answers when it cannot do what was asked; the root of the tree."""

    code: ClassVar[str] = ""  # stable, part of the HTTP interface; empty on abstract classes
    status: ClassVar[int] = 500  # HTTP status
    exit_code: ClassVar[int] = 1  # of the command line


class MalformedError(ProtocolError):
    """The bytes are not an encoding of a value: the only error that a parser raises."""

    code = "malformed"
    status = 400


class VerificationError(ProtocolError):
    """The bytes are well formed, and what they claim is not proven."""


class SignatureError(VerificationError):
    """A signature does not verify under the key that must have made it."""

    code = "bad-signature"
    status = 401


class ProofError(VerificationError):
    """A Merkle proof leads to another root or has another length."""

    code = "bad-proof"
    status = 422


class UnknownKeyError(VerificationError):
    """No key that is trusted here has signed."""

    code = "unknown-key"
    status = 401


class ChallengeError(VerificationError):
    """A token answers another challenge than the one that was asked."""

    code = "wrong-challenge"
    status = 401


class OpeningError(VerificationError):
    """Something sealed does not open: another key or context, too few shares, or changed bytes."""

    code = "cannot-open"
    status = 422


class RefusedError(ProtocolError):
    """The request is understood and the rules forbid it; nothing was changed."""

    exit_code = 3


class NotEligibleError(RefusedError):
    """This person, origin or scope may not take part here."""

    code = "not-eligible"
    status = 403


class CodeRefusedError(RefusedError):
    """A typed code is wrong, expired, used or out of tries; which of them is not told."""

    code = "code-refused"
    status = 403


class AlreadyIssuedError(RefusedError):
    """This person has a token of this scope, for another blinded message."""

    code = "already-issued"
    status = 409


class QuotaUsedError(RefusedError):
    """Those who share a group with this person, such as a mail domain, have all the tokens that it gets."""

    code = "quota-used"
    status = 403


class RevisionConflictError(RefusedError):
    """Another revision of this pledge stands already."""

    code = "revision-conflict"
    status = 409

    def __init__(self, message: str, serial: int) -> None:
        super().__init__(message)
        self.serial = serial  # the serial that stands


class NoticeConflictError(RefusedError):
    """Another notice stands at this place of its author's sequence."""

    code = "notice-conflict"
    status = 409

    def __init__(self, message: str, seq: int) -> None:
        super().__init__(message)
        self.seq = seq  # the seq that the next notice must have


class ScopeClosedError(RefusedError):
    """The scope is not open, is frozen for this change, or is closed."""

    code = "closed-scope"
    status = 403


class LinkEndedError(RefusedError):
    """The last day of a campaign's link is over, or it was opened as often as it may be."""

    code = "link-ended"
    status = 410


class NotFoundError(RefusedError):
    """There is no such thing here."""

    code = "not-found"
    status = 404


class MethodRefusedError(RefusedError):
    """The resource does not take this HTTP method."""

    code = "method-refused"
    status = 405


class TooLargeError(RefusedError):
    """The body is longer than any valid one."""

    code = "too-large"
    status = 413


class WrongTypeError(RefusedError):
    """The body has another media type than this resource takes."""

    code = "wrong-type"
    status = 415


class RateLimitedError(RefusedError):
    """Too many requests; try again later."""

    code = "rate-limited"
    status = 429

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class UnavailableError(ProtocolError):
    """It cannot be done now, nothing was lost, try again."""

    code = "unavailable"
    status = 503
    exit_code = 4

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ConfigurationError(ProtocolError):
    """A file of this installation is missing, unreadable or contradicts another."""

    code = "configuration"
    status = 500
    exit_code = 2


class CorruptionError(ProtocolError):
    """Our own stored bytes disagree with each other: stop, and call a person."""

    code = "corruption"
    status = 500
    exit_code = 5


class MisbehaviourError(ProtocolError):
    """Another party signed what it must not have signed; the evidence goes to a file."""

    code = "misbehaviour"
    status = 502
    exit_code = 5

    def __init__(self, message: str, evidence: tuple[bytes, ...] = ()) -> None:
        super().__init__(message)
        self.evidence = evidence  # the signed bytes that contradict each other
