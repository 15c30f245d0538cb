from __future__ import annotations

import unicodedata
from pathlib import Path

import pypdfium2
import pytest
import zxingcpp
from hypothesis import given
from hypothesis import strategies as st

import parts
from headcount_issuer.attesters.in_person import draw_sheet, format_code, parse_code, sheet_root
from headcount_issuer.sheet import sheet_html, sheet_text, slip_link
from headcount_issuer.sheet_pdf import sheet_pdf
from headcount_issuer.sheets import Counts
from headcount_spec import merkle
from headcount_spec.errors import CodeRefusedError, ConfigurationError, NotEligibleError, NotFoundError
from headcount_spec.scope import ScopeId


def ask(world, scope, code: object):
    question = {"scope": scope.scope_id.hex(), "attester": "in-person", "evidence": {"code": code}}
    return world.post("/sessions", question)


def test_a_slip_counts_once(world, person, problem_of):
    scope = world.open(level="in-person")
    _, codes = world.issuer.make_codes(scope.scope_id, 5)
    one, other = person(scope, "a"), person(scope, "b")
    bearer = ask(world, scope, format_code(codes[0])).get_json()["session"]
    first = world.sign(bearer, one.request).get_data()
    again = ask(world, scope, format_code(codes[0]).lower().replace("-", " "))
    assert again.get_json()["state"] == "proved"
    assert world.sign(again.get_json()["session"], one.request).get_data() == first
    assert problem_of(world.sign(again.get_json()["session"], other.request)) == (409, "already-issued")
    assert (
        world.sign(ask(world, scope, format_code(codes[1])).get_json()["session"], other.request).status_code
        == 200
    )


def test_a_slip_of_another_sheet_or_scope_is_refused(world, problem_of):
    scope, elsewhere = world.open(0, level="in-person"), world.open(1, level="in-person")
    world.issuer.make_codes(scope.scope_id, 5)
    _, codes = world.issuer.make_codes(elsewhere.scope_id, 5)
    assert problem_of(ask(world, scope, format_code(codes[0]))) == (403, "code-refused")
    assert problem_of(ask(world, scope, format_code(draw_sheet(1)[0]))) == (403, "code-refused")


@pytest.mark.parametrize("code", [None, 1, [], {}])
def test_a_code_that_is_no_text_is_malformed(world, problem_of, code):
    scope = world.open(level="in-person")
    assert problem_of(ask(world, scope, code)) == (400, "malformed")


def test_the_sheets_root_and_number_are_public_before_it_is_handed_out(world):
    scope = world.open(level="in-person")
    _, codes = world.issuer.make_codes(scope.scope_id, 5)
    world.issuer.send_notices()
    leaves = [merkle.leaf_hash(b"headcount/code/v1\0" + scope.scope_id + code) for code in sorted(codes)]
    root = merkle.root(leaves).hex()
    assert world.ledger.bodies(scope.scope_id, "codes") == [{"root": root, "number": 5}]
    _, more = world.issuer.make_codes(scope.scope_id, 1)
    world.issuer.publish_issuance()
    assert [body["number"] for body in world.ledger.bodies(scope.scope_id, "codes")] == [5, 1]
    assert ask(world, scope, format_code(more[0])).status_code == 201


def test_codes_are_only_for_open_scopes_that_ask_for_them(world):
    with pytest.raises(NotFoundError):
        world.issuer.make_codes(ScopeId(bytes(32)), 1)
    scope = world.open(0)
    with pytest.raises(NotEligibleError):
        world.issuer.make_codes(scope.scope_id, 1)
    paper = world.open(1, level="in-person")
    for number in (0, -1, 10**9):
        with pytest.raises(NotEligibleError):
            world.issuer.make_codes(paper.scope_id, number)


def test_the_printed_sheet_has_every_code_and_nothing_from_elsewhere(world):
    scope = world.manifest(level="in-person", title={"en": "A <b>&", "fr": "F"})
    codes = draw_sheet(3)
    text, page = sheet_text(scope, codes), sheet_html(scope, codes)
    assert [line for line in text.splitlines() if line[0] != "#"] == [format_code(code) for code in codes]
    assert all(page.count(format_code(code)) == 1 for code in codes)
    assert "A &lt;b&gt;&amp;" in page
    assert not any(word in page for word in ("<script", "src=", " href=", "url("))


ALIEN = {"en": "نتحرك معًا", "fr": "F"}
DEJAVU = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf")


def qr_codes(image: object) -> list[str]:
    return [found.text for found in zxingcpp.read_barcodes(image)]


def test_the_pdf_has_a_qr_code_that_a_scanner_reads_for_every_slip(world):
    scope = world.manifest(level="in-person", title={"en": "We move together: " * 9, "fr": "F"})
    codes = draw_sheet(12)
    data = sheet_pdf(scope, codes)
    document = pypdfium2.PdfDocument(data)
    assert len(document) == 2
    seen, text = [], ""
    for page in document:
        seen += qr_codes(page.render(scale=3).to_pil())
        text += page.get_textpage().get_text_range()
    assert sorted(seen) == sorted(slip_link(scope, code) for code in codes)
    assert all(text.count(format_code(code)) == 1 for code in codes)
    assert "We move together" in text
    assert "localhost:8000" in text
    assert data == sheet_pdf(scope, codes)  # no time in it


