"""Scopes and their manifests: where one human counts once.

A manifest is JSON in the form of RFC 8785; the scope id is the hash of its bytes, so that it pins
every term and every key. Nothing here normalises: bytes are taken as they are or refused. What a
campaigner should not do although the format allows it is the linter's business (lint).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NewType

from headcount_spec import jcs
from headcount_spec.errors import MalformedError, ScopeClosedError
from headcount_spec.level import Level
from headcount_spec.members import LANGUAGE, LINE, Labels, Members, check_unique
from headcount_spec.policy import Policy
from headcount_spec.terms import (
    MAX_ISSUERS,
    MAX_LABEL_CHARS,
    MAX_ORIGIN_CHARS,
    MAX_TEXT_CHARS,
    ORIGIN,
    ActionDate,
    ContactTerms,
    Continues,
    IssuerTerms,
    LedgerTerms,
    Option,
    OrganiserTerms,
    Quotas,
    Tier,
    TrusteeTerms,
)
from headcount_spec.text import format_day
from headcount_spec.token import TOKEN_TYPE, TokenChallenge, token_input

ScopeId = NewType("ScopeId", bytes)  # 32 bytes

VERSION = 1
MAX_MANIFEST_BYTES = 60_000  # a notice around it, with sixteen signatures, stays below 65,535
KINDS = ("campaign", "round", "checkin", "contact")
ELIGIBLE = ("anyone", "parent-token-holders")
MAX_OPTIONS = 256
MAX_TIERS = 32
MAX_ORIGINS = 64
MAX_HOLD_DAYS = 31

# Values of `choice` that are no option's number.
PLAIN = 0  # a pledge without options
SEALED = 0xFFFE  # sealed until the scope closes
WITHDRAWN = 0xFFFF  # only in a revision

NO_SEALED_HASH = bytes(32)

_DOMAIN = b"headcount/scope/v1\x00"


def scope_id(manifest: bytes) -> ScopeId:
    """The identifier of the scope with these manifest bytes. Protocol, Section 2."""
    return ScopeId(hashlib.sha256(_DOMAIN + manifest).digest())


@dataclass(frozen=True, slots=True, eq=False)
class Manifest:
    """The terms of a scope, read strictly; two are equal exactly if their bytes are."""

    raw: bytes  # RFC 8785
    scope_id: ScopeId
    kind: str
    parent: ScopeId | None
    eligible: str
    language: str  # in which the others are checked
    title: Labels
    texts: Mapping[str, bytes]  # language → SHA-256 of the full text's UTF-8 bytes
    options: tuple[Option, ...]
    addressee: Labels
    opens: int  # day, the first of acceptance
    freezes: int  # day, the last for changes
    closes: int  # day, the last of acceptance
    threshold: int
    quotas: Quotas | None
    tiers: tuple[Tier, ...]
    action: ActionDate | None
    level: str  # of assurance: one attester's name, or several joined by "+"
    issuers: tuple[IssuerTerms, ...]
    organisers: OrganiserTerms
    trustees: TrusteeTerms | None
    contacts: ContactTerms | None
    ledger: LedgerTerms
    witnesses: str  # tlog-policy without logs
    origins: tuple[str, ...]
    min_batch: int
    max_hold: int  # days
    data_use: Labels
    end_of_life: Labels
    continues: Continues | None

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Read the bytes of a manifest.

        Raises:
            MalformedError: not canonical, a member missing, unknown or out of its range, or
                members that contradict each other.
        """
        members = Members(jcs.parse_canonical(data, MAX_MANIFEST_BYTES), "manifest")
        members.integer("headcount", VERSION, VERSION)
        title = members.labels("title", None, MAX_LABEL_CHARS, LINE)
        languages = frozenset(title)
        options = _options(members, languages)
        manifest = cls(
            raw=data,
            scope_id=scope_id(data),
            kind=_one_of(members, "kind", KINDS),
            parent=ScopeId(members.hex32("parent")) if members.has("parent") else None,
            eligible=_one_of(members, "eligible", ELIGIBLE),
            language=members.text("language", 35, LANGUAGE),
            title=title,
            texts=members.hashes("texts", languages),
            options=options,
            addressee=members.labels("addressee", languages, MAX_LABEL_CHARS, LINE),
            opens=members.day("opens"),
            freezes=members.day("freezes"),
            closes=members.day("closes"),
            threshold=members.integer("threshold", 1),
            quotas=_quotas(members, len(options)),
            tiers=_tiers(members, languages),
            action=ActionDate.read(members.object("action"), languages) if members.has("action") else None,
            level=str(members.decoded("level", Level.from_text)),
            issuers=_issuers(members),
            organisers=OrganiserTerms.read(members.object("organisers")),
            trustees=TrusteeTerms.read(members.object("trustees")) if members.has("trustees") else None,
            contacts=(
                ContactTerms.read(members.object("contacts"), languages) if members.has("contacts") else None
            ),
            ledger=LedgerTerms.read(members.object("ledger")),
            witnesses=_witnesses(members),
            origins=members.texts("origins", (1, MAX_ORIGINS), MAX_ORIGIN_CHARS, ORIGIN),
            min_batch=members.integer("min_batch", 1),
            max_hold=members.integer("max_hold", 0, MAX_HOLD_DAYS),
            data_use=members.labels("data_use", languages, MAX_TEXT_CHARS),
            end_of_life=members.labels("end_of_life", languages, MAX_TEXT_CHARS),
            continues=Continues.read(members.object("continues")) if members.has("continues") else None,
        )
        members.finish()
        manifest._check()
        return manifest

    def _check(self) -> None:
        if self.language not in self.title:
            raise MalformedError("manifest.language: not a language of the title")
        if not self.opens <= self.freezes <= self.closes:
            raise MalformedError("manifest: opens, freezes and closes are not in this order")
        if self.parent is None and (
            self.kind in ("checkin", "contact") or self.eligible == "parent-token-holders"
        ):
            raise MalformedError("manifest.parent: missing")
        if self.kind == "contact" and (self.trustees is None or self.options):
            raise MalformedError("manifest: a contact scope has trustees and no options")
        if (self.kind == "contact") != (self.contacts is not None):
            raise MalformedError("manifest.contacts: in a contact scope and only there")
        if self.quotas is not None:
            self._check_quotas()

    def _check_quotas(self) -> None:
        if self.kind not in ("campaign", "round"):
            raise MalformedError("manifest.quotas: only in a campaign or a round")
        if self.holds_sealed:
            raise MalformedError("manifest.quotas: nobody can count the options of a sealed round")
        # What is left of each quota of the scope before could not be said in one number.
        if self.continues is not None:
            raise MalformedError("manifest.quotas: not in a scope that continues another")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    @property
    def json(self) -> dict[str, Any]:
        """The manifest as a JSON value, each time a new one."""
        value: dict[str, Any] = json.loads(self.raw)
        return value

    @property
    def title_text(self) -> str:
        """The title in the manifest's language."""
        return self.title[self.language]

    @property
    def deadline_day(self) -> int:
        """The last day on which an accepted entry may still be published.

        min_batch is never waived, so a promise can name no earlier day.
        """
        return self.closes + self.max_hold + 1

    @property
    def holds_sealed(self) -> bool:
        """Whether every pledge commits to a sealed blob: contacts, and rounds that have trustees."""
        return self.kind == "contact" or (self.kind == "round" and self.trustees is not None)

    def challenge(self, issuer: int) -> TokenChallenge:
        """The token challenge of the issuer with this index. RFC 9577, Section 2.1."""
        return TokenChallenge(TOKEN_TYPE, self.issuers[issuer].name, self.scope_id, "")

    def token_inputs(self, nonce: bytes) -> list[bytes]:
        """What each issuer's authenticator signs, in the order of the issuers. RFC 9578, Section 6.1."""
        return [
            token_input(nonce, self.challenge(i).digest(), issuer.token_key_id)
            for i, issuer in enumerate(self.issuers)
        ]

    def valid_choice(self, choice: int) -> bool:
        """Whether a pledge here may make this choice; a revision may withdraw besides."""
        if self.kind == "round" and self.holds_sealed:
            return choice == SEALED
        if self.options:
            return 1 <= choice <= len(self.options)
        return choice == PLAIN

    def valid_sealed_hash(self, sealed_hash: bytes) -> bool:
        """Whether a pledge here may commit to this blob: some blob or none, as the kind demands."""
        return (sealed_hash != NO_SEALED_HASH) == self.holds_sealed

    def check_open(self, day: int) -> None:
        """Refuse a pledge outside the days of acceptance.

        Raises:
            ScopeClosedError: before the opening day or after the closing day.
        """
        if day < self.opens:
            raise ScopeClosedError(f"the scope opens on {format_day(self.opens)}")
        if day > self.closes:
            raise ScopeClosedError(f"the scope closed on {format_day(self.closes)}")

    def check_change(self, day: int) -> None:
        """Refuse a revision outside the days of changes.

        Raises:
            ScopeClosedError: before the opening day or after the freeze day.
        """
        self.check_open(day)
        if day > self.freezes:
            raise ScopeClosedError(f"changes ended on {format_day(self.freezes)}")


