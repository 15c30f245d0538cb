"""A campaign's colour. Only the hue is free: lightness and chroma stay, and with them every contrast."""

from __future__ import annotations

from flask import Blueprint, Response

_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><style>g{fill:#77807f}</style>\
<rect width="32" height="32" rx="6" fill="#fffdf8"/><g>\
<circle cx="9" cy="9" r="3.4"/><circle cx="23" cy="9" r="3.4"/>\
<circle cx="9" cy="23" r="3.4"/></g><circle cx="23" cy="23" r="5" fill="#9a3412"/></svg>
"""


def theme_blueprint(hue: int | None) -> Blueprint:
    """The colour of a site, and its mark for a browser's tab."""
    blueprint = Blueprint("theme", __name__)

    @blueprint.get("/theme.css")
    def theme() -> Response:
        return _small(theme_css(hue), "text/css; charset=utf-8")

    @blueprint.get("/mark.svg")
    def mark() -> Response:
        response = _small(_ICON, "image/svg+xml")
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    return blueprint


def _small(text: str, media_type: str) -> Response:
    response = Response(text, content_type=media_type)
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
