"""The page on which the holder of a passkey ends the account that it stands for.

    GET  /account            what an account is, and a button
    POST /account            asks for the passkey
    POST /account/<token>    takes it, once; the account is gone

Nobody has to say who they are, no scope is involved, and nothing else can be done here.
"""

from __future__ import annotations

import hashlib
import secrets
import threading

from flask import Blueprint, Response, render_template

from headcount_issuer.attester import RememberingAttester
from headcount_issuer.issuer import Issuer
from headcount_issuer.pages import ACCOUNT_PATH, check_same_origin, guard, read_form, script_nonce
from headcount_issuer.passkey import CHALLENGE_BYTES
from headcount_spec.errors import CodeRefusedError, NotFoundError, UnavailableError

LIFETIME_S = 600
MAX_ASKED = 10_000  # challenges in memory
_TOKEN_BYTES = 32


class Challenges:
    """The challenges that were given out and not answered; each is answered once, whatever comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[bytes, tuple[bytes, int]] = {}  # SHA-256 of the token → challenge, end

    def ask(self, now: int) -> tuple[str, bytes]:
        """A fresh challenge, and the token that answers it.

        Raises:
            UnavailableError: too many are waiting.
        """
        token, challenge = secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_bytes(CHALLENGE_BYTES)
        with self._lock:
            if len(self._asked) >= MAX_ASKED:
                self._asked = {key: value for key, value in self._asked.items() if now < value[1]}
            if len(self._asked) >= MAX_ASKED:
                raise UnavailableError("too many people are here at this moment", 30)
            self._asked[_key(token)] = (challenge, now + LIFETIME_S)
        return token, challenge

    def take(self, token: str, now: int) -> bytes:
        """The challenge of a token, for the first and last time.

        Raises:
            CodeRefusedError: there is none, it was answered, or it is too late.
        """
        with self._lock:
            challenge, until = self._asked.pop(_key(token), (b"", 0))
        if now >= until:
            raise CodeRefusedError("this page has expired, or was used already: begin again")
        return challenge


def blueprint(issuer: Issuer) -> Blueprint:
    """The pages of an open issuer."""
    pages = Blueprint("account_pages", __name__, template_folder="templates")
    challenges = Challenges()
    pages.after_request(guard)

    def passkeys() -> RememberingAttester:
        found = issuer.recogniser
        if found is None:
            raise NotFoundError("this issuer keeps no accounts")
        return found

    @pages.get(ACCOUNT_PATH)
    def explain() -> Response:
        passkeys()
        return _page("account.html", name=issuer.config.name, action=ACCOUNT_PATH)

    @pages.post(ACCOUNT_PATH)
    def ask() -> Response:
        check_same_origin(issuer.config.url)
        recogniser = passkeys()
        token, challenge = challenges.ask(issuer.now)
        return _page(
            "account_end.html",
            name=issuer.config.name,
            action=f"{ACCOUNT_PATH}/{token}",
            ceremony="get",
            options=recogniser.request(challenge),
            nonce=script_nonce(),
        )

    @pages.post(ACCOUNT_PATH + "/<token>")
    def end(token: str) -> Response:
        check_same_origin(issuer.config.url)
        recogniser = passkeys()
        handle, _ = recogniser.recognise(challenges.take(token, issuer.now), read_form())
        issuer.accounts.remove(handle)
        return _page("account_ended.html", name=issuer.config.name)

    return pages


def _page(template: str, **values: object) -> Response:
    return Response(render_template(template, **values), content_type="text/html; charset=utf-8")


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
