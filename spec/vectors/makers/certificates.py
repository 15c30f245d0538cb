"""Vectors of certificates that a campaign was reached."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import keys
import manifests
from headcount_engine import bls
from headcount_engine.certificate import certify, verify_certificate
from headcount_spec.certificate import Certificate, Reached
from headcount_spec.errors import MalformedError, ProtocolError, SignatureError, UnknownKeyError
from headcount_spec.merkle import LeafHash
from headcount_spec.scope import Manifest
from headcount_spec.text import encode_base64

from . import Case, fails, octets, ok, same, text

FILE = "certificates.json"

_CAMPAIGN = manifests.manifest()


def _seed(i: int) -> bytes:
    seed: bytes = keys.seed(f"trustee {i} bls")
    return seed


@functools.cache
def _contacts(rogue: bool = False) -> Manifest:
    """Two of three trustees; the third's proof is of another key if rogue."""
    trustees = manifests.trustees(2, 3)
    for i, member in enumerate(trustees["members"]):
        member["bls_key"] = encode_base64(bls.public_key(_seed(i)))
        member["bls_proof"] = encode_base64(bls.prove_possession(_seed(9 if rogue and i == 2 else i)))
    contacts: Manifest = manifests.contact(_CAMPAIGN, trustees=trustees)
    return contacts


_REACHED = Reached(_CAMPAIGN.scope_id, LeafHash(keys.seed("seal")), 7, 5, manifests.OPENS + 20)


@functools.cache
def _signature(i: int, reached: Reached = _REACHED) -> bytes:
    return bls.sign(_seed(i), reached.message)


def make() -> dict[str, Any]:
    """By two and by three of three trustees, and one failure at a time."""
    return {
        "about": "Certificates: under the contact scope's manifest the trustees with the numbers signers "
        "have signed message together. BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ "
        "(draft-irtf-cfrg-bls-signature-05), FastAggregateVerify after PopVerify of every signer's key.",
        "source": "Made by makers/certificates.py with py_ecc.",
        "cases": [*_good(), *_bad()],
    }


def _certificate(*signers: int, contacts: Manifest | None = None) -> Certificate:
    return certify(_REACHED, contacts or _contacts(), {i: _signature(i - 1) for i in signers})


def _good() -> list[Case]:
    return [_ok("two-of-three", _certificate(1, 3)), _ok("three-of-three", _certificate(1, 2, 3))]


def _bad() -> list[Case]:
    right = _certificate(1, 3)
    rogue = _contacts(rogue=True)
    alone = replace(right, signers=(1,), signature=_signature(0))
    data = right.to_bytes()
    return [
        _fails("one-of-three", UnknownKeyError, alone),
        _fails("another-signer", SignatureError, replace(right, signers=(1, 2))),
        _fails("one-signer-more", SignatureError, replace(right, signers=(1, 2, 3))),
        _fails("signer-beyond-the-trustees", UnknownKeyError, replace(right, signers=(1, 4))),
        _fails("another-count", SignatureError, replace(right, reached=replace(_REACHED, live=6))),
        _fails(
            "another-seal",
            SignatureError,
            replace(right, reached=replace(_REACHED, seal=LeafHash(bytes(32)))),
        ),
        _fails("below-the-threshold", MalformedError, replace(right, reached=replace(_REACHED, live=4))),
        _fails(
            "another-campaign",
            MalformedError,
            replace(right, reached=replace(_REACHED, scope_id=_contacts().scope_id)),
        ),
        _fails("another-contact-scope", UnknownKeyError, replace(right, contacts=_CAMPAIGN.scope_id)),
        _fails("signature-not-a-point", SignatureError, replace(right, signature=bytes(96))),
        _fails("without-proof-of-possession", SignatureError, replace(right, contacts=rogue.scope_id), rogue),
        _malformed("nobody", data.replace(b'"signers":"00000005"', b'"signers":"00000000"')),
        _malformed("signers-too-long", data.replace(b'"signers":"', b'"signers":"00')),
        _malformed("not-canonical", data.replace(b'"day":', b'"day": ')),
        _malformed("unknown-member", data.replace(b'"day":', b'"d":1,"day":')),
        _malformed("version-two", data.replace(b'"headcount_reached":1', b'"headcount_reached":2')),
        _malformed("truncated", data[:-1]),
        _malformed("trailing-newline", data + b"\n"),
    ]


def _inputs(data: bytes, contacts: Manifest) -> dict[str, Any]:
    return {**text("certificate", data), **text("contacts", contacts.raw)}


def _ok(name: str, certificate: Certificate) -> Case:
    return ok(name, **_inputs(certificate.to_bytes(), _contacts()), **_outputs(certificate))


def _outputs(certificate: Certificate) -> dict[str, Any]:
    reached = certificate.reached
    return {
        "scope_id": reached.scope_id.hex(),
        "live": reached.live,
        "signers": list(certificate.signers),
        "message": reached.message.hex(),
    }


def _fails(
    name: str, error: type[ProtocolError], certificate: Certificate, contacts: Manifest | None = None
) -> Case:
    return fails(name, error, **_inputs(certificate.to_bytes(), contacts or _contacts()))


def _malformed(name: str, data: bytes) -> Case:
    return fails(name, MalformedError, **_inputs(data, _contacts()))


def check(case: Case) -> None:
    """Verify the certificate under the manifest."""
    certificate = Certificate.from_bytes(octets(case, "certificate"))
    verify_certificate(certificate, Manifest.from_bytes(octets(case, "contacts")))
    same(case, **_outputs(certificate))
