from __future__ import annotations

import smtplib
from email.message import EmailMessage

import pytest

from headcount_node.config import Listen
from headcount_node.mailbox import Mailbox
from ports import free_ports


def send(port: int, recipient: str, body: str) -> None:
    message = EmailMessage()
    message["To"] = recipient
    message["From"] = "codes@headcount.example"
    message.set_content(body)
    with smtplib.SMTP("127.0.0.1", port) as smtp:
        smtp.send_message(message)


def test_mail_waits_for_its_reader_in_the_order_in_which_it_came() -> None:
    (port,) = free_ports(0)
    seen: list[str] = []
    mailbox = Mailbox(port)
    mailbox.on_mail = lambda recipient, body: seen.append(recipient)
    mailbox.start()
    try:
        send(port, "a@mail.example", "first")
        send(port, "a@mail.example", "second")
        assert mailbox.take("a@mail.example") == "first\n"
        assert mailbox.take("a@mail.example") == "second\n"
        with pytest.raises(TimeoutError):
            mailbox.take("a@mail.example", timeout_s=0.05)
        assert seen == ["a@mail.example", "a@mail.example"]
        assert not Listen("127.0.0.1", port).is_free()
    finally:
        mailbox.stop()
