"""``headcount prove | pledge | revise | reaffirm | withdraw``: what a signer does with a pledge file."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import click

from headcount import contact as contacts
from headcount import pledge as pledging
from headcount import prove as proving
from headcount import revise as revising
from headcount.contact_scope import ContactScope
from headcount.memory import Memory
from headcount.pledge_file import PledgeFile
from headcount.quota_words import asked
from headcount.scope_view import ScopeView
from headcount.terminal import FILE, LEDGER, POLICY, SCOPE, asker, policy_bytes, progress, say
from headcount_ledger.reader.fetch import open_fetch
from headcount_ledger.reader.transport import HttpTransport, origin_of
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.scope import PLAIN, Manifest, ScopeId
from headcount_spec.text import day_of, format_day

_PLEDGE_FILE = click.argument("file", type=FILE)
_STATE = click.option(
    "--state",
    type=FILE,
    help="Remembers the last checkpoint of each ledger; catches one that goes back or splits.",
)
_VERIFIER = click.option("--verifier", metavar="URL", help="Another of the sites that the terms list.")


def contact_file(pledge_file: Path) -> Path:
    """Where the contact lies that was left together with a pledge."""
    return pledge_file.with_name(f"{pledge_file.name}.contact")


def today() -> int:
    """The UTC day."""
    return day_of(int(time.time()))


def _contact(ctx: click.Context, param: click.Parameter, value: str | None) -> Contact | None:
    if value is None:
        return None
    channel, _, text = value.partition(":")
    try:
        return Contact.of(channel, text)
    except MalformedError as exc:
        raise click.BadParameter(f"{exc}; write email:ADDRESS, matrix:@USER:SERVER or phone:+NUMBER") from exc


@click.command(short_help="Prove to be a person; the issuers sign your pledge unseen.")
@LEDGER
@SCOPE
@POLICY
@click.option("--out", required=True, type=FILE, help="The pledge file; keep it, it is only yours.")
@click.option("--choice", default=PLAIN, type=click.IntRange(0, 0xFFFF), help="Number of your option.")
@click.option("--email", metavar="ADDR", help="Where the issuer sends its code; asked for otherwise.")
@click.option(
    "--issuer", "issuers", multiple=True, metavar="NAME", help="Ask only this one now; may be repeated."
)
@click.option(
    "--contact",
    callback=_contact,
    metavar="CHANNEL:VALUE",
    help="How to reach you if enough pledge, such as email:me@example.org; sealed until then.",
)
@_STATE
def prove(
    ledger: str,
    scope_id: ScopeId,
    policy: Path,
    out: Path,
    choice: int,
    email: str | None,
    issuers: tuple[str, ...],
    contact: Contact | None,
    state: Path | None,
) -> None:
    """Prove to be a person, and let the issuers sign your pledge without seeing it.

    LEDGER is the ledger's address or a folder with its files, SCOPE the id of what you pledge to.
    Stopped at any point, the same command goes on where it was, days later if need be: nobody gets a
    second token. All issuers have to sign.
    """
    memory = Memory(state) if state else None

    def accepted(view: LedgerView, found: ScopeView) -> None:
        if memory is not None:
            memory.remember(view.checkpoint.origin, view.raw)
        _introduce(view, found.manifest, choice)

    trusted = policy_bytes(policy)
    remembered = memory.checkpoints() if memory else ()
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        content = proving.prove(
            out,
            ledger,
            scope_id,
            policy=trusted,
            transport=transport,
            ask=asker(email),
            day=today(),
            choice=choice,
            remembered=remembered,
            progress=bar,
            accepted=accepted,
            issuers=issuers or None,
        )
        left = None
        if contact is not None:
            view = open_ledger(open_fetch(ledger, transport), content.trust(), (content.checkpoint,))
            child = contacts.find_child(view, scope_id)
            _introduce_contacts(child)
            listed = {issuer.name for issuer in child.manifest.issuers}
            left = proving.prove(
                contact_file(out),
                ledger,
                child.manifest.scope_id,
                policy=trusted,
                transport=transport,
                ask=asker(email),
                day=today(),
                contact=contact,
                after=int(time.time()) + contacts.draw_wait(secrets.randbelow),
                remembered=remembered,
                issuers=listed.intersection(issuers) if issuers else None,
            )
    unsigned = [*_say_unsigned(out, content), *(_say_unsigned(contact_file(out), left) if left else ())]
    if unsigned:
        until = format_day(content.manifest.closes)
        names = _and(list(dict.fromkeys(unsigned)))
        say(f"  Still to sign: {names}. Run the same command for them, by {until}.")
        return
    names = _and([issuer.name for issuer in content.manifest.issuers])
    say(f"proved: {out.name} holds your finished pledge, and nobody else has it")
    knows = "knows" if len(content.manifest.issuers) == 1 else "know"
    say(f"  {names} {knows} that you took part in this, and not what you pledge.")
    say("  Wait a while before you send it: whoever sees both moments could connect them.")
    say(f"  Next: headcount pledge {out}")
    if contact is not None:
        say(f"  and, in an hour to two days: headcount contact send {contact_file(out)} --wait")


@click.command(short_help="Send the finished pledge, and keep the ledger's promise.")
@_PLEDGE_FILE
@_VERIFIER
def pledge(file: Path, verifier: str | None) -> None:
    """Send the finished pledge in FILE, and keep the ledger's promise to publish it.

    Sending it twice changes nothing: it counts once.
    """
    with HttpTransport() as transport:
        content = pledging.submit(file, transport=transport, verifier=verifier)
    if content.promise is None or content.verifier is None:
        raise ConfigurationError("the pledge was not sent")
    say(f"pledged: the ledger promises to publish it by {format_day(content.promise.deadline)}")
    say(f"  {origin_of(content.verifier)} knows the pledge, not who made it; the ledger will show it to all.")
    say(f"  Next: headcount receipt {file}, after the next batch")


@click.command()
@_PLEDGE_FILE
@click.option("--choice", required=True, type=click.IntRange(0, 0xFFFF), help="Number of the new option.")
@_VERIFIER
def revise(file: Path, choice: int, verifier: str | None) -> None:
    """Change the pledge in FILE to another choice."""
    with HttpTransport() as transport:
        content = revising.revise(file, choice, transport=transport, day=today(), verifier=verifier)
    manifest = content.manifest
    label = next((o.label[manifest.language] for o in manifest.options if o.number == choice), "the pledge")
    say(f"changed: your choice is now {label}")
    _say_published(content)


@click.command(short_help="Say that your pledge still stands.")
@_PLEDGE_FILE
@_VERIFIER
def reaffirm(file: Path, verifier: str | None) -> None:
    """Say that the pledge in FILE still stands, where a campaign has asked: still in?

    It counts as before; the ledger shows that it is of today. It is one of the sixteen changes of a pledge.
    """
    with HttpTransport() as transport:
        content = revising.reaffirm(file, transport=transport, day=today(), verifier=verifier)
    say("still in: your pledge stands as it did")
    _say_published(content)


@click.command()
@_PLEDGE_FILE
@_VERIFIER
def withdraw(file: Path, verifier: str | None) -> None:
    """Withdraw the pledge in FILE: it no longer counts.

    Until changes end, headcount revise takes it up again.
    """
    with HttpTransport() as transport:
        content = revising.withdraw(file, transport=transport, day=today(), verifier=verifier)
    say("withdrawn: your pledge no longer counts")
    say("  It stays in the ledger, marked as withdrawn; it never named you.")
    _say_published(content)


def _introduce(view: LedgerView, manifest: Manifest, choice: int) -> None:
    say(f"{manifest.title_text}")
    option = next((o.label[manifest.language] for o in manifest.options if o.number == choice), None)
    if option is not None:
        say(f"  your choice: {option}")
    witnesses = _and([name for name, _ in view.verified.cosignatures]) or "nobody"
    say(f"  ledger: {view.checkpoint.origin}, {view.size} entries, witnessed by {witnesses}")
    say(f"  open until {format_day(manifest.closes)}; changes until {format_day(manifest.freezes)}")
    for issuer in manifest.issuers:
        say(
            f"  {issuer.name} checks that you are a person ({', '.join(issuer.attesters)}) and signs blindly."
        )
    if len(manifest.issuers) == 1:
        say("  It is the only issuer: the count trusts it not to invent people.")


def _say_unsigned(file: Path, content: PledgeFile) -> list[str]:
    """Say how far an unfinished file is, and give the names of the issuers who have not signed it."""
    missing = [
        issuer.name
        for issuer, step in zip(content.manifest.issuers, content.steps, strict=True)
        if not step.authenticator
    ]
    if missing:
        say(f"signed by {len(content.steps) - len(missing)} of {len(content.steps)}; {file.name} keeps it")
    return missing


def _introduce_contacts(child: ContactScope) -> None:
    terms, n = child.contacts, len(child.trustees.members)
    campaign = child.campaign.manifest
    also = ""
    if campaign.quotas is not None:
        also = f", {asked(campaign.quotas, len(campaign.options))}"
    say(f"  contacts: {child.trustees.t} of {n} trustees open them, if {campaign.threshold} pledge{also}:")
    say(f"    {', '.join(trustee.name for trustee in child.trustees.members)}")
    language = child.manifest.language
    say(f"    used only for: {'; '.join(purpose.text[language] for purpose in terms.purposes)}")


def _say_published(content: PledgeFile) -> None:
    change = content.changes[-1] if content.changes else None
    if change is not None and change.promise is not None:
        say(f"  The ledger promises to publish the change by {format_day(change.promise.deadline)}.")


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""
