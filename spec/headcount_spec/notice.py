"""Notices: signed statements about a scope, as entries of the ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from headcount_spec import signature
from headcount_spec.errors import MalformedError, NoticeConflictError, UnknownKeyError
from headcount_spec.scope import Manifest
from headcount_spec.statement import NO_PREVIOUS, Statement, check_body, manifest_of
from headcount_spec.terms import MAX_ORGANISERS
from headcount_spec.text import decode_base64
from headcount_spec.wire import Reader, opaque16, u8

__all__ = [
    "HEADER",
    "Notice",
    "Statement",
    "author",
    "check_body",
    "manifest_of",
    "sign_statement",
    "verify_notice",
]

HEADER = b"\x04\x01"  # entry type, version

_DOMAIN = b"headcount/notice/v1\x00"


# struct {
#     opaque public_key[32];
#     opaque signature[64];
# } NoticeSignature;
#
# struct {
#     uint8 entry_type = 4;  uint8 version = 1;
#     opaque statement<1..2^16-1>;      RFC 8785
#     uint8 n;
#     NoticeSignature signatures[n];    ascending public keys
# } Notice;
@dataclass(frozen=True, slots=True)
class Notice:
    """A statement with the signatures of its author; that they verify is asked by verify_notice."""

    statement_bytes: bytes
    signatures: tuple[tuple[bytes, bytes], ...]  # (public key, signature), ascending
    statement: Statement = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "statement", Statement.from_bytes(self.statement_bytes))

    def to_bytes(self) -> bytes:
        """The entry."""
        return b"".join(
            (
                HEADER,
                opaque16(self.statement_bytes),
                u8(len(self.signatures)),
                *(key + value for key, value in self.signatures),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Notice:
        """Read an entry.

        Raises:
            MalformedError: another type or version, truncated, trailing bytes, a malformed
                statement, no signature or more than sixteen, or keys that do not ascend.
        """
        reader = Reader(data)
        reader.expect(HEADER, "entry type or version")
        statement = reader.opaque16()
        n = reader.u8()
        if not 1 <= n <= MAX_ORGANISERS:
            raise MalformedError(f"{n} signatures where 1 to {MAX_ORGANISERS} may be")
        signatures = tuple(
            (reader.take(signature.KEY_BYTES), reader.take(signature.SIGNATURE_BYTES)) for _ in range(n)
        )
        reader.finish()
        keys = [key for key, _ in signatures]
        if keys != sorted(set(keys)):
            raise MalformedError("the keys of the signatures are not in ascending order")
        return cls(statement, signatures)


def sign_statement(statement: Statement, seeds: Sequence[bytes]) -> Notice:
    """The notice with a signature by each of these 32-byte Ed25519 seeds.

    Raises:
        MalformedError: the fields do not make a valid statement.
    """
    data = statement.to_bytes()
    signatures = {signature.public_key(seed): signature.sign(seed, _DOMAIN + data) for seed in seeds}
    return Notice(data, tuple(sorted(signatures.items())))


def author(notice: Notice, manifest: Manifest) -> str:
    """Who speaks: "organiser", "issuer:<name>", "trustee:<name>" or "ledger".

    Statements are numbered by scope and author.

    Raises:
        UnknownKeyError: a signature is by a key that does not speak for the role in this manifest.
    """
    role = notice.statement.role
    names = {_author_of(role, key, manifest) for key, _ in notice.signatures}
    if len(names) != 1:
        raise UnknownKeyError("more than one author has signed the notice")
    return names.pop()


def verify_notice(notice: Notice, manifest: Manifest, previous: tuple[int, bytes] | None) -> Statement:
    """Check that a notice is its author's next one in this scope.

    previous is (seq, leaf hash) of the same author's last notice, None before the first.
    For a notice that carries a manifest, manifest is that one.

    Raises:
        UnknownKeyError: another scope's, a key of nobody, or the organisers' quorum is not reached.
        SignatureError: one of the signatures does not verify.
        MalformedError: the body contradicts the manifest.
        NoticeConflictError: another seq is next, or prev is not the notice before.
    """
    statement = notice.statement
    if statement.scope != manifest.scope_id:
        raise UnknownKeyError("the notice is of another scope")
    name = author(notice, manifest)
    needed = manifest.organisers.quorum if statement.role == "organiser" else 1
    if len(notice.signatures) < needed:
        raise UnknownKeyError("the organisers' quorum is not reached")
    for key, value in notice.signatures:
        signature.verify(key, _DOMAIN + notice.statement_bytes, value)
    if not _fits(statement, name, manifest):
        raise MalformedError(f"the {statement.type} notice contradicts the manifest")
    seq, prev = (0, NO_PREVIOUS) if previous is None else (previous[0] + 1, previous[1])
    if statement.seq != seq:
        raise NoticeConflictError(f"the author's next notice in this scope has seq {seq}", seq)
    if statement.prev != prev:
        raise NoticeConflictError("prev is not the leaf hash of the author's notice before", seq)
    return statement


def _author_of(role: str, key: bytes, manifest: Manifest) -> str:
    if role == "organiser" and key in manifest.organisers.keys:
        return role
    if role == "ledger" and key == manifest.ledger.key.public_key:
        return role
    if role == "issuer":
        for issuer in manifest.issuers:
            if key == issuer.notice_key:
                return f"issuer:{issuer.name}"
    if role == "trustee" and manifest.trustees is not None:
        for trustee in manifest.trustees.members:
            if key == trustee.identity_key:
                return f"trustee:{trustee.name}"
    raise UnknownKeyError(f"a key that does not speak for the {role} has signed the notice")


def _fits(statement: Statement, name: str, manifest: Manifest) -> bool:
    """Whether the body agrees with what the manifest says about the same thing."""
    body = statement.body
    if statement.type == "text":
        return hashlib.sha256(body["text"].encode()).digest() == manifest.texts.get(body["language"])
    if statement.type == "child":
        return bool(body["scope"] != manifest.scope_id.hex())
    if statement.type == "opening":
        ids = {f"issuer:{issuer.name}": issuer.token_key_id.hex() for issuer in manifest.issuers}
        return f"issuer:{body['issuer']}" == name and body["token_key_id"] == ids[name]
    if statement.type == "mailing":
        purposes = manifest.contacts.purposes if manifest.contacts is not None else ()
        return body["purpose"] in {purpose.name for purpose in purposes}
    if statement.type == "pages":
        return body["site"] in manifest.origins
    if statement.type == "closing" or (statement.role, statement.type) == ("issuer", "destruction"):
        return bool(body["day"] > manifest.closes)
    if statement.role == "trustee" and manifest.trustees is not None:
        keys = {f"trustee:{trustee.name}": trustee.scope_key for trustee in manifest.trustees.members}
        return _released_or_named_key(body) == keys[name]
    return True


def _released_or_named_key(body: dict[str, str]) -> bytes:
    if "private_key" in body:
        private_key = X25519PrivateKey.from_private_bytes(decode_base64(body["private_key"]))
        return private_key.public_key().public_bytes_raw()
    return decode_base64(body["scope_key"])
