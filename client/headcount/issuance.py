"""The conversation with one issuer: its directory, a session, one blind signature.

RFC 9578, Sections 4 and 6. The issuer learns that a person asks for a token of this scope; the message
it signs is blinded. Everything is derived from the seed, so a repetition asks for the same signature.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin

from headcount.personhood import Personhood
from headcount.question import Ask
from headcount_ledger.reader.transport import Transport, check, join, origin_of
from headcount_spec import blind_rsa
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    NotFoundError,
    SignatureError,
    UnknownKeyError,
    VerificationError,
)
from headcount_spec.jcs import parse_json
from headcount_spec.scope import Manifest
from headcount_spec.seed import blinding
from headcount_spec.spki import decode_token_key
from headcount_spec.terms import IssuerTerms
from headcount_spec.text import decode_base64url
from headcount_spec.token import TOKEN_TYPE, TokenRequest, TokenResponse

DIRECTORY_PATH = ".well-known/private-token-issuer-directory"  # RFC 9578, Section 4
DIRECTORY_TYPE = "application/private-token-issuer-directory"
REQUEST_TYPE = "application/private-token-request"
RESPONSE_TYPE = "application/private-token-response"
MAX_DIRECTORY_BYTES = 2**20  # two thousand keys


@dataclass(frozen=True, slots=True)
class Conversation:
    """One issuer of a scope, and the means to talk to it."""

    manifest: Manifest
    index: int  # among the manifest's issuers
    transport: Transport
    ask: Ask

    @property
    def issuer(self) -> IssuerTerms:
        """The issuer as the manifest names it."""
        return self.manifest.issuers[self.index]

    def request_url(self) -> str:
        """Where the issuer takes token requests for the manifest's key.

        RFC 9578, Section 4. The key that is used is the manifest's in any case; a directory that does not
        list it, or lists it twice, belongs to an issuer that is not the one the terms were written for.

        Raises:
            UnknownKeyError: the directory does not list the manifest's key once.
            MalformedError: not a directory, or its request address is on another origin.
            UnavailableError: no answer.
        """
        url = join(self.issuer.url, DIRECTORY_PATH)
        answer = self.transport("GET", url, max_bytes=MAX_DIRECTORY_BYTES)
        body = check(answer, self.issuer.name, media_type=DIRECTORY_TYPE)
        directory = parse_json(body, MAX_DIRECTORY_BYTES)
        keys = directory.get("token-keys") if isinstance(directory, dict) else None
        uri = directory.get("issuer-request-uri") if isinstance(directory, dict) else None
        if not isinstance(keys, list) or not isinstance(uri, str):
            raise MalformedError("the issuer's directory is not one (RFC 9578, Section 4)")
        if sum(_is_key(item, self.issuer.token_key) for item in keys) != 1:
            raise UnknownKeyError(f"{self.issuer.name} does not list the scope's token key; nothing was sent")
        try:
            request_url = urljoin(url, uri)
        except ValueError as exc:
            raise MalformedError("the issuer's request address is not a URL") from exc
        if origin_of(request_url) != origin_of(self.issuer.url):
            raise MalformedError("the issuer's request address is on another origin")
        return request_url

    def sign(self, url: str, session: str, nonce: bytes, seed: bytes) -> bytes:
        """The authenticator over this nonce, verified under the manifest's key, 256 bytes.

        Raises:
            SignatureError: the issuer's answer is not a signature by the manifest's key.
            AlreadyIssuedError: this person has a token of this scope, from another seed.
            MalformedError, UnavailableError: no answer of the right form.
        """
        issuer = self.issuer
        key = decode_token_key(issuer.token_key)
        token_input = self.manifest.token_inputs(nonce)[self.index]
        salt, r = blinding(seed, nonce, issuer.token_key_id, key.n)
        blinded_msg, inv = blind_rsa.blind(key, token_input, salt, r)
        answer = self.transport(
            "POST",
            url,
            body=TokenRequest(issuer.token_key_id[-1], blinded_msg).to_bytes(),
            headers={
                "Content-Type": REQUEST_TYPE,
                "Accept": RESPONSE_TYPE,
                "Authorization": f"Bearer {session}",
            },
        )
        response = TokenResponse.from_bytes(check(answer, issuer.name, media_type=RESPONSE_TYPE))
        try:
            return blind_rsa.finalize(key, token_input, response.blind_sig, inv)
        except SignatureError as exc:
            raise SignatureError(f"{issuer.name} answered with what is not its signature; stopped") from exc

    def obtain(
        self, session: str | None, keep: Callable[[str | None], None], nonce: bytes, seed: bytes
    ) -> bytes:
        """The authenticator, with an earlier run's session or a new one, which is kept before its use.

        Raises:
            ProtocolError: what request_url, Personhood.open_session and sign raise.
        """
        url = self.request_url()
        if session is not None:
            try:
                return self.sign(url, session, nonce, seed)
            except (SignatureError, UnknownKeyError):
                raise
            except (VerificationError, NotEligibleError, NotFoundError):
                keep(None)  # the session has ended meanwhile; proving again leads to the same signature
        personhood = Personhood(self.manifest, self.index, self.transport, self.ask)
        session, given = personhood.open_session()
        keep(session)
        authenticator = self.sign(url, session, nonce, seed)
        # Should this fail, the next call signs again with the same session, and does not come here.
        personhood.offer_account(session, given)
        return authenticator


def _is_key(item: object, token_key: bytes) -> bool:
    if not isinstance(item, dict) or item.get("token-type") != TOKEN_TYPE:
        return False
    text = item.get("token-key")
    try:
        return isinstance(text, str) and decode_base64url(text) == token_key
    except MalformedError:
        return False
