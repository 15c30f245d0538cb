"""``headcount scope feed | read-feed``: what organisers say, for everybody's feed reader."""

from __future__ import annotations

from pathlib import Path

import click

from headcount import feed as feeds
from headcount import output_file, private_file
from headcount import state_command as state_command  # its command is of the same group
from headcount.scope_commands import scope
from headcount.scope_view import find_scope
from headcount.terminal import FILE, LEDGER, POLICY, SCOPE, progress, read_policy, say
from headcount_ledger.reader.fetch import cached, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.scope import Manifest, ScopeId

__all__ = ["scope"]


@scope.command()
@LEDGER
@SCOPE
@POLICY
@click.option("--language", help="Language of the words; the scope's own otherwise.")
@click.option("--out", required=True, type=FILE, help="The Atom file to write.")
def feed(ledger: str, scope_id: ScopeId, policy: Path, language: str | None, out: Path) -> None:
    """Write what the organisers of SCOPE have said as an Atom feed, each entry with their signatures.

    Put on any web server, it reaches people who have left no address.
    """
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        view = open_ledger(cached(open_fetch(ledger, transport)), read_policy(policy))
        found = find_scope(view, scope_id, need_openings=False, progress=bar)
        data = feeds.write(view, found, language)
    output_file.write(out, data)
    say(f"written: {out}")


@scope.command("read-feed")
@click.argument("file", type=FILE)
@click.argument("manifest", type=FILE)
def read_feed(file: Path, manifest: Path) -> None:
    """Check the feed in FILE under the MANIFEST of its scope, and print what the organisers have signed."""
    try:
        terms = Manifest.from_bytes(private_file.read(manifest))
        found = feeds.verify(private_file.read(file, feeds.MAX_BYTES), terms)
    except MalformedError as exc:
        raise ConfigurationError(f"not a feed and a manifest: {exc}") from exc
    for statement in found:
        body = statement.body
        if statement.type == "update":
            tag = terms.language if terms.language in body["title"] else min(body["title"])
            say(f"{statement.seq}: {body['title'][tag]}")
            say(f"  {body['text'][tag]}")
        else:
            say(f"{statement.seq}: a mailing to {body['number']} for {body['purpose']}")
    say(f"signed by the organisers: {len(found)} notices")
