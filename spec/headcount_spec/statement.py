"""Statements: what organisers, issuers, trustees and the ledger say in notices, type by type.

    role       type         body
    organiser  manifest     manifest: the scope's manifest; always seq 0, nothing else is
               text         language, text: the full text of which the manifest has the hash
               child        scope: hex of a scope whose manifest names this one as its parent
               update       title, text: maps of the same languages
               mailing      template: hex SHA-256, number: recipients, purpose
               pages        site: one of the manifest's origins, bundles: hex, hashes of what its pages
                            may run (bundle.py)
    issuer     opening      issuer: its name, token_key_id: hex
               issuance     day, issued: cumulative, rounded up to a multiple of 16
               codes        root: hex Merkle root of a code sheet, number: of codes
               destruction  day, keys: ["tag"], ["token"] or ["tag","token"]: destroyed by that day
    trustee    enrolment    scope_key: base64 X25519, the manifest's
               release      private_key: base64 of that key's private half, seal: batch number,
                            live: count there, signature: base64 BLS
               destruction  scope_key: base64
    ledger     closing      day: of the closing batch

Days are numbers of UTC days since 1970. Statements of one author in one scope are numbered
from 0 and chained: prev is the leaf hash of the notice before, zeros at 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headcount_spec import jcs, signature
from headcount_spec.errors import MalformedError
from headcount_spec.members import LANGUAGE, LINE, Members
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.terms import BLS_SIGNATURE_BYTES, MAX_LABEL_CHARS, MAX_ORIGIN_CHARS, ORIGIN, SERVER_NAME

MAX_STATEMENT_BYTES = 63_900  # with sixteen signatures the entry stays below 65,535
ISSUANCE_STEP = 16  # issuance is published in multiples of this
DESTRUCTIBLE = (["tag"], ["token"], ["tag", "token"])  # an issuer's keys of a scope
NO_PREVIOUS = bytes(32)
MAX_BUNDLES = 8  # right at one site at a time: while it is updated, the old and the new

_HASH = re.compile(r"\A[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Statement:
    """What is signed in a notice."""

    role: str
    scope: ScopeId
    seq: int
    prev: bytes  # leaf hash of the same author's notice before, zeros at seq 0
    type: str
    body: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The statement in the form of RFC 8785.

        Raises:
            MalformedError: the fields do not make a valid statement, or a too long one.
        """
        data = jcs.canonicalise(
            {
                "body": self.body,
                "prev": self.prev.hex(),
                "role": self.role,
                "scope": self.scope.hex(),
                "seq": self.seq,
                "type": self.type,
            }
        )
        Statement.from_bytes(data)
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Statement:
        """Read a statement.

        Raises:
            MalformedError: not canonical, an unknown role or type, a body that is not the
                type's, or seq, prev and type that do not fit together.
        """
        members = Members(jcs.parse_canonical(data, MAX_STATEMENT_BYTES), "statement")
        body = members.take("body")
        if not isinstance(body, dict):
            raise MalformedError("statement.body: not an object")
        statement = cls(
            members.text("role", 32),
            ScopeId(members.hex32("scope")),
            members.integer("seq", 0),
            members.hex32("prev"),
            members.text("type", 32),
            body,
        )
        members.finish()
        if (statement.seq == 0) != (statement.prev == NO_PREVIOUS):
            raise MalformedError("statement.prev: zeros at seq 0 and only there")
        if (statement.type == "manifest") != (statement.role == "organiser" and statement.seq == 0):
            raise MalformedError("statement.type: a manifest is the organisers' seq 0 and only that")
        check_body(statement.role, statement.type, body)
        if statement.type == "manifest" and manifest_of(statement).scope_id != statement.scope:
            raise MalformedError("statement.scope: not the hash of the manifest")
        return statement


def manifest_of(statement: Statement) -> Manifest:
    """The manifest in a statement of type manifest.

    Raises:
        MalformedError: there is none, or it is malformed.
    """
    return _read_manifest(Members(statement.body, "body"))


def check_body(role: str, type: str, body: Mapping[str, Any]) -> None:
    """Check the body of a statement of this role and type in itself.

    What must fit the scope's manifest besides is checked by notice.verify_notice.

    Raises:
        MalformedError: an unknown role or type, or a member missing, unknown or out of range.
    """
    check = _BODIES.get((role, type))
    if check is None:
        raise MalformedError("statement.type: unknown for this role")
    members = Members(dict(body), "body")
    check(members)
    members.finish()


def _read_manifest(members: Members) -> Manifest:
    return Manifest.from_bytes(jcs.canonicalise(members.take("manifest")))


def _text(members: Members) -> None:
    members.text("language", 35, LANGUAGE)
    members.text("text", MAX_STATEMENT_BYTES)


def _child(members: Members) -> None:
    members.hex32("scope")


def _update(members: Members) -> None:
    title = members.labels("title", None, MAX_LABEL_CHARS, LINE)
    members.labels("text", frozenset(title), MAX_STATEMENT_BYTES)


def _mailing(members: Members) -> None:
    members.hex32("template")
    members.integer("number", 1)
    members.text("purpose", MAX_LABEL_CHARS, LINE)


def _pages(members: Members) -> None:
    members.text("site", MAX_ORIGIN_CHARS, ORIGIN)
    members.texts("bundles", (1, MAX_BUNDLES), 64, _HASH)


def _opening(members: Members) -> None:
    members.text("issuer", 253, SERVER_NAME)
    members.hex32("token_key_id")


def _issuance(members: Members) -> None:
    members.integer("day", 0, 2**32 - 1)
    if members.integer("issued", 0) % ISSUANCE_STEP:
        raise MalformedError(f"body.issued: no multiple of {ISSUANCE_STEP}")


def _codes(members: Members) -> None:
    members.hex32("root")
    members.integer("number", 1)


def _destroyed_keys(members: Members) -> None:
    members.integer("day", 0, 2**32 - 1)
    if members.take("keys") not in DESTRUCTIBLE:
        raise MalformedError("body.keys: not tag, token or both in this order")


def _scope_key(members: Members) -> None:
    members.base64("scope_key", signature.check_agreement_key)


def _release(members: Members) -> None:
    members.sized("private_key", signature.KEY_BYTES)
    members.integer("seal", 0)
    members.integer("live", 1)
    members.sized("signature", BLS_SIGNATURE_BYTES)


def _closing(members: Members) -> None:
    members.integer("day", 0, 2**32 - 1)


_BODIES: Mapping[tuple[str, str], Callable[[Members], object]] = {
    ("organiser", "manifest"): _read_manifest,
    ("organiser", "text"): _text,
    ("organiser", "child"): _child,
    ("organiser", "update"): _update,
    ("organiser", "mailing"): _mailing,
    ("organiser", "pages"): _pages,
    ("issuer", "opening"): _opening,
    ("issuer", "issuance"): _issuance,
    ("issuer", "codes"): _codes,
    ("issuer", "destruction"): _destroyed_keys,
    ("trustee", "enrolment"): _scope_key,
    ("trustee", "release"): _release,
    ("trustee", "destruction"): _scope_key,
    ("ledger", "closing"): _closing,
}
