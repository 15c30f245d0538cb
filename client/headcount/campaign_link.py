"""Links and QR codes for the channels of a campaign, and the organiser's own list of which is which.

The list alone knows the names of the channels: the links have none, and no verifier or ledger learns one.
"""

from __future__ import annotations

import io
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import segno

from headcount import private_file
from headcount_ledger.reader.transport import Transport, check, origin_of
from headcount_spec import jcs, signature
from headcount_spec.errors import ConfigurationError, MalformedError, UnavailableError
from headcount_spec.link import ID_BYTES, Link, sign_link
from headcount_spec.members import LINE, Members
from headcount_spec.scope import Manifest
from headcount_spec.text import parse_day

MAX_CAP = 2**32 - 1
MAX_CHANNEL_CHARS = 100
_PATH = "/link/"
_MAX_LINKS = 10_000
_MOUNT = re.compile(r"\A(?:/[A-Za-z0-9._~-]{1,40}){0,4}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Named:
    """A link and the channel that it is for."""

    channel: str
    url: str


@dataclass(frozen=True, slots=True)
class Opened:
    """What a site says of a link."""

    opened: int  # until the last midnight (UTC), rounded down to tens
    cap: int  # 0 for none
    last_day: int
    ended: bool


def make(
    manifest: Manifest,
    seed: bytes,
    *,
    cap: int | None = None,
    last_day: int | None = None,
    site: str | None = None,
    mount: str = "",
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> str:
    """The address of a new link, on a site of the terms; without a last day until the scope closes.

    mount is the path below which that site has its verifier, such as /pledge.

    Raises:
        ConfigurationError: the key is no organiser's of these terms, they do not list the site, or the last
            day is after the scope's.
    """
    public_key = signature.public_key(seed)
    if public_key not in manifest.organisers.keys:
        raise ConfigurationError("this key is not of an organiser of these terms")
    if site is not None and site not in manifest.origins:
        raise ConfigurationError("the terms do not list this site")
    if not _MOUNT.match(mount):
        raise ConfigurationError("the verifier is mounted below a path such as /pledge")
    last_day = manifest.closes if last_day is None else last_day
    if last_day > manifest.closes:
        raise ConfigurationError("the campaign closes before the link's last day")
    key = manifest.organisers.keys.index(public_key)
    link = sign_link(manifest.scope_id, key, seed, draw(ID_BYTES), cap or 0, last_day)
    return f"{site or manifest.origins[0]}{mount}{_PATH}{link.to_token()}"


def code(url: str, suffix: str) -> bytes:
    """The QR code of an address as a picture; suffix is .svg or .png.

    Raises:
        ConfigurationError: another kind of picture.
    """
    if suffix not in (".svg", ".png"):
        raise ConfigurationError("the file's name must end in .svg, .png or .pdf")
    made = io.BytesIO()
    segno.make(url, error="m", micro=False).save(made, kind=suffix[1:], scale=8, border=4)
    return made.getvalue()


def read_list(path: Path) -> list[Named]:
    """The links of a list; none if it is not there yet.

    Raises:
        ConfigurationError: it cannot be read, or is something else.
    """
    if not path.exists():
        return []
    try:
        members = Members(jcs.parse_json(private_file.read(path, 1 << 23), 1 << 23), "links")
        if members.integer("headcount_links", 1) != 1:
            raise MalformedError("another version")
        found = [_named(item) for item in members.objects("links", (0, _MAX_LINKS))]
        members.finish()
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name} is not a list of links") from exc
    return found


def check_free(path: Path, channel: str) -> list[Named]:
    """The links of a list that has none for this channel yet.

    Raises:
        ConfigurationError: it has one, is full, or cannot be read.
    """
    found = read_list(path)
    if any(item.channel == channel for item in found):
        raise ConfigurationError(f"{path.name} has a link for this channel")
    if len(found) >= _MAX_LINKS:
        raise ConfigurationError(f"{path.name} has {_MAX_LINKS} links")
    return found


def add(path: Path, named: Named) -> None:
    """Add a link to a list, durably.

    Raises:
        ConfigurationError: as check_free, or it cannot be written.
    """
    found = check_free(path, named.channel)
    links = [{"channel": item.channel, "url": item.url} for item in (*found, named)]
    private_file.write(path, jcs.canonicalise({"headcount_links": 1, "links": links}))


def ask(named: Named, transport: Transport) -> Opened:
    """How often a link was opened, as its site says.

    Raises:
        ProtocolError: it does not answer, refuses, or answers something else.
    """
    who = origin_of(named.url)
    body = check(transport("GET", f"{named.url}/opened"), who, media_type="application/json")
    try:
        members = Members(jcs.parse_json(body), "link")
        found = Opened(
            opened=members.integer("opened", 0),
            cap=members.integer("cap", 0, MAX_CAP),
            last_day=members.decoded("last_day", parse_day),
            ended=members.boolean("ended"),
        )
        members.finish()
    except MalformedError as exc:
        raise UnavailableError(f"{who} answers with something else than openings") from exc
    return found


def _named(members: Members) -> Named:
    found = Named(members.text("channel", MAX_CHANNEL_CHARS, LINE), members.text("url", 700))
    members.finish()
    origin_of(found.url)
    Link.from_token(found.url.rpartition(_PATH)[2])
    return found
