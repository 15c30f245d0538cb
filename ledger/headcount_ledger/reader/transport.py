"""HTTP as the client needs it: one request, one capped answer, nothing kept between them.

A ``Transport`` is a callable, so that a test or another program passes its own. The answers of a
role that refuses (RFC 9457 problem documents) become errors of our tree here and nowhere else.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urljoin, urlsplit

from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    ProtocolError,
    RefusedError,
    UnavailableError,
    VerificationError,
)
from headcount_spec.problem import from_problem

if TYPE_CHECKING:
    import httpx  # loaded by whoever connects: most workers of an audit never do

_TIMEOUT_S = 20.0  # per connect, read and write
_LEAST_RATE = 4096  # bytes a second of an answer, beyond the first _TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names are lower case, the body is decoded and within the cap."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def media_type(self) -> str:
        """The Content-Type without parameters, lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Transport(Protocol):
    """Sends one request and returns its answer, whatever its status.

    Raises:
        UnavailableError: no answer, or one longer than max_bytes.
    """

    def __call__(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 65_536,
    ) -> Answer:
        """Send it."""
        ...


class HttpTransport:
    """A ``Transport`` over httpx: no redirects, no cookies, no proxy on loopback.

    Raises:
        ConfigurationError: the environment names a proxy that cannot be used.
    """

    def __init__(self, inner: httpx.BaseTransport | None = None, timeout_s: float = _TIMEOUT_S) -> None:
        import http.cookiejar

        import httpx

        self._patience_s = timeout_s
        # A proxy of the environment (Tor, a company's) must not see what stays on this machine.
        local = {"all://localhost": None, "all://127.0.0.1": None, "all://[::1]": None}
        try:
            self._client = httpx.Client(
                transport=inner,
                mounts=local if inner is None else None,
                timeout=timeout_s,
                follow_redirects=False,
                headers={"User-Agent": "headcount", "Accept-Encoding": "identity"},
            )
        except (ImportError, ValueError) as exc:
            # Whoever set a proxy, perhaps Tor, must not be connected without it.
            raise ConfigurationError("the proxy that the environment names cannot be used") from exc
        # Cookies ignore ports: an issuer on one port would receive the verifier's of another.
        self._client.cookies.jar.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))

    def __call__(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        max_bytes: int = 65_536,
    ) -> Answer:
        """Send it."""
        import httpx

        who = origin_of(url)
        request = self._client.build_request(method, url, content=body or None, headers=dict(headers or {}))
        with _converted(who):
            try:
                response = self._client.send(request, stream=True)
            except httpx.RemoteProtocolError:
                # A kept connection that the other side closed meanwhile; every request may be repeated.
                response = self._client.send(request, stream=True)
            try:
                data = _capped(response, max_bytes, who, self._patience_s)
            finally:
                response.close()
        found = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, data, found)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> HttpTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _converted(who: str) -> Iterator[None]:
    import httpx

    try:
        yield
    except httpx.TimeoutException as exc:
        raise UnavailableError(f"{who} does not answer in time") from exc
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
        raise UnavailableError(f"{who} cannot be reached") from exc


def _capped(response: httpx.Response, max_bytes: int, who: str, patience_s: float) -> bytes:
    """The body, decoded here rather than by httpx so that a gzip bomb stops at the cap as well."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise UnavailableError(f"{who} answers in a content coding that was not asked for")
    inflate = zlib.decompressobj(wbits=31) if coding == "gzip" else None
    data = bytearray()
    began = time.monotonic()
    for number, chunk in enumerate(response.iter_raw()):
        # Each read has its own timeout: a byte now and then would satisfy all of them for ever.
        if number and time.monotonic() - began > patience_s + response.num_bytes_downloaded / _LEAST_RATE:
            raise UnavailableError(f"{who} does not answer in time")
        room = max_bytes + 1 - len(data)
        try:
            data += chunk if inflate is None else inflate.decompress(chunk, room)
        except zlib.error as exc:
            raise UnavailableError(f"{who} answers with broken gzip") from exc
        if len(data) > max_bytes:
            raise UnavailableError(f"{who} answers with more than {max_bytes} bytes")
    if inflate is not None and not (inflate.eof and not inflate.unused_data):
        raise UnavailableError(f"{who} answers with broken gzip")
    return bytes(data)


def origin_of(url: str) -> str:
    """The origin of an http(s) URL, RFC 6454, Section 6.2: scheme, host and port unless the default.

    Raises:
        MalformedError: not an http(s) URL, or one with a user name.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise MalformedError("not a URL") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise MalformedError("not an http or https URL")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}")


def join(base: str, path: str) -> str:
    """The URL of a relative path below base, which is taken as a folder.

    Raises:
        MalformedError: base is not an http(s) URL, or the path leads to another origin.
    """
    url = urljoin(base if base.endswith("/") else base + "/", path)
    if origin_of(url) != origin_of(base):
        raise MalformedError("a link leads to another origin")
    return url


# What another party may say about itself or about us; that somebody misbehaved is found out here, not told.
_SAYABLE = (MalformedError, VerificationError, RefusedError, UnavailableError)


def check(answer: Answer, who: str, *, media_type: str, status: int = 200) -> bytes:
    """The body of an answer that has this status and media type.

    Raises:
        ProtocolError: the error that the problem document names, with its sentence if it is plain text.
        UnavailableError: another status, or a media type that this resource does not have.
    """
    if answer.status == status:
        if answer.media_type != media_type:
            raise UnavailableError(f"{who} answers with another kind of document")
        return answer.body
    raise error_of(answer, who)


def error_of(answer: Answer, who: str) -> ProtocolError:
    """The error that an answer reports; what cannot be understood is UnavailableError."""
    if 300 <= answer.status < 400:
        return UnavailableError(f"{who} redirects elsewhere, which is not followed")
    error = from_problem(answer.status, answer.body)
    if not isinstance(error, _SAYABLE):
        error = UnavailableError(str(error))
    error.args = (f"{who} says: {error}",)
    return error
