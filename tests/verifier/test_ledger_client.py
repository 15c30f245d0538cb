from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import Callable

import httpx
import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from headcount_spec import errors
from headcount_spec.problem import problem
from headcount_verifier import LedgerClient

PROMISE = {"Content-Type": "application/vnd.headcount.promise"}


def client(handler: Callable[[httpx.Request], httpx.Response]) -> LedgerClient:
    return LedgerClient("http://ledger.example/log/", transport=httpx.MockTransport(handler))


def test_an_entry_is_posted_and_the_promise_returned():
    seen = []

    def handler(request):
        seen.append(request)
        return httpx.Response(200, headers=PROMISE, content=b"the promise")

    with client(handler) as ledger:
        assert ledger.submit(b"the entry") == b"the promise"
    assert str(seen[0].url) == "http://ledger.example/log/entries"
    assert seen[0].headers["content-type"] == "application/vnd.headcount.entry"
    assert seen[0].content == b"the entry"
    assert "cookie" not in seen[0].headers


@pytest.mark.parametrize(
    "error",
    [
        errors.MalformedError("x"),
        errors.SignatureError("x"),
        errors.ScopeClosedError("x"),
        errors.NotFoundError("x"),
        errors.RevisionConflictError("x", 3),
        errors.RateLimitedError("x", 3),
        errors.UnavailableError("x", 3),
    ],
    ids=lambda error: error.code,
)
def test_the_ledgers_problem_is_raised_as_it_is(error):
    sent = problem(error)
    ledger = client(lambda _: httpx.Response(sent.status, headers=sent.headers, content=sent.body))
    with pytest.raises(type(error)) as caught:
        ledger.submit(b"")
    assert vars(caught.value) == vars(error)


@pytest.mark.parametrize(
    "error", [errors.ConfigurationError("x"), errors.CorruptionError("x"), errors.MisbehaviourError("x")]
)
def test_what_is_wrong_in_the_ledger_is_not_wrong_in_us(error):
    sent = problem(error)
    ledger = client(lambda _: httpx.Response(sent.status, headers=sent.headers, content=sent.body))
    with pytest.raises(errors.UnavailableError):
        ledger.submit(b"")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, headers={"Content-Type": "text/html"}, content=b"x"),
        httpx.Response(302, headers={"Location": "http://elsewhere.example/"}),
        httpx.Response(404, content=b"<html>"),
        httpx.Response(500),
        httpx.Response(200, headers=PROMISE, content=bytes(20_000)),
        httpx.Response(200, headers={**PROMISE, "Content-Encoding": "gzip"}, content=gzip.compress(b"p")),
    ],
    ids=["no-type", "another-type", "redirect", "not-found-page", "bare-500", "too-long", "gzip"],
)
def test_an_answer_that_is_not_the_ledgers_means_try_again(answer):
    with pytest.raises(errors.UnavailableError):
        client(lambda _: answer).submit(b"")


@pytest.mark.parametrize("failure", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.ReadError("x")])
def test_no_answer_means_try_again(failure):
    def handler(_request):
        raise failure

    with pytest.raises(errors.UnavailableError):
        client(handler).submit(b"")


def test_a_connection_that_was_closed_meanwhile_is_tried_once_more():
    left = [httpx.RemoteProtocolError("closed"), None]

    def handler(_request):
        if failure := left.pop(0):
            raise failure
        return httpx.Response(200, headers=PROMISE, content=b"p")

    assert client(handler).submit(b"") == b"p"
    left[:] = [httpx.RemoteProtocolError("closed")] * 2
    with pytest.raises(errors.UnavailableError):
        client(handler).submit(b"")


def test_a_ledger_that_does_not_listen_is_unavailable():
    with (
        LedgerClient("http://127.0.0.1:9/ledger", timeout_s=2) as ledger,
        pytest.raises(errors.UnavailableError),
    ):
        ledger.submit(b"")


def test_cookies_are_not_kept_and_nothing_is_logged(caplog):
    seen: list[str | None] = []

    @Request.application
    def app(request: Request) -> Response:
        seen.append(request.headers.get("Cookie"))
        return Response(b"p", content_type=PROMISE["Content-Type"], headers={"Set-Cookie": "a=b; Path=/"})

    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    with caplog.at_level(logging.INFO), LedgerClient(url) as ledger:
        ledger.submit(b"1")
        ledger.submit(b"2")
    server.shutdown()
    thread.join()
    server.server_close()
    assert seen == [None, None]
    assert [record for record in caplog.records if record.name != "werkzeug"] == []  # the test's server


ANSWERS = {"Content-Type": "application/vnd.headcount.answers"}


def answers(*given: tuple[int, bytes]) -> bytes:
    return b"".join(status.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body for status, body in given)


def test_a_bundle_is_posted_and_each_answer_returned():
    seen = []

    def handler(request):
        seen.append(request)
        refused = problem(errors.RevisionConflictError("x", 3))
        return httpx.Response(
            200, headers=ANSWERS, content=answers((200, b"promise"), (refused.status, refused.body))
        )

    with client(handler) as ledger:
        first, second = ledger.submit_bundle([b"one", b"two!"])
    assert first == b"promise"
    assert isinstance(second, errors.RevisionConflictError)
    assert second.serial == 3
    assert str(seen[0].url) == "http://ledger.example/log/bundles"
    assert seen[0].headers["content-type"] == "application/vnd.headcount.bundle"
    assert seen[0].content == b"\0\3one\0\4two!"


def test_the_ledgers_own_trouble_with_one_entry_is_not_ours():
    refused = problem(errors.MisbehaviourError("x"))
    ledger = client(
        lambda _: httpx.Response(200, headers=ANSWERS, content=answers((refused.status, refused.body)))
    )
    (one,) = ledger.submit_bundle([b"one"])
    assert isinstance(one, errors.UnavailableError)


@pytest.mark.parametrize(
    "content", [b"", answers((200, b"one")), answers((200, b"one"), (200, b"two")) + b"\0"]
)
def test_answers_that_do_not_fit_the_entries_are_no_answer(content):
    ledger = client(lambda _: httpx.Response(200, headers=ANSWERS, content=content))
    with pytest.raises(errors.UnavailableError):
        ledger.submit_bundle([b"one", b"two"])


def test_a_refused_bundle_is_raised():
    sent = problem(errors.TooLargeError("x"))
    ledger = client(lambda _: httpx.Response(sent.status, headers=sent.headers, content=sent.body))
    with pytest.raises(errors.TooLargeError):
        ledger.submit_bundle([b"one"])
