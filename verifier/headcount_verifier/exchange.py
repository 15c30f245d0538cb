"""What the verifier takes and answers over HTTP, whichever server or framework carries it."""

from __future__ import annotations

import logging

from headcount_ledger.exchange import Answer
from headcount_spec import entry, promise
from headcount_spec.authorization import SCHEME, format_www_authenticate
from headcount_spec.errors import MisbehaviourError, ProtocolError, TooLargeError, WrongTypeError
from headcount_spec.pledge import AUTHENTICATOR_BYTES
from headcount_spec.problem import problem
from headcount_spec.scope import ScopeId
from headcount_spec.terms import MAX_ISSUERS
from headcount_verifier.redeemer import Redeemer

MAX_PLEDGE_BYTES = 101 + MAX_ISSUERS * AUTHENTICATOR_BYTES
REVISION_BYTES = 168

PROTECTION = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_PROMISED = {"Content-Type": promise.MEDIA_TYPE, "Cache-Control": "no-store"}

_log = logging.getLogger(__name__)


def check_head(
    content_type: str | None,
    is_encoded: bool,
    length: int | None,
    max_bytes: int,
    media_type: str = entry.MEDIA_TYPE,
) -> None:
    """Refuse what is no entry, or nothing of the type that is asked for, by its header.

    Raises:
        WrongTypeError, TooLargeError: what the header says.
    """
    if (content_type or "").strip().lower() != media_type:
        raise WrongTypeError(f"the body must be {media_type}")
    if is_encoded:
        raise WrongTypeError("the body must not be encoded")
    if (length or 0) > max_bytes:
        raise too_long(max_bytes)


def too_long(max_bytes: int) -> TooLargeError:
    """The error of a body that goes on after as many bytes as there can be."""
    return TooLargeError(f"the body is longer than {max_bytes} bytes")


def check_origin(redeemer: Redeemer, data: bytes, origin: str | None) -> None:
    """Refuse a page of an origin that the entry's scope does not allow.

    Raises:
        NotEligibleError: another origin, or the scope is not accepted here.
    """
    if origin is not None:
        redeemer.check_origin(scope_of(data), origin)


def scope_of(data: bytes) -> ScopeId:
    """Every entry of a person starts with type, version and scope id."""
    return ScopeId(data[2:34])


def promised(data: bytes) -> Answer:
    """The answer that carries the ledger's promise."""
    return Answer(200, _PROMISED, data)


def refused(error: ProtocolError, redeemer: Redeemer | None = None, data: bytes = b"") -> Answer:
    """The problem document of an error; a 401 names the challenges of the entry's scope."""
    if isinstance(error, MisbehaviourError):
        _log.error("%s: %s", error.code, error)  # str(error) names nobody and no pledge
    document = problem(error)
    headers = dict(document.headers)
    if error.status == 401 and redeemer is not None:
        # RFC 9110, Section 15.5.2 demands a challenge, RFC 9577, Section 2.1 has the form.
        headers["WWW-Authenticate"] = format_www_authenticate(redeemer.challenges(scope_of(data))) or SCHEME
    return Answer(document.status, headers, document.body)
