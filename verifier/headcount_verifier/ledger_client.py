"""The ledger as a verifier reaches it: one POST per entry, and the promise that comes back."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from types import TracebackType

import httpx

from headcount_ledger import exchange
from headcount_spec import entry, problem, promise
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    MisbehaviourError,
    ProtocolError,
    UnavailableError,
)
from headcount_spec.wire import opaque16

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
        """Post to ``<url>/entries`` and ``<url>/bundles``."""
        self._url = url.rstrip("/")
        self._transport = transport or httpx.HTTPTransport(trust_env=False)
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}

    def submit(self, data: bytes) -> bytes:
        """The ledger's answer to an entry, unchecked.

        Raises:
            ProtocolError: what the ledger's problem document says.
            UnavailableError: no answer, or none that could be understood.
        """
        return self._send(exchange.ENTRIES, entry.MEDIA_TYPE, promise.MEDIA_TYPE, data, _CAP_BYTES)

    def submit_bundle(self, entries: Sequence[bytes]) -> list[bytes | ProtocolError]:
        """The ledger's answer to each of up to 1,000 entries, unchecked, or its error; in their order.

        For a verifier that has gathered many, which cost the ledger and the wire less together.

        Raises:
            ProtocolError: what the ledger's problem document says of all of them.
            UnavailableError: no answer, or none that could be understood.
        """
        data = b"".join(opaque16(one) for one in entries)
        cap = len(entries) * _CAP_BYTES
        answers = self._send(exchange.BUNDLES, exchange.BUNDLE_TYPE, exchange.ANSWERS_TYPE, data, cap)
        try:
            opened = exchange.open_answers(answers, len(entries))
        except MalformedError as exc:
            raise UnavailableError("the ledger's answers are not as many as the entries") from exc
        return [_foreign(one) if isinstance(one, ProtocolError) else one for one in opened]

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> LedgerClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, resource: str, media_type: str, answer_type: str, data: bytes, cap: int) -> bytes:
        try:
            try:
                return self._post(resource, media_type, answer_type, data, cap)
            except httpx.RemoteProtocolError:
                # A kept connection that the other side has closed. The same entry twice is one
                # entry, so trying again is safe.
                return self._post(resource, media_type, answer_type, data, cap)
        except httpx.HTTPError as exc:
            raise UnavailableError("the ledger cannot be reached") from exc

    def _post(self, resource: str, sent_type: str, answer_type: str, data: bytes, cap: int) -> bytes:
        url = f"{self._url}/{resource}"
        headers = {
            "Content-Type": sent_type,
            "Accept": answer_type,
            "Accept-Encoding": "identity",
            "User-Agent": "headcount-verifier",
        }
        request = httpx.Request("POST", url, headers=headers, content=data, extensions=self._extensions)
        with contextlib.closing(self._transport.handle_request(request)) as response:
            if "content-encoding" in response.headers:
                # None was asked for, and decoding would pass the cap.
                raise UnavailableError("the ledger answers in a content coding")
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > cap:
                    raise UnavailableError("the ledger's answer is too long")
            media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code == 200 and media_type == answer_type:
                return bytes(body)
            if media_type != problem.MEDIA_TYPE:
                raise UnavailableError(f"the ledger answers with HTTP status {response.status_code}")
            raise _foreign(problem.from_problem(response.status_code, bytes(body)))


def _foreign(error: ProtocolError) -> ProtocolError:
    # What is wrong inside the ledger is not wrong inside us.
    if isinstance(error, (ConfigurationError, CorruptionError, MisbehaviourError)):
        return UnavailableError("the ledger cannot take entries at present")
    return error
