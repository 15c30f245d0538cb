"""The two ceremonies of WebAuthn (Level 3): making a passkey, and showing that one has it.

The messages are the JSON that an issuer's page passes on: its options go into
``PublicKeyCredential.parseCreationOptionsFromJSON`` and ``parseRequestOptionsFromJSON``, and of what the
browser answers only the members that are needed come back, in base64url without padding.

The cryptography is py_webauthn's. What it leaves open is closed here: strict encodings, attestation that is
asked for and not given, frames of other sites, and every exception that it lets through.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import cbor2
from cryptography.exceptions import InvalidSignature
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import (
    bytes_to_base64url,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
)
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    RegistrationCredential,
)

from headcount_issuer import base64url
from headcount_issuer.attestation import AllowList, check_statement
from headcount_issuer.attester import Means
from headcount_issuer.passkey import MAX_CREDENTIAL_ID_BYTES, MAX_PUBLIC_KEY_BYTES, Passkey
from headcount_spec.errors import CodeRefusedError, ConfigurationError, MalformedError
from headcount_spec.jcs import JSON, parse_json
from headcount_spec.members import Members

MAX_HANDLE_BYTES = 64  # WebAuthn, Section 5.4.3
MAX_CLIENT_DATA_BYTES = 4096
MAX_ATTESTATION_BYTES = 12_000
MAX_AUTHENTICATOR_DATA_BYTES = 1024  # of an assertion
TIMEOUT_MS = 300_000

# ES256, EdDSA and RS256 (Windows Hello): what the options offer, and all that is taken.
_ALGORITHMS = (
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Assertion:
    """What a browser answers when it is asked for a passkey; nothing of it is verified yet."""

    credential_id: bytes = field(repr=False)
    user_handle: bytes = field(repr=False)
    client_data: bytes = field(repr=False)
    authenticator_data: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def read(cls, evidence: Members) -> Assertion:
        """Take one: credential_id, user_handle, client_data, authenticator_data, signature.

        Raises:
            MalformedError: another form.
        """
        assertion = cls(
            _bytes(evidence, "credential_id", MAX_CREDENTIAL_ID_BYTES),
            _bytes(evidence, "user_handle", MAX_HANDLE_BYTES),
            _bytes(evidence, "client_data", MAX_CLIENT_DATA_BYTES),
            _bytes(evidence, "authenticator_data", MAX_AUTHENTICATOR_DATA_BYTES),
            _bytes(evidence, "signature", 1024),
        )
        evidence.finish()
        return assertion


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whose passkeys they are: this issuer's, on the pages of its own origin."""

    origin: str  # of the issuer's pages; https, or http://localhost
    name: str  # shown by the browser
    verify_user: bool  # a PIN or a finger, not merely a touch
    allowed: AllowList | None = None  # None: any authenticator, nothing asked about its make

    def __post_init__(self) -> None:
        parts = urlsplit(self.origin)
        # Browsers have no passkeys elsewhere: an IP address is no RP id, not even 127.0.0.1.
        if parts.scheme != "https" and parts.hostname != "localhost":
            raise ConfigurationError("passkeys need an issuer URL with https, or http://localhost")
        if parts.hostname is None or parts.hostname.rpartition(".")[2].isdigit():
            raise ConfigurationError("passkeys need an issuer URL with a name, not an address")

    @classmethod
    def of(cls, means: Means, verify_user: bool, allowed: AllowList | None = None) -> RelyingParty:
        """This issuer."""
        scheme, _, host = means.url.split("/")[:3]
        return cls(f"{scheme}//{host}", means.name, verify_user, allowed)

    @property
    def id(self) -> str:
        """The RP id: the host of the origin, without its port."""
        return urlsplit(self.origin).hostname or ""

    def creation_options(self, challenge: bytes, user_handle: bytes, user_name: str) -> JSON:
        """PublicKeyCredentialCreationOptionsJSON: a passkey that the device finds by itself later."""
        return {
            "rp": {"id": self.id, "name": self.name},
            "user": {
                "id": base64url.encode(user_handle),
                "name": user_name,
                "displayName": user_name,
            },
            "challenge": base64url.encode(challenge),
            "pubKeyCredParams": [{"type": "public-key", "alg": int(alg)} for alg in _ALGORITHMS],
            "timeout": TIMEOUT_MS,
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": self._user_verification,
            },
            "attestation": "none" if self.allowed is None else "direct",
        }

    def request_options(self, challenge: bytes) -> JSON:
        """PublicKeyCredentialRequestOptionsJSON: no list of credentials, the same for everybody."""
        return {
            "challenge": base64url.encode(challenge),
            "rpId": self.id,
            "timeout": TIMEOUT_MS,
            "userVerification": self._user_verification,
        }

    @property
    def _user_verification(self) -> str:
        return "required" if self.verify_user else "discouraged"

    def register(self, challenge: bytes, evidence: Members) -> Passkey:
        """Verify the making of a passkey: evidence has client_data and attestation.

        WebAuthn, Section 7.1. The caller uses a challenge once, whatever comes out.

        Raises:
            MalformedError: another form.
            CodeRefusedError: an answer to something else, from somewhere else, or not verified.
            NotEligibleError: an authenticator of a make that is not on the list.
        """
        client_data = _bytes(evidence, "client_data", MAX_CLIENT_DATA_BYTES)
        attestation = _bytes(evidence, "attestation", MAX_ATTESTATION_BYTES)
        evidence.finish()
        _check_frame(client_data)
        roots: dict[AttestationFormat, list[bytes]] = {}
        if self.allowed is None:
            attestation = _without_statement(attestation)
        else:
            check_statement(attestation, self.allowed)
            roots[AttestationFormat.PACKED] = list(self.allowed.roots)
        credential = RegistrationCredential(
            id="", raw_id=b"", response=AuthenticatorAttestationResponse(client_data, attestation)
        )  # the id that counts is the one inside the authenticator data
        verified = _foreign(
            lambda: verify_registration_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self.id,
                expected_origin=self.origin,
                require_user_verification=self.verify_user,
                supported_pub_key_algs=list(_ALGORITHMS),
                pem_root_certs_bytes_by_fmt=roots,
            )
        )
        if not 16 <= len(verified.credential_id) <= MAX_CREDENTIAL_ID_BYTES:
            raise CodeRefusedError("the passkey has an identifier of another length")
        if len(verified.credential_public_key) > MAX_PUBLIC_KEY_BYTES:
            raise CodeRefusedError("the passkey has a key of another length")
        # Without a statement py_webauthn does not look at the key, and a broken one could never come back.
        key = verified.credential_public_key
        _foreign(lambda: decoded_public_key_to_cryptography(decode_credential_public_key(key)))
        return Passkey(verified.credential_id, verified.credential_public_key, verified.sign_count)

    def recognise(self, challenge: bytes, assertion: Assertion, passkey: Passkey) -> Passkey:
        """Verify that a passkey is there; the same with its new counter.

        WebAuthn, Section 7.2. Whether the counter has risen is the caller's to decide, together with keeping
        it.

        Raises:
            MalformedError: another form.
            CodeRefusedError: an answer to something else, from somewhere else, or not verified.
        """
        _check_frame(assertion.client_data)
        if not hmac.compare_digest(assertion.credential_id, passkey.credential_id):
            raise CodeRefusedError("the passkey's answer is not valid here")
        credential = AuthenticationCredential(
            id=bytes_to_base64url(assertion.credential_id),
            raw_id=assertion.credential_id,
            response=AuthenticatorAssertionResponse(
                assertion.client_data,
                assertion.authenticator_data,
                assertion.signature,
                assertion.user_handle,
            ),
        )
        verified = _foreign(
            lambda: verify_authentication_response(
                credential=credential,
                expected_challenge=challenge,
                expected_rp_id=self.id,
                expected_origin=self.origin,
                credential_public_key=passkey.public_key,
                credential_current_sign_count=0,
                require_user_verification=self.verify_user,
            )
        )
        return Passkey(passkey.credential_id, passkey.public_key, verified.new_sign_count)


