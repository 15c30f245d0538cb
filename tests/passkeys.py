"""People with passkeys on the issuer's pages, without a browser."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from werkzeug.test import TestResponse

from authenticator import Authenticator
from headcount_issuer.base64url import decode
from headcount_spec.scope import Manifest

ISSUER = "http://localhost:8001"


class Browser:
    """Somebody with one device, on the issuer's pages."""

    def __init__(self, world: Any, **device: Any) -> None:
        self.world = world
        self.device = Authenticator(ISSUER, **device)

    def open(self, page: str) -> tuple[str, str, bytes, bytes | None]:
        """Action, ceremony, challenge and user handle of a page."""
        answer = self.world.http.get(page.removeprefix(ISSUER))
        assert answer.status_code == 200, answer.text
        return self.read(answer)

    def read(self, answer: TestResponse) -> tuple[str, str, bytes, bytes | None]:
        found = re.search(r'action="([^"]+)" data-ceremony="(\w+)" data-options="([^"]+)"', answer.text)
        assert found, answer.text
        options = json.loads(html.unescape(found[3]))
        user = options.get("user")
        return found[1], found[2], decode(options["challenge"]), user and decode(user["id"])

    def go(self, page: str, **bent: Any) -> TestResponse:
        action, ceremony, challenge, handle = self.open(page)
        return self.answer(action, ceremony, challenge, handle, **bent)

    def answer(
        self, action: str, ceremony: str, challenge: bytes, handle: bytes | None, **bent: Any
    ) -> TestResponse:
        if ceremony == "create":
            assert handle is not None
            self.device.user_handle = handle
            form = self.device.create(challenge, **bent)
        else:
            form = self.device.get(challenge, **bent)
        answer = self.world.http.post(action, data=form)
        assert isinstance(answer, TestResponse)
        return answer


def begin(world: Any, scope: Manifest, attester: str) -> tuple[str, str]:
    question = {"scope": scope.scope_id.hex(), "attester": attester, "evidence": {}}
    answer = world.post("/sessions", question)
    assert answer.status_code == 201, answer.text
    return answer.get_json()["session"], answer.get_json()["page"]


def code_of(answer: TestResponse) -> str:
    found = re.search(r'class="code">(\d{8})<', answer.text)
    assert found, answer.text
    return found[1]


def by_page(world: Any, scope: Manifest, browser: Browser, attester: str) -> str:
    """The bearer of a session that was proved on a page."""
    bearer, page = begin(world, scope, attester)
    code = code_of(browser.go(page))
    assert world.post("/sessions/evidence", {"code": code}, bearer).get_json() == {"state": "proved"}
    return bearer


def remember(world: Any, bearer: str, browser: Browser, check: str = "email") -> TestResponse:
    answer = world.post("/sessions/account", {"check": check}, bearer)
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["state"] == "proved"
    return browser.go(answer.get_json()["page"])
