"""A certificate as a QR code (ISO/IEC 18004), by segno: its bytes, which any verifier of the file takes."""

from __future__ import annotations

import io

from headcount_spec.certificate import Certificate
from headcount_spec.errors import ConfigurationError

KINDS = (".svg", ".png")


def draw(certificate: Certificate, kind: str) -> bytes:
    """The picture, as SVG or PNG by the ending of a file's name.

    Raises:
        ConfigurationError: another ending, or segno is missing.
    """
    if kind not in KINDS:
        raise ConfigurationError("a QR code is an .svg or a .png file")
    try:
        import segno
    except ModuleNotFoundError as exc:
        raise ConfigurationError("this needs segno: pip install 'headcount[trustee]'") from exc
    picture = io.BytesIO()
    code = segno.make_qr(certificate.to_bytes(), error="m")
    code.save(picture, kind=kind.removeprefix("."), scale=6, border=4)
    return picture.getvalue()
