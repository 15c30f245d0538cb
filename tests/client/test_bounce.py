from __future__ import annotations

import mailbox
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import manifests
from contact_story import Story
from headcount import bounce, contact_list, leave, mailing
from headcount.bounce import Bounce
from headcount.handout_commands import organiser as command
from headcount.mailing_state import MailingState, Outcome
from headcount.notice import post
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError
from headcount_spec.text import encode_base64

LEDGER = "http://localhost:8000/ledger"
KEY = manifests.CONTACT_PRIVATE
ID = "abcdefghijklmnopqrstuvwxyz234567"

# RFC 3464, as Postfix writes it.
REPORT = """\
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: campaign@example.org
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="cut"

This is a MIME-encapsulated message.

--cut
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

I'm sorry to have to inform you that your message could not be delivered.

--cut
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Arrival-Date: Sat, 21 Nov 2026 11:00:00 +0000 (UTC)

Final-Recipient: rfc822; somebody@example.net
Original-Recipient: rfc822;somebody@example.net
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {status} said so

--cut
Content-Description: Undelivered Message {kind}
Content-Type: {kind}

From: campaign@example.org
To: somebody@example.net
Subject: We are enough
Message-ID: <{id}@example.org>
{body}
--cut--
"""


def report(
    id: str = ID, action: str = "failed", status: str = "5.1.1", kind: str = "text/rfc822-headers"
) -> bytes:
    body = "\nWe are enough.\n" if kind == "message/rfc822" else ""
    return REPORT.format(id=id, action=action, status=status, kind=kind, body=body).encode()


@pytest.mark.parametrize("kind", ["text/rfc822-headers", "message/rfc822"])
@pytest.mark.parametrize(
    ("action", "status", "expected"),
    [
        ("failed", "5.1.1", Bounce(ID, True, True)),
        ("failed", "5.1.10", Bounce(ID, True, True)),
        ("failed", "5.2.1", Bounce(ID, True, True)),
        ("failed", "5.2.2", Bounce(ID, True, False)),  # full
        ("failed", "5.2.10", Bounce(ID, True, False)),
        ("failed", "5.1.7", Bounce(ID, True, False)),  # the sender's address is bad
        ("failed", "5.1.8", Bounce(ID, True, False)),
        ("failed", "5.7.1", Bounce(ID, True, False)),  # they do not want the sender
        ("failed", "4.4.7", Bounce(ID, True, False)),  # given up after days
        ("delayed", "4.4.1", Bounce(ID, False, False)),
        ("delivered", "2.0.0", None),
        ("relayed", "2.0.0", None),
        ("failed", "nonsense", Bounce(ID, True, False)),
    ],
)
def test_what_a_report_says(kind: str, action: str, status: str, expected: Bounce | None) -> None:
    assert bounce.parse(report(action=action, status=status, kind=kind)) == expected


def test_servers_that_change_the_case_change_nothing() -> None:
    assert bounce.parse(report(ID.upper())) == Bounce(ID, True, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Subject: out of office\n\nI am away.\n",
        report("someone-else"),
        report().replace(b"multipart/report", b"multipart/mixed"),
        report().replace(b"message/delivery-status", b"text/plain"),
        report().replace(b"text/rfc822-headers", b"text/plain"),
        report()[:700],
    ],
)
def test_other_mails_say_nothing(data: bytes) -> None:
    assert bounce.parse(data) is None


@given(
    st.binary(max_size=300)
    | st.tuples(st.integers(0, len(report()) - 1), st.binary(max_size=8)).map(
        lambda cut: report()[: cut[0]] + cut[1] + report()[cut[0] + len(cut[1]) :]
    )
)
def test_no_mail_breaks_the_reader(data: bytes) -> None:
    found = bounce.parse(data)
    assert found is None or len(found.message_id) == 32


