from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from werkzeug.test import TestResponse

import keys
import manifests
from headcount_issuer.app import MAX_JSON_BYTES, MAX_REQUEST_BYTES
from headcount_issuer.typed_code import TRIES

DAY_S = 86400
N = keys.token_key(0).n
JSON_TYPE = "application/json"
REQUEST_TYPE = "application/private-token-request"


@dataclass
class Stage:
    """An open scope, somebody with a token, somebody proved and somebody who waits for a mail."""

    world: object
    scope: object
    holder: str
    proved: str
    pending: str
    code: str
    request: bytes
    other_request: bytes

    def post(self, path: str, body: bytes, content_type: str, bearer: str | None, **headers) -> TestResponse:
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        return self.world.http.post(path, data=body, content_type=content_type, headers=headers)

    def ask(self, evidence: object = None, **changes) -> TestResponse:
        question = {
            "scope": self.scope.scope_id.hex(),
            "attester": "email",
            "evidence": {"address": "eve@example.org"} if evidence is None else evidence,
        }
        return self.world.post("/sessions", question | changes)

    def prove(self, evidence: object, bearer: str | None = None, **headers) -> TestResponse:
        body = json.dumps(evidence).encode()
        return self.post("/sessions/evidence", body, JSON_TYPE, bearer or self.pending, **headers)

    def sign(self, request: bytes, bearer: str | None = None, **headers) -> TestResponse:
        return self.post("/token-request", request, REQUEST_TYPE, bearer or self.proved, **headers)

    def blinded(self, m: int) -> TestResponse:
        return self.sign(self.request[:3] + m.to_bytes(256, "big"))

    def on_day(self, day: int, ask: Callable[[], TestResponse]) -> TestResponse:
        # The sessions are as fresh as on their own day: only the scope's days are in question.
        self.world.clock.now = day * DAY_S
        for session in self.world.issuer._sessions._sessions.values():
            session.expires_at = self.world.clock.now + 600
        return ask()

    def later(self, seconds: int, ask: Callable[[], TestResponse]) -> TestResponse:
        self.world.clock.now += seconds
        return ask()

    def after_tries(self) -> TestResponse:
        wrong = f"{(int(self.code) + 1) % 10**8:08d}"
        for _ in range(TRIES):
            self.prove({"code": wrong})
        return self.prove({"code": self.code})

    def kept(self) -> dict[str, bytes]:
        folder = self.world.config.directory
        files = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        files.pop("issuer.sqlite-shm", None)  # which readers SQLite has
        return files


@pytest.fixture
def stage(world, person) -> Stage:
    scope = world.open()
    holder = world.prove(scope, "bob@example.org")
    assert world.sign(holder, person(scope, "b").request).status_code == 200
    proved = world.prove(scope, "ada@example.org")
    pending = world.begin(scope, "cyn@example.org").get_json()["session"]
    code = world.outbox.code()
    request, other = person(scope, "a").request, person(scope, "b", choice=1).request
    return Stage(world, scope, holder, proved, pending, code, request, other)


