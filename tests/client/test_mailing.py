from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import click
import pytest
from aiosmtpd.controller import Controller
from click.testing import CliRunner

import keys
import manifests
from contact_story import Story
from headcount import contact_list, leave, mailing
from headcount.contact_list import ContactList
from headcount.mailing_commands import mail as mail_command
from headcount.mailing_state import MailingState, Outcome
from headcount.notice import post
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError, MalformedError, NotEligibleError, UnavailableError
from ports import free_ports

LEDGER = "http://localhost:8000/ledger"
KEY = manifests.CONTACT_PRIVATE
SENDER = "campaign@example.org"
LEAVE_URL = "https://leave.example.org"


class PostOffice:
    """Takes mails; refuses, puts off or dies as it is told."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes]] = []
        self.refuses: dict[str, str] = {}
        self.dies_after: int | None = None
        (self.port,) = free_ports(0)
        self.controller: Any = None

    def start(self) -> None:
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=True)
        self.controller.start()

    def stop(self) -> None:
        self.controller.stop()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.dies_after is not None and len(self.mails) >= self.dies_after:
            server.transport.abort()
            return "421 gone"
        self.mails.append((envelope.rcpt_tos[0], envelope.content))
        return "250 taken"

    @property
    def readers(self) -> list[str]:
        return [address for address, _ in self.mails]


@pytest.fixture
def office() -> Iterator[PostOffice]:
    made = PostOffice()
    made.start()
    yield made
    made.stop()


def people(n: int) -> list[Contact]:
    return [Contact.of("email", f"reader{i}@example.org") for i in range(n)]


class Desk:
    """The organiser's folder for one mailing."""

    def __init__(self, story: Story, folder: Path, contacts: list[Contact]) -> None:
        self.story = story
        self.folder = folder
        self.contacts = ContactList(story.scope.scope_id, tuple(contacts))
        self.gone = leave.Gone(folder / "gone")
        (folder / "template").mkdir(exist_ok=True)
        for language, subject in (("en", "It is reached"), ("fr", "C'est fait")):
            text = f"Subject: {subject}\n\nWe are enough ({language}).\nLeave: {{leave}}\n"
            (folder / "template" / f"{language}.txt").write_text(text)
        self.template = mailing.Template.read(folder / "template", "en")

    def state(self, name: str = "state") -> MailingState:
        return MailingState(self.folder / name, KEY)

    def announce(self, state: MailingState, purpose: str = "confirmation") -> mailing.Mailing:
        return mailing.announce(
            state,
            self.story.contacts().view,
            self.contacts,
            self.template,
            purpose,
            manifests.ORGANISER_SEEDS[:1],
            lambda contact: leave.contact_id(KEY, contact) in self.gone.ids(),
        )

    def run(self, office: PostOffice, purpose: str = "confirmation", name: str = "state") -> Counter[str]:
        with self.state(name) as state:
            found = self.announce(state, purpose)
            post(found.notice, LEDGER, self.story.world.http)
            server = mailing.Server("127.0.0.1", office.port, SENDER, tls=False)
            return mailing.send(
                found,
                state,
                self.contacts,
                self.template,
                server,
                contact_key=KEY,
                leave_url=LEAVE_URL,
                gone=self.gone,
                pause=lambda: None,
            )


@pytest.fixture
def story(world: Any) -> Story:
    return Story(world, LEDGER, t=1, n=1)


