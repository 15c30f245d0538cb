"""A campaign's colour. Only the hue is free: lightness and chroma stay, and with them every contrast."""

from __future__ import annotations

import functools
import io

from flask import Blueprint, Response
from PIL import Image, ImageDraw

_SIDE = 32
_FINER = 8  # drawn so many times larger, so that its edges are smooth


def theme_blueprint(hue: int | None) -> Blueprint:
    """The colour of a site, and its mark for a browser's tab."""
    blueprint = Blueprint("theme", __name__)

    @blueprint.get("/theme.css")
    def theme() -> Response:
        return _small(theme_css(hue), "text/css; charset=utf-8")

    @blueprint.get("/mark.png")
    def mark() -> Response:
        return _small(_mark(), "image/png")

    return blueprint


@functools.cache
def _mark() -> bytes:
    # No SVG: for one, Chromium lays out a document beside each page, just when there is other work.
    image = Image.new("RGBA", (_SIDE * _FINER, _SIDE * _FINER))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, image.width - 1, image.height - 1), 6 * _FINER, "#fffdf8")
    dots = ((9, 9, 3.4, "#77807f"), (23, 9, 3.4, "#77807f"), (9, 23, 3.4, "#77807f"), (23, 23, 5, "#9a3412"))
    for x, y, radius, colour in dots:
        box = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse([side * _FINER for side in box], colour)
    data = io.BytesIO()
    image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).save(data, "PNG", optimize=True)
    return data.getvalue()


def _small(content: str | bytes, media_type: str) -> Response:
    response = Response(content, content_type=media_type)
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def theme_css(hue: int | None) -> str:
    """The style sheet that sets the hue, 0 to 359; empty without one."""
    if hue is None:
        return ""
    # :root:root, so that it wins wherever it stands.
    return f":root:root{{--hue:{hue % 360}}}\n"
