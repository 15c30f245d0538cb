"""The drawings of ``poster`` as files: PDF by fpdf2, SVG as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from fpdf import FPDF, Align
from fpdf.errors import FPDFException
from fpdf.fonts import TTFFont

from headcount.poster import HEIGHT, WIDTH, Box, Dot, Part, Style, Text, moved
from headcount_spec.errors import ConfigurationError

_MAGIC = (b"\0\1\0\0", b"OTTO", b"true", b"ttcf")  # of OpenType files, Section "Table Directory"
SIZES = {"A4": 1.0, "A3": 2**0.5}
# Where a font with Latin, Cyrillic and Arabic letters is found on a usual machine.
_FONTS = (
    Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    Path("/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf"),
    Path("/usr/share/fonts/TTF/DejaVuSans.ttf"),
    Path("/Library/Fonts/Arial Unicode.ttf"),
    Path("C:/Windows/Fonts/arial.ttf"),
)
_FAMILY = {False: "system-ui, 'Noto Sans', 'Noto Sans Arabic', sans-serif", True: "ui-monospace, monospace"}


@dataclass(frozen=True, slots=True)
class Fonts:
    """TrueType files; without any, only Latin 1 can be printed."""

    regular: Path | None
    bold: Path | None

    @classmethod
    def find(cls, regular: Path | None = None) -> Fonts:
        """The one that is named, else one that this machine has; a bold one if it lies beside."""
        if regular is None:
            regular = next((path for path in _FONTS if path.is_file()), None)
        if regular is None:
            return cls(None, None)
        bold = regular.with_name(f"{regular.stem}-Bold{regular.suffix}")
        return cls(regular, bold if bold.is_file() else regular)


class Sheets:
    """A PDF of A4 or A3 sheets; measures texts as it will print them."""

    def __init__(self, fonts: Fonts, size: str = "A4") -> None:
        """Raises ConfigurationError for a file that is no font."""
        self._scale = SIZES[size]
        self._pdf = FPDF(format=size)
        self._pdf.set_auto_page_break(False)
        self._pdf.set_margin(0)
        self._pdf.c_margin = 0
        self._pdf.set_creation_date(datetime(2000, 1, 1, tzinfo=UTC))
        self._has_font = fonts.regular is not None and fonts.bold is not None
        if fonts.regular is not None and fonts.bold is not None:
            if fonts.regular.read_bytes()[:4] not in _MAGIC:
                raise ConfigurationError(f"{fonts.regular.name} is no TrueType or OpenType font")
            try:
                self._pdf.add_font("own", fname=fonts.regular)
                self._pdf.add_font("own", "B", fonts.bold)
                self._pdf.set_text_shaping(True)
            except (FPDFException, OSError, ValueError, KeyError, AttributeError) as exc:
                raise ConfigurationError(f"{fonts.regular.name} cannot be used as a font") from exc

    def measure(self, style: Style, text: str) -> float:
        """The width of a text on A4, in mm.

        Raises:
            ConfigurationError: it has letters that the font lacks.
        """
        self._set(style, text)
        return float(self._pdf.get_string_width(text))

    def add(self, parts: Sequence[Part]) -> None:
        """Print a sheet.

        Raises:
            ConfigurationError: as measure.
        """
        self._pdf.add_page()
        for part in parts:
            self._print(moved(part, self._scale))

    def to_bytes(self) -> bytes:
        """The file."""
        return bytes(self._pdf.output())

    def close(self) -> None:
        """Let go of the fonts' files, which fpdf2 keeps open."""
        for font in self._pdf.fonts.values():
            if isinstance(font, TTFFont):
                font.ttfont.close()

    def _print(self, part: Part) -> None:
        if isinstance(part, Text):
            self._set(part.style, part.text)
            self._pdf.set_text_color(part.style.colour)
            height = part.style.size * 25.4 / 72
            width = self._pdf.get_string_width(part.text) + 1
            x = part.x - width if part.is_rtl else part.x
            self._pdf.set_xy(x, part.y - height * 0.8)
            self._pdf.cell(width, height, part.text, align=Align.R if part.is_rtl else Align.L)
            return
        self._pdf.set_fill_color(part.colour)
        if isinstance(part, Dot):
            self._pdf.circle(part.x, part.y, part.radius, style="F")
        else:
            self._pdf.rect(part.x, part.y, part.width, part.height, style="F")

    def _set(self, style: Style, text: str) -> None:
        family = "courier" if style.is_mono else "own" if self._has_font else "helvetica"
        if family == "helvetica":
            try:
                text.encode("latin-1")
            except UnicodeEncodeError as exc:
                raise ConfigurationError("these words need a font: name a TrueType file with --font") from exc
        self._pdf.set_font(family, "B" if style.is_bold else "", style.size)


def to_svg(parts: Sequence[Part], language: str) -> str:
    """One sheet as SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:g}mm" height="{HEIGHT:g}mm" '
        f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}" xml:lang="{language}">',
        f'<rect width="{WIDTH:g}" height="{HEIGHT:g}" fill="#ffffff"/>',
        *map(_svg, parts),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _svg(part: Part) -> str:
    if isinstance(part, Box):
        return (
            f'<rect x="{part.x:.2f}" y="{part.y:.2f}" width="{part.width:.2f}" height="{part.height:.2f}" '
            f'fill="{part.colour}"/>'
        )
    if isinstance(part, Dot):
        return f'<circle cx="{part.x:.2f}" cy="{part.y:.2f}" r="{part.radius:.2f}" fill="{part.colour}"/>'
    weight = ' font-weight="bold"' if part.style.is_bold else ""
    direction = ' direction="rtl"' if part.is_rtl else ""
    return (
        f'<text x="{part.x:.2f}" y="{part.y:.2f}" font-size="{part.style.size * 25.4 / 72:.2f}" '
        f'font-family="{_FAMILY[part.style.is_mono]}"{weight}{direction} fill="{part.style.colour}">'
        f"{escape(part.text)}</text>"
    )
