"""Code sheets as PDF: A4, ten slips a page, each with title, QR code, code and site. By fpdf2 and segno.

Nothing but the codes differs from one sheet to another: the file holds no time and no name.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import segno
from fpdf import FPDF
from fpdf.errors import FPDFException

from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.sheet import slip_link
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import Manifest

# Millimetres.
_COLUMNS, _ROWS = 2, 5
_MARGIN = 10.0
_WIDTH, _HEIGHT = 95.0, 55.0
_PADDING = 4.0
_QR = 32.0
_LINE = 4.6
_TITLE_LINES = 6

_RIGHT_TO_LEFT = frozenset({"R", "AL"})


def sheet_pdf(manifest: Manifest, codes: Sequence[bytes], font: Path | None = None) -> bytes:
    """A slip for each code, with lines to cut along.

    font is a TrueType file with the characters of the title; without one, those of Latin 1 can be printed.

    Raises:
        ConfigurationError: the title needs a font, or the font cannot be used.
    """
    title = " ".join(manifest.title_text.split())
    site = manifest.origins[0].split("://", 1)[1]
    pdf = FPDF(format="A4")
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
    family = _family(pdf, title, font)
    for i, code in enumerate(codes):
        place = i % (_COLUMNS * _ROWS)
        if place == 0:
            pdf.add_page()
        x = _MARGIN + place % _COLUMNS * _WIDTH
        y = _MARGIN + place // _COLUMNS * _HEIGHT
        _slip(pdf, x, y, family, title, site, manifest, code)
    return bytes(pdf.output())


def _family(pdf: FPDF, title: str, font: Path | None) -> str:
    if font is None:
        try:
            title.encode("latin-1")
        except UnicodeEncodeError as exc:
            raise ConfigurationError(
                "the title needs a font: name a TrueType file with --font, or print the HTML"
            ) from exc
        return "helvetica"
    try:
        pdf.add_font("title", fname=font)
        pdf.set_text_shaping(True)  # letters that join, marks, right to left
    except (FPDFException, OSError, ValueError, KeyError, AttributeError) as exc:
        raise ConfigurationError(f"{font.name} cannot be used as a font") from exc
    return "title"


def _slip(
    pdf: FPDF, x: float, y: float, family: str, title: str, site: str, manifest: Manifest, code: bytes
) -> None:
    pdf.set_draw_color(120)
    pdf.set_dash_pattern(dash=1, gap=1)
    pdf.rect(x, y, _WIDTH, _HEIGHT)
    inner = _WIDTH - 3 * _PADDING - _QR
    pdf.image(_qr(slip_link(manifest, code)), x + _PADDING, y + _PADDING, _QR, _QR)
    pdf.set_xy(x + 2 * _PADDING + _QR, y + _PADDING)
    pdf.set_font(family, size=10)
    align = "R" if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for char in title) else "L"
    lines = cast(list[str], pdf.multi_cell(inner, _LINE, title, align=align, dry_run=True, output="LINES"))
    pdf.multi_cell(inner, _LINE, "\n".join(lines[:_TITLE_LINES]), align=align)
    pdf.set_font("courier", "B", 15)
    pdf.set_xy(x + _PADDING, y + _PADDING + _QR + 3)
    pdf.cell(_WIDTH - 2 * _PADDING, 7, format_code(code), align="C")
    pdf.set_font("helvetica", size=9)
    pdf.set_xy(x + _PADDING, y + _HEIGHT - _PADDING - 4)
    pdf.cell(_WIDTH - 2 * _PADDING, 4, site, align="C")


def _qr(text: str) -> io.BytesIO:
    image = io.BytesIO()
    segno.make_qr(text, error="m").save(image, kind="png", scale=6, border=2)
    image.seek(0)
    return image
