"""What the commands that write to opened contacts are told, and the announcement that comes before each."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click

from headcount import contact_key, contact_list, leave, mailing, organiser
from headcount.contact_audit import pinned
from headcount.contact_scope import find_contacts
from headcount.mailing import Mailing, Template
from headcount.mailing_state import MailingState
from headcount.notice import post
from headcount.terminal import FILE, FOLDER, LEDGER, POLICY, SCOPE, read_policy
from headcount_ledger.reader.fetch import cached, is_url, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.scope import ScopeId


def _secure(ctx: click.Context, param: click.Parameter, value: str) -> str:
    # RFC 8058, Section 3.1; a link in clear would tell everybody on the way who leaves what.
    if not re.fullmatch(r"https://[^\s<>\"\\?#]+", value, re.ASCII):
        raise click.BadParameter("an https address")
    return value.rstrip("/")


KEY = click.option("--key", required=True, type=FILE, help="The contact key's file.")
LIST = click.option("--list", "place", required=True, type=FILE, help="The opened contacts.")
GONE = click.option("--gone", required=True, type=FILE, help="The file of those who have left.")
_OPTIONS = (
    LEDGER,
    SCOPE,
    POLICY,
    KEY,
    click.option(
        "--sign", "signers", multiple=True, required=True, type=FILE, help="An organiser's key file."
    ),
    LIST,
    click.option("--template", required=True, type=FOLDER, help="A folder with a <language>.txt for each."),
    click.option("--purpose", required=True, help="One of the terms' purposes."),
    click.option(
        "--state", "state_file", required=True, type=FILE, help="How far this mailing is, encrypted."
    ),
    GONE,
    click.option(
        "--leave-url",
        required=True,
        metavar="URL",
        callback=_secure,
        help="Where organiser leave-page is reached (https).",
    ),
)


@dataclass(frozen=True, slots=True)
class Announced:
    """A mailing that the ledger knows of, and all that sending it takes."""

    mailing: Mailing
    state: MailingState
    contacts: contact_list.ContactList
    template: Template
    contact_key: bytes = field(repr=False)
    gone: leave.Gone


@dataclass(frozen=True, slots=True)
class MailingOrder:
    """What somebody who writes to contacts has to say, whichever way the messages go."""

    ledger: str
    scope_id: ScopeId
    policy: Path
    key: Path
    signers: tuple[Path, ...]
    place: Path
    template: Path
    purpose: str
    state_file: Path
    gone: Path
    leave_url: str

    @contextmanager
    def announced(self, *channel: int, anew: bool = False) -> Iterator[Announced]:
        """The mailing for a channel (mail, if none is given), once its notice is in the ledger.

        Raises:
            ProtocolError: as mailing.announce; or the ledger is not good, or does not take the notice.
        """
        if not is_url(self.ledger):
            raise click.UsageError("the mailing is announced at the ledger's web address")
        secret, left = contact_key.read(self.key), leave.Gone(self.gone)
        contacts = contact_list.read(self.place, secret)
        with HttpTransport() as transport, MailingState(self.state_file, secret) as state:
            fetch = pinned(cached(open_fetch(self.ledger, transport)))
            trusted = read_policy(self.policy)
            scope = find_contacts(open_ledger(fetch, trusted), self.scope_id)
            text = Template.read(self.template, scope.manifest.language)
            left.prepare(mailing.is_first(scope.view))
            found = mailing.announce(
                state,
                scope.view,
                contacts,
                text,
                self.purpose,
                [organiser.read_key(path) for path in self.signers],
                lambda contact: leave.contact_id(secret, contact) in left.ids(),
                *channel,
                anew=anew,
            )
            post(found.notice, self.ledger, transport)
            yield Announced(found, state, contacts, text, secret, left)


def takes_order(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments of an order, and the order as its first argument."""
    names = [field.name for field in fields(MailingOrder)]

    @functools.wraps(command)
    def taking(**values: Any) -> None:
        command(MailingOrder(**{name: values.pop(name) for name in names}), **values)

    for option in reversed(_OPTIONS):
        taking = option(taking)
    return taking
