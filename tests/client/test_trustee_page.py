from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

import chromium
import manifests
from contact_story import Story
from headcount import trustee_commands
from headcount.trustee_commands import Desk, SilentHandler
from headcount.trustee_commands import trustee as command
from headcount.trustee_page import COOKIE, Page
from headcount.trustee_words import ENGLISH, LANGUAGES, words_for

LEDGER = "http://localhost:8000/ledger"
HOST = "127.0.0.1:4711"


class Visitor:
    """A browser at the page of the first trustee."""

    def __init__(self, story: Story, folder: Path) -> None:
        (folder / "policy").write_bytes(story.world.policy)
        target = (story.ledger, story.scope.scope_id, folder / "policy", story.world.http)
        self.stopped = threading.Event()
        self.page = Page(Desk(story.trustees[0].path, *target), HOST, self.stopped.set)
        self.client = Client(self.page.app())
        self.story = story

    def at(self, path: str) -> str:
        return self.page.address.partition(HOST)[2].partition("/open/")[0] + path

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.client.get(self.at(path), base_url=f"http://{HOST}", **options)

    def enter(self) -> str:
        answer = self.get("/open" + self.page.address.partition("/open")[2], follow_redirects=True)
        assert answer.status_code == 200
        return answer.text

    def token(self) -> str:
        found = re.search('name="token" value="([^"]+)"', self.get("/").text)
        assert found
        return found[1]

    def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> TestResponse:
        form = {"token": self.token(), **form}
        headers = {"Origin": f"http://{HOST}", **(headers or {})}
        options: dict[str, Any] = {"base_url": f"http://{HOST}", "headers": headers}
        return self.client.post(self.at(path), data=form, follow_redirects=True, **options)