def test_a_title_in_another_script_needs_a_font_and_says_so(world):
    scope = world.manifest(level="in-person", title=ALIEN)
    with pytest.raises(ConfigurationError, match="font"):
        sheet_pdf(scope, draw_sheet(1))
    with pytest.raises(ConfigurationError, match="font"):
        sheet_pdf(scope, draw_sheet(1), Path(__file__))
    with pytest.raises(ConfigurationError, match="font"):
        sheet_pdf(scope, draw_sheet(1), Path("/missing.ttf"))
    parts.require(DEJAVU.exists(), "the DejaVu fonts")
    page = pypdfium2.PdfDocument(sheet_pdf(scope, draw_sheet(1), DEJAVU))[0]
    assert "معًا" in unicodedata.normalize("NFKC", page.get_textpage().get_text_range()) or page.render()


def test_the_qr_codes_of_the_html_are_drawn_on_the_spot(world):
    scope = world.manifest(level="in-person")
    page = sheet_html(scope, draw_sheet(3))
    assert page.count("<svg") == 3


def test_a_qr_code_leads_to_the_site_and_tells_no_server_the_code(world):
    scope = world.manifest(level="in-person")
    code = draw_sheet(1)[0]
    address, _, fragment = slip_link(scope, code).partition("#")
    assert address == f"{scope.origins[0]}/"
    assert fragment == f"scope={scope.scope_id.hex()}&slip={format_code(code)}"


def test_the_terms_cap_the_slips(world):
    scope = world.open(level="in-person", slips=7)
    world.issuer.make_codes(scope.scope_id, 4)
    with pytest.raises(NotEligibleError, match="7"):
        world.issuer.make_codes(scope.scope_id, 4)
    world.issuer.make_codes(scope.scope_id, 3)
    world.issuer.send_notices()
    assert [body["number"] for body in world.ledger.bodies(scope.scope_id, "codes")] == [4, 3]
    with pytest.raises(NotEligibleError):
        world.issuer.make_codes(scope.scope_id, 1)


def test_a_helper_sees_what_is_used_and_changes_nothing(world, person):
    scope = world.open(level="in-person", slips=7)
    _, codes = world.issuer.make_codes(scope.scope_id, 3)
    sheets = world.issuer.sheets
    slip = format_code(codes[0])
    for _ in range(2):
        assert not sheets.is_used(scope.scope_id, slip)
    bearer = ask(world, scope, slip).get_json()["session"]
    assert not sheets.is_used(scope.scope_id, slip)
    assert world.sign(bearer, person(scope, "a").request).status_code == 200
    assert sheets.is_used(scope.scope_id, slip.lower())
    assert not sheets.is_used(scope.scope_id, format_code(codes[1]))
    assert sheets.counts(scope.scope_id) == Counts(3, 7, 1)
    for wrong in ("", "nonsense", format_code(draw_sheet(1)[0])):
        with pytest.raises(CodeRefusedError):
            sheets.is_used(scope.scope_id, wrong)
    with pytest.raises(NotEligibleError):
        sheets.is_used(world.open(1).scope_id, slip)


def test_a_slip_of_another_sheet_burns_nothing(world, person, problem_of):
    scope, elsewhere = world.open(0, level="in-person"), world.open(1, level="in-person")
    world.issuer.make_codes(scope.scope_id, 1)
    _, codes = world.issuer.make_codes(elsewhere.scope_id, 1)
    refused = ask(world, scope, format_code(codes[0]))
    assert problem_of(refused) == (403, "code-refused")
    assert refused.get_json()["detail"] == "this code is on no sheet of this scope"
    assert world.issuer.sheets.counts(scope.scope_id).tokens == 0
    bearer = ask(world, elsewhere, format_code(codes[0])).get_json()["session"]
    assert world.sign(bearer, person(elsewhere, "a", key=1).request).status_code == 200


def test_codes_are_80_bits_and_differ():
    codes = draw_sheet(500)
    assert len(set(codes)) == 500
    assert {len(code) for code in codes} == {10}


@given(st.binary(min_size=10, max_size=10))
def test_codes_round_trip_as_people_write_them(code):
    printed = format_code(code)
    assert len(printed) == 19
    assert parse_code(printed) == code
    assert parse_code(printed.lower().replace("-", " ").replace("0", "o").replace("1", "l")) == code


@given(st.text(max_size=70) | st.from_regex(r"\A[0-9A-Z-]{14,22}\Z"))
def test_any_text_is_a_code_or_refused(text):
    try:
        code = parse_code(text)
    except CodeRefusedError:
        return
    assert parse_code(format_code(code)) == code


def test_the_root_does_not_depend_on_the_order_on_paper():
    codes = draw_sheet(4)
    scope = ScopeId(bytes(32))
    assert sheet_root(scope, codes) == sheet_root(scope, codes[::-1])
    assert sheet_root(scope, codes) != sheet_root(ScopeId(b"\1" * 32), codes)
