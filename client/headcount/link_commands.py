"""``headcount organiser link | links``: links and QR codes for channels, counted each and never by person."""

from __future__ import annotations

from pathlib import Path

import click

from headcount import organiser as organisers
from headcount import private_file
from headcount.handout_commands import organiser
from headcount.terminal import FILE, hint, say
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.errors import MalformedError, ProtocolError
from headcount_spec.members import LINE, check_text
from headcount_spec.scope import Manifest
from headcount_spec.text import format_day, parse_day

__all__ = ["organiser"]

_LIST = click.option(
    "--list", "place", required=True, type=FILE, help="Your own list of links, kept private."
)


def _channel(ctx: click.Context, param: click.Parameter, value: str) -> str:
    try:
        return check_text(value, "channel", 100, LINE)
    except MalformedError as exc:
        raise click.BadParameter(str(exc)) from exc


@organiser.command()
@click.argument("terms", type=FILE)
@click.option("--channel", required=True, callback=_channel, help="Your name for it; only the list has it.")
@click.option("--key", required=True, type=FILE, help="An organiser's key file.")
@click.option("--cap", type=click.IntRange(1, 2**32 - 1), metavar="N", help="It can be opened so often.")
@click.option("--expires", metavar="DAY", help="The last day, YYYY-MM-DD (UTC); the campaign's otherwise.")
@click.option("--site", metavar="URL", help="Which of the terms' sites counts it; the first otherwise.")
@click.option(
    "--mount", default="", metavar="PATH", help="Where that site has its verifier, if below its root."
)
@_LIST
@click.option("--out", type=FILE, help="The QR code: .svg, .png, or .pdf for a poster with it.")
@click.option("--language", help="Of the poster.")
@click.option("--font", type=FILE, help="Of the poster: a TrueType font with the letters of the language.")
def link(
    terms: Path,
    channel: str,
    key: Path,
    cap: int | None,
    expires: str | None,
    site: str | None,
    mount: str,
    place: Path,
    out: Path | None,
    language: str | None,
    font: Path | None,
) -> None:
    """Make a link to the campaign of TERMS, the published scope.json, for one channel, such as a newsletter.

    The site counts how often it is opened, and no more: not by whom, not when, not who pledged.
    """
    from headcount import campaign_link  # loads a QR library

    campaign_link.check_free(place, channel)
    manifest = Manifest.from_bytes(private_file.read(terms))
    last_day = None if expires is None else parse_day(expires)
    seed = organisers.read_key(key)
    url = campaign_link.make(manifest, seed, cap=cap, last_day=last_day, site=site, mount=mount.rstrip("/"))
    if out is not None and out.suffix == ".pdf":
        from headcount import printing

        printing.write(out, manifest, [language] if language else (), site=site, fonts=font, code=url)
    elif out is not None:
        private_file.write(out, campaign_link.code(url, out.suffix))
        out.chmod(0o644)
    campaign_link.add(place, campaign_link.Named(channel, url))
    say(url)
    hint("all who come by one link are one group: give none to a single person")


@organiser.command()
@_LIST
def links(place: Path) -> None:
    """Ask the sites how often each link of a list was opened until the last midnight (UTC), in tens."""
    from headcount import campaign_link

    with HttpTransport() as transport:
        for named in campaign_link.read_list(place):
            try:
                found = campaign_link.ask(named, transport)
            except ProtocolError as error:
                say(f"{named.channel}: {error}")
                continue
            number = f"{found.opened} or more" if found.opened else "fewer than 10"
            cap = f" of {found.cap}" if found.cap else ""
            state = "ended" if found.ended else f"until {format_day(found.last_day)}"
            say(f"{named.channel}: opened {number}{cap}, {state}")
