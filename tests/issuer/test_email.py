from __future__ import annotations

import asyncio
import email
import email.policy
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

import pytest
from aiosmtpd.controller import Controller

import manifests
from headcount_issuer.address import parse_address
from headcount_issuer.attester import Asking
from headcount_issuer.letter import compose
from headcount_issuer.mail import Mailer, SmtpConfig
from headcount_issuer.typed_code import TRIES
from headcount_spec.errors import UnavailableError


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A real SMTP server that answers RCPT with what it is told."""

    def __init__(self, replies: tuple[str, ...] = (), stall_s: float = 0, smtputf8: bool = True) -> None:
        self.replies = list(replies)
        self.stall_s = stall_s
        self.envelopes: list[tuple[list[str], bytes]] = []
        self.arrived = threading.Condition()
        self.port = free_port()
        self.controller = Controller(self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=smtputf8)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.stall_s:
            await asyncio.sleep(self.stall_s)
        reply = self.replies.pop(0) if self.replies else "250 OK"
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server, session, envelope):
        with self.arrived:
            self.envelopes.append((list(envelope.rcpt_tos), envelope.content))
            self.arrived.notify_all()
        return "250 OK"

    def wait(self, number: int = 1) -> list[EmailMessage]:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.envelopes) >= number, 10)
        return [email.message_from_bytes(raw, policy=email.policy.default) for _, raw in self.envelopes]

    def __enter__(self) -> Server:
        self.controller.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.controller.stop()


def mailer(port: int, **changes: int) -> Mailer:
    settings = {"timeout_s": 2} | changes
    return Mailer(SmtpConfig("127.0.0.1", port, **settings), retry_s=(0.05, 0.05))


def asking() -> Asking:
    return Asking(manifests.manifest(), "https://campaign.example", 0)


def letter(to: str, code: str = "12345678", language: str | None = None) -> EmailMessage:
    return compose("issuer@issuer.example", parse_address(to), code, asking(), language)


def test_a_mail_names_the_scope_and_the_site_and_carries_nothing_else():
    with Server() as server:
        sender = mailer(server.port)
        sender.send(letter("Ada.L+x@gmail.com"))
        (mail,) = server.wait()
        sender.close()
    recipients, _ = server.envelopes[0]
    assert recipients == ["Ada.L+x@gmail.com"]
    assert mail["To"] == "Ada.L+x@gmail.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert set(mail.keys()) - {"X-Peer", "X-MailFrom", "X-RcptTo"} == {  # these are the test server's
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"),
        *("Content-Language", "Content-Type", "Content-Transfer-Encoding"),
    }
    body = mail.get_content()
    assert "12345678" in body
    assert "We move together" in body
    assert "campaign.example" in body
    assert "://" not in body
    assert "12345678" not in mail["Subject"]
    assert mail.get_content_type() == "text/plain"


@pytest.mark.parametrize("language", ["fr", "de-at", "ar", "xx", None])
def test_the_mail_is_in_the_readers_language_where_there_is_one(language):
    mail = letter("ada@example.org", language=language)
    used = mail["Content-Language"]
    assert used == (language.split("-")[0] if language in ("fr", "de-at", "ar") else "en")
    assert "12345678" in mail.get_content()
    assert ("Nous partons" in mail.get_content()) == (used == "fr")


@pytest.mark.parametrize(
    "to",
    [
        "o'brien@example.org",
        "a!#$%&*/=?^_`{|}~-@example.org",
        "用户@例え.jp",
        "ada@bücher.de",
        "δοκιμή@example.org",
    ],
)
def test_odd_addresses_reach_the_server_as_they_are(to):
    with Server() as server:
        sender = mailer(server.port)
        sender.send(letter(to))
        server.wait()
        sender.close()
    assert server.envelopes[0][0] == [parse_address(to).deliver_to]


def test_a_server_without_smtputf8_loses_only_that_mail(caplog):
    with Server(smtputf8=False) as server:
        sender = mailer(server.port, workers=1)
        sender.send(letter("用户@example.org"))
        sender.send(letter("ada@example.org"))
        server.wait()
        sender.close()
    assert [recipients for recipients, _ in server.envelopes] == [["ada@example.org"]]


def test_a_title_is_only_words():
    scope = manifests.manifest(title=manifests.both("Bcc: eve@example.org {code} %s", "F"))
    mail = compose("i@i.example", parse_address("a@example.org"), "12345678", Asking(scope, "http://x", 0))
    assert "Bcc" not in mail
    assert mail.get_content().count("12345678") == 1
    assert "Bcc: eve@example.org {code} %s\n" in mail.get_content()


def test_a_refused_recipient_is_dropped_without_a_word_about_who(caplog):
    with Server(replies=("550 no such user ada@example.org",)) as server:
        sender = mailer(server.port, workers=1)
        sender.send(letter("ada@example.org"))
        sender.send(letter("bob@example.org"))
        server.wait()
        sender.close()
    assert [recipients for recipients, _ in server.envelopes] == [["bob@example.org"]]
    assert "550" in caplog.text
    assert "example.org" not in caplog.text


def test_a_deferred_mail_is_handed_in_again(caplog):
    with Server(replies=("451 later", "451 later")) as server:
        sender = mailer(server.port)
        sender.send(letter("ada@example.org"))
        server.wait()
        sender.close()
    assert len(server.envelopes) == 1
    assert "451" in caplog.text
    assert "ada" not in caplog.text


def test_a_mail_that_is_deferred_for_ever_is_given_up(caplog):
    with Server(replies=("451 later",) * 9) as server:
        sender = mailer(server.port)
        sender.send(letter("ada@example.org"))
        deadline = time.monotonic() + 10
        while "not sent" not in caplog.text and time.monotonic() < deadline:
            time.sleep(0.02)
        sender.close()
    assert server.envelopes == []
    assert len(server.replies) == 6


def test_a_server_that_hangs_or_is_gone_delays_nobody_who_asks(world, caplog):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for port in (silent.getsockname()[1], free_port()):
            sender = mailer(port, timeout_s=1)
            for attester in world.issuer._attesters.values():
                if attester.name == "email":
                    attester.outbox = sender
            scope = world.open()
            began = time.monotonic()
            assert world.begin(scope, "ada@example.org").status_code == 201
            assert time.monotonic() - began < 0.9
            sender.close()
    assert "example.org" not in caplog.text


def test_a_full_queue_says_come_back_to_everybody():
    sender = mailer(free_port(), queue=2, workers=1)
    sender._start = lambda: None
    sender.send(letter("a@example.org"))
    sender.send(letter("b@example.org"))
    with pytest.raises(UnavailableError):
        sender.check_room()
    with pytest.raises(UnavailableError):
        sender.send(letter("c@example.org"))


def test_the_whole_way_over_real_smtp(world, person):
    with Server() as server:
        sender = mailer(server.port)
        world.issuer._attesters["email"].outbox = sender
        scope = world.open()
        bearer = world.begin(scope, "ada@example.org").get_json()["session"]
        found = re.search(r"\b\d{8}\b", server.wait()[0].get_content())
        assert found
        assert world.post("/sessions/evidence", {"code": found[0]}, bearer).status_code == 200
        someone = person(scope, "a")
        someone.finalize(world.sign(bearer, someone.request).get_data())
        sender.close()


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**8:08d}"


def test_a_code_is_typed_with_or_without_spaces(world):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    code = world.outbox.code()
    answer = world.post("/sessions/evidence", {"code": f" {code[:4]} {code[4:]} "}, bearer)
    assert answer.get_json() == {"state": "proved"}


def test_a_code_has_five_tries_however_many_ask_at_once(world, problem_of):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    code = world.outbox.code()
    headers = {"Authorization": f"Bearer {bearer}"}
    app = world.http.application
    guessed: list[str] = []

    class Watched(str):
        __slots__ = ()

        def encode(self, *args, **kwargs):
            guessed.append(self)
            return super().encode(*args, **kwargs)

    session = world.issuer._sessions.get(bearer)
    session.step.code.text = Watched(code)

    def guess(i: int) -> int:
        body = {"code": f"{(int(code) + 1 + i) % 10**8:08d}"}
        return app.test_client().post("/sessions/evidence", json=body, headers=headers).status_code

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(guess, range(64))) == {403}
    assert len(guessed) == TRIES
    assert problem_of(world.post("/sessions/evidence", {"code": code}, bearer)) == (403, "code-refused")


def test_the_fifth_try_may_still_be_right(world):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    code = world.outbox.code()
    for _ in range(TRIES - 1):
        assert world.post("/sessions/evidence", {"code": wrong(code)}, bearer).status_code == 403
    assert world.post("/sessions/evidence", {"code": code}, bearer).status_code == 200


def test_a_code_is_late_after_ten_minutes(world, problem_of):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    code = world.outbox.code()
    world.clock.now += 599
    world.issuer._sessions._lifetime_s = 3600
    world.issuer._sessions.prolong(world.issuer._sessions.get(bearer))
    world.clock.now += 1
    assert problem_of(world.post("/sessions/evidence", {"code": code}, bearer)) == (403, "code-refused")


def test_a_code_works_once_and_only_in_the_session_that_asked(world, problem_of):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    code = world.outbox.code()
    other = world.begin(scope, "ada@example.org").get_json()["session"]
    world.outbox.code()
    assert problem_of(world.post("/sessions/evidence", {"code": code}, other)) == (403, "code-refused")
    assert world.post("/sessions/evidence", {"code": code}, bearer).status_code == 200
    assert problem_of(world.post("/sessions/evidence", {"code": code}, bearer)) == (403, "code-refused")


@pytest.mark.parametrize("code", [None, 12345678, ["12345678"], {"code": "1"}, True])
def test_a_code_of_another_type_is_malformed_and_no_try(world, problem_of, code):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    for _ in range(TRIES + 1):
        assert problem_of(world.post("/sessions/evidence", {"code": code}, bearer)) == (400, "malformed")
    answer = world.post("/sessions/evidence", {"code": world.outbox.code()}, bearer)
    assert answer.status_code == 200


@pytest.mark.parametrize("code", ["", "١٢٣٤٥٦٧٨", "12345678" * 1000, "\ud800"])
def test_a_strange_code_is_refused(world, problem_of, code):
    scope = world.open()
    bearer = world.begin(scope, "ada@example.org").get_json()["session"]
    status, _ = problem_of(world.post("/sessions/evidence", {"code": code}, bearer))
    assert status in (400, 403)


def test_known_and_unknown_addresses_get_the_same_answer(world, person):
    scope = world.open()
    world.sign(world.prove(scope, "ada@example.org"), person(scope, "a").request)
    known = world.begin(scope, "ada@example.org")
    unknown = world.begin(scope, "eve@example.org")
    assert known.status_code == unknown.status_code
    assert dict(known.headers) == dict(unknown.headers)
    bodies = [known.get_json(), unknown.get_json()]
    assert [len(body.pop("session")) for body in bodies] == [43, 43]
    assert bodies[0] == bodies[1] == {"state": "pending", "expires_in_s": 600}
    mails = [world.outbox.mails.get(timeout=5) for _ in range(2)]
    assert sorted(mails[0].keys()) == sorted(mails[1].keys())


def test_one_mailbox_gets_a_few_mails_and_no_flood(world):
    scope = world.open()
    spellings = ["ada@example.org", "ADA@example.org", "ada+1@example.org"]
    answers = [world.begin(scope, spellings[i % 3]) for i in range(20)]
    assert {answer.status_code for answer in answers} == {201}
    assert world.outbox.mails.qsize() == world.config.attesters["email"].mails_per_address
    world.begin(scope, "bob@example.org")
    assert world.outbox.mails.qsize() == world.config.attesters["email"].mails_per_address + 1
    world.clock.now += 600
    world.begin(scope, "ada@example.org")
    assert world.outbox.mails.qsize() == world.config.attesters["email"].mails_per_address + 2


def test_a_code_that_was_not_sent_cannot_be_guessed(world, problem_of):
    scope = world.open()
    attester = world.issuer._attesters["email"]
    attester._draw_code = lambda: "12345678"
    bearers = [
        world.begin(scope, "ada@example.org").get_json()["session"]
        for _ in range(world.config.attesters["email"].mails_per_address + 1)
    ]
    assert world.outbox.mails.qsize() == world.config.attesters["email"].mails_per_address
    unsent, sent = bearers[-1], bearers[-2]
    refused = world.post("/sessions/evidence", {"code": "12345678"}, unsent)
    wrongly = world.post("/sessions/evidence", {"code": "87654321"}, sent)
    assert problem_of(refused) == (403, "code-refused")
    assert refused.get_data() == wrongly.get_data()
    assert world.post("/sessions/evidence", {"code": "12345678"}, sent).status_code == 200


def test_codes_are_eight_digits_and_differ(world):
    scope = world.open()
    codes = set()
    for i in range(20):
        world.begin(scope, f"a{i}@example.org")
        codes.add(world.outbox.code())
    assert len(codes) == 20
    assert all(len(code) == 8 and code.isdigit() for code in codes)
