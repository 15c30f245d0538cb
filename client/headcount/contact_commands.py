"""``headcount contact send | erase``: the sealed contact that was left together with a pledge."""

from __future__ import annotations

import time
from pathlib import Path

import click

from headcount import contact as contacts
from headcount.pledge_file import PledgeStore
from headcount.terminal import FILE, hint, say
from headcount_ledger.reader.transport import HttpTransport, origin_of

_FILE = click.argument("file", type=FILE)
_VERIFIER = click.option("--verifier", metavar="URL", help="Another of the sites that the terms list.")


@click.group()
def contact() -> None:
    """How you can be reached if enough pledge: sealed until then, erased when you say so."""


@contact.command()
@_FILE
@_VERIFIER
@click.option("--wait", is_flag=True, help="Wait here until the time that was drawn for it.")
def send(file: Path, verifier: str | None, wait: bool) -> None:
    """Send the sealed contact in FILE, made by headcount prove --contact.

    Not before a time that was drawn for it: sent together with your pledge, one could be connected with
    the other.
    """
    after = PledgeStore(file).load().after or 0
    if wait and time.time() < after:
        hint(f"sent in {(after - time.time()) / 3600:.1f} hours; leave this running")
        time.sleep(max(0.0, after - time.time()))
    with HttpTransport() as transport:
        content = contacts.deposit(file, transport=transport, now=int(time.time()), verifier=verifier)
    manifest = content.manifest
    names = [trustee.name for trustee in manifest.trustees.members] if manifest.trustees else []
    say(f"left: sealed for {len(names)} trustees at {origin_of(content.verifier or '')}")
    say("  Nobody can read it before they open it; then the organiser alone.")
    say(f"  headcount contact erase {file} takes it back")


@contact.command()
@_FILE
@_VERIFIER
def erase(file: Path, verifier: str | None) -> None:
    """Have the sealed contact in FILE erased."""
    with HttpTransport() as transport:
        contacts.erase(file, transport=transport, verifier=verifier)
    say("erased: the sealed contact is gone from the store")
    hint(f"headcount withdraw {file} marks its entry in the ledger too, until changes end")
