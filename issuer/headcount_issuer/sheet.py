"""Code sheets on paper: plain text, and HTML to print and cut; PDF is in sheet_pdf. Kept nowhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

import segno

from headcount_issuer.attesters.in_person import format_code
from headcount_spec.scope import Manifest

_STYLE = """
body { font: 11pt/1.4 sans-serif; margin: 12mm; }
ol { display: grid; grid-template-columns: 1fr 1fr; gap: 0; list-style: none; padding: 0; margin: 0; }
li { border: 1px dashed #666; padding: 6mm; break-inside: avoid; overflow: hidden; }
svg { float: left; width: 32mm; height: 32mm; margin: 0 4mm 2mm 0; }
code { font: bold 15pt monospace; display: block; clear: both; }
small { color: #333; }
"""


def sheet_text(manifest: Manifest, codes: Sequence[bytes]) -> str:
    """One code a line, below the title."""
    lines = [f"# {_title(manifest)}", f"# scope {manifest.scope_id.hex()}", *map(format_code, codes)]
    return "\n".join(lines) + "\n"


def sheet_html(manifest: Manifest, codes: Sequence[bytes]) -> str:
    """A slip for each code with title, QR code and site; no script, nothing from elsewhere."""
    title = html.escape(_title(manifest))
    site = html.escape(manifest.origins[0])
    slips = "\n".join(
        f"<li>{_qr(slip_link(manifest, code))}{title}"
        f"<code>{format_code(code)}</code><small>{site}</small></li>"
        for code in codes
    )
    return (
        f'<!doctype html>\n<html lang="{html.escape(manifest.language)}" dir="auto">\n<head>\n'
        f'<meta charset="utf-8">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
        f"<ol>\n{slips}\n</ol>\n</body>\n</html>\n"
    )


def slip_link(manifest: Manifest, code: bytes) -> str:
    """What the QR code of a slip says: the site; scope and code in the fragment, which no server sees."""
    return f"{manifest.origins[0]}/#scope={manifest.scope_id.hex()}&slip={format_code(code)}"


def _qr(text: str) -> str:
    svg: str = segno.make_qr(text, error="m").svg_inline(border=2, omitsize=True)
    return svg


def _title(manifest: Manifest) -> str:
    return " ".join(manifest.title_text.split())
