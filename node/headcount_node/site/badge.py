"""The count as a picture, for pages that may not run a script: SVG in eight languages, PNG in figures.

The figures are those of the last seal, verified by this node. A picture proves nothing to whoever sees it
elsewhere: it leads, by the link around it, to the page that does.
"""

from __future__ import annotations

import io
from html import escape

from PIL import Image, ImageDraw, ImageFont

from headcount.catalogue import Catalogue
from headcount.quota_words import standing_in
from headcount_node.site.counted import Count
from headcount_node.site.crowd import Crowd, crowd
from headcount_node.site.wording import level
from headcount_spec.quotas import is_met
from headcount_spec.scope import Manifest

WIDTH, HEIGHT = 440, 168
_PAPER, _INK, _MUTED, _ACCENT, _EMPTY = "#fffdf8", "#17262d", "#4d5d64", "#9a3412", "#8a8577"

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" \
viewBox="0 0 {width} {height}" role="img" aria-labelledby="t" direction="{direction}" xml:lang="{language}">
<title id="t">{title}: {live} {level}, {needed}</title>
<rect x=".5" y=".5" width="{inner_width}" height="{inner_height}" rx="8" fill="{paper}" stroke="#cfc6b3"/>
<g font-family="system-ui,'Segoe UI','Noto Sans','Noto Sans Arabic',sans-serif" fill="{ink}" \
text-anchor="start"><text x="{start}" y="27" font-size="14" fill="{muted}">{short_title}</text>
<text x="{start}" y="74" font-size="40" font-weight="600" fill="{accent}" \
font-family="ui-serif,Georgia,'Noto Serif',serif">{live}</text>
<text x="{start}" y="97" font-size="14">{level} · {needed}</text></g>
<g transform="translate(20 108) {mirror}" fill="none" stroke-linecap="round">
<path d="{empty_dots}" stroke="{empty}" stroke-width="3"/>
<path d="{full_dots}" stroke="{accent}" stroke-width="7"/></g>
</svg>
"""
_TITLE_CHARS = 52


def svg(
    manifest: Manifest, count: Count | None, words: Catalogue, is_reached: bool = False, before: int = 0
) -> str:
    """The badge in a language; a dash instead of a figure where the ledger cannot be read.

    before is the count of the campaign that this one continues; the threshold is what was left then.
    """
    needed = words.text("count.of", threshold=words.number(manifest.threshold + before))
    if is_reached:
        needed = words.text("counter.reached")
    elif count is not None and manifest.quotas is not None and count.live >= manifest.threshold:
        needed = standing_in(manifest.quotas, count.options, words)
    live = count.live + before if count else 0
    dots = crowd(live, manifest.threshold + before, is_short=_is_short(manifest, count) and not is_reached)
    tag = words.language if words.language in manifest.title else manifest.language
    title = " ".join(manifest.title[tag].split())
    rtl = words.direction == "rtl"
    return _SVG.format(
        width=WIDTH,
        height=HEIGHT,
        inner_width=WIDTH - 1,
        inner_height=HEIGHT - 1,
        direction=words.direction,
        language=words.language,
        title=escape(title),
        short_title=escape(_shorten(title)),
        live=words.number(live) if count else "—",
        level=escape(level(manifest, live, words)),
        needed=escape(needed),
        start=WIDTH - 20 if rtl else 20,
        mirror="translate(400 0) scale(-1 1)" if rtl else "",
        full_dots=dots.full,
        empty_dots=dots.empty,
        paper=_PAPER,
        ink=_INK,
        muted=_MUTED,
        accent=_ACCENT,
        empty=_EMPTY,
    )


def png(
    manifest: Manifest, count: Count | None, is_reached: bool = False, before: int = 0, scale: int = 2
) -> bytes:
    """The badge without words: the count, the threshold, the crowd. For where SVG is not taken."""
    here = count.live + before if count else 0
    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), _PAPER)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle(
        (0, 0, WIDTH * scale - 1, HEIGHT * scale - 1), 8 * scale, outline="#cfc6b3", width=scale
    )
    big, small = (ImageFont.load_default(size * scale) for size in (52, 20))
    live = f"{here:,}" if count else "–"
    draw.text((20 * scale, 78 * scale), live, _ACCENT, big, anchor="ls")
    at = 32 * scale + draw.textlength(live, big)
    draw.text(
        (20 * scale + at - 20 * scale, 78 * scale),
        f"/ {manifest.threshold + before:,}",
        _INK,
        small,
        anchor="ls",
    )
    is_short = _is_short(manifest, count) and not is_reached
    _dots(draw, crowd(here, manifest.threshold + before, is_short=is_short), scale)
    data = io.BytesIO()
    image.save(data, "PNG", optimize=True)
    return data.getvalue()


def _is_short(manifest: Manifest, count: Count | None) -> bool:
    return count is not None and not is_met(manifest.quotas, count.options)


def _dots(draw: ImageDraw.ImageDraw, picture: Crowd, scale: int) -> None:
    for path, colour, radius in ((picture.empty, _EMPTY, 1.5), (picture.full, _ACCENT, 3.5)):
        for point in path.split("M")[1:]:
            x, y = (int(part) for part in point.removesuffix("h0").split())
            centre = (20 + x) * scale, (106 + y) * scale
            reach = radius * scale
            draw.ellipse(
                (centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach), fill=colour
            )


def _shorten(title: str) -> str:
    return title if len(title) <= _TITLE_CHARS else title[: _TITLE_CHARS - 1].rstrip() + "…"
