"""The operator's commands for code sheets: making them, and a helper's table."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from headcount_issuer.config import IssuerConfig
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import write_private
from headcount_issuer.sheet import sheet_html, sheet_text
from headcount_issuer.sheet_pdf import sheet_pdf
from headcount_issuer.sheets import Counts, Sheets
from headcount_spec.errors import CodeRefusedError, ConfigurationError
from headcount_spec.scope import ScopeId
from headcount_spec.text import decode_hex

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("scope_hex", metavar="SCOPE")
@click.option("--number", type=click.IntRange(1), required=True, help="Of slips.")
@click.option("--out", type=_FOLDER, default=".", show_default=True, help="Folder of the three files.")
@click.option("--font", type=_FILE, help="TrueType file for a title in the PDF beyond Latin 1.")
@click.pass_obj
def codes(config_path: Path, scope_hex: str, number: int, out: Path, font: Path | None) -> None:
    """Make a sheet of single-use codes for SCOPE: text, and HTML and PDF to print, with QR codes.

    Its Merkle root and number go into the ledger. The files are the only copy of the codes.
    """
    scope_id = ScopeId(decode_hex(scope_hex, 32))
    kinds = ("txt", "html", "pdf")
    text_path, html_path, pdf_path = (out / f"codes-{scope_hex[:8]}.{kind}" for kind in kinds)
    for path in (text_path, html_path, pdf_path):
        if path.exists():
            raise ConfigurationError(f"{path.name} exists already")
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        sheet_pdf(opened.sheets.manifest(scope_id), [bytes(10)], font)  # a missing font is found out now
        manifest, sheet = opened.sheets.make(scope_id, number)
        write_private(text_path, sheet_text(manifest, sheet).encode())
        write_private(html_path, sheet_html(manifest, sheet).encode())
        write_private(pdf_path, sheet_pdf(manifest, sheet, font))
        opened.send_notices()
    click.echo(f"{number} codes in {text_path.name}, {html_path.name} and {pdf_path.name}")


@click.command()
@click.argument("scope_hex", metavar="SCOPE")
@click.pass_obj
def table(config_path: Path, scope_hex: str) -> None:
    """Sit at a helper's table of SCOPE: type or scan one slip after the other, see whether it is used.

    Nothing is changed by looking. An empty line shows the numbers again, the end of input ends it.
    """
    scope_id = ScopeId(decode_hex(scope_hex, 32))
    with Issuer.open(IssuerConfig.from_file(config_path)) as opened:
        _show(opened.sheets.counts(scope_id))
        for line in sys.stdin:
            code = line.strip().rpartition("slip=")[2]  # a scanner types the whole link
            if code:
                click.echo(_look(opened.sheets, scope_id, code))
            else:
                _show(opened.sheets.counts(scope_id))
        _show(opened.sheets.counts(scope_id))


def _look(sheets: Sheets, scope_id: ScopeId, code: str) -> str:
    try:
        return "used already" if sheets.is_used(scope_id, code) else "not used yet"
    except CodeRefusedError as exc:
        return str(exc)


def _show(counts: Counts) -> None:
    cap = "" if counts.cap is None else f", of at most {counts.cap}"
    click.echo(f"{counts.slips} slips{cap}; {counts.tokens} tokens were asked for")
