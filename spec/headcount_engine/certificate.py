"""Certificates that a campaign was reached: made of trustees' signatures, and verified."""

from __future__ import annotations

from collections.abc import Mapping

from headcount_engine import bls
from headcount_spec.certificate import Certificate, Reached
from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.scope import Manifest
from headcount_spec.terms import TrusteeTerms


def certify(reached: Reached, contacts: Manifest, signatures: Mapping[int, bytes]) -> Certificate:
    """The certificate by these trustees (from 1) of a contact scope; each signature is checked by itself.

    Raises:
        UnknownKeyError: fewer than t trustees have signed, or one that is none.
        SignatureError: a signature or a proof of possession does not verify.
        MalformedError: the contact scope is not one of this campaign.
    """
    terms = _trustees(reached, contacts, tuple(signatures))
    for i, signature in signatures.items():
        _verify_possession(terms, i)
        bls.verify([terms.members[i - 1].bls_key], reached.message, signature)
    signers = tuple(sorted(signatures))
    combined = bls.aggregate([signatures[i] for i in signers])
    return Certificate(reached, contacts.scope_id, signers, combined)


def verify_certificate(certificate: Certificate, contacts: Manifest) -> Reached:
    """What t or more of the contact scope's trustees have signed.

    Raises:
        UnknownKeyError: another contact scope, fewer than t signers, or one that is none.
        SignatureError: the aggregate or a proof of possession does not verify.
        MalformedError: the contact scope is not one of this campaign.
    """
    if certificate.contacts != contacts.scope_id:
        raise UnknownKeyError("the certificate is by the trustees of another scope")
    reached = certificate.reached
    terms = _trustees(reached, contacts, certificate.signers)
    for i in certificate.signers:
        _verify_possession(terms, i)
    public_keys = [terms.members[i - 1].bls_key for i in certificate.signers]
    bls.verify(public_keys, reached.message, certificate.signature)
    return reached


def _trustees(reached: Reached, contacts: Manifest, signers: tuple[int, ...]) -> TrusteeTerms:
    terms = contacts.trustees
    if contacts.kind != "contact" or terms is None or contacts.parent != reached.scope_id:
        raise MalformedError("the trustees are not those of this campaign's contacts")
    if not all(1 <= i <= len(terms.members) for i in signers) or len(set(signers)) < terms.t:
        raise UnknownKeyError(f"{len(set(signers))} trustees have signed where {terms.t} must")
    if reached.live < contacts.threshold:
        raise MalformedError("the count is below the threshold")
    return terms


def _verify_possession(terms: TrusteeTerms, i: int) -> None:
    trustee = terms.members[i - 1]
    try:
        bls.verify_possession(trustee.bls_key, trustee.bls_proof)
    except SignatureError as exc:
        raise SignatureError(f"{trustee.name}: {exc}") from exc