def form_members(form: Mapping[str, str]) -> Members:
    """The fields of a page's form, to be read as the members of evidence are."""
    return Members(dict(form), "form")


def _bytes(evidence: Members, name: str, max_bytes: int) -> bytes:
    text = evidence.take(name)
    if not isinstance(text, str) or len(text) > 4 * max_bytes // 3 + 4:
        raise MalformedError(f"{evidence.path}.{name}: not base64url of at most {max_bytes} bytes")
    data = base64url.decode(text)
    if not 0 < len(data) <= max_bytes:
        raise MalformedError(f"{evidence.path}.{name}: not base64url of at most {max_bytes} bytes")
    return data


def _check_frame(client_data: bytes) -> None:
    """Refuse what was asked for inside a frame of another site. WebAuthn, Section 5.8.1."""
    value = parse_json(client_data, MAX_CLIENT_DATA_BYTES)
    if not isinstance(value, dict):
        raise MalformedError("evidence.client_data: not an object")
    if value.get("crossOrigin", False) is not False or "topOrigin" in value:
        raise CodeRefusedError("the passkey was used inside another site's page")


def _without_statement(attestation: bytes) -> bytes:
    """The attestation object as of a browser that says nothing of the make: not asked, not believed."""
    try:
        value = cbor2.loads(attestation, allow_duplicate_keys=False)
        data = value["authData"]
    except Exception as exc:  # cbor2 documents no one class for all that tags can raise
        raise MalformedError("evidence.attestation: not an attestation object") from exc
    if not isinstance(data, bytes):
        raise MalformedError("evidence.attestation: not an attestation object")
    return cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})


def _foreign(verify: Callable[[], T]) -> T:
    try:
        return verify()
    except (WebAuthnException, InvalidSignature) as exc:
        raise CodeRefusedError("the passkey's answer is not valid here") from exc
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as exc:
        # py_webauthn takes the members of keys and statements as they come: a key without an
        # algorithm is a KeyError, one with a text for a number a TypeError.
        raise CodeRefusedError("the passkey's answer cannot be read") from exc
