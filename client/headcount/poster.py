"""A campaign on paper: poster and flyers with QR code and fingerprint, from its terms alone.

One drawing for an A4 sheet in millimetres, made of texts, a code and dots; a poster is one of them on A4 or
A3, a sheet of flyers four at half the size. As PDF it is shaped by HarfBuzz (joined letters, right to left);
as SVG whoever shows it does that. The files hold no time and no name: the same terms give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

import segno

from headcount.catalogue import Catalogue
from headcount.quota_words import asked_in
from headcount_spec.fingerprint import fingerprint
from headcount_spec.scope import Manifest

WIDTH, HEIGHT = 210.0, 297.0  # mm, A4
INK, MUTED, ACCENT, EMPTY, LINE = "#17262d", "#4d5d64", "#9a3412", "#8a8577", "#cfc6b3"
_MARGIN = 18.0
_CODE = 74.0  # mm, side of the QR code with its quiet zone
_PT = 25.4 / 72  # mm
_LEADING = 1.2

Measure = Callable[["Style", str], float]  # width in mm


@dataclass(frozen=True, slots=True)
class Style:
    """How a text is set."""

    size: float  # pt
    colour: str = INK
    is_bold: bool = False
    is_mono: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """One line; x is where it begins, which is its right end in a right-to-left language, y its baseline."""

    x: float
    y: float
    style: Style
    text: str
    is_rtl: bool


@dataclass(frozen=True, slots=True)
class Dot:
    """A disc."""

    x: float
    y: float
    radius: float
    colour: str


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


Part = Text | Dot | Box
Drawing = Generator[Part, None, float]  # ends with where the next part may begin, in mm from the top


def link(manifest: Manifest, site: str | None = None) -> str:
    """Where the code leads: the campaign's page on a site of its terms."""
    return f"{site or manifest.origins[0]}/sign/{manifest.scope_id.hex()}"


def poster(
    manifest: Manifest, words: Catalogue, measure: Measure, site: str | None = None, code: str | None = None
) -> list[Part]:
    """The drawing for one A4 sheet in one language; code is where the QR code leads, if elsewhere."""
    return list(_Sheet(manifest, words, measure, site, code).parts())


def flyers(drawing: Sequence[Part]) -> list[Part]:
    """Four of it on the same sheet, to be cut along two lines."""
    parts: list[Part] = []
    for x in (0.0, WIDTH / 2):
        for y in (0.0, HEIGHT / 2):
            parts += [moved(part, 0.5, x, y) for part in drawing]
    return [*parts, Box(WIDTH / 2 - 0.05, 0, 0.1, HEIGHT, LINE), Box(0, HEIGHT / 2 - 0.05, WIDTH, 0.1, LINE)]


def moved(part: Part, scale: float, x: float = 0.0, y: float = 0.0) -> Part:
    """A part in another size at another place."""
    left, top = part.x * scale + x, part.y * scale + y
    if isinstance(part, Text):
        return replace(part, x=left, y=top, style=replace(part.style, size=part.style.size * scale))
    if isinstance(part, Dot):
        return replace(part, x=left, y=top, radius=part.radius * scale)
    return replace(part, x=left, y=top, width=part.width * scale, height=part.height * scale)


