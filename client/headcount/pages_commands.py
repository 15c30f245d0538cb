"""``headcount pages hash | publish | check``: which files the pages of a campaign may run."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from headcount import notice as notices
from headcount import organiser as organisers
from headcount import private_file
from headcount.scope_view import ScopeView, find_scope
from headcount.site_pages import SiteReader
from headcount.terminal import FILE, FOLDER, LEDGER, POLICY, SCOPE, hint, progress, read_policy, say
from headcount_ledger.reader.fetch import is_url, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec.bundle import LIST, MAX_LIST_BYTES, Bundle, BundledFile
from headcount_spec.errors import ConfigurationError, MalformedError, ProtocolError
from headcount_spec.jcs import JSON
from headcount_spec.scope import ScopeId


@click.group()
def pages() -> None:
    """State which files a campaign's pages may run, and compare what is served."""


@pages.command("hash")
@click.argument("folder", type=FOLDER, required=False)
def hash_(folder: Path | None) -> None:
    """Print the hash of the pages that this installation brings, or of those built in FOLDER.

    Everybody who builds the same sources gets the same hash.
    """
    say(_built(folder or Path(str(files("headcount") / "web"))).hash.hex())


@pages.command()
@LEDGER
@SCOPE
@POLICY
@click.option(
    "--key", "keys", multiple=True, required=True, type=FILE, help="An organiser's key file; may be repeated."
)
@click.option("--site", metavar="URL", help="One of the terms' sites; the first otherwise.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="HEX",
    help="A hash of headcount pages hash, of what this installation brings otherwise; may be repeated.",
)
def publish(
    ledger: str,
    scope_id: ScopeId,
    policy: Path,
    keys: tuple[Path, ...],
    site: str | None,
    bundles: tuple[str, ...],
) -> None:
    """State in the ledger which files the pages of a site may run; the last statement about a site counts.

    Before a site is updated, state the hashes of both, the old and the new; afterwards that of the new.
    """
    if not is_url(ledger):
        raise click.UsageError("notices are sent to the ledger's web address")
    found = _find(ledger, scope_id, policy)
    hashes = bundles or (_built(Path(str(files("headcount") / "web"))).hash.hex(),)
    body: dict[str, JSON] = {"site": site or found.manifest.origins[0], "bundles": list(hashes)}
    signed = notices.next_notice(found, "pages", body, [organisers.read_key(key) for key in keys])
    with HttpTransport() as transport:
        leaf_hash = notices.post(signed, ledger, transport)
    say(leaf_hash.hex())
    hint(f"after the next batch, headcount pages check compares what {body['site']} serves")


@pages.command()
@LEDGER
@SCOPE
@POLICY
@click.pass_context
def check(ctx: click.Context, ledger: str, scope_id: ScopeId, policy: Path) -> None:
    """Compare what the sites of a scope serve now with what its organisers have stated."""
    found = _find(ledger, scope_id, policy)
    with HttpTransport() as transport:
        deviations = list(SiteReader(transport).check(found, ledger))
    for item in deviations:
        say(f"{item.code}: {item.site}: {item.detail}")
    if deviations:
        ctx.exit(ProtocolError.exit_code)
    say("the pages are those that the organisers have stated, as far as they are shown to you")


def _built(folder: Path) -> Bundle:
    """The list in a folder, if its files are what it says."""
    try:
        bundle = Bundle.from_bytes(private_file.read(folder / LIST, MAX_LIST_BYTES))
        for name, expected in bundle.files.items():
            if BundledFile.of((folder / name).read_bytes()) != expected:
                raise ConfigurationError(f"{name} is not what {LIST} says")
    except (OSError, MalformedError) as exc:
        raise ConfigurationError(f"{folder.name} has no pages; make web builds them") from exc
    return bundle


def _find(ledger: str, scope_id: ScopeId, policy: Path) -> ScopeView:
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        view = open_ledger(open_fetch(ledger, transport), read_policy(policy))
        return find_scope(view, scope_id, need_openings=False, progress=bar)
