"""The ledger as a verifier reaches it: one POST per entry, and the promise that comes back."""

from __future__ import annotations

import contextlib
from types import TracebackType

import httpx

from headcount_spec import entry, problem, promise
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MisbehaviourError,
    ProtocolError,
    UnavailableError,
)

_CAP_BYTES = 16_384  # a promise has 137 bytes, a problem document a few hundred


class LedgerClient:
    """A ``Submitter`` over HTTP. Threads may share it.

    No redirects, no cookies, no proxy from the environment: who reads entries on their way to the
    ledger learns when each was made. It is httpx without its Client, which would write a line for each
    pledge into the log of the site around us.
    """

    def __init__(
        self, url: str, timeout_s: float = 20.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Post to ``<url>/entries``."""
        self._url = url.rstrip("/") + "/entries"
        self._transport = transport or httpx.HTTPTransport(trust_env=False)
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}

    def submit(self, data: bytes) -> bytes:
        """The ledger's answer to an entry, unchecked.

        Raises:
            ProtocolError: what the ledger's problem document says.
            UnavailableError: no answer, or none that could be understood.
        """
        try:
            try:
                return self._post(data)
            except httpx.RemoteProtocolError:
                # A kept connection that the other side has closed. The same entry twice is one
                # entry, so trying again is safe.
                return self._post(data)
        except httpx.HTTPError as exc:
            raise UnavailableError("the ledger cannot be reached") from exc

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> LedgerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, data: bytes) -> bytes:
        headers = {
            "Content-Type": entry.MEDIA_TYPE,
            "Accept": promise.MEDIA_TYPE,
            "Accept-Encoding": "identity",
            "User-Agent": "headcount-verifier",
        }
        request = httpx.Request("POST", self._url, headers=headers, content=data, extensions=self._extensions)
        with contextlib.closing(self._transport.handle_request(request)) as response:
            if "content-encoding" in response.headers:
                # None was asked for, and decoding would pass the cap.
                raise UnavailableError("the ledger answers in a content coding")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _CAP_BYTES:
                    raise UnavailableError("the ledger's answer is too long")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code == 200 and media_type == promise.MEDIA_TYPE:
                return bytes(body)
            if media_type != problem.MEDIA_TYPE:
                raise UnavailableError(f"the ledger answers with HTTP status {response.status_code}")
            raise _foreign(problem.from_problem(response.status_code, bytes(body)))


def _foreign(error: ProtocolError) -> ProtocolError:
    # What is wrong inside the ledger is not wrong inside us.
    if isinstance(error, (ConfigurationError, CorruptionError, MisbehaviourError)):
        return UnavailableError("the ledger cannot take entries at present")
    return error
