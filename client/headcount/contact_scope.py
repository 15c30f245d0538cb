"""A contact scope as the ledger shows it: its campaign, and what each of its trustees has said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headcount.scope_view import PublishedNotice, ScopeView, find_scope
from headcount_ledger.reader.reached import ReachedAt, find_reached
from headcount_ledger.reader.view import LedgerView, Progress
from headcount_spec.contact import CHANNELS, Contact
from headcount_spec.errors import NotEligibleError, NotFoundError, ScopeClosedError, UnknownKeyError
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.terms import ContactTerms, TrusteeTerms
from headcount_spec.text import decode_base64


@dataclass(frozen=True, slots=True)
class Release:
    """A key that a trustee has published, and for which seal it says so."""

    private_key: bytes  # 32 bytes, X25519; verify_notice has compared it with the manifest
    batch: int
    live: int
    signature: bytes  # 96 bytes, BLS

    def matches(self, reached: ReachedAt | None) -> bool:
        """Whether the campaign was reached where the trustee says."""
        return reached is not None and (self.batch, self.live) == (
            reached.reached.batch,
            reached.reached.live,
        )


@dataclass(frozen=True, slots=True)
class ContactScope:
    """A contact scope under one checkpoint."""

    view: ScopeView
    campaign: ScopeView
    reached: ReachedAt | None  # of the campaign

    @property
    def manifest(self) -> Manifest:
        """The contact scope's own terms."""
        return self.view.manifest

    @property
    def trustees(self) -> TrusteeTerms:
        """Who opens the outer layer."""
        assert self.manifest.trustees is not None  # noqa: S101 a contact scope has them
        return self.manifest.trustees

    @property
    def contacts(self) -> ContactTerms:
        """Whose key the inner layer has, and what it may be used for."""
        assert self.manifest.contacts is not None  # noqa: S101 a contact scope has them
        return self.manifest.contacts

    def said(self, i: int, type: str) -> PublishedNotice | None:
        """The first notice of this type by trustee i, from 1."""
        author = f"trustee:{self.trustees.members[i - 1].name}"
        found = (n for n in self.view.notices if n.author == author and n.statement.type == type)
        return next(found, None)

    def those_who(self, type: str) -> tuple[int, ...]:
        """The trustees who have published a notice of this type, from 1."""
        n = len(self.trustees.members)
        return tuple(i for i in range(1, n + 1) if self.said(i, type) is not None)

    @property
    def releases(self) -> Mapping[int, Release]:
        """The keys that are out, by trustee; in time or not."""
        found = {}
        for i in self.those_who("release"):
            notice = self.said(i, "release")
            assert notice is not None  # noqa: S101
            body = notice.statement.body
            found[i] = Release(
                decode_base64(body["private_key"]),
                body["seal"],
                body["live"],
                decode_base64(body["signature"]),
            )
        return found

    def name(self, i: int) -> str:
        """The name of trustee i, from 1."""
        return self.trustees.members[i - 1].name

    def check_sealable(self, contact: Contact) -> None:
        """Check that this contact may be sealed now.

        Raises:
            NotEligibleError: the organiser does not use this channel.
            UnknownKeyError, ScopeClosedError: as check_keys.
        """
        self.check_keys()
        if contact.channel not in self.contacts.channels:
            names = ", ".join(name for name in CHANNELS if name in self.contacts.channels)
            raise NotEligibleError(f"the organiser cannot use {contact.channel}; only {names}")

    def check_keys(self) -> None:
        """Check that the trustees' keys are theirs and still closed. Protocol, Section 9.3.

        Raises:
            UnknownKeyError: a trustee has not signed these terms, or has given the key away.
            ScopeClosedError: the campaign was reached.
        """
        enrolled, released = self.those_who("enrolment"), self.those_who("release")
        for i in range(1, len(self.trustees.members) + 1):
            if i not in enrolled:
                raise UnknownKeyError(f"the trustee {self.name(i)} has not signed these terms")
            if i in released:
                raise UnknownKeyError(f"the trustee {self.name(i)} has released the key already")
            if i in self.those_who("destruction"):
                raise UnknownKeyError(f"the trustee {self.name(i)} has destroyed the key")
        if self.reached is not None:
            raise ScopeClosedError("the campaign was reached: contacts are no longer taken")


def find_contacts(view: LedgerView, scope_id: ScopeId, progress: Progress | None = None) -> ContactScope:
    """The contact scope with this id, named by the organisers of its campaign.

    Raises:
        NotFoundError: the ledger has no such scope, or it takes no contacts.
        UnknownKeyError: the campaign's organisers have not named it, or it is another ledger's.
        ProofError: the published files are not those that the ledger signed.
    """
    found = find_scope(view, scope_id, need_openings=False, progress=progress)
    if found.manifest.kind != "contact" or found.manifest.parent is None:
        raise NotFoundError("this scope takes no contacts")
    campaign = find_scope(view, found.manifest.parent, need_openings=False, progress=progress)
    children = {n.statement.body["scope"] for n in campaign.notices if n.statement.type == "child"}
    if scope_id.hex() not in children:
        raise UnknownKeyError("the organisers of the campaign have not named this contact scope")
    return ContactScope(found, campaign, find_reached(view, campaign.manifest))
