"""Handing in mail by SMTP (RFC 5321), from a bounded queue in memory.

Requests only put a mail into the queue: how long the server takes, and whether it takes the recipient
at all, is not visible to whoever asked. Mails that wait die with the process; so do the codes in them.
"""

from __future__ import annotations

import logging
import queue
import re
import smtplib
import ssl
import threading
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from headcount_issuer.dkim_key import DkimKey
from headcount_issuer.keys import read_private
from headcount_spec.errors import MalformedError, UnavailableError
from headcount_spec.members import Members

RETRY_S = (5, 30, 120)  # after a temporary failure; a code lives for ten minutes

_HOST = re.compile(r"\A[A-Za-z0-9.:-]{1,253}\Z")
_TLS = re.compile(r"\A(?:none|starttls|implicit)\Z")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """Where mail is handed in."""

    host: str
    port: int
    tls: str = "none"  # none (own machine only), starttls, implicit
    user: str | None = None
    password_file: Path | None = None
    timeout_s: int = 15  # for each step of the dialogue
    queue: int = 1000  # mails that wait in memory; then 503
    workers: int = 2  # connections at once

    @classmethod
    def read(cls, members: Members, folder: Path) -> SmtpConfig:
        """Take it from the node's file."""
        smtp = cls(
            host=members.text("host", 253, _HOST),
            port=members.integer("port", 1, 65535),
            tls=members.text_or("tls", "none", 16, _TLS),
            user=members.text("user", 300) if members.has("user") else None,
            password_file=folder / members.text("password_file", 1000)
            if members.has("password_file")
            else None,
            timeout_s=members.integer_or("timeout_s", 15, 1, 300),
            queue=members.integer_or("queue", 1000, 1, 1_000_000),
            workers=members.integer_or("workers", 2, 1, 64),
        )
        members.finish()
        if (smtp.user is None) != (smtp.password_file is None):
            raise MalformedError(f"{members.path}: user and password_file come together")
        return smtp


@dataclass(frozen=True, slots=True)
class _Waiting:
    message: EmailMessage
    attempt: int = 0


class Mailer:
    """Threads that hand in mails; nothing about a recipient is logged."""

    def __init__(
        self, config: SmtpConfig, key: DkimKey | None = None, retry_s: tuple[float, ...] = RETRY_S
    ) -> None:
        """key signs each mail, if there is one."""
        self._config = config
        self._key = key
        self._retry_s = retry_s
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(config.queue)
        self._later: list[tuple[float, _Waiting]] = []  # (monotonic time, mail), guarded by _lock
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()

    def send(self, message: EmailMessage) -> None:
        """Queue a mail.

        Raises:
            UnavailableError: too many wait.
        """
        self._start()
        try:
            self._queue.put_nowait(_Waiting(message))
        except queue.Full as exc:
            raise UnavailableError("too many mails are waiting", 30) from exc

    def check_room(self) -> None:
        """Refuse early while the queue is full.

        Raises:
            UnavailableError: too many wait.
        """
        if self._queue.full():
            raise UnavailableError("too many mails are waiting", 30)

    def close(self, timeout_s: float = 5) -> None:
        """Stop after the mails that are being handed in; those that wait are lost."""
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout_s)

    def _start(self) -> None:
        with self._lock:
            if self._threads:
                return
            for i in range(self._config.workers):
                thread = threading.Thread(target=self._run, name=f"mail-{i}", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            waiting = self._next()
            if waiting is None:
                continue
            try:
                self._hand_in(waiting.message)
            except Exception as exc:  # noqa: BLE001 a thread that ends would end all mail
                self._failed(waiting, exc)

    def _next(self) -> _Waiting | None:
        now = time.monotonic()
        with self._lock:
            for i, (due, waiting) in enumerate(self._later):
                if due <= now:
                    del self._later[i]
                    return waiting
        try:
            return self._queue.get(timeout=0.2)
        except queue.Empty:
            return None

    def _failed(self, waiting: _Waiting, exc: Exception) -> None:
        # Only the kind of failure: the text of an SMTP reply repeats the address.
        if is_temporary(exc) and waiting.attempt < len(self._retry_s):
            _log.warning("mail deferred: %s", describe(exc))
            due = time.monotonic() + self._retry_s[waiting.attempt]
            with self._lock:
                if len(self._later) < self._config.queue:
                    self._later.append((due, _Waiting(waiting.message, waiting.attempt + 1)))
        else:
            _log.warning("mail not sent: %s", describe(exc))

    def _hand_in(self, message: EmailMessage) -> None:
        config = self._config
        context = ssl.create_default_context() if config.tls != "none" else None
        if config.tls == "implicit":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                config.host, config.port, timeout=config.timeout_s, context=context
            )
        else:
            connection = smtplib.SMTP(config.host, config.port, timeout=config.timeout_s)
        with connection:
            if config.tls == "starttls":
                connection.starttls(context=context)
            if config.user is not None and config.password_file is not None:
                connection.login(config.user, read_private(config.password_file).decode().strip())
            self._send(connection, message)

    def _send(self, connection: smtplib.SMTP, message: EmailMessage) -> None:
        """As smtplib's send_message, with the very bytes that are signed."""
        data = message.as_bytes()  # the policy of the message: CRLF, and UTF-8 where SMTPUTF8 allows it
        if self._key is not None:
            data = self._key.sign(data)
        (sender,) = (address.addr_spec for address in message["From"].addresses)
        (recipient,) = (address.addr_spec for address in message["To"].addresses)
        options = []
        if not recipient.isascii():
            connection.ehlo_or_helo_if_needed()
            if not connection.has_extn("smtputf8"):
                raise smtplib.SMTPNotSupportedError
            options = ["SMTPUTF8", "BODY=8BITMIME"]
        connection.sendmail(sender, [recipient], data, mail_options=options)


def is_temporary(exc: Exception) -> bool:
    """Whether another try may help: replies 4xx, broken and refused connections."""
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        return all(400 <= code < 500 for code, _ in exc.recipients.values())
    if isinstance(exc, smtplib.SMTPResponseException):
        return 400 <= exc.smtp_code < 500
    if isinstance(exc, (smtplib.SMTPNotSupportedError, ssl.SSLError)):
        return False
    return isinstance(exc, (OSError, smtplib.SMTPServerDisconnected))


def describe(exc: Exception) -> str:
    """The failure without the server's words."""
    if isinstance(exc, smtplib.SMTPRecipientsRefused):
        codes = sorted({code for code, _ in exc.recipients.values()})
        return f"recipient refused, reply {codes}"
    if isinstance(exc, smtplib.SMTPResponseException):
        return f"{type(exc).__name__}, reply {exc.smtp_code}"
    return type(exc).__name__
