from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from headcount import HttpTransport
from headcount_ledger.reader.fetch import cached, directory_fetch, http_fetch, max_bytes_of, open_fetch
from headcount_ledger.reader.transport import Answer, check, error_of, join, origin_of
from headcount_spec import errors
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotFoundError,
    NoticeConflictError,
    ProtocolError,
    RateLimitedError,
    RevisionConflictError,
    UnavailableError,
)
from headcount_spec.problem import problem


class Server(httpx.BaseTransport):
    """Answers every request alike, and keeps them."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.answer = answer
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self.answer(request)


class Body(httpx.SyncByteStream):
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return self.chunks


def answering(status: int = 200, body: bytes = b"", **headers: str) -> Server:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Server(lambda request: httpx.Response(status, headers=named, stream=Body(iter([body]))))


def raising(error: Exception, times: int = 99) -> Server:
    left = [times]

    def answer(request: httpx.Request) -> httpx.Response:
        if left[0]:
            left[0] -= 1
            raise error
        return httpx.Response(200, stream=Body(iter([b"ok"])))

    return Server(answer)


URL = "https://a.example/x"


def test_an_answer_is_read_whole() -> None:
    server = answering(body=b"body", content_type="Text/Plain; charset=utf-8")
    with HttpTransport(server) as transport:
        answer = transport("POST", URL, body=b"hello", headers={"Content-Type": "a/b"})
    assert (answer.status, answer.body, answer.media_type) == (200, b"body", "text/plain")
    (request,) = server.requests
    assert (request.method, request.content) == ("POST", b"hello")
    assert request.headers["user-agent"] == "headcount"
    assert request.headers["accept-encoding"] == "identity"


def test_a_body_over_the_cap_is_not_read_to_its_end() -> None:
    pulled: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            pulled.append(1)
            yield bytes(1000)

    server = Server(lambda request: httpx.Response(200, stream=Body(endless())))
    with HttpTransport(server) as transport, pytest.raises(UnavailableError, match="more than 2500"):
        transport("GET", URL, max_bytes=2500)
    assert len(pulled) < 200


def test_gzip_is_decoded_up_to_the_cap() -> None:
    with HttpTransport(answering(body=gzip.compress(b"x" * 500), content_encoding="gzip")) as transport:
        assert transport("GET", URL, max_bytes=500).body == b"x" * 500
        with pytest.raises(UnavailableError, match="more than 499"):
            transport("GET", URL, max_bytes=499)
    bomb = gzip.compress(bytes(50_000_000))
    with (
        HttpTransport(answering(body=bomb, content_encoding="gzip")) as transport,
        pytest.raises(UnavailableError, match="more than 1000"),
    ):
        transport("GET", URL, max_bytes=1000)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"no gzip", "gzip"),
        (gzip.compress(b"x" * 500)[:-4], "gzip"),
        (gzip.compress(b"x") + b"rest", "gzip"),
        (b"x", "br"),
        (b"x", "gzip, gzip"),
    ],
    ids=["none", "cut", "more", "unknown", "twice"],
)
def test_a_broken_or_unknown_coding_is_refused(body: bytes, coding: str) -> None:
    server = answering(body=body, content_encoding=coding)
    with HttpTransport(server) as transport, pytest.raises(UnavailableError):
        transport("GET", URL)


def test_a_redirect_is_not_followed() -> None:
    server = answering(302, location="https://b.example/")
    with HttpTransport(server) as transport:
        answer = transport("GET", URL)
    assert len(server.requests) == 1
    assert isinstance(error_of(answer, "a"), UnavailableError)


def test_cookies_are_never_sent_back() -> None:
    server = answering(set_cookie="id=7; Path=/")
    with HttpTransport(server) as transport:
        transport("GET", URL)
        transport("GET", URL)
    assert "cookie" not in server.requests[1].headers


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("no"),
        httpx.ReadTimeout("no"),
        httpx.ReadError("no"),
        httpx.RemoteProtocolError("no"),
    ],
)
def test_no_answer_is_unavailable(error: Exception) -> None:
    with HttpTransport(raising(error)) as transport, pytest.raises(UnavailableError, match=r"a\.example"):
        transport("GET", URL)


def test_a_connection_that_was_closed_meanwhile_is_opened_again() -> None:
    server = raising(httpx.RemoteProtocolError("closed"), 1)
    with HttpTransport(server) as transport:
        assert transport("GET", URL).body == b"ok"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "http://", "http://u:p@h/", "http://h:99999/"]
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(MalformedError):
        origin_of(url)
    with HttpTransport(answering()) as transport, pytest.raises(MalformedError):
        transport("GET", url)


def test_origins_are_spelt_alike() -> None:
    assert origin_of("https://A.example:443/x?y") == "https://a.example"
    assert origin_of("http://a.example:8000") == "http://a.example:8000"
    assert origin_of("http://[::1]:80/") == "http://[::1]"


def test_a_path_stays_below_its_base() -> None:
    assert join("https://a.example/p", "x") == "https://a.example/p/x"
    assert join("https://a.example/p/", "x") == "https://a.example/p/x"
    with pytest.raises(MalformedError):
        join("https://a.example/p", "//b.example/x")


@pytest.mark.parametrize(
    "error",
    [
        RevisionConflictError("one stands", 3),
        NoticeConflictError("next", 4),
        RateLimitedError("slow", 9),
        UnavailableError("later", 9),
        errors.ScopeClosedError("closed"),
        errors.SignatureError("bad"),
    ],
)
def test_a_problem_document_becomes_its_error(error: ProtocolError) -> None:
    document = problem(error)
    headers = {name.lower(): value for name, value in document.headers.items()}
    found = error_of(Answer(document.status, document.body, headers), "b.example")
    assert type(found) is type(error)
    assert str(found) == f"b.example says: {error}"
    for name in ("serial", "seq", "retry_after_s"):
        assert getattr(found, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("kind", [errors.MisbehaviourError, errors.CorruptionError, ConfigurationError])
def test_nobody_can_tell_us_that_somebody_misbehaved(kind: type[ProtocolError]) -> None:
    document = problem(kind("they did"))
    assert isinstance(
        error_of(Answer(document.status, document.body, document.headers), "b"), UnavailableError
    )


def test_an_answer_of_another_kind_is_no_answer() -> None:
    answer = Answer(200, b"x", {"content-type": "text/html"})
    with pytest.raises(UnavailableError):
        check(answer, "b", media_type="application/json")
    assert check(answer, "b", media_type="text/html") == b"x"


@pytest.mark.parametrize("proxy", ["socks5h://127.0.0.1:9050", "nonsense://x"])
def test_a_proxy_that_cannot_be_used_is_not_gone_around(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="proxy"):
        HttpTransport()


# Fetch.


def test_each_published_file_has_its_cap() -> None:
    assert max_bytes_of("checkpoint") == 65_536
    assert max_bytes_of("tile/0/x001/234.p/5") == 8192
    assert max_bytes_of("tile/entries/000") == 256 * 65_537
    for path in ("", "/etc/passwd", "../key", "tile/../key", "tile/0/000/../../x", "key", "checkpoint\n"):
        with pytest.raises(MalformedError):
            max_bytes_of(path)


def test_files_are_read_from_the_web() -> None:
    server = answering(body=b"data")
    with HttpTransport(server) as transport:
        assert http_fetch("https://a.example/ledger", transport)("tile/0/000") == b"data"
    assert str(server.requests[0].url) == "https://a.example/ledger/tile/0/000"


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (410, NotFoundError), (403, UnavailableError), (500, UnavailableError)],
)
def test_a_missing_file_on_the_web_is_not_found(status: int, error: type[ProtocolError]) -> None:
    with HttpTransport(answering(status)) as transport, pytest.raises(error):
        http_fetch("https://a.example", transport)("checkpoint")


def test_files_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"note")
    (tmp_path / "totals").mkdir()
    (tmp_path / "totals" / "0").mkdir()
    (tmp_path / "tile" / "0").mkdir(parents=True)
    (tmp_path / "tile" / "0" / "000").write_bytes(bytes(8193))
    fetch = directory_fetch(tmp_path)
    assert fetch("checkpoint") == b"note"
    for path in ("totals/0", "totals/1", "checkpoints/0", "tile/entries/000"):
        with pytest.raises(NotFoundError):
            fetch(path)
    with pytest.raises(UnavailableError, match="longer"):
        fetch("tile/0/000")
    with pytest.raises(MalformedError):
        fetch("../checkpoint")


def test_a_ledger_is_an_address_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"note")
    with HttpTransport(answering(body=b"web")) as transport:
        assert open_fetch(str(tmp_path), transport)("checkpoint") == b"note"
        assert open_fetch("http://a.example", transport)("checkpoint") == b"web"
        with pytest.raises(ConfigurationError):
            open_fetch(str(tmp_path / "none"), transport)


def test_tiles_are_fetched_once_and_checkpoints_each_time() -> None:
    asked: list[str] = []

    def fetch(path: str) -> bytes:
        asked.append(path)
        return b"x"

    fetch_cached = cached(fetch, 2)
    for path in (
        "tile/0/000",
        "tile/0/000",
        "checkpoint",
        "checkpoint",
        "tile/0/001",
        "tile/0/002",
        "tile/0/000",
    ):
        fetch_cached(path)
    assert asked == ["tile/0/000", "checkpoint", "checkpoint", "tile/0/001", "tile/0/002", "tile/0/000"]
