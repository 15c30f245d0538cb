from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from werkzeug.test import TestResponse

from headcount_issuer.attester import PageStep, Proof, Redirect, View
from headcount_issuer.config import IssuerConfig
from headcount_spec.errors import CodeRefusedError
from headcount_spec.scope import Manifest

ORIGIN = "http://localhost:8000"


class Oracle:
    """An attester that believes what is typed on its page, or sends people elsewhere first."""

    name = "oracle"

    def challenge(self, asking):
        return {}

    def begin(self, asking, evidence):
        evidence.finish()
        return PageStep()

    def finish(self, step, asking, evidence):
        raise AssertionError("pages are finished by a code")

    def show(self, step, asking, query):
        return View("asked.html", {"echo": query})

    def act(self, step, asking, form, next_token):
        if form.get("go"):
            return Redirect(f"https://elsewhere.example/?state={next_token}")
        if form.get("name") == "nobody":
            raise CodeRefusedError("there is nobody of this name")
        return Proof(self.name, (b"oracle\0" + form["name"].encode(),))

    def close(self):
        pass


@dataclass(frozen=True)
class OracleConfig:
    name: str = field(default="oracle", init=False)

    def make(self, means):
        return Oracle()


@pytest.fixture
def config(config: IssuerConfig) -> IssuerConfig:
    object.__setattr__(config, "attesters", {**config.attesters, "oracle": OracleConfig()})
    return config


@pytest.fixture
def scope(world) -> Manifest:
    return world.open(level="oracle", title={"en": "Move <b>together</b>", "fr": "Bougeons"})


def begin(world, scope, **more) -> tuple[str, str]:
    """Bearer and path of the page."""
    question = {"scope": scope.scope_id.hex(), "attester": "oracle", "evidence": {}, **more}
    begun = world.post("/sessions", question).get_json()
    assert begun["state"] == "pending"
    page = begun["page"].removeprefix(world.config.url)
    assert page.startswith("/prove/")
    assert begun["session"] not in page
    return begun["session"], page


def code_on(answer: TestResponse) -> str:
    assert answer.status_code == 200, answer.text
    found = re.search(r"\b\d{8}\b", answer.text)
    assert found
    return found[0]


def test_a_page_names_scope_and_site_and_loads_nothing(world, scope):
    _, page = begin(world, scope)
    answer = world.http.get(page)
    assert "Move &lt;b&gt;together&lt;/b&gt;" in answer.text
    assert "localhost:8000" in answer.text
    assert re.findall(r"(?:src|href)=.(\S+).>", answer.text) == ["/prove/static/page.css"]
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers


def test_the_code_on_the_page_finishes_the_session_that_asked_and_no_other(world, scope, person, problem_of):
    bearer, page = begin(world, scope, return_path="/p/7")
    other, _ = begin(world, scope)
    assert problem_of(world.post("/sessions/evidence", {"code": "1"}, bearer)) == (403, "code-refused")
    done = world.http.post(page, data={"name": "ada"})
    code = code_on(done)
    assert f'href="{ORIGIN}/p/7#code={code}"' in done.text
    assert bearer not in done.text
    assert problem_of(world.sign(bearer, person(scope, "ada").request)) == (403, "not-eligible")
    assert problem_of(world.post("/sessions/evidence", {"code": code}, other)) == (403, "code-refused")
    assert world.post("/sessions/evidence", {"code": code}, bearer).get_json() == {"state": "proved"}
    assert world.sign(bearer, person(scope, "ada").request).status_code == 200


def test_a_code_of_a_page_has_five_tries_and_ten_minutes(world, scope, problem_of):
    bearer, page = begin(world, scope)
    code = code_on(world.http.post(page, data={"name": "ada"}))
    wrong = f"{(int(code) + 1) % 10**8:08d}"
    for _ in range(5):
        assert problem_of(world.post("/sessions/evidence", {"code": wrong}, bearer)) == (403, "code-refused")
    assert problem_of(world.post("/sessions/evidence", {"code": code}, bearer)) == (403, "code-refused")


