"""Writing posters and flyers: which languages, which kind, which file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from headcount.catalogue import LANGUAGES, catalogue
from headcount.poster import flyers, poster
from headcount.poster_file import Fonts, Sheets, to_svg
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import Manifest


def write(
    out: Path,
    manifest: Manifest,
    languages: Sequence[str] = (),
    *,
    kind: str = "poster",
    size: str = "A4",
    site: str | None = None,
    fonts: Path | None = None,
    code: str | None = None,
) -> None:
    """Write a PDF with a page for each language, or an SVG of one.

    The QR code leads to the campaign's page, or to the address that is given as code.

    Raises:
        ConfigurationError: a language or a site that the terms do not have, letters that the font lacks,
            or the file cannot be written.
    """
    chosen = list(languages) or [tag for tag in LANGUAGES if tag in manifest.title]
    for tag in chosen:
        if tag not in LANGUAGES or tag not in manifest.title:
            raise ConfigurationError(f"there are no terms or no words in {tag}")
    if site is not None and site not in manifest.origins:
        raise ConfigurationError("the terms do not list this site")
    with closing(Sheets(Fonts.find(fonts), size)) as sheets:
        drawings = [poster(manifest, catalogue(tag), sheets.measure, site, code) for tag in chosen]
        if kind == "flyer":
            drawings = [flyers(drawing) for drawing in drawings]
        if out.suffix == ".svg":
            if len(drawings) != 1:
                raise ConfigurationError("an SVG holds one page: name one --language")
            data = to_svg(drawings[0], chosen[0]).encode()
        elif out.suffix == ".pdf":
            for drawing in drawings:
                sheets.add(drawing)
            data = sheets.to_bytes()
        else:
            raise ConfigurationError("the file's name must end in .pdf or .svg")
    try:
        out.write_bytes(data)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {out.name}: {exc.strerror}") from exc