def _one_of(members: Members, name: str, values: tuple[str, ...]) -> str:
    value = members.text(name, 32)
    if value not in values:
        raise MalformedError(f"{members.path}.{name}: unknown")
    return value


def _options(members: Members, languages: frozenset[str]) -> tuple[Option, ...]:
    if not members.has("options"):
        return ()
    options = tuple(Option.read(item, languages) for item in members.objects("options", (1, MAX_OPTIONS)))
    if any(option.number != i for i, option in enumerate(options, 1)):
        raise MalformedError("manifest.options: not numbered 1, 2, 3 …")
    return options


def _quotas(members: Members, options: int) -> Quotas | None:
    if not members.has("quotas"):
        return None
    if not options:
        raise MalformedError("manifest.quotas: there are no options")
    return Quotas.read(members.object("quotas"), options)


def _tiers(members: Members, languages: frozenset[str]) -> tuple[Tier, ...]:
    if not members.has("tiers"):
        return ()
    tiers = tuple(Tier.read(item, languages) for item in members.objects("tiers", (1, MAX_TIERS)))
    if any(lower.count >= upper.count for lower, upper in itertools.pairwise(tiers)):
        raise MalformedError("manifest.tiers: not in ascending order")
    return tiers


def _issuers(members: Members) -> tuple[IssuerTerms, ...]:
    issuers = tuple(IssuerTerms.read(item) for item in members.objects("issuers", (1, MAX_ISSUERS)))
    for field in ("name", "token_key", "notice_key"):
        check_unique(tuple(getattr(issuer, field) for issuer in issuers), "manifest.issuers")
    return issuers


def _witnesses(members: Members) -> str:
    witnesses = members.text("witnesses", 20_000)
    try:
        policy = Policy.from_bytes(witnesses.encode())
    except MalformedError as exc:
        raise MalformedError(f"{members.path}.witnesses: {exc}") from exc
    if policy.logs:
        raise MalformedError(f"{members.path}.witnesses: names a log; the log is in ledger")
    return witnesses
