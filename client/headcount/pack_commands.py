"""``headcount pack make | verify``: the count of a scope as one file that is checked without the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from headcount import output_file, private_file
from headcount import pack as packs
from headcount.pack_verdict import Keys, lines
from headcount.terminal import FILE, POLICY, hint, ledger, progress, read_policy, say, scope_id
from headcount_ledger.reader.fetch import cached, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.errors import ConfigurationError, MalformedError, UnknownKeyError
from headcount_spec.pack import MAX_PACK_BYTES, Pack, own_policy, verify_pack
from headcount_spec.scope import ScopeId


@click.group()
def pack() -> None:
    """Show a count to somebody who does not read the ledger: terms, growth, witnesses, proofs in one file."""


@pack.command()
@click.argument("target", callback=ledger)
@click.option("--scope", "scope", required=True, metavar="HEX", callback=scope_id, help="Which scope.")
@POLICY
@click.option("-o", "--output", required=True, type=FILE, help="Where to write the pack.")
def make(target: str, scope: ScopeId, policy: Path, output: Path) -> None:
    """Write the proof pack of a scope in the ledger at TARGET, an address or a folder."""
    trusted = read_policy(policy)
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        view = open_ledger(cached(open_fetch(target, transport)), trusted)
        made, found = packs.make(view, scope, bar)
    data = made.to_bytes()
    output_file.write(output, data)
    count = found.count
    say(f"packed: {found.manifest.title_text}, {count.live} at batch {count.batch}, {len(data)} bytes")
    hint(f"headcount pack verify {output.name} --policy POLICY checks it, with no ledger at hand")


@pack.command()
@click.argument("file", type=FILE)
@click.option("--policy", type=FILE, help="Whom you trust about the ledger (tlog-policy).")
@click.option(
    "--scope",
    "scope",
    metavar="HEX",
    callback=lambda ctx, param, value: scope_id(ctx, param, value) if value else None,
    help="The scope id that the campaign has published, which the pack must be of.",
)
def verify(file: Path, policy: Path | None, scope: ScopeId | None) -> None:
    """Check the pack in FILE without the ledger, and print what it shows and what it does not.

    Give your own trust policy, or at least the scope id from the campaign's link: the id is the hash of
    the terms, and the terms name the keys. Without either, the file is only checked against its own keys.
    """
    try:
        parsed = Pack.from_bytes(private_file.read(file, MAX_PACK_BYTES))
    except MalformedError as exc:
        raise ConfigurationError(f"{file.name}: {exc}") from exc
    if scope is not None and parsed.scope_id != scope:
        raise UnknownKeyError("the pack is of another scope")
    if policy is not None:
        trusted, whose = read_policy(policy), Keys.POLICY
    else:
        trusted, whose = own_policy(parsed), Keys.SCOPE if scope is not None else Keys.FILE
    for line in lines(verify_pack(parsed, trusted), whose):
        say(line)
