"""What organisers say, as a signed feed: for those who leave no way to be reached, and read themselves.

Atom (RFC 4287), for any feed reader. Each entry carries the notice with the organisers' signatures, so that
whoever has the terms can check a copy from anywhere; that nothing is left out, only the ledger shows. The
same ledger gives the same bytes.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from headcount.scope_view import PublishedNotice, ScopeView
from headcount_ledger.reader.reached import seals
from headcount_ledger.reader.view import LedgerView
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.notice import Notice, verify_notice
from headcount_spec.scope import Manifest
from headcount_spec.statement import Statement
from headcount_spec.text import decode_base64, encode_base64, format_day

MAX_BYTES = 2**24
MEDIA_TYPE = "application/atom+xml"
NAMESPACE = "urn:headcount:feed:1"
_SAID = ("update", "mailing")
_NOTICE = re.compile(rb"<h:notice>([A-Za-z0-9+/=]*)</h:notice>")


def write(view: LedgerView, scope: ScopeView, language: str | None = None) -> bytes:
    """The feed of a scope: all that its organisers have said, the newest first.

    Raises:
        ConfigurationError: the terms are not in this language.
        ProofError, MalformedError, NotFoundError, UnavailableError: the ledger cannot be read.
    """
    manifest = scope.manifest
    tag = language or manifest.language
    if tag not in manifest.title:
        raise ConfigurationError(f"the terms are not in {tag}")
    notices = [item for item in scope.notices if item.author == "organiser"]
    days = _days(view, notices)
    said = [item for item in reversed(notices) if item.statement.type in _SAID]
    newest = days[said[0].index] if said else manifest.opens
    id = manifest.scope_id.hex()
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<feed xmlns="http://www.w3.org/2005/Atom" xmlns:h="{NAMESPACE}" xml:lang={quoteattr(tag)}>',
        f"<id>urn:headcount:scope:{id}</id>",
        f"<title>{escape(manifest.title[tag])}</title>",
        f"<author><name>{escape(manifest.ledger.origin)}</name></author>",
        f"<updated>{format_day(newest)}T00:00:00Z</updated>",
        *(line for item in said for line in _entry(view, item, days[item.index], tag, manifest)),
        "</feed>",
    ]
    return "\n".join(lines).encode() + b"\n"


def _entry(view: LedgerView, item: PublishedNotice, day: int, tag: str, manifest: Manifest) -> list[str]:
    title, text = _words(item.statement, tag, manifest)
    return [
        "<entry>",
        f"<id>urn:headcount:notice:{item.leaf_hash.hex()}</id>",
        f"<title>{escape(title)}</title>",
        f"<updated>{format_day(day)}T00:00:00Z</updated>",
        f'<content type="text">{escape(text)}</content>',
        f"<h:notice>{encode_base64(view.entry(item.index))}</h:notice>",
        "</entry>",
    ]


def _words(statement: Statement, tag: str, manifest: Manifest) -> tuple[str, str]:
    body = statement.body
    if statement.type == "update":
        best = next(t for t in (tag, manifest.language, *sorted(body["title"])) if t in body["title"])
        return body["title"][best], body["text"][best]
    purposes = manifest.contacts.purposes if manifest.contacts is not None else ()
    names = {purpose.name: purpose.text[tag] for purpose in purposes}
    title = str(names.get(body["purpose"], body["purpose"]))
    return title, f"{body['number']} × {title} (SHA-256 {body['template']})"


def _days(view: LedgerView, notices: list[PublishedNotice]) -> dict[int, int]:
    """The day of the batch of each notice, by leaf index."""
    wanted = {item.index for item in notices}
    found: dict[int, int] = {}
    for placed in seals(view):
        inside = {i for i in wanted if placed.seal.first_index <= i < placed.index}
        found |= dict.fromkeys(inside, placed.seal.day)
        wanted -= inside
        if not wanted:
            break
    return found


def verify(data: bytes, manifest: Manifest) -> list[Statement]:
    """What the organisers of these terms have said in a feed, the newest first.

    Only the notices are read: the words around them are for feed readers.

    Raises:
        MalformedError: not a feed of ours, or too long.
        UnknownKeyError, SignatureError: somebody else has said it.
    """
    if len(data) > MAX_BYTES:
        raise MalformedError("the feed is too long")
    found: list[Statement] = []
    for encoded in _NOTICE.findall(data):
        notice = Notice.from_bytes(decode_base64(encoded.decode("ascii")))
        statement = notice.statement
        # Its place is what the signed statement says: the notices between are not in the feed.
        previous = None if statement.seq == 0 else (statement.seq - 1, statement.prev)
        verify_notice(notice, manifest, previous)
        if statement.role != "organiser" or statement.type not in _SAID:
            raise MalformedError("the feed has what organisers do not say")
        if found and statement.seq >= found[-1].seq:
            raise MalformedError("the feed is not in order")
        found.append(statement)
    return found
