from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_issuer.attesters.in_person import draw_sheet, format_code, parse_code, sheet_root
from headcount_issuer.sheet import sheet_html, sheet_text
from headcount_spec import merkle
from headcount_spec.errors import CodeRefusedError, NotEligibleError, NotFoundError
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
    assert not any(word in page for word in ("<script", "src=", "href=", "url("))


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
