"""Joining a scope: a token key into its draft, an opening notice for its final manifest.

The file that the organiser hands over is either. A draft whose entry for this issuer has no token key
gets one; a manifest that has all its keys, ours among them, is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headcount_issuer.config import IssuerConfig
from headcount_issuer.keys import Keys
from headcount_issuer.notices import Notices
from headcount_issuer.store import Store
from headcount_spec import jcs, signature
from headcount_spec.errors import MalformedError, NotEligibleError, NotFoundError, UnknownKeyError
from headcount_spec.level import Level
from headcount_spec.lint import lint
from headcount_spec.scope import MAX_MANIFEST_BYTES, Manifest, ScopeId
from headcount_spec.terms import IssuerTerms
from headcount_spec.text import encode_base64


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft with this issuer's keys in it: to be handed back to the organiser."""

    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Opened:
    """A scope for which this issuer signs from now on."""

    scope: ScopeId


class Enrolment:
    """How an issuer joins scopes."""

    def __init__(self, config: IssuerConfig, store: Store, keys: Keys, notices: Notices) -> None:
        self._config = config
        self._store = store
        self._keys = keys
        self._notices = notices

    def enrol(self, data: bytes, today: int) -> Draft | Opened:
        """Answer a draft or open a manifest; the same again does the same.

        Raises:
            MalformedError: no JSON object, or a manifest that is not complete.
            NotFoundError: it does not list this issuer.
            NotEligibleError: it asks for what this issuer does not do, or the linter finds an error.
            UnknownKeyError: a token or notice key that is not this issuer's.
            ProtocolError: what the ledger answers to the opening notice.
        """
        value = jcs.parse_json(data, 2 * MAX_MANIFEST_BYTES)  # a draft may be indented
        if not isinstance(value, dict):
            raise MalformedError("the draft is not a JSON object")
        entry = self._entry(value)
        if entry is None or not entry.get("token_key"):
            return self._answer(value, entry)
        return self._open(Manifest.from_bytes(jcs.canonicalise(value)), today)

    def _entry(self, value: dict[str, Any]) -> dict[str, Any] | None:
        issuers = value.get("issuers")
        for entry in issuers if isinstance(issuers, list) else []:
            if isinstance(entry, dict) and entry.get("name") == self._config.name:
                return entry
        return None

    def _answer(self, value: dict[str, Any], entry: dict[str, Any] | None) -> Draft:
        if entry is None:
            if _is_complete(value):
                raise NotFoundError(f"the manifest does not list the issuer {self._config.name}")
            issuers = value.setdefault("issuers", [])
            if not isinstance(issuers, list):
                raise MalformedError("the issuers of the draft are not a list")
            entry = {"name": self._config.name}
            issuers.append(entry)
        entry.setdefault("url", self._config.url)
        if not entry.get("attesters"):
            entry["attesters"] = self._fitting(value.get("level"))
        entry["notice_key"] = encode_base64(signature.public_key(self._keys.notice_seed))
        entry["token_key"] = encode_base64(self._keys.create_token_key())
        return Draft(value)

    def _fitting(self, level: Any) -> list[str]:
        """The level's own names; without a level, the first attester here."""
        if level is None:
            return [next(iter(self._config.attesters))]
        names = Level.from_text(level).parts if isinstance(level, str) else ()
        if not names or any(name not in self._config.attesters for name in names):
            raise NotEligibleError("this issuer has no attesters that reach the level of the draft")
        return list(names)

    def _open(self, manifest: Manifest, today: int) -> Opened:
        terms = own_terms(manifest, self._config.name)
        self._check(manifest, terms, today)
        row = self._store.enrol(manifest, terms.token_key_id)
        self._keys.create_tag_key(manifest.scope_id)
        self._notices.open(row, terms.name, terms.token_key_id)
        return Opened(manifest.scope_id)

    def _check(self, manifest: Manifest, terms: IssuerTerms, today: int) -> None:
        if terms.notice_key != signature.public_key(self._keys.notice_seed):
            raise UnknownKeyError("the manifest has another notice key for this issuer")
        self._keys.signing_key(terms.token_key_id)
        if terms.url != self._config.url:
            raise NotEligibleError("the manifest has another URL for this issuer")
        if any(name not in self._config.attesters for name in terms.attesters + terms.returning):
            raise NotEligibleError("this issuer has no attester of this name")
        others = [row.manifest for row in self._store.scopes()]
        errors = [found for found in lint(manifest.json, others, today) if found.severity == "error"]
        if errors:
            raise NotEligibleError(f"{errors[0].path}: {errors[0].message}")
        if manifest.eligible == "parent-token-holders" and not self._knows_holders(manifest.parent):
            raise NotEligibleError("this issuer does not know who holds a token of the parent scope")
        if manifest.eligible == "parent-token-holders" and not self._asks_as_parent(manifest, terms):
            raise NotEligibleError("the parent scope has another level here: nobody could show its token")
        self._check_continued(manifest)

    def _knows_holders(self, scope_id: ScopeId | None) -> bool:
        row = None if scope_id is None else self._store.scope(scope_id)
        return row is not None and self._keys.has_tag_key(row.manifest.scope_id)

    def _check_continued(self, manifest: Manifest) -> None:
        """Who had part in a scope must remember it when another continues it; a new issuer cannot."""
        continued = None if manifest.continues is None else self._store.scope(manifest.continues.scope)
        if continued is not None and not self._knows_holders(continued.manifest.scope_id):
            raise NotEligibleError(
                "this issuer has destroyed what tells who holds a token of the scope before"
            )

    def _asks_as_parent(self, manifest: Manifest, terms: IssuerTerms) -> bool:
        """Whether people prove here what they proved for the parent: its token is found by nothing else."""
        parent = None if manifest.parent is None else self._store.scope(manifest.parent)
        if parent is None:
            return False
        before = own_terms(parent.manifest, self._config.name)
        return parent.manifest.level == manifest.level and before.attesters == terms.attesters


def _is_complete(value: dict[str, Any]) -> bool:
    try:
        Manifest.from_bytes(jcs.canonicalise(value))
    except MalformedError:
        return False
    return True


def own_terms(manifest: Manifest, name: str) -> IssuerTerms:
    """What a manifest says about the issuer of this name.

    Raises:
        NotFoundError: it does not list it.
    """
    for terms in manifest.issuers:
        if terms.name == name:
            return terms
    raise NotFoundError(f"the manifest does not list the issuer {name}")