def wrap(text: str, width: float, style: Style, measure: Measure) -> list[str]:
    """The lines of a text that are at most so wide, where its words allow it."""
    lines: list[str] = []
    for word in text.split():
        if lines and measure(style, f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


class _Sheet:
    """Lays one sheet out, from the top and from the bottom."""

    def __init__(
        self, manifest: Manifest, words: Catalogue, measure: Measure, site: str | None, code: str | None
    ) -> None:
        self._manifest = manifest
        self._words = words
        self._measure = measure
        self._link = link(manifest, site)
        self._target = code or self._link
        self._language = words.language if words.language in manifest.title else manifest.language
        self._is_rtl = words.direction == "rtl"

    def parts(self) -> Iterator[Part]:
        """Everything, top to bottom."""
        t, manifest = self._words.text, self._manifest
        yield Box(0, 0, WIDTH, 7, ACCENT)
        y = 28.0
        to = t("sign.to", addressee=manifest.addressee[self._language])
        y = yield from self._lines(to, y, Style(15, MUTED))
        y = yield from self._title(y + 5)
        y = yield from self._crowd(y + 3)
        needed = t("poster.needed", threshold=self._words.number(manifest.threshold))
        until = t("poster.until", date=self._words.day(manifest.closes))
        y = yield from self._lines(needed, y + 15, Style(30, ACCENT, is_bold=True))
        if manifest.quotas is not None:
            asked = asked_in(manifest.quotas, len(manifest.options), self._words)
            y = yield from self._lines(asked, y, Style(18, INK))
        yield from self._lines(until, y, Style(18, INK))
        yield from self._foot()

    def _title(self, y: float) -> Drawing:
        text = " ".join(self._manifest.title[self._language].split())
        size = 54.0
        while size > 20 and len(self._wrapped(text, Style(size, is_bold=True))) * size > 54 * 3.1:
            size -= 2
        return self._lines(text, y + size * _PT * 0.6, Style(size, is_bold=True))

    def _crowd(self, y: float) -> Drawing:
        step = (WIDTH - 2 * _MARGIN) / 40
        for column in range(40):
            for row in range(3):
                is_you = (column, row) == (17, 1)
                x = _MARGIN + step * (column + 0.5)
                place = WIDTH - x if self._is_rtl else x
                yield Dot(
                    place,
                    y + step * (row + 0.5),
                    step * (0.4 if is_you else 0.16),
                    ACCENT if is_you else EMPTY,
                )
        return y + 3 * step

    def _foot(self) -> Iterator[Part]:
        top = HEIGHT - _MARGIN - _CODE - 8
        left = WIDTH - _MARGIN - _CODE if self._is_rtl else _MARGIN
        yield from self._code(left, top)
        beside = _CODE + 10
        width = WIDTH - 2 * _MARGIN - beside
        t = self._words.text
        y = yield from self._lines(t("poster.scan"), top + 8, Style(21, is_bold=True), beside, width)
        y = yield from self._lines(t("poster.compare"), y + 1, Style(12.5), beside, width)
        y = yield from self._fingerprint(y, beside, width)
        yield from self._lines(t("poster.nobody"), y + 6, Style(12.5, MUTED), beside, width)
        host = self._link.split("://", 1)[1]
        style = Style(8.5, MUTED, is_mono=True)
        # The address is the same in every language, and read from the left.
        yield Text(_MARGIN, HEIGHT - 12, style, host, is_rtl=False)

    def _fingerprint(self, y: float, beside: float, width: float) -> Drawing:
        style = Style(13, is_mono=True)
        left = _MARGIN if self._is_rtl else _MARGIN + beside
        for i, word in enumerate(fingerprint(self._manifest.scope_id)):
            x = left + i % 2 * width / 2
            line = y + i // 2 * 8.2
            yield Box(x, line - 1, width / 2 - 2, 7, "#ece5d6")
            yield Text(x + 3, line + 4, style, word, is_rtl=False)
        return y + 4 * 8.2

    def _code(self, left: float, top: float) -> Iterator[Part]:
        matrix = segno.make(self._target, error="m", micro=False).matrix
        module = _CODE / (len(matrix) + 4)
        yield Box(left, top, _CODE, _CODE, "#ffffff")
        for row, line in enumerate(matrix):
            column = 0
            while column < len(line):
                length = 0
                while column + length < len(line) and line[column + length]:
                    length += 1
                if length:
                    x, y = left + module * (column + 2), top + module * (row + 2)
                    yield Box(x, y, module * length, module, "#000000")
                column += length or 1

    def _lines(
        self, text: str, y: float, style: Style, beside: float = 0.0, width: float = WIDTH - 2 * _MARGIN
    ) -> Drawing:
        x = WIDTH - _MARGIN - beside if self._is_rtl else _MARGIN + beside
        for line in self._wrapped(text, style, width):
            yield Text(x, y, style, line, self._is_rtl)
            y += style.size * _PT * _LEADING
        return y

    def _wrapped(self, text: str, style: Style, width: float = WIDTH - 2 * _MARGIN) -> list[str]:
        return wrap(text, width, style, self._measure)
