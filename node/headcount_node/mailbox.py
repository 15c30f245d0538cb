"""A mail server that keeps what it receives in memory: the demo's post office, speaking SMTP (RFC 5321)."""

from __future__ import annotations

import email
import email.policy
import threading
from collections.abc import Callable
from typing import Any

from aiosmtpd.controller import Controller


class Mailbox:
    """Receives mail for anybody on host:port until it is stopped."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._arrived = threading.Condition()
        self._mails: dict[str, list[str]] = {}  # recipient -> bodies, oldest first
        self.on_mail: Callable[[str, str], None] | None = None  # told of each recipient and body
        self._controller = Controller(self, hostname=host, port=port)

    def start(self) -> None:
        """Listen; returns when the server answers."""
        self._controller.start()

    def stop(self) -> None:
        """Stop listening; what was received stays readable."""
        self._controller.stop()

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # aiosmtpd names it
        """Keep one message for each of its recipients."""
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        part = message.get_body(("plain",))
        body = part.get_content().replace("\r\n", "\n") if part else ""
        with self._arrived:
            for recipient in envelope.rcpt_tos:
                self._mails.setdefault(recipient, []).append(body)
            self._arrived.notify_all()
        if self.on_mail is not None:
            for recipient in envelope.rcpt_tos:
                self.on_mail(recipient, body)
        return "250 OK"

    def take(self, recipient: str, timeout_s: float = 30) -> str:
        """The oldest unread body for recipient; waits for it.

        Raises:
            TimeoutError: nothing came.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._mails.get(recipient), timeout_s):
                raise TimeoutError("no mail came")
            return self._mails[recipient].pop(0)

    def waiting(self, recipient: str) -> int:
        """How many unread mails lie there for recipient."""
        with self._arrived:
            return len(self._mails.get(recipient, ()))