def test_a_mailing_is_announced_and_each_reader_gets_one_mail(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    contacts = [*people(3), Contact.of("email", "zoë@köln.example"), Contact.of("matrix", "@a:example.org")]
    desk = Desk(story, tmp_path, contacts)
    assert desk.run(office) == {"sent": 4}
    assert office.readers == [contact.value for contact in contacts[:4]]
    story.world.seal()
    last = story.contacts().view.last("organiser")
    assert last is not None
    body = {"template": desk.template.hash.hex(), "number": 4, "purpose": "confirmation"}
    assert (last.statement.type, last.statement.body) == ("mailing", body)
    mail = message_from_bytes(office.mails[0][1], policy=policy.default)
    assert mail["To"] == "reader0@example.org"
    assert mail["Subject"] == "It is reached"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    with desk.state() as state:
        found = mailing.read(state)
    assert mail["Message-ID"] == f"<{found.message_id(KEY, 0)}@example.org>"
    link = mail["List-Unsubscribe"].strip("<>")
    text = mail.get_content()
    assert text.count(link) == 2
    assert "We are enough (en)" in text
    assert "We are enough (fr)" in text
    # The same again sends nothing.
    assert desk.run(office) == {"sent": 4}
    assert len(office.mails) == 4


def test_one_click_leaves_and_no_later_mailing_reaches_them(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(3))
    desk.run(office)
    story.world.seal()
    mail = message_from_bytes(office.mails[1][1], policy=policy.default)
    path = mail["List-Unsubscribe"].strip("<>").removeprefix(LEAVE_URL)
    web = leave.leave_app(leave.leave_key(KEY), desk.gone).test_client()
    assert web.get(path).status_code == 200
    assert desk.gone.ids() == frozenset()  # a scanner that opens links changes nothing
    for _ in range(2):
        assert web.post(path, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    assert desk.gone.ids() == {leave.contact_id(KEY, desk.contacts.contacts[1])}
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")
    assert web.post(forged).status_code == 404
    other = leave.make_token(keys.seed("other key"), bytes(15))
    assert web.post(f"/leave/{other}").status_code == 404
    assert len(desk.gone.ids()) == 1
    assert desk.run(office, "moving", "second") == {"sent": 2}
    assert office.readers[3:] == ["reader0@example.org", "reader2@example.org"]


def test_who_leaves_while_a_mailing_is_under_way_gets_nothing_more(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(3))
    with desk.state() as state:
        desk.announce(state)
    desk.gone.add(leave.contact_id(KEY, desk.contacts.contacts[2]))
    assert desk.run(office) == {"sent": 2, "left": 1}


def test_a_server_that_dies_after_four_in_ten_leads_to_no_second_mail(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(10))
    office.dies_after = 4
    with pytest.raises(UnavailableError, match="in the middle"):
        desk.run(office)
    office.stop()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        desk.run(office)
    office.dies_after = None
    office.start()
    # The fifth may have arrived: it is not sent again, and said to be unknown.
    assert desk.run(office) == {"sent": 9, "unknown": 1}
    assert len(set(office.readers)) == len(office.readers) == 9
    assert "reader4@example.org" not in office.readers


def test_refused_addresses_are_dropped_and_deferred_ones_tried_again(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(4))
    office.refuses = {"reader1@example.org": "550 5.1.1 no such user", "reader2@example.org": "451 later"}
    assert desk.run(office) == {"sent": 2, "refused": 1, "put off": 1}
    office.refuses = {}
    assert desk.run(office) == {"sent": 3, "refused": 1}
    story.world.seal()
    assert desk.run(office, "moving", "second") == {"sent": 3}
    assert "reader1@example.org" not in office.readers


def test_a_server_that_does_not_relay_for_us_drops_nobody(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(4))
    refusals = ("554 5.7.1 relay access denied", "550 relay not permitted", "553 5.1.8 sender unknown")
    office.refuses = {f"reader{i}@example.org": text for i, text in enumerate(refusals)}
    assert desk.run(office) == {"sent": 1, "put off": 3}
    assert desk.gone.ids() == frozenset()
    office.refuses = {}
    assert desk.run(office) == {"sent": 4}
    assert sorted(office.readers) == [contact.value for contact in desk.contacts.contacts]


def test_an_address_that_no_header_can_have_stops_nobody_elses_mail(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(3))
    # No contact has this form any more; the library decodes it to a line's end.
    object.__setattr__(desk.contacts.contacts[1], "value", "=?utf-8?q?=0a?=@example.org")
    assert desk.run(office) == {"sent": 2, "refused": 1}
    assert office.readers == ["reader0@example.org", "reader2@example.org"]


class Crashing(MailingState):
    """Stops like a machine without power, between the server's answer and the next write."""

    def note(self, number: int, outcome: Outcome) -> None:
        if (number, outcome) == (1, Outcome.SENT):
            raise KeyboardInterrupt
        super().note(number, outcome)


def test_a_stop_after_the_server_took_a_mail_leads_to_no_second_one(
    story: Story, tmp_path: Path, office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(story, tmp_path, people(3))
    monkeypatch.setattr(Desk, "state", lambda self, name="state": Crashing(self.folder / name, KEY))
    with pytest.raises(KeyboardInterrupt):
        desk.run(office)
    monkeypatch.undo()
    assert desk.run(office) == {"sent": 2, "unknown": 1}
    assert office.readers == [contact.value for contact in desk.contacts.contacts]


def test_two_programs_do_not_send_from_one_state(story: Story, tmp_path: Path, office: PostOffice) -> None:
    desk = Desk(story, tmp_path, people(2))
    with desk.state() as state:
        desk.announce(state)
        with pytest.raises(ConfigurationError, match="another program"):
            desk.run(office)
    assert desk.run(office) == {"sent": 2}


def test_a_state_that_was_lost_or_misspelt_leads_to_no_second_mail(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(2))
    desk.run(office)
    story.world.seal()
    with pytest.raises(NotEligibleError, match="announced before"):
        desk.run(office, name="sate")
    assert not (tmp_path / "sate").exists()
    assert len(office.mails) == 2
    with desk.state("once more") as state:
        arguments = (story.contacts().view, desk.contacts, desk.template, "confirmation")
        seeds = manifests.ORGANISER_SEEDS[:1]
        mailing.announce(state, *arguments, seeds, lambda _: False, anew=True)


def test_a_full_disk_stops_before_the_next_mail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    with MailingState(path, KEY) as state:
        state.begin(b"mailing")
        state.note(0, Outcome.SENT)
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
        with pytest.raises(ConfigurationError, match="No space"):
            state.note(1, Outcome.TRYING)
    monkeypatch.undo()
    with MailingState(path, KEY) as again:
        again.load()
        again.note(1, Outcome.SENT)
    with MailingState(path, KEY) as again:
        again.load()
        assert again.outcomes == {0: Outcome.SENT, 1: Outcome.SENT}


def test_no_byte_of_a_mail_needs_changing_on_its_way(tmp_path: Path) -> None:
    (tmp_path / "fr.txt").write_text("Subject: Réussi\n\nÀ bientôt.\n{leave}\n", "utf-8")
    template = mailing.Template.read(tmp_path, "fr")
    link = f"{LEAVE_URL}/leave/{'A' * 40}"
    mail = template.message(Contact.of("email", "ada@example.org"), SENDER, link, "id")
    data = mail.as_bytes(policy=mailing._POLICY)
    assert data.isascii()
    text = message_from_bytes(data, policy=policy.default).get_content().replace("\r\n", "\n")
    assert text == f"À bientôt.\n{link}\n"


@pytest.mark.parametrize(
    "url", ["http://leave.example.org", "leave.example.org", "https://a b", "https://a>", "https://a?b=", ""]
)
def test_a_link_to_leave_by_is_https(url: str) -> None:
    options = [x.opts[0] for x in mail_command.params if isinstance(x, click.Option) and x.required]
    given = [part for name in options for part in (name, url if name == "--leave-url" else "x")]
    done = CliRunner().invoke(mail_command, ["http://localhost", "00" * 32, *given])
    assert done.exit_code == 2
    assert "--leave-url" in done.output


def test_no_mail_for_another_purpose_or_list_or_with_another_template(
    story: Story, tmp_path: Path, office: PostOffice
) -> None:
    desk = Desk(story, tmp_path, people(2))
    with pytest.raises(NotEligibleError, match="do not allow"), desk.state() as state:
        desk.announce(state, "fundraising")
    with pytest.raises(NotEligibleError, match="first mailing is for confirmation"), desk.state() as state:
        desk.announce(state, "moving")
    assert not (tmp_path / "state").exists()
    right = desk.contacts
    desk.contacts = ContactList(story.campaign.scope_id, right.contacts)
    with pytest.raises(NotEligibleError, match="another scope"), desk.state() as state:
        desk.announce(state)
    desk.contacts = ContactList(right.scope_id, ())
    with pytest.raises(NotEligibleError, match="nobody"), desk.state() as state:
        desk.announce(state)
    desk.contacts = right
    desk.run(office)
    (tmp_path / "template" / "en.txt").write_text("Subject: Other\n\n{leave}\n")
    desk.template = mailing.Template.read(tmp_path / "template", "en")
    with pytest.raises(ConfigurationError, match="another mailing"):
        desk.run(office)
    assert len(office.mails) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No subject\n\n{leave}",
        "Subject: a\n{leave}",
        "Subject: a\n\nno link",
        "Subject: a\n\n{leave} {leave}",
        "Subject: a\nBcc: b@example.org\n\n{leave}",
        "Subject: a\r\n\r\n{leave}",
        "Subject: \n\n{leave}",
    ],
)
def test_a_template_is_a_subject_and_a_text_with_the_link(tmp_path: Path, text: str) -> None:
    (tmp_path / "en.txt").write_bytes(text.encode())
    with pytest.raises(ConfigurationError):
        mailing.Template.read(tmp_path, "en")


def load(path: Path, key: bytes = KEY) -> None:
    with MailingState(path, key) as state:
        state.load()


def test_the_state_is_read_by_its_key_alone_and_survives_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with MailingState(path, KEY) as state:
        state.begin(b"reader0@example.org")
        for number, outcome in enumerate((Outcome.SENT, Outcome.REFUSED, Outcome.TRYING)):
            state.note(number, outcome)
    data = path.read_bytes()
    assert b"reader0" not in data
    path.write_bytes(data + b"cut")
    with MailingState(path, KEY) as again:
        assert again.load() == b"reader0@example.org"
    assert again.outcomes == {0: Outcome.SENT, 1: Outcome.REFUSED, 2: Outcome.TRYING}
    assert path.read_bytes() == data
    with pytest.raises(ConfigurationError, match="another contact key"):
        load(path, keys.seed("other"))
    path.write_bytes(data[:-1] + b"\x00")
    with pytest.raises(ConfigurationError):
        load(path)
    path.write_bytes(b"headcount")
    with pytest.raises(ConfigurationError):
        load(path)


def test_ids_and_tokens_name_nobody(tmp_path: Path) -> None:
    ada = Contact.of("email", "ada@example.org")
    id = leave.contact_id(KEY, ada)
    token = leave.make_token(leave.leave_key(KEY), id)
    assert re.fullmatch("[A-Za-z0-9_-]{40}", token)
    assert leave.read_token(leave.leave_key(KEY), token) == id
    assert id != leave.contact_id(keys.seed("other"), ada)
    with pytest.raises(MalformedError):
        leave.read_token(KEY, token)
    assert contact_list.derive(KEY, b"leave") != contact_list.derive(KEY, b"id")
    (tmp_path / "gone").write_text("not hex\n")
    with pytest.raises(ConfigurationError):
        leave.Gone(tmp_path / "gone").ids()


def test_a_misspelt_file_of_those_who_left_is_noticed(tmp_path: Path) -> None:
    gone = leave.Gone(tmp_path / "gone")
    with pytest.raises(ConfigurationError, match="who has left, is not there"):
        gone.prepare(False)
    gone.prepare(True)
    assert (tmp_path / "gone").stat().st_mode & 0o077 == 0
    gone.add(bytes(15))
    for is_first in (True, False):
        gone.prepare(is_first)
    assert gone.ids() == {bytes(15)}


def test_mail_leaves_this_machine_by_tls_only() -> None:
    with pytest.raises(ConfigurationError, match="TLS"):
        mailing.Server("mail.example.org", 25, SENDER, tls=False).connect()


def test_a_server_without_starttls_is_not_used(office: PostOffice) -> None:
    with pytest.raises(UnavailableError):
        mailing.Server("127.0.0.1", office.port, SENDER).connect()


def test_a_server_that_says_nothing_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnavailableError):
        mailing.Server("127.0.0.1", silent.getsockname()[1], SENDER, tls=False).connect()
