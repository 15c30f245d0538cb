"""The electronic identity attester, experimental: a credential out of a wallet (SD-JWT VC, OpenID4VP).

Whoever issues the credentials is believed, about who is one person and about who has several documents. Of
what is disclosed only the configured claims are used, as uniqueness input: a number that stays the same when
a document is renewed, with the country that gave it. The issuer of the credential is not told that the person
takes part; the host of a status list learns that somebody's credential, of a whole list, was shown here, at
most once in the time for which the list may be kept.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from headcount_issuer import base64url
from headcount_issuer.attester import (
    RETURN_PATH,
    WALLET_PATH,
    Asking,
    Means,
    PageStep,
    Proof,
    Redirect,
    Step,
    View,
)
from headcount_issuer.jose import KeySet
from headcount_issuer.openid4vp import client_id, read_response, request_url
from headcount_issuer.sd_jwt import Presented, verify_presentation
from headcount_issuer.status_list import Fetch, StatusLists, fetch
from headcount_spec.errors import (
    CodeRefusedError,
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    VerificationError,
)
from headcount_spec.jcs import JSON, canonicalise
from headcount_spec.members import LINE, Members
from headcount_spec.terms import URL

NONCE_BYTES = 32
MAX_ISSUERS = 64
MAX_CLAIMS = 4
MAX_VALUE_CHARS = 200


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Somebody whose credentials are believed."""

    keys: KeySet
    status: tuple[str, ...]  # addresses below which its status lists are; none: credentials without status


@dataclass(frozen=True, slots=True)
class EidConfig:
    """The table ``[issuer.attesters.eid]``."""

    name: ClassVar[str] = "eid"

    types: tuple[str, ...]  # of credentials (vct)
    unique_by: tuple[str, ...]  # claims that make a person one, such as country and personal number
    issuers: Mapping[str, TrustedIssuer]  # by iss

    @classmethod
    def read(cls, members: Members, folder: Path) -> EidConfig:
        """Take it from the node's file; ``experimental = true`` says that its operator knows.

        Raises:
            MalformedError, ConfigurationError: as read_config.
        """
        if not members.boolean("experimental"):
            raise ConfigurationError("the attester eid is experimental: say experimental = true, or drop it")
        types = members.texts("types", (1, 16), 300, LINE)
        unique_by = members.texts("unique_by", (1, MAX_CLAIMS), 100, LINE)
        value = members.take("issuers")
        if not isinstance(value, dict) or not 1 <= len(value) <= MAX_ISSUERS:
            raise MalformedError(f"{members.path}.issuers: not a table of 1 to {MAX_ISSUERS} issuers")
        tables = Members(value, f"{members.path}.issuers")
        issuers = {name: _issuer(tables.object(name), folder) for name in value}
        members.finish()
        return cls(types, unique_by, issuers)

    def make(self, means: Means) -> EidAttester:
        """The attester."""
        return EidAttester(self, means)


def _issuer(members: Members, folder: Path) -> TrustedIssuer:
    path = folder / members.text("jwks", 1000)
    status = members.texts("status", (1, 16), 500, URL) if members.has("status") else ()
    members.finish()
    try:
        return TrustedIssuer(KeySet.from_bytes(path.read_bytes()), status)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


@dataclass(slots=True)
class _Asked(PageStep):
    """A wallet is asked, or has answered."""

    nonce: str | None = field(default=None, repr=False)  # goes with the first answer, whatever that is
    shown: Proof | None = field(default=None, repr=False)
    response_code: str = field(default="", repr=False)  # the way back of the wallet's own browser


class EidAttester:
    """Proves an identity credential; unique by what its issuer numbers people with."""

    name = "eid"

    def __init__(self, config: EidConfig, means: Means, fetch: Fetch = fetch) -> None:
        self._config = config
        self._means = means
        self._lists = StatusLists(fetch)
        self._response_uri = means.url + WALLET_PATH
        self._keys = {name: issuer.keys for name, issuer in config.issuers.items()}

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """Nothing."""
        return {}

    def begin(self, asking: Asking, evidence: Members) -> PageStep:
        """Open a page."""
        evidence.finish()
        return _Asked()

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """The second evidence is the page's code."""
        raise CodeRefusedError("nothing is asked for any more")

    def show(self, step: PageStep, asking: Asking, query: Mapping[str, str]) -> View:
        """What is asked for or, when the wallet has answered, the last step."""
        assert isinstance(step, _Asked)  # noqa: S101
        code = query.get("response_code", "")
        if code:
            return View("wallet_shown.html", {"response_code": code})
        return View("eid.html", {"claims": self._config.unique_by})

    def act(
        self, step: PageStep, asking: Asking, form: Mapping[str, str], next_token: str
    ) -> View | Redirect | Proof:
        """Lead to the wallet or, with the response code, take what it has shown."""
        assert isinstance(step, _Asked)  # noqa: S101
        code = form.get("response_code")
        if code is None:
            step.nonce = base64url.encode(self._means.draw(NONCE_BYTES))
            step.shown, step.response_code = None, ""
            claims = [[name] for name in self._config.unique_by]
            url = request_url(self._response_uri, step.nonce, next_token, self._config.types, claims)
            return View("wallet.html", {"url": url})
        shown, expected = step.shown, step.response_code
        step.shown, step.response_code = None, ""
        given = code.encode("utf-8", "surrogatepass")
        if shown is None or not hmac.compare_digest(given, expected.encode()):
            raise CodeRefusedError("the wallet has not answered this page: begin again")
        return shown

    def receive(self, step: PageStep, asking: Asking, form: Mapping[str, str], token: str) -> str:
        """Take what the wallet posts: the address to which it sends its browser back.

        Raises:
            MalformedError: not an answer.
            CodeRefusedError: not the answer to this request, not believed, or not valid.
            NotEligibleError: revoked, expired, or without the claims.
            UnavailableError: the status list cannot be had now; the wallet is asked again.
        """
        assert isinstance(step, _Asked)  # noqa: S101
        nonce, step.nonce = step.nonce, None
        if nonce is None:
            raise CodeRefusedError("nothing is asked for any more")
        try:
            step.shown = self._verify(read_response(form), nonce, asking.now)
        except VerificationError as exc:
            raise CodeRefusedError(str(exc)) from exc
        step.response_code = base64url.encode(self._means.draw(NONCE_BYTES))
        return f"{self._means.url}{RETURN_PATH}?state={token}&response_code={step.response_code}"

    def close(self) -> None:
        """Nothing runs."""

    def _verify(self, text: str, nonce: str, now: int) -> Proof:
        found = verify_presentation(
            text,
            issuers=self._keys,
            types=frozenset(self._config.types),
            audience=client_id(self._response_uri),
            nonce=nonce,
            now=now,
        )
        self._check_validity(found, now)
        values = [_value(found, name) for name in self._config.unique_by]
        return Proof(self.name, (b"eid\0" + canonicalise(list(values)),))

    def _check_validity(self, found: Presented, now: int) -> None:
        trusted = self._config.issuers[found.issuer]
        if found.expires_at is None:
            raise NotEligibleError("a credential that never expires is not accepted here")
        if found.status is not None:
            self._lists.check(found.issuer, found.status, trusted.keys, trusted.status, now)
        elif trusted.status:
            raise NotEligibleError("the credential does not say where its status can be asked")


def _value(found: Presented, name: str) -> str | int:
    value = found.claims.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise NotEligibleError("the wallet did not disclose what was asked for")
    if isinstance(value, str) and len(value) > MAX_VALUE_CHARS:
        raise NotEligibleError("the wallet disclosed what cannot be a number")
    return value
