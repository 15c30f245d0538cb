"""The headers of pages for people: nothing from elsewhere, no frame, no referrer, no script but ours."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Response

# Everything that a page of ours has no use for; a browser asks nobody for it.
_PERMISSIONS = (
    "accelerometer=(), autoplay=(), browsing-topics=(), camera=(), display-capture=(), encrypted-media=(), "
    "fullscreen=(), geolocation=(), gyroscope=(), hid=(), identity-credentials-get=(), idle-detection=(), "
    "interest-cohort=(), magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), "
    "publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), serial=(), usb=(), "
    "xr-spatial-tracking=()"
)


def protect(response: Response, connect: Iterable[str] = (), worker: bool = False) -> Response:
    """Give a page its headers; connect: the origins besides its own that its script may talk to."""
    sources = " ".join(("'self'", *sorted(set(connect))))
    # Chromium asks for a trusted URL where a worker begins.
    workers = (
        ["worker-src 'self'"] if worker else ["require-trusted-types-for 'script'", "trusted-types 'none'"]
    )
    response.headers["Content-Security-Policy"] = "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src {sources}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            *workers,
        )
    )
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Embedder-Policy"] = "require-corp"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = _PERMISSIONS
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers.setdefault("Cache-Control", "no-cache")
    return response
