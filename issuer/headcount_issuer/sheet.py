"""Code sheets on paper: plain text, and HTML to print and cut. Made once, kept nowhere."""

from __future__ import annotations

import html
from collections.abc import Sequence

from headcount_issuer.attesters.in_person import format_code
from headcount_spec.scope import Manifest

_STYLE = """
body { font: 11pt/1.4 sans-serif; margin: 12mm; }
ol { display: grid; grid-template-columns: 1fr 1fr; gap: 0; list-style: none; padding: 0; margin: 0; }
li { border: 1px dashed #666; padding: 6mm; break-inside: avoid; }
code { font: bold 15pt monospace; display: block; margin: 2mm 0; }
small { color: #333; }
"""


def sheet_text(manifest: Manifest, codes: Sequence[bytes]) -> str:
    """One code a line, below the title."""
    lines = [f"# {_title(manifest)}", f"# scope {manifest.scope_id.hex()}", *map(format_code, codes)]
    return "\n".join(lines) + "\n"


def sheet_html(manifest: Manifest, codes: Sequence[bytes]) -> str:
    """A slip for each code with title and site, no script, nothing from elsewhere."""
    title = html.escape(_title(manifest))
    site = html.escape(manifest.origins[0])
    slips = "\n".join(
        f"<li>{title}<code>{format_code(code)}</code><small>{site}</small></li>" for code in codes
    )
    return (
        f'<!doctype html>\n<html lang="{html.escape(manifest.language)}">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<ol>\n{slips}\n</ol>\n</body>\n</html>\n"
    )


def _title(manifest: Manifest) -> str:
    return " ".join(manifest.title_text.split())