def test_getting_a_page_as_scanners_do_changes_nothing(world, scope):
    bearer, page = begin(world, scope)
    for _ in range(20):
        assert world.http.get(page).status_code == 200
        assert world.http.head(page).status_code == 200
    state = page.removeprefix("/prove/")
    assert world.http.get(f"/prove/return?state={state}&code=abc").status_code == 200
    code = code_on(world.http.post(page, data={"name": "ada"}))
    assert world.post("/sessions/evidence", {"code": code}, bearer).status_code == 200


def test_a_form_counts_once(world, scope):
    _, page = begin(world, scope)
    assert world.http.post(page, data={"name": "ada"}).status_code == 200
    again = world.http.post(page, data={"name": "bob"})
    assert again.status_code == 403
    assert "used already" in again.text
    assert world.http.get(page).status_code == 403


def test_the_way_elsewhere_and_back_carries_a_new_token(world, scope):
    bearer, page = begin(world, scope)
    away = world.http.post(page, data={"go": "1"})
    found = re.search(r'href="https://elsewhere\.example/\?state=([^"]+)"', away.text)
    assert found
    state = found[1]
    assert state not in page
    assert world.http.get(page).status_code == 403
    back = world.http.get(f"/prove/return?state={state}&code=abc")
    assert back.status_code == 200
    code = code_on(world.http.post(f"/prove/{state}", data={"name": "ada"}))
    assert world.post("/sessions/evidence", {"code": code}, bearer).status_code == 200


def test_a_refusal_is_a_page_and_the_person_begins_again(world, scope):
    bearer, page = begin(world, scope)
    refused = world.http.post(page, data={"name": "nobody"})
    assert refused.status_code == 403
    assert refused.content_type == "text/html; charset=utf-8"
    assert "there is nobody of this name" in refused.text
    assert "default-src 'none'" in refused.headers["Content-Security-Policy"]
    assert world.http.post(page, data={"name": "ada"}).status_code == 403
    again = world.post("/sessions/next", {"attester": "oracle", "evidence": {}}, bearer).get_json()
    assert again["state"] == "pending"
    assert world.http.get(again["page"].removeprefix(world.config.url)).status_code == 200


@pytest.mark.parametrize("origin", ["https://phisher.example", ORIGIN, "null"])
def test_forms_of_other_sites_do_nothing(world, scope, origin):
    _, page = begin(world, scope)
    answer = world.http.post(page, data={"name": "ada"}, headers={"Origin": origin})
    assert answer.status_code == 403
    own = world.http.post(page, data={"name": "ada"}, headers={"Origin": world.config.url})
    assert own.status_code == 200


def test_a_page_of_nobody_is_refused(world, scope):
    assert world.http.get("/prove/nothing").status_code == 403
    assert world.http.get("/prove/return").status_code == 403
    assert world.http.post("/prove/nothing", data={"name": "ada"}).status_code == 403
    assert world.http.put("/prove/nothing").status_code == 405


def test_a_page_ends_with_its_session(world, scope):
    _, page = begin(world, scope)
    world.clock.now += 601
    assert world.http.get(page).status_code == 403
    world.issuer._sessions.purge()
    assert not world.issuer._sessions._pages


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"name=" + b"a" * 70_000, "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % i for i in range(50)), "application/x-www-form-urlencoded"),
        (b"name=a&name=b", "application/x-www-form-urlencoded"),
        (b'{"name": "ada"}', "application/json"),
    ],
)
def test_a_form_that_is_none_is_refused(world, scope, body, content_type):
    _, page = begin(world, scope)
    answer = world.http.post(page, data=body, content_type=content_type)
    assert answer.status_code in (400, 413)
    assert world.http.post(page, data={"name": "ada"}).status_code == 200


@pytest.mark.parametrize(
    "path", ["", "p", "//elsewhere.example", "/p?x=1", "/p#x", "/../\\", "/%2e", "javascript:1", 7]
)
def test_the_way_back_is_a_plain_path(world, scope, path):
    question = {"scope": scope.scope_id.hex(), "attester": "oracle", "evidence": {}, "return_path": path}
    assert world.post("/sessions", question).status_code == 400