@pytest.fixture
def story(world: Any, monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setattr(trustee_commands, "today", lambda: world.clock.day)
    return Story(world, LEDGER, t=1, n=1)


@pytest.fixture
def visitor(story: Story, tmp_path: Path) -> Visitor:
    return Visitor(story, tmp_path)


def test_a_trustee_checks_confirms_and_releases(visitor: Visitor) -> None:
    story = visitor.story
    story.pledge(1, 2, 3, 4)
    assert "Nothing was checked yet" in visitor.enter()
    seen = visitor.post("/check").text
    assert "Not reached: 4 of 5. It may be reached until 2026-03-05." in seen
    assert "There is nothing for you to do." in seen
    # Not even a form that was made by hand releases anything, nor is the question asked.
    visitor.post("/release", confirm="yes")
    assert "Publish your key?" not in visitor.get("/release", follow_redirects=True).text
    story.pledge(5)
    assert story.contacts().those_who("release") == ()
    assert "Reached: 5 of 5" in visitor.post("/check").text
    assert "It cannot be taken back." in visitor.get("/release").text
    unticked = visitor.post("/release")
    assert (unticked.status_code, "not ticked" in unticked.text) == (400, True)
    story.world.seal()
    assert story.contacts().those_who("release") == ()
    assert "on its way to the ledger" in visitor.post("/release", confirm="yes").text
    story.world.seal()
    assert story.contacts().those_who("release") == (1,)
    seen = visitor.post("/check").text
    assert "Have published their keys: Trustee 1." in seen
    assert "There is nothing for you to do." in seen


def test_the_page_tells_a_trustee_of_the_quotas(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trustee_commands, "today", lambda: world.clock.day)
    asked = {"options": manifests.options("Austria", "Belgium"), "quotas": {"each": 2, "options": 2}}
    story = Story(world, LEDGER, t=1, n=1, threshold=3, **asked)
    visitor = Visitor(story, tmp_path)
    story.pledge(1, 2, 3, choice=1)
    visitor.enter()
    seen = visitor.post("/check").text
    assert "Not reached: 3 of 3." in seen
    assert "Besides, at least 2 each are needed at 2 of the 2 options; 1 have so many now." in seen
    assert "There is nothing for you to do." in seen


def test_a_trustee_destroys_what_has_failed_and_not_before(visitor: Visitor) -> None:
    story = visitor.story
    story.pledge(1, 2)
    story.issuance()
    visitor.enter()
    visitor.post("/check")
    visitor.post("/destroy", confirm="yes")
    key = story.scope.trustees.members[0].scope_key
    assert story.trustees[0].secret(key) is not None
    story.world.clock.now += (story.campaign.closes + 1 - story.world.clock.day) * 86400
    story.world.seal()
    assert "Failed: 2 of 5, and it has ended." in visitor.post("/check").text
    assert "Destroy your key?" in visitor.get("/destroy").text
    assert "Your key is destroyed." in visitor.post("/destroy", confirm="yes").text
    assert story.trustees[0].secret(key) is None
    story.world.seal()
    assert story.contacts().those_who("destruction") == (1,)


def test_what_the_audit_refuses_is_said_and_nothing_is_offered(visitor: Visitor) -> None:
    visitor.story.pledge(1, 2, 3, 4, 5)
    visitor.enter()
    visitor.post("/check")
    public = visitor.story.world.ledger.config.public
    totals = max((public / "totals").iterdir(), key=lambda path: int(path.name))
    totals.write_bytes(totals.read_bytes()[:-1] + b"\x06")
    refused = visitor.post("/release", confirm="yes")
    assert refused.status_code == 409
    assert "does not pass the audit" in refused.text
    assert "/release" not in refused.text
    visitor.story.world.seal()


def test_only_the_browser_that_has_the_address_gets_anything(visitor: Visitor) -> None:
    for path in ("/", "/release", "/destroy", "/nothing", "/open/guess"):
        assert visitor.get(path).status_code == 403
    visitor.enter()
    cookie = visitor.client.get_cookie(COOKIE, domain="127.0.0.1", path=visitor.at("/"))
    assert cookie is not None  # for this path alone: another program's port gets no cookie of ours
    assert (cookie.http_only, cookie.same_site) == (True, "Strict")
    visitor.client.set_cookie(COOKIE, "guess", domain="127.0.0.1", path=visitor.at("/"))
    assert visitor.get("/").status_code == 403
    assert visitor.client.get("/", base_url=f"http://{HOST}").status_code == 403


def test_other_sites_send_no_forms(visitor: Visitor) -> None:
    visitor.enter()
    for headers, token in (
        ({"Origin": "https://evil.example"}, visitor.token()),
        ({"Origin": "null"}, visitor.token()),
        ({}, "guess"),
        ({}, ""),
    ):
        answer = visitor.post("/check", headers, token=token)
        assert answer.status_code == 403
    renamed = {"base_url": "http://evil.example:4711"}
    assert visitor.client.get(visitor.at("/"), **renamed).status_code == 421
    assert visitor.client.get(visitor.page.address.partition(HOST)[2], **renamed).status_code == 421
    assert visitor.post("/check", filler="x" * 5000).status_code == 413


def test_no_script_runs_and_nothing_is_kept_or_loaded(visitor: Visitor) -> None:
    visitor.enter()
    visitor.post("/check")
    answer = visitor.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert re.fullmatch(
        "default-src 'none'; style-src 'nonce-[A-Za-z0-9_-]{22}'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'",
        policy,
    )
    assert policy != visitor.get("/").headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search("<script|https?:|src=", answer.text)


def test_the_page_stops_the_program(visitor: Visitor) -> None:
    visitor.enter()
    assert "You may close this page." in visitor.post("/stop").text
    assert visitor.stopped.wait(5)


def test_every_language_says_everything() -> None:
    assert all(words.keys() == ENGLISH.keys() for words in LANGUAGES.values())
    braces = re.compile(r"\{[a-z]+\}")
    for words in LANGUAGES.values():
        for name, text in words.items():
            assert sorted(braces.findall(text)) == sorted(braces.findall(ENGLISH[name])), name
    assert words_for(["xx", "en-GB"]) == ("en", ENGLISH)
    assert words_for([]) == ("en", ENGLISH)


@pytest.fixture
def served(visitor: Visitor) -> Iterator[Page]:
    server = make_server("127.0.0.1", 0, lambda *_: [], threaded=True, request_handler=SilentHandler)
    page = Page(visitor.page._desk, f"127.0.0.1:{server.port}", server.shutdown)
    server.app = page.app()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield page
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_browser_goes_all_the_way(served: Page, story: Story) -> None:
    chromium.require()
    story.pledge(1, 2, 3, 4, 5)
    with chromium.browser() as browser:
        page = browser.new_page(locale="pt-BR")  # not translated: English
        page.set_default_timeout(chromium.TIMEOUT_MS)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.goto(served.address)
        page.get_by_role("button", name="Count the ledger now").click()
        assert "Reached: 5 of 5" in page.get_by_role("status").inner_text()
        page.get_by_role("link", name="Publish my key").click()
        page.get_by_role("button", name="Publish my key").click()  # the browser itself asks for the tick
        assert page.url.endswith("/release")
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Publish my key").click()
        assert "on its way" in page.get_by_role("status").inner_text()
        page.get_by_role("button", name="Stop this program").click()
        assert "You may close this page." in page.get_by_role("status").inner_text()
        assert problems == []
    story.world.seal()
    assert story.contacts().those_who("release") == (1,)


def test_the_command_says_where_the_page_is(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(trustee_commands.webbrowser, "open", opened.append)
    # The server is never asked to stop by the test; it does not start to serve either.
    stop: Callable[[Any], None] = lambda server: server.server_close()  # noqa: E731
    monkeypatch.setattr("werkzeug.serving.ThreadedWSGIServer.serve_forever", stop)
    (tmp_path / "policy").write_bytes(story.world.policy)
    options = ["--policy", str(tmp_path / "policy"), "--dir", str(story.trustees[0].path)]
    public = str(story.world.ledger.config.public)
    assert CliRunner().invoke(command, ["page", public, "00" * 32, *options]).exit_code == 2
    target = [LEDGER, story.scope.scope_id.hex()]
    done = CliRunner().invoke(command, ["page", *target, *options])
    assert done.exit_code == 0, done.output
    address, last = done.stdout.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[A-Za-z0-9_-]{43}/open/[A-Za-z0-9_-]{43}", address)
    assert (last, opened) == ("stopped", [address])
