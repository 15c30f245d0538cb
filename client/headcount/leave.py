"""Leaving a list with one click (RFC 8058): tokens in mails, and the page that takes them.

A token is an id of the contact, keyed, and a MAC of the id: the page needs the MAC's key and never the list.
Whoever has left, or could not be reached, stands in a file of ids: no address, no time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from pathlib import Path

from flask import Flask, Response

from headcount import private_file
from headcount.contact_list import derive
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.text import decode_base64url, decode_hex, encode_base64url

KEY_BYTES = 32
_ID_BYTES, _MAC_BYTES = 15, 15  # 40 characters of base64 without padding
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Leave</title>
<p>{text}</p>
{form}
</html>
"""
_FORM = '<form method="post"><button>Leave this list</button></form>'
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def leave_key(contact_key: bytes) -> bytes:
    """What the page checks tokens with; it opens nothing."""
    return derive(contact_key, b"leave")


def contact_id(contact_key: bytes, contact: Contact) -> bytes:
    """What stands for a contact outside the list, 15 bytes."""
    return hmac.digest(derive(contact_key, b"id"), contact.to_bytes(), "sha256")[:_ID_BYTES]


def make_token(key: bytes, id: bytes) -> str:
    """The token in a link, 40 characters."""
    return encode_base64url(id + hmac.digest(key, id, hashlib.sha256)[:_MAC_BYTES])


def read_token(key: bytes, token: str) -> bytes:
    """The id in a token.

    Raises:
        MalformedError: not a token, or not one of this list.
    """
    data = decode_base64url(token, _ID_BYTES + _MAC_BYTES)
    id, mac = data[:_ID_BYTES], data[_ID_BYTES:]
    if not hmac.compare_digest(mac, hmac.digest(key, id, hashlib.sha256)[:_MAC_BYTES]):
        raise MalformedError("not a link of this list")
    return id


class Gone:
    """The file of ids that are never written to again; threads and processes may share it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._read: tuple[int, frozenset[bytes]] = (0, frozenset())  # at this size of the file

    def prepare(self, is_first: bool) -> None:
        """Make the file before the first mailing; for a later one it has to be there.

        A name that was misspelt would write to everybody who has left.

        Raises:
            ConfigurationError: it is not there, or cannot be made.
        """
        if self._path.exists():
            return
        if not is_first:
            raise ConfigurationError(f"{self._path.name}, who has left, is not there")
        private_file.create(self._path, b"")

    def add(self, id: bytes) -> None:
        """Note an id durably.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        try:
            with self._lock:
                if id in self.ids():
                    return
                descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                try:
                    os.write(descriptor, id.hex().encode() + b"\n")
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        except OSError as exc:
            raise ConfigurationError(f"cannot write {self._path.name}: {exc.strerror}") from exc

    def ids(self) -> frozenset[bytes]:
        """Every id in the file.

        Raises:
            ConfigurationError: it is another kind of file.
        """
        try:
            size = self._path.stat().st_size
            if size != self._read[0]:  # it only grows
                lines = self._path.read_text("ascii").splitlines()
                self._read = size, frozenset(decode_hex(line, _ID_BYTES) for line in lines)
        except FileNotFoundError:
            return frozenset()
        except (OSError, UnicodeDecodeError, MalformedError) as exc:
            raise ConfigurationError(f"{self._path.name} is not a file of those who left") from exc
        return self._read[1]


def leave_app(key: bytes, gone: Gone) -> Flask:
    """The page behind the links: a GET asks, a POST leaves, and the answer is the same for everybody."""
    app = Flask(__name__, static_folder=None)

    @app.get("/leave/<token>")
    def ask(token: str) -> Response:
        return _page("You will get no more mail from this list.", _FORM)

    @app.post("/leave/<token>")
    def leave(token: str) -> Response:
        try:
            gone.add(read_token(key, token))
        except MalformedError:
            return _page("This is not a link of this list.", "", 404)
        return _page("You have left. You will get no more mail from this list.", "")

    return app


def _page(text: str, form: str, status: int = 200) -> Response:
    body = _PAGE.format(text=text, form=form)
    return Response(body, status, _HEADERS, content_type="text/html; charset=utf-8")
