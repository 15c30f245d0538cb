"""``headcount organiser init`` and ``headcount scope draft | lint | publish | show | notice``."""

from __future__ import annotations

from pathlib import Path

import click

from headcount import draft as drafts
from headcount import notice as notices
from headcount import organiser as organisers
from headcount import private_file
from headcount import scope as scopes
from headcount.quota_words import asked
from headcount.scope_view import ScopeView, find_scope
from headcount.signer_commands import today
from headcount.terminal import FILE, FOLDER, LEDGER, POLICY, SCOPE, hint, progress, read_policy, say
from headcount_ledger.reader.fetch import is_url, open_fetch
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import open_ledger
from headcount_spec import signature
from headcount_spec.errors import ProtocolError
from headcount_spec.fingerprint import fingerprint
from headcount_spec.lint import ERROR, Finding
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import encode_base64, format_day

_KEYS = click.option(
    "--key", "keys", multiple=True, required=True, type=FILE, help="An organiser's key file; may be repeated."
)


@click.group()
def organiser() -> None:
    """Keys of those who speak for a campaign, and the contacts that it may open."""


@organiser.command()
@click.argument("file", type=FILE)
def init(file: Path) -> None:
    """Make an organiser's key in FILE, and print its public half."""
    public_key = organisers.create_key(file)
    say(encode_base64(public_key))
    hint(f"keep {file.name} secret, and keep a copy: it signs everything said in the campaign's name")


@organiser.command()
@click.argument("terms", type=FILE)
@click.option(
    "--language", "languages", multiple=True, help="A page for each; the terms' own languages otherwise."
)
@click.option("--kind", type=click.Choice(["poster", "flyer"]), default="poster", show_default=True)
@click.option("--size", type=click.Choice(["A4", "A3"]), default="A4", show_default=True)
@click.option(
    "--site", metavar="URL", help="Which of the terms' sites the code leads to; the first otherwise."
)
@click.option("--font", type=FILE, help="A TrueType font with the letters of the languages.")
@click.option("--out", type=FILE, required=True, help="A file ending in .pdf, or in .svg for one language.")
def poster(
    terms: Path,
    languages: tuple[str, ...],
    kind: str,
    size: str,
    site: str | None,
    font: Path | None,
    out: Path,
) -> None:
    """Make a poster or a sheet of flyers of TERMS, the published scope.json, with QR code and fingerprint."""
    from headcount import printing  # loads a PDF library

    manifest = Manifest.from_bytes(private_file.read(terms))
    printing.write(out, manifest, languages, kind=kind, size=size, site=site, fonts=font)
    say(f"{kind}: {out}")
    hint(f"the words to compare: {' '.join(fingerprint(manifest.scope_id))}")


@click.group()
def scope() -> None:
    """Write, check, publish and read the terms of a campaign."""


@scope.command()
@click.argument("folder", type=FOLDER)
@click.option("--language", "languages", multiple=True, help="A language tag; repeat it, the main one first.")
@click.option("--policy", type=FILE, help="Takes the ledger and the witnesses from this trust policy.")
@click.option("--key", "keys", multiple=True, type=FILE, help="An organiser's key file; may be repeated.")
@click.option(
    "--site", "sites", multiple=True, metavar="URL", help="Where people may pledge; may be repeated."
)
def draft(
    folder: Path,
    languages: tuple[str, ...],
    policy: Path | None,
    keys: tuple[Path, ...],
    sites: tuple[str, ...],
) -> None:
    """Begin the terms of a campaign in FOLDER.

    Fill in manifest.json and texts/, let each issuer answer with headcount issuer enrol, then publish.
    """
    manifest = drafts.template(
        languages or ("en",),
        today=today(),
        policy=read_policy(policy) if policy else None,
        organisers=[signature.public_key(organisers.read_key(key)) for key in keys],
        sites=[site.rstrip("/") for site in sites],
    )
    drafts.create(folder, manifest)
    say(f"drafted: {folder / drafts.MANIFEST} and {folder / drafts.TEXTS}")
    hint(f"headcount scope lint {folder} says what is missing")


@scope.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
def lint(path: Path) -> None:
    """Say what is wrong or doubtful with the terms at PATH, a draft's folder or a manifest."""
    manifest = drafts.read(path).manifest if path.is_dir() else drafts.read_manifest(path)
    findings = scopes.check(manifest, today=today())
    for finding in findings:
        say(_line(finding))
    if any(finding.severity == ERROR for finding in findings):
        raise SystemExit(ProtocolError.exit_code)
    say("ready: the terms can be published")