BAD: dict[str, tuple[Callable[[Stage], TestResponse], int, str]] = {
    "session: another type": (
        lambda s: s.post("/sessions", b"{}", "text/plain", None),
        415,
        "wrong-type",
    ),
    "session: too large": (
        lambda s: s.post("/sessions", bytes(MAX_JSON_BYTES + 1), JSON_TYPE, None),
        413,
        "too-large",
    ),
    "session: duplicate key": (
        lambda s: s.post("/sessions", b'{"scope":"","scope":""}', JSON_TYPE, None),
        400,
        "malformed",
    ),
    "session: unknown scope": (lambda s: s.ask(scope="00" * 32), 404, "not-found"),
    "session: scope in upper case": (lambda s: s.ask(scope="AB" * 32), 400, "malformed"),
    "session: before the first day": (
        lambda s: s.on_day(manifests.OPENS - 1, s.ask),
        403,
        "closed-scope",
    ),
    "session: after the last day": (lambda s: s.on_day(manifests.CLOSES + 1, s.ask), 403, "closed-scope"),
    "session: another attester": (lambda s: s.ask(attester="in-person"), 403, "not-eligible"),
    "session: unknown attester": (lambda s: s.ask(attester="oidc"), 403, "not-eligible"),
    "session: no address": (lambda s: s.ask({}), 400, "malformed"),
    "session: two addresses": (lambda s: s.ask({"address": "a@b.example,c@d.example"}), 400, "malformed"),
    "session: header injection": (
        lambda s: s.ask({"address": "a@b.example\r\nBcc: c@d.example"}),
        400,
        "malformed",
    ),
    "session: a member too many": (
        lambda s: s.ask({"address": "a@b.example", "code": "12345678"}),
        400,
        "malformed",
    ),
    "evidence: another type": (
        lambda s: s.post("/sessions/evidence", b"{}", "text/plain", s.pending),
        415,
        "wrong-type",
    ),
    "evidence: too large": (
        lambda s: s.post("/sessions/evidence", bytes(MAX_JSON_BYTES + 1), JSON_TYPE, s.pending),
        413,
        "too-large",
    ),
    "evidence: no session": (
        lambda s: s.post("/sessions/evidence", b"{}", JSON_TYPE, None),
        403,
        "not-eligible",
    ),
    "evidence: foreign session": (lambda s: s.prove({"code": s.code}, "A" * 43), 403, "not-eligible"),
    "evidence: expired session": (
        lambda s: s.later(600, lambda: s.prove({"code": s.code})),
        403,
        "not-eligible",
    ),
    "evidence: closed scope": (
        lambda s: s.on_day(manifests.CLOSES + 1, lambda: s.prove({"code": s.code})),
        403,
        "closed-scope",
    ),
    "evidence: foreign page": (
        lambda s: s.prove({"code": s.code}, Origin="https://evil.example"),
        403,
        "not-eligible",
    ),
    "evidence: no code": (lambda s: s.prove({}), 400, "malformed"),
    "evidence: a list": (lambda s: s.prove([]), 400, "malformed"),
    "evidence: wrong code": (
        lambda s: s.prove({"code": f"{(int(s.code) + 1) % 10**8:08d}"}),
        403,
        "code-refused",
    ),
    "evidence: exhausted code": (Stage.after_tries, 403, "code-refused"),
    "evidence: another session's code": (lambda s: s.prove({"code": s.code}, s.proved), 403, "code-refused"),
    "token: another type": (
        lambda s: s.post("/token-request", s.request, JSON_TYPE, s.proved),
        415,
        "wrong-type",
    ),
    "token: too large": (lambda s: s.sign(bytes(MAX_REQUEST_BYTES + 1)), 413, "too-large"),
    "token: truncated": (lambda s: s.sign(s.request[:-1]), 400, "malformed"),
    "token: trailing byte": (lambda s: s.sign(s.request + b"\0"), 400, "malformed"),
    "token: another token type": (lambda s: s.sign(b"\0\1" + s.request[2:]), 400, "malformed"),
    "token: another key": (
        lambda s: s.sign(s.request[:2] + bytes([s.request[2] ^ 1]) + s.request[3:]),
        400,
        "malformed",
    ),
    "token: message 0": (lambda s: s.blinded(0), 400, "malformed"),
    "token: message 1": (lambda s: s.blinded(1), 400, "malformed"),
    "token: message n - 1": (lambda s: s.blinded(N - 1), 400, "malformed"),
    "token: message n": (lambda s: s.blinded(N), 400, "malformed"),
    "token: message above n": (lambda s: s.blinded(2**2048 - 1), 400, "malformed"),
    "token: message with a factor of n": (lambda s: s.blinded(keys.token_key(0).p), 400, "malformed"),
    "token: no session": (
        lambda s: s.post("/token-request", s.request, REQUEST_TYPE, None),
        403,
        "not-eligible",
    ),
    "token: nothing proved": (lambda s: s.sign(s.request, s.pending), 403, "not-eligible"),
    "token: expired session": (lambda s: s.later(600, lambda: s.sign(s.request)), 403, "not-eligible"),
    "token: closed scope": (
        lambda s: s.on_day(manifests.CLOSES + 1, lambda: s.sign(s.request)),
        403,
        "closed-scope",
    ),
    "token: foreign page": (
        lambda s: s.sign(s.request, Origin="https://evil.example"),
        403,
        "not-eligible",
    ),
    "token: a second message": (lambda s: s.sign(s.other_request, s.holder), 409, "already-issued"),
    "directory: sent to": (
        lambda s: s.post("/.well-known/private-token-issuer-directory", b"", JSON_TYPE, None),
        405,
        "method-refused",
    ),
    "a doubled slash": (lambda s: s.post("/sessions//evidence", b"{}", JSON_TYPE, None), 404, "not-found"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_by_name_and_changes_nothing(stage, problem_of, name):
    ask, status, code = BAD[name]
    before = stage.kept()
    assert "issuer.sqlite" in before
    answer = ask(stage)
    assert problem_of(answer) == (status, code)
    assert stage.kept() == before
    assert stage.world.outbox.mails.empty()
    for private in ("eve@example.org", "b.example", stage.code, stage.proved, stage.request[3:].hex()):
        assert private not in answer.get_data(as_text=True)