def test_boxes_of_three_kinds_are_read(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(report())
    box = mailbox.mbox(tmp_path / "mbox")
    folder = mailbox.Maildir(tmp_path / "maildir")
    for number in range(2):
        box.add(report(ID[:-1] + str(number + 2)))
        folder.add(report(ID[:-1] + str(number + 2)))
    box.close()
    for name, number in (("one", 1), ("mbox", 2), ("maildir", 2)):
        found = [bounce.parse(data) for data in bounce.read_box(tmp_path / name)]
        assert len({item.message_id for item in found if item is not None}) == number, name
    with pytest.raises(ConfigurationError):
        list(bounce.read_box(tmp_path / "none"))


class Desk:
    """Three readers of two mailings that were sent already."""

    def __init__(self, story: Story, folder: Path) -> None:
        self.folder = folder
        people = tuple(Contact.of("email", f"reader{i}@example.org") for i in range(3))
        contact_list.write(folder / "list", story.scope.scope_id, people, KEY)
        (folder / "key").write_text(f"headcount-contact-key-1 {encode_base64(KEY)}\n")
        (folder / "en.txt").write_text("Subject: s\n\n{leave}\n")
        self.contacts = contact_list.read(folder / "list", KEY)
        self.gone = leave.Gone(folder / "gone")
        self.mailings = []
        template = mailing.Template.read(folder, "en")
        for name in ("first", "second"):
            with MailingState(folder / name, KEY) as state:
                seeds = manifests.ORGANISER_SEEDS[:1]
                view = story.contacts().view
                nobody = lambda _: False  # noqa: E731
                made = mailing.announce(
                    state, view, self.contacts, template, "confirmation", seeds, nobody, anew=name == "second"
                )
                self.mailings.append(made)
                for place in made.recipients:
                    state.note(place, Outcome.SENT)
            post(made.notice, LEDGER, story.world.http)
            story.world.seal()

    def outcomes(self, name: str) -> dict[int, Outcome]:
        with MailingState(self.folder / name, KEY) as state:
            state.load()
            return state.outcomes

    def read(self, *mails: bytes) -> str:
        box = mailbox.mbox(self.folder / "box")
        for data in mails:
            box.add(data)
        box.close()
        options = ["--key", str(self.folder / "key"), "--list", str(self.folder / "list")]
        options += ["--gone", str(self.folder / "gone")]
        for name in ("first", "second"):
            options += ["--state", str(self.folder / name)]
        done = CliRunner().invoke(command, ["bounces", str(self.folder / "box"), *options])
        assert done.exit_code == 0, (done.output, done.exception)
        assert "reader" not in done.output
        return done.stdout


@pytest.fixture
def desk(world: Any, tmp_path: Path) -> Desk:
    return Desk(Story(world, LEDGER, t=1, n=1), tmp_path)


def test_mails_that_come_back_are_found_by_their_id_and_dead_addresses_dropped(desk: Desk) -> None:
    first = desk.mailings[0]
    ids = [first.message_id(KEY, place) for place in first.recipients]
    said = desk.read(
        report(ids[0]),
        report(ids[1], status="5.7.1"),
        report(ids[2], action="delayed", status="4.4.1"),
        report(),  # of no mailing here
        EmailMessage().as_bytes(),
    )
    assert said == (
        "bounced: 2; 1 addresses get no more mail\n"
        "  1 are late, and still tried\n"
        "  2 other mails, passed over\n"
    )
    expected = {0: Outcome.BOUNCED, 1: Outcome.BOUNCED, 2: Outcome.SENT}
    assert desk.outcomes("first") == expected
    assert set(desk.outcomes("second").values()) == {Outcome.SENT}
    assert desk.gone.ids() == {leave.contact_id(KEY, desk.contacts.contacts[0])}
    size = (desk.folder / "first").stat().st_size
    desk.read()
    assert (desk.folder / "first").stat().st_size == size
    with MailingState(desk.folder / "first", KEY) as state:
        found = mailing.read(state)
        counted = mailing.summary(found, state, desk.contacts, KEY, desk.gone)
    assert counted == {"bounced": 2, "sent": 1}


def test_an_id_names_nobody_without_the_key(desk: Desk) -> None:
    first = desk.mailings[0]
    ids = [first.message_id(KEY, place) for place in first.recipients]
    assert len(set(ids)) == 3
    assert not set(ids) & {first.message_id(bytes(32), place) for place in first.recipients}
    assert all(bounce._ID.search(f"<{id}@example.org>") for id in ids)
