"""An OpenID provider as its client sees it: discovery, keys, the exchange of a code. By authlib, over httpx.

OpenID Connect Discovery 1.0, RFC 6749, RFC 7636. Answers are bounded, redirects are not followed, and
what is learnt is kept for an hour; keys are asked for again when a token names an unknown one, at most once
a minute, so that forged tokens cannot make us ask.
"""

from __future__ import annotations

import base64
import logging
import re
import threading
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.discovery import OpenIDProviderMetadata
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from headcount_spec.errors import CodeRefusedError, MalformedError, UnavailableError
from headcount_spec.jcs import JSON, parse_json

KEPT_S = 3600
AGAIN_S = 60  # keys are not asked for more often
PAUSE_S = 5  # after a provider has not answered
_NEVER = -(2**62)
_TIMEOUT_S = 10
_MAX_BYTES = 262_144
_PLACE = re.compile(r"\Ahttps://[^\s/]|\Ahttp://(?:localhost|127\.0\.0\.1)(?::[0-9]+)?(?:/|\Z)")


# At INFO it would write down the moment of every log-in.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Client:
    """Whom the provider knows us as."""

    issuer: str  # exactly as in the provider's tokens
    client_id: str
    secret: str | None = field(default=None, repr=False)  # none: a public client, with PKCE alone
    pairwise: bool = True  # the provider must give each client its own subjects


@dataclass(slots=True)
class _Known:
    """What the provider says of itself, and when it was asked."""

    metadata: Mapping[str, Any]
    keys: KeySet
    asked_at: int
    keys_asked_at: int


class Provider:
    """One provider; threads share it."""

    def __init__(
        self, client: Client, clock: Callable[[], int], transport: httpx.BaseTransport | None = None
    ) -> None:
        self.client = client
        self._clock = clock
        self._http = httpx.Client(
            timeout=_TIMEOUT_S, transport=transport, trust_env=False, follow_redirects=False
        )
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._failed_at = _NEVER

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def log_in_url(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to log in: scope ``openid`` and nothing else.

        Raises:
            UnavailableError: the provider does not answer, or not as one.
        """
        url: str = prepare_grant_uri(
            self._ask().metadata["authorization_endpoint"],
            self.client.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope="openid",
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return url

    def exchange(self, code: str, redirect_uri: str, verifier: str) -> str:
        """The ID token for a code; the access token is thrown away.

        Raises:
            CodeRefusedError: the provider does not take the code.
            UnavailableError: it does not answer.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {}
        if self.client.secret is None:
            form["client_id"] = self.client.client_id
        else:
            # RFC 6749, Section 2.3.1: both are form-encoded first.
            pair = ":".join(map(urllib.parse.quote_plus, (self.client.client_id, self.client.secret)))
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        status, answer = self._json("POST", self._ask().metadata["token_endpoint"], form, headers)
        token = answer.get("id_token") if isinstance(answer, dict) else None
        if status in (400, 401) and status != 200:
            raise CodeRefusedError("the log-in provider does not take this log-in: begin again")
        if status != 200 or not isinstance(token, str):
            raise UnavailableError("the log-in provider does not answer as one")
        return token

    def key(self, key_id: str | None, algorithm: str) -> Key:
        """The key of a token's header; asked for again if it is new.

        Raises:
            CodeRefusedError: the provider has no such key for signatures.
            UnavailableError: it does not answer.
        """
        known = self._ask()
        key = _find(known.keys, key_id, algorithm)
        if key is None:
            key = _find(self._renew(known).keys, key_id, algorithm)
        if key is None:
            raise CodeRefusedError("what the log-in provider has signed does not hold for this session")
        return key

    def _ask(self) -> _Known:
        with self._lock:
            now = self._clock()
            if self._known is not None and self._known.asked_at <= now < self._known.asked_at + KEPT_S:
                return self._known
            # Those who wait here must not wait one after the other for a provider that is down.
            if self._failed_at <= now < self._failed_at + PAUSE_S:
                raise UnavailableError("the log-in provider does not answer", PAUSE_S)
            try:
                metadata = self._discover()
                self._known = _Known(metadata, self._keys(metadata), now, now)
            except UnavailableError:
                self._failed_at = self._clock()
                raise
            return self._known

    def _renew(self, known: _Known) -> _Known:
        with self._lock:
            now = self._clock()
            if known is self._known and now >= known.keys_asked_at + AGAIN_S:
                known.keys_asked_at = now
                known.keys = self._keys(known.metadata)
            return self._known or known

    def _discover(self) -> Mapping[str, Any]:
        """OpenID Connect Discovery 1.0, Sections 4.2 and 4.3."""
        url = self.client.issuer.removesuffix("/") + "/.well-known/openid-configuration"
        status, value = self._json("GET", url)
        if status != 200 or not isinstance(value, dict):
            raise UnavailableError("the log-in provider does not say what it is")
        metadata = OpenIDProviderMetadata(value)
        places = [value.get(f"{name}_endpoint") for name in ("authorization", "token")]
        places.append(value.get("jwks_uri"))
        try:
            metadata.validate_response_types_supported()
            metadata.validate_subject_types_supported()
        except (ValueError, TypeError) as exc:
            raise UnavailableError("the log-in provider does not say what it is") from exc
        if value.get("issuer") != self.client.issuer:
            raise UnavailableError("the log-in provider says that it is another one")
        if not all(isinstance(place, str) and _PLACE.match(place) for place in places):
            raise UnavailableError("the log-in provider has addresses that are not encrypted")
        if self.client.pairwise and "pairwise" not in value["subject_types_supported"]:
            raise UnavailableError("the log-in provider tells every site the same about a person")
        return value

    def _keys(self, metadata: Mapping[str, Any]) -> KeySet:
        status, value = self._json("GET", metadata["jwks_uri"])
        keys = value.get("keys") if status == 200 and isinstance(value, dict) else None
        if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
            raise UnavailableError("the log-in provider has no keys")
        try:
            # Symmetric keys would be secrets, and have no place there.
            return KeySet.import_key_set({"keys": [key for key in keys if key.get("kty") != "oct"]})
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise UnavailableError("the log-in provider has no keys") from exc

    def _json(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, JSON]:
        body = b""
        try:
            with self._http.stream(
                method, url, data=form, headers={"Accept": "application/json", **(headers or {})}
            ) as answer:
                for chunk in answer.iter_bytes(65536):
                    body += chunk
                    if len(body) > _MAX_BYTES:
                        raise UnavailableError("the log-in provider answers too much")
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise UnavailableError("the log-in provider does not answer") from exc
        try:
            return answer.status_code, parse_json(body, _MAX_BYTES)
        except MalformedError as exc:
            raise UnavailableError("the log-in provider does not answer as one") from exc


def _find(keys: KeySet, key_id: str | None, algorithm: str) -> Key | None:
    fitting = [
        key
        for key in keys
        if (key_id is None or key.kid == key_id)
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
    ]
    return fitting[0] if len(fitting) == 1 else None
