"""The log-in attester: whoever has an account at an OpenID provider. OpenID Connect Core 1.0, Section 3.1.

The provider is asked for nothing but ``openid``, and learns that somebody logs in at this issuer; the issuer
learns the subject that the provider gives to it alone (pairwise), and keeps it while the session lasts.
Authorization code flow with PKCE (RFC 7636), state, nonce and, if the provider sends it, ``iss`` (RFC 9207).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import httpx

from headcount_issuer.attester import RETURN_PATH, Asking, Means, PageStep, Proof, Redirect, Step, View
from headcount_issuer.id_token import ALGORITHMS, verify_id_token
from headcount_issuer.keys import read_private
from headcount_issuer.oidc_provider import Client, Provider
from headcount_spec.errors import CodeRefusedError, MalformedError
from headcount_spec.jcs import JSON
from headcount_spec.members import LINE, Members

_ISSUER = re.compile(r"\A(?:https://[^\s?#|/]+|http://localhost(?::[0-9]+)?)(?:/[^\s?#|]*)?\Z")
_ALGORITHM = re.compile(rf"\A(?:{'|'.join(ALGORITHMS)})\Z")
_SUBJECTS = re.compile(r"\A(?:pairwise|public)\Z")
_MAX_FIELD_CHARS = 4096


@dataclass(frozen=True, slots=True)
class OidcConfig:
    """The table ``[issuer.attesters.oidc]``."""

    name: ClassVar[str] = "oidc"

    issuer: str  # of the provider, exactly as in its tokens
    client_id: str
    label: str  # what people call the provider
    secret_file: Path | None = None  # none: a public client
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    subjects: str = "pairwise"  # public: the provider tells every site the same about a person

    @classmethod
    def read(cls, members: Members, folder: Path) -> OidcConfig:
        """Take it from the node's file."""
        config = cls(
            issuer=members.text("issuer", 500, _ISSUER),
            client_id=members.text("client_id", 300, LINE),
            label=members.text("label", 100, LINE),
            secret_file=folder / members.text("secret_file", 1000) if members.has("secret_file") else None,
            algorithms=members.texts("algorithms", (1, len(ALGORITHMS)), 16, _ALGORITHM)
            if members.has("algorithms")
            else ("RS256", "ES256"),
            subjects=members.text_or("subjects", "pairwise", 16, _SUBJECTS),
        )
        members.finish()
        return config

    def make(self, means: Means) -> OidcAttester:
        """The attester; the provider is first asked when somebody comes."""
        return OidcAttester(self, means)


@dataclass(slots=True)
class _LogIn(PageStep):
    """Somebody is about to log in, or is away doing so."""

    nonce: str = field(default="", repr=False)
    verifier: str = field(default="", repr=False)


class OidcAttester:
    """Proves an account at a provider; unique by its issuer and subject."""

    name = "oidc"

    def __init__(
        self, config: OidcConfig, means: Means, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Read the client's secret, if it has one.

        Raises:
            ConfigurationError: its file is missing or open to others.
        """
        secret = None
        if config.secret_file is not None:
            secret = read_private(config.secret_file).decode("ascii", "replace").strip()
        client = Client(config.issuer, config.client_id, secret, config.subjects == "pairwise")
        self._config = config
        self._provider = Provider(client, means.clock, transport)
        self._redirect_uri = means.url + RETURN_PATH

    def challenge(self, asking: Asking) -> Mapping[str, JSON]:
        """Nothing."""
        return {}

    def begin(self, asking: Asking, evidence: Members) -> Step:
        """Open a page; there is no evidence yet."""
        evidence.finish()
        return _LogIn()

    def finish(self, step: Step, asking: Asking, evidence: Members) -> Proof:
        """A code of the page finishes it."""
        raise CodeRefusedError("nothing is asked for any more")

    def show(self, step: PageStep, asking: Asking, query: Mapping[str, str]) -> View:
        """The way to the provider or, with an authorization response, the last step."""
        if not query:
            return View("log_in.html", {"label": self._config.label})
        if "error" in query or "code" not in query:
            raise CodeRefusedError(f"the log-in at {self._config.label} was broken off")
        fields = {name: query[name] for name in ("code", "iss") if name in query}
        if any(len(value) > _MAX_FIELD_CHARS for value in fields.values()):
            raise MalformedError("the answer of the log-in provider is too long")
        return View("logged_in.html", {"label": self._config.label, "fields": fields})

    def act(
        self, step: PageStep, asking: Asking, form: Mapping[str, str], next_token: str
    ) -> View | Redirect | Proof:
        """Leave for the provider or, with its code, ask it who logged in."""
        assert isinstance(step, _LogIn)  # noqa: S101
        if "code" not in form:
            step.nonce, step.verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
            return Redirect(
                self._provider.log_in_url(self._redirect_uri, next_token, step.nonce, step.verifier)
            )
        verifier, step.verifier = step.verifier, ""
        if not verifier or form.get("iss", self._config.issuer) != self._config.issuer:
            raise CodeRefusedError("this log-in was not begun here, or elsewhere: begin again")
        token = self._provider.exchange(form["code"], self._redirect_uri, verifier)
        subject = verify_id_token(
            token,
            self._provider.key,
            algorithms=self._config.algorithms,
            issuer=self._config.issuer,
            client_id=self._config.client_id,
            nonce=step.nonce,
            now=asking.now,
        )
        return Proof(self.name, (f"oidc\0{self._config.issuer}|{subject}".encode(),))

    def close(self) -> None:
        """Close the connections to the provider."""
        self._provider.close()
