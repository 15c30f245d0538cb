from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

import manifests
import parts
from headcount import poster, printing
from headcount.catalogue import LANGUAGES, catalogue
from headcount.poster import HEIGHT, WIDTH, Box, Dot, Text
from headcount.poster_file import Fonts, Sheets, to_svg
from headcount.scope_commands import organiser
from headcount_spec.errors import ConfigurationError
from headcount_spec.fingerprint import fingerprint
from headcount_spec.scope import Manifest

ARABIC = {"en": "We move together", "ar": "ننتقل معًا: خمسة وعود أو نرحل"}


def terms(**changes: object) -> Manifest:
    texts = dict.fromkeys(ARABIC, "0" * 64)
    labels = dict.fromkeys(("title", "addressee", "data_use", "end_of_life"), ARABIC)
    return manifests.manifest(**{**labels, "texts": texts, "tiers": None, "action": None, **changes})


def drawing(language: str, manifest: Manifest | None = None) -> list[poster.Part]:
    fonts = Fonts.find()
    parts.require(fonts.regular, "a TrueType font such as DejaVu Sans")
    with closing(Sheets(fonts)) as sheets:
        return poster.poster(manifest or terms(), catalogue(language), sheets.measure)


@pytest.mark.parametrize("language", ["en", "ar"])
def test_everything_is_on_the_sheet(language: str) -> None:
    manifest = terms()
    found = drawing(language, manifest)
    for part in found:
        assert 0 <= part.x <= WIDTH
        assert 0 <= part.y <= HEIGHT
        if isinstance(part, Box):
            assert part.x + part.width <= WIDTH + 0.01
            assert part.y + part.height <= HEIGHT
    said = " ".join(part.text for part in found if isinstance(part, Text))
    assert ARABIC[language] in said
    assert " ".join(fingerprint(manifest.scope_id)) in said
    assert f"/sign/{manifest.scope_id.hex()}" in said


def test_a_long_title_becomes_smaller_and_stays_above_the_code() -> None:
    title = dict.fromkeys(ARABIC, "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz " * 4)
    found = drawing("en", terms(title=title))
    code_top = min(part.y for part in found if isinstance(part, Box) and part.colour == "#ffffff")
    crowd = max(part.y for part in found if isinstance(part, Dot))
    assert crowd < code_top


@pytest.mark.parametrize("language", LANGUAGES)
def test_quotas_are_asked_for_above_the_code(language: str) -> None:
    named = dict.fromkeys(ARABIC, "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz " * 4)
    label = dict.fromkeys(ARABIC, "x")
    options = [{"number": i, "label": label} for i in range(1, 28)]
    manifest = terms(title=named, options=options, quotas={"each": 97, "options": 7}, threshold=1_000_000)
    found = drawing(language, manifest)
    words = catalogue(language)
    said = " ".join(part.text for part in found if isinstance(part, Text))
    assert words.number(97) in said
    code_top = min(part.y for part in found if isinstance(part, Box) and part.colour == "#ffffff")
    scan = words.text("poster.scan").split()[0]
    above = found[: next(i for i, p in enumerate(found) if isinstance(p, Text) and p.text.startswith(scan))]
    assert max(part.y for part in above if isinstance(part, Text)) < code_top


def test_a_sheet_of_flyers_is_the_poster_four_times() -> None:
    one = drawing("en")
    four = poster.flyers(one)
    assert len(four) == 4 * len(one) + 2
    assert {part.style.size for part in four if isinstance(part, Text)} == {
        part.style.size / 2 for part in one if isinstance(part, Text)
    }


@pytest.mark.parametrize("size", ["A4", pytest.param("A3", marks=pytest.mark.long)])
def test_the_same_terms_give_the_same_file(size: str, tmp_path: Path) -> None:
    parts.require(Fonts.find().regular, "a TrueType font such as DejaVu Sans")
    for name in ("a.pdf", "b.pdf"):
        printing.write(tmp_path / name, terms(), size=size)
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data == (tmp_path / "b.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", data)) == 2  # a page for each language of the terms


def test_without_a_font_only_latin_letters_are_printed() -> None:
    plain = Sheets(Fonts(None, None))
    poster.poster(terms(), catalogue("en"), plain.measure)
    with pytest.raises(ConfigurationError, match="--font"):
        poster.poster(terms(), catalogue("ar"), plain.measure)


def test_a_file_that_is_no_font_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(ConfigurationError, match="font"):
        Sheets(Fonts.find(path))


@pytest.mark.parametrize(
    ("name", "languages", "site", "match"),
    [
        ("a.svg", [], None, "one page"),
        ("a.gif", [], None, "must end"),
        ("a.pdf", ["fr"], None, "in fr"),
        ("a.pdf", [], "https://elsewhere.example", "site"),
        ("no/a.pdf", ["en"], None, "cannot write"),
    ],
)
def test_what_cannot_be_printed_is_said(
    name: str, languages: list[str], site: str | None, match: str, tmp_path: Path
) -> None:
    parts.require(Fonts.find().regular, "a TrueType font such as DejaVu Sans")
    with pytest.raises(ConfigurationError, match=match):
        printing.write(tmp_path / name, terms(), languages, site=site)


def test_the_command_writes_an_svg(tmp_path: Path) -> None:
    parts.require(Fonts.find().regular, "a TrueType font such as DejaVu Sans")
    path = tmp_path / "scope.json"
    path.write_bytes(terms().raw)
    out = tmp_path / "poster.svg"
    done = CliRunner().invoke(organiser, ["poster", str(path), "--language", "ar", "--out", str(out)])
    assert done.exit_code == 0, done.output
    text = out.read_text("utf-8")
    assert ARABIC["ar"].split()[0] in text
    assert 'direction="rtl"' in text
    assert "<script" not in to_svg(drawing("en"), "en")


def test_the_code_may_lead_elsewhere_and_the_words_stay(tmp_path: Path) -> None:
    fonts = Fonts.find()
    parts.require(fonts.regular, "a TrueType font such as DejaVu Sans")
    url = f"https://campaign.example/link/{'A' * 120}"
    with closing(Sheets(fonts)) as sheets:
        plain, linked = (
            poster.poster(terms(), catalogue("en"), sheets.measure, None, code) for code in (None, url)
        )
    assert [part for part in plain if isinstance(part, Text)] == [
        part for part in linked if isinstance(part, Text)
    ]
    assert [part for part in plain if isinstance(part, Box)] != [
        part for part in linked if isinstance(part, Box)
    ]
    zxingcpp = pytest.importorskip("zxingcpp")
    pypdfium2 = pytest.importorskip("pypdfium2")
    printing.write(tmp_path / "p.pdf", terms(), ["en"], code=url)
    page = pypdfium2.PdfDocument(tmp_path / "p.pdf")[0]
    assert zxingcpp.read_barcode(page.render(scale=3).to_pil()).text == url
