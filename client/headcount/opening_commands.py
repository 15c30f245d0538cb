"""``headcount organiser contact-key | join-key | open | certify``, ``headcount certificate verify | qr``."""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import click

from headcount import (
    certificate_code,
    contact_audit,
    contact_key,
    contact_list,
    opening,
    output_file,
    private_file,
)
from headcount.contact_audit import Checked
from headcount.scope_commands import organiser
from headcount.terminal import FILE, LEDGER, POLICY, SCOPE, hint, progress, read_policy, say
from headcount_engine.certificate import certify as make_certificate
from headcount_engine.certificate import verify_certificate
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.certificate import Certificate
from headcount_spec.errors import ConfigurationError, MalformedError, NotEligibleError
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import encode_base64, format_day

_KEY = click.option("--key", required=True, type=FILE, help="The contact key's file.")
_STATE = click.option("--state", required=True, type=FILE, help="Remembers the ledger's last checkpoint.")
_FEW = 2_000  # blobs that one thread opens within a second
_SENTENCES = {
    "no-blob": "their holders erased them, or never sent them",
    "other-blob": "the store has another blob than the ledger's hash",
    "malformed-blob": "made for other trustees, or no blob at all",
    "cannot-open": "the shares in them open nothing",
    "cannot-open-inner": "sealed to another organiser's key",
    "no-contact": "what was sealed is no contact",
}


@organiser.command("contact-key")
@click.argument("file", type=FILE)
def new_contact_key(file: Path) -> None:
    """Make the key of the inner layer in FILE, and print its public half and three shares for paper.

    The public half goes into the draft of the contact scope (contacts.key). Any two shares restore the key.
    """
    public_key, shares = contact_key.create(file)
    say(encode_base64(public_key))
    for line in shares:
        say(line)
    hint("write each share on paper, for three people; then clear this screen")


@organiser.command("join-key")
@click.argument("file", type=FILE)
def join_key(file: Path) -> None:
    """Restore the contact key in FILE from two of the three shares, which are asked for."""
    lines = [click.prompt(f"share {i}", err=True, hide_input=True) for i in (1, 2)]
    say(encode_base64(contact_key.restore(file, lines)))


@organiser.command("open")
@LEDGER
@SCOPE
@POLICY
@_KEY
@_STATE
@click.option("--blobs", required=True, type=FILE, help="The store's file (headcount contacts export).")
@click.option("--out", required=True, type=FILE, help="The list, encrypted under the contact key.")
@click.option("--failures", type=FILE, help="A JSON file: which entries could not be opened, and why.")
def open_contacts(
    ledger: str,
    scope_id: ScopeId,
    policy: Path,
    key: Path,
    state: Path,
    blobs: Path,
    out: Path,
    failures: Path | None,
) -> None:
    """Open the sealed contacts of SCOPE, once the campaign was reached and t trustees have released.

    The whole LEDGER is audited first. What belongs to no entry at the seal at which the campaign was reached
    stays closed.
    """
    checked = _audit(ledger, scope_id, policy, state)
    say(f"{checked.scope.campaign.manifest.title_text}: {checked.sentence}")
    keys = opening.keys_of(checked, contact_key.read(key))
    entries = opening.standing(checked)
    with _workers(len(entries)) as pool, progress("opening") as bar:
        opened = opening.open_all(entries, opening.read_file(blobs, keys), keys, pool, bar)
    contact_list.write(out, scope_id, opened.contacts, keys.organiser)
    say(f"opened: {len(opened.contacts)} contacts of {len(entries)} entries, in {out}")
    if opened.repeated:
        say(f"  {opened.repeated} are the same as another")
    for reason, number in sorted(opened.reasons.items()):
        say(f"  {number} not opened, {reason}: {_SENTENCES[reason]}")
    if failures is not None:
        value = {nullifier.hex(): reason for nullifier, reason in sorted(opened.failures.items())}
        private_file.write(failures, json.dumps(value, indent=1).encode() + b"\n")


def _workers(blobs: int) -> Executor:
    """Processes, where their start costs less than the work."""
    if blobs < _FEW:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"))


@organiser.command()
@LEDGER
@SCOPE
@POLICY
@_STATE
@click.option("--out", required=True, type=FILE, help="The certificate to write.")
@click.option("--qr", type=FILE, help="Write it as a QR code too, .svg or .png.")
def certify(ledger: str, scope_id: ScopeId, policy: Path, state: Path, out: Path, qr: Path | None) -> None:
    """Make the certificate that the campaign was reached, from what the trustees of SCOPE have signed.

    Anybody may do this; the organiser usually does.
    """
    checked = _audit(ledger, scope_id, policy, state)
    scope = checked.scope
    if scope.reached is None:
        raise NotEligibleError(f"there is nothing to certify: {checked.sentence}")
    signatures = {i: r.signature for i, r in scope.releases.items() if r.matches(scope.reached)}
    certificate = make_certificate(scope.reached.reached, scope.manifest, signatures)
    private_file.write(out, certificate.to_bytes())
    out.chmod(0o644)  # it is for everybody
    if qr is not None:
        output_file.write(qr, certificate_code.draw(certificate, qr.suffix))
    say(f"certified by {', '.join(map(scope.name, certificate.signers))}: {checked.sentence}")


@click.group()
def certificate() -> None:
    """Certificates that a campaign was reached."""


@certificate.command()
@click.argument("file", type=FILE)
@click.argument("manifest", type=FILE)
def verify(file: Path, manifest: Path) -> None:
    """Verify the certificate in FILE under the MANIFEST of its contact scope, without the ledger.

    Whether the trustees in it are people you trust, you must know.
    """
    try:
        terms = Manifest.from_bytes(private_file.read(manifest))
        found = Certificate.from_bytes(private_file.read(file))
    except MalformedError as exc:
        raise ConfigurationError(f"not a certificate and a manifest: {exc}") from exc
    reached = verify_certificate(found, terms)
    names = [terms.trustees.members[i - 1].name for i in found.signers] if terms.trustees else []
    say(f"reached: {reached.live} at batch {reached.batch}, {format_day(reached.day)}")
    say(f"  scope {reached.scope_id.hex()}")
    say(f"  signed by {', '.join(names)}")


@certificate.command("qr")
@click.argument("file", type=FILE)
@click.argument("out", type=FILE)
def draw_code(file: Path, out: Path) -> None:
    """Write the certificate in FILE as a QR code into OUT, .svg or .png: for posters and screens.

    What a telephone reads is the certificate itself, to be verified like the file.
    """
    try:
        found = Certificate.from_bytes(private_file.read(file))
    except MalformedError as exc:
        raise ConfigurationError(f"{file.name} is no certificate") from exc
    output_file.write(out, certificate_code.draw(found, out.suffix))
    say(f"written: {out}")


def _audit(ledger: str, scope_id: ScopeId, policy: Path, state: Path) -> Checked:
    trusted = read_policy(policy)
    with HttpTransport() as transport, progress("recounting") as bar:
        return contact_audit.check(state, ledger, scope_id, policy=trusted, transport=transport, progress=bar)