@scope.command()
@click.argument("folder", type=FOLDER)
@_KEYS
@click.option("--ledger", required=True, metavar="URL", help="The address of the ledger that is to take it.")
def publish(folder: Path, keys: tuple[Path, ...], ledger: str) -> None:
    """Publish the terms in FOLDER, signed by the organisers, and print the scope's id.

    From then on they cannot be changed: other terms are another scope, which starts at zero.
    """
    for finding in scopes.check(drafts.read(folder).manifest, today=today()):
        click.echo(_line(finding), err=True)
    seeds = [organisers.read_key(key) for key in keys]
    with HttpTransport() as transport:
        published = scopes.publish(folder, seeds, ledger, transport=transport, day=today())
    say(published.manifest.scope_id.hex())
    hint(f"the terms are in {folder / drafts.PUBLISHED}; each issuer must now open the scope, and each site")
    hint(f"accepts pledges once the file is among its scopes as {published.manifest.scope_id.hex()}.json")


@scope.command()
@LEDGER
@SCOPE
@POLICY
@click.option("--language", help="Language of the words; the scope's own otherwise.")
@click.option("--text", "with_text", is_flag=True, help="Print the full text as well.")
def show(ledger: str, scope_id: ScopeId, policy: Path, language: str | None, with_text: bool) -> None:
    """Print the terms of a scope, as they stand in the ledger."""
    found = _find(ledger, scope_id, policy)
    manifest = found.manifest
    tag = language or manifest.language
    if tag not in manifest.title:
        raise click.UsageError(f"the terms are in {', '.join(sorted(manifest.title))}")
    _show(found, manifest, tag)
    if with_text:
        say("")
        say(found.texts.get(tag, "(the full text is not in the ledger yet)"))


@scope.command()
@LEDGER
@SCOPE
@POLICY
@_KEYS
@click.option("--type", "type_", required=True, type=click.Choice(["update", "mailing", "child", "pages"]))
@click.option("--body", required=True, type=FILE, help="A JSON file with the body of this type.")
def notice(
    ledger: str, scope_id: ScopeId, policy: Path, keys: tuple[Path, ...], type_: str, body: Path
) -> None:
    """Sign and publish what the organisers have to say: an update, a mailing, a child scope, its pages."""
    if not is_url(ledger):
        raise click.UsageError("notices are sent to the ledger's web address")
    found = _find(ledger, scope_id, policy, need_openings=False)
    content = drafts.read_manifest(body)
    signed = notices.next_notice(found, type_, content, [organisers.read_key(key) for key in keys])
    with HttpTransport() as transport:
        leaf_hash = notices.post(signed, ledger, transport)
    say(leaf_hash.hex())


def _find(ledger: str, scope_id: ScopeId, policy: Path, *, need_openings: bool = False) -> ScopeView:
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        view = open_ledger(open_fetch(ledger, transport), read_policy(policy))
        return find_scope(view, scope_id, need_openings=need_openings, progress=bar)


def _line(finding: Finding) -> str:
    return f"{finding.severity}: {finding.path}: {finding.message}"


def _show(found: ScopeView, manifest: Manifest, tag: str) -> None:
    say(manifest.title[tag])
    rows = [
        ("scope", manifest.scope_id.hex()),
        ("kind", f"{manifest.kind}, for {manifest.eligible}"),
        ("to", manifest.addressee[tag]),
        ("open", f"{format_day(manifest.opens)} to {format_day(manifest.closes)}"),
        ("changes", f"until {format_day(manifest.freezes)}"),
        ("enough", f"{manifest.threshold} at level {manifest.level}"),
    ]
    if manifest.quotas is not None:
        rows.append(("and", asked(manifest.quotas, len(manifest.options))))
    rows += [("option", f"{option.number}  {option.label[tag]}") for option in manifest.options]
    rows += [("tier", f"{tier.count}  {tier.effect[tag]}") for tier in manifest.tiers]
    if manifest.action is not None:
        when = f"{format_day(manifest.action.date)} ({manifest.action.time_zone})"
        rows.append(("action", f"{when}: {manifest.action.what[tag]}"))
    if manifest.continues is not None:
        before = f"{manifest.continues.scope.hex()} as it stood at batch {manifest.continues.seal}"
        rows.append(("after", f"{before}: the total is both, and who pledged there does not pledge again"))
    missing = found.missing_openings
    rows += [
        ("issuer", f"{issuer.name}{' (has not opened it yet)' if issuer.name in missing else ''}")
        for issuer in manifest.issuers
    ]
    rows += [("ledger", manifest.ledger.origin)]
    rows += [("site", origin) for origin in manifest.origins]
    rows += [("batches", f"of at least {manifest.min_batch} pledges")]
    rows += [("data", manifest.data_use[tag]), ("end", manifest.end_of_life[tag])]
    for name, value in rows:
        say(f"  {name:<8} {value}")
