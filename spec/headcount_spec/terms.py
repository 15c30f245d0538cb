"""The parts of a scope's manifest: options, quotas, tiers, action, issuers, trustees, contacts, ledger."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headcount_spec import signature, spki
from headcount_spec.contact import CHANNELS
from headcount_spec.errors import MalformedError
from headcount_spec.level import MAX_PARTS, NAME
from headcount_spec.members import LINE, Labels, Members, check_unique
from headcount_spec.note import ED25519, VerificationKey
from headcount_spec.spki import TokenKeyId

MAX_ISSUERS = 8  # a pledge carries 256 bytes for each
MAX_ORGANISERS = 16
MAX_SLIPS = 2**32 - 1
MAX_TRUSTEES = 32  # a sealed contact carries 81 bytes for each
MAX_PURPOSES = 16
MAX_LABEL_CHARS = 300  # titles, options: one line on a telephone
MAX_TEXT_CHARS = 4000  # explanations; the full text is a notice of its own
MAX_NAME_CHARS = 100
BLS_KEY_BYTES = 48  # compressed G1, draft-irtf-cfrg-bls-signature
BLS_SIGNATURE_BYTES = 96  # compressed G2

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PORT = r"[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_HOST = rf"{_LABEL}(?:\.{_LABEL})*(?::(?:{_PORT}))?"
SERVER_NAME = re.compile(rf"\A{_HOST}\Z")  # RFC 9577, Section 2.1: host and optional port
MAX_ORIGIN_CHARS = 300
ORIGIN = re.compile(rf"\Ahttps?://{_HOST}\Z")  # RFC 6454, Section 6.2
# RFC 3986 without user info, query, fragment, percent-encoding and dot segments.
URL = re.compile(rf"\Ahttps?://{_HOST}(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*\Z")
# The form of names in the IANA time zone database; whether the zone exists is asked where it is used.
TIME_ZONE = re.compile(r"\AUTC\Z|\A[A-Z][A-Za-z0-9_+-]*(?:/[A-Z][A-Za-z0-9_+-]*){1,2}\Z")


@dataclass(frozen=True, slots=True)
class Option:
    """One answer that may be chosen."""

    number: int  # from 1
    label: Labels

    @classmethod
    def read(cls, members: Members, languages: frozenset[str]) -> Option:
        """Take one from a manifest."""
        option = cls(
            members.integer("number", 1, 0xFFFD), members.labels("label", languages, MAX_LABEL_CHARS, LINE)
        )
        members.finish()
        return option


@dataclass(frozen=True, slots=True)
class Quotas:
    """Not only so many in all, but so many at each of several options."""

    each: int  # live pledges that are enough at one option
    options: int  # how many different options must have enough

    @classmethod
    def read(cls, members: Members, options: int) -> Quotas:
        """Take them from a manifest that has so many options."""
        quotas = cls(members.integer("each", 1), members.integer("options", 1, options))
        members.finish()
        return quotas


@dataclass(frozen=True, slots=True)
class Tier:
    """What happens when so many have pledged."""

    count: int
    effect: Labels

    @classmethod
    def read(cls, members: Members, languages: frozenset[str]) -> Tier:
        """Take one from a manifest."""
        tier = cls(members.integer("count", 1), members.labels("effect", languages, MAX_TEXT_CHARS))
        members.finish()
        return tier


@dataclass(frozen=True, slots=True)
class ActionDate:
    """When everybody acts, not before and not after."""

    date: int  # days since 1970, in the time zone
    time_zone: str  # IANA name
    what: Labels

    @classmethod
    def read(cls, members: Members, languages: frozenset[str]) -> ActionDate:
        """Take it from a manifest."""
        action = cls(
            members.day("date"),
            members.text("time_zone", 64, TIME_ZONE),
            members.labels("what", languages, MAX_TEXT_CHARS),
        )
        members.finish()
        return action


@dataclass(frozen=True, slots=True)
class IssuerTerms:
    """One of the issuers that all sign every pledge."""

    name: str  # issuer_name of its token challenge, RFC 9577
    url: str  # without a slash at the end
    token_key: bytes  # SPKI, of this scope alone
    token_key_id: TokenKeyId
    notice_key: bytes  # Ed25519
    attesters: tuple[str, ...]  # all of them are asked, or so many as the level says
    slips: int | None  # at most so many on its code sheets
    returning: tuple[str, ...]  # ways to be recognised by who was checked at this issuer before; often none

    @classmethod
    def read(cls, members: Members) -> IssuerTerms:
        """Take one from a manifest."""
        token_key = members.base64("token_key", _check_token_key)
        issuer = cls(
            members.text("name", 253, SERVER_NAME),
            members.text("url", 500, URL),
            token_key,
            spki.token_key_id(token_key),
            members.base64("notice_key", signature.check_public_key),
            members.texts("attesters", (1, MAX_PARTS), 32, NAME),
            members.integer("slips", 1, MAX_SLIPS) if members.has("slips") else None,
            members.texts("returning", (1, MAX_PARTS), 32, NAME) if members.has("returning") else (),
        )
        members.finish()
        return issuer


@dataclass(frozen=True, slots=True)
class OrganiserTerms:
    """Whose signatures speak for the campaign, and how many of them are needed."""

    keys: tuple[bytes, ...]  # Ed25519
    quorum: int

    @classmethod
    def read(cls, members: Members) -> OrganiserTerms:
        """Take them from a manifest."""
        keys = members.base64_list("keys", (1, MAX_ORGANISERS), signature.check_public_key)
        organisers = cls(keys, members.integer("quorum", 1, len(keys)))
        members.finish()
        return organisers


@dataclass(frozen=True, slots=True)
class Trustee:
    """One of those who open sealed contacts together."""

    name: str
    identity_key: bytes  # Ed25519, long-lived
    scope_key: bytes  # X25519, of this scope alone
    bls_key: bytes  # compressed G1
    bls_proof: bytes  # proof of possession, compressed G2

    @classmethod
    def read(cls, members: Members) -> Trustee:
        """Take one from a manifest."""
        trustee = cls(
            members.text("name", MAX_NAME_CHARS, LINE),
            members.base64("identity_key", signature.check_public_key),
            members.base64("scope_key", signature.check_agreement_key),
            members.sized("bls_key", BLS_KEY_BYTES),
            members.sized("bls_proof", BLS_SIGNATURE_BYTES),
        )
        members.finish()
        return trustee


@dataclass(frozen=True, slots=True)
class TrusteeTerms:
    """The trustees; t of them are enough and fewer are not."""

    t: int
    members: tuple[Trustee, ...]

    @classmethod
    def read(cls, members: Members) -> TrusteeTerms:
        """Take them from a manifest."""
        trustees = tuple(Trustee.read(item) for item in members.objects("members", (1, MAX_TRUSTEES)))
        for field in ("name", "identity_key", "scope_key", "bls_key"):
            check_unique(tuple(getattr(trustee, field) for trustee in trustees), f"{members.path}.members")
        terms = cls(members.integer("t", 1, len(trustees)), trustees)
        members.finish()
        return terms


@dataclass(frozen=True, slots=True)
class Purpose:
    """One thing for which people may be written to."""

    name: str  # as mailings name it
    text: Labels

    @classmethod
    def read(cls, members: Members, languages: frozenset[str]) -> Purpose:
        """Take one from a manifest."""
        purpose = cls(
            members.text("name", 32, NAME), members.labels("text", languages, MAX_LABEL_CHARS, LINE)
        )
        members.finish()
        return purpose


@dataclass(frozen=True, slots=True)
class ContactTerms:
    """To whom contacts are sealed inside the trustees' layer, and what they may be used for."""

    key: bytes  # X25519, the organiser's
    channels: tuple[str, ...]  # of contact.CHANNELS: those that the organiser can use
    purposes: tuple[Purpose, ...]  # nothing else is ever sent

    @classmethod
    def read(cls, members: Members, languages: frozenset[str]) -> ContactTerms:
        """Take them from a manifest."""
        terms = cls(
            members.base64("key", signature.check_agreement_key),
            members.texts("channels", (1, len(CHANNELS)), 32, NAME),
            tuple(Purpose.read(item, languages) for item in members.objects("purposes", (1, MAX_PURPOSES))),
        )
        if not CHANNELS.keys() >= set(terms.channels):
            raise MalformedError(f"{members.path}.channels: unknown")
        check_unique(tuple(purpose.name for purpose in terms.purposes), f"{members.path}.purposes")
        members.finish()
        return terms


@dataclass(frozen=True, slots=True)
class LedgerTerms:
    """The one log in which pledges of the scope count."""

    origin: str  # origin line of its checkpoints
    key: VerificationKey  # of the same name

    @classmethod
    def read(cls, members: Members) -> LedgerTerms:
        """Take it from a manifest."""
        origin = members.text("origin", 253)
        key = members.decoded("key", VerificationKey.from_text)
        if key.name != origin or key.type != ED25519:
            raise MalformedError(f"{members.path}.key: not an Ed25519 key with the name of the origin line")
        members.finish()
        return cls(origin, key)


@dataclass(frozen=True, slots=True)
class Continues:
    """The scope that this one continues after a key was lost: its live count at a seal is added."""

    scope: bytes
    seal: int  # batch number

    @classmethod
    def read(cls, members: Members) -> Continues:
        """Take it from a manifest."""
        continues = cls(members.hex32("scope"), members.integer("seal", 0))
        members.finish()
        return continues


def _check_token_key(token_key: bytes) -> bytes:
    spki.decode_token_key(token_key)
    return token_key
