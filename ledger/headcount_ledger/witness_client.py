"""One witness as the ledger asks it over HTTP, c2sp.org/tlog-witness; it is not trusted in anything."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from headcount_spec.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from headcount_spec.errors import (
    CorruptionError,
    MalformedError,
    ProtocolError,
    SignatureError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.merkle import RootHash
from headcount_spec.note import NoteSignature, VerificationKey
from headcount_spec.tile import Fetch, TileReader
from headcount_spec.tlog_witness import (
    ADD_CHECKPOINT,
    MAX_ANSWER_BYTES,
    SIZE_TYPE,
    AddCheckpoint,
    monitoring_path,
    parse_cosignatures,
    parse_size,
)

REQUEST_TIMEOUT_S = 5.0  # per connect, read and write


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    media_type: str
    body: bytes


class WitnessClient:
    """Remembers how much of the log the witness has seen. One thread at a time."""

    def __init__(
        self, url: str, log_key: VerificationKey, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Ask below the submission prefix url, which is taken for the monitoring prefix too."""
        self._url = url.rstrip("/")
        self._log_key = log_key
        self._transport = transport
        self._size: int | None = None  # that the witness has cosigned; None before its first answer

    def add_checkpoint(self, signed: SignedCheckpoint, read: Fetch) -> tuple[NoteSignature, ...]:
        """The witness's signature lines for a checkpoint of ours, not verified.

        Proofs are made from the tiles behind read.

        Raises:
            CorruptionError: the witness shows a checkpoint that we have signed and that this one does not
                extend, or our own tiles give no proof.
            UnavailableError: no answer, or a refusal.
            MalformedError: an answer that is not in the format.
        """
        try:
            with _http(self._transport) as http:
                answer = self._ask(http, signed, read)
        except httpx.TimeoutException as exc:
            raise UnavailableError("no answer in time") from exc
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
            raise UnavailableError(f"it cannot be reached ({type(exc).__name__})") from exc
        if answer.status != 200:
            raise UnavailableError(f"HTTP status {answer.status}")
        self._size = signed.checkpoint.size
        return parse_cosignatures(answer.body)

    def _ask(self, http: httpx.Client, signed: SignedCheckpoint, read: Fetch) -> _Answer:
        """The answer to a request from the size that we believe, or to a second one from what it told."""
        size = signed.checkpoint.size
        # At first we believe that it has seen everything: then an older database shows at once.
        answer = self._add(http, size if self._size is None else min(self._size, size), signed, read)
        if answer.status == 409:
            told = _told_size(answer)
            if told <= size:
                answer = self._add(http, told, signed, read)
        if answer.status in (409, 422):
            self._check_shown(http, signed.checkpoint, read)
        return answer

    def _add(self, http: httpx.Client, old: int, signed: SignedCheckpoint, read: Fetch) -> _Answer:
        try:
            proof = TileReader(read, signed.checkpoint.size).consistency_proof(old)
        except ProtocolError as exc:
            raise CorruptionError(f"the ledger's own tiles give no proof: {exc}") from exc
        body = AddCheckpoint(old, tuple(proof), signed.raw).to_bytes()
        return self._send(http, "POST", ADD_CHECKPOINT, body)

    def _check_shown(self, http: httpx.Client, checkpoint: Checkpoint, read: Fetch) -> None:
        """Whether the witness can show that our own key has signed something else.

        Anybody can say so; only our signature proves it.

        Raises:
            CorruptionError: it can.
        """
        answer = self._send(http, "GET", monitoring_path(checkpoint.origin))
        if answer.status != 200:
            return
        try:
            shown = open_checkpoint(answer.body, self._log_key).checkpoint
        except (MalformedError, SignatureError, UnknownKeyError):
            return
        if shown.size > checkpoint.size:
            raise CorruptionError("a witness has a checkpoint of ours that is newer than the database")
        if shown.root != self._root_at(shown.size, checkpoint, read):
            raise CorruptionError("a witness has a checkpoint of ours that is of another history")

    def _root_at(self, size: int, checkpoint: Checkpoint, read: Fetch) -> RootHash:
        try:
            return TileReader(read, checkpoint.size).root_at(size)
        except ProtocolError as exc:
            raise CorruptionError(f"the ledger's own tiles give no root: {exc}") from exc

    def _send(self, http: httpx.Client, method: str, path: str, body: bytes = b"") -> _Answer:
        url = f"{self._url}/{path}"
        with http.stream(method, url, content=body or None) as response:
            if "content-encoding" in response.headers:
                # None was asked for, and decoding would pass the cap.
                raise UnavailableError("an answer in a content coding")
            data = bytearray()
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > MAX_ANSWER_BYTES:
                    raise UnavailableError("an answer that is too long")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return _Answer(response.status_code, media_type, bytes(data))


def _told_size(answer: _Answer) -> int:
    if answer.media_type != SIZE_TYPE:
        raise UnavailableError("HTTP status 409 without a size")
    return parse_size(answer.body)


def _http(transport: httpx.BaseTransport | None) -> httpx.Client:
    """No redirects, no cookies, no proxy from the environment, no connection kept until the next batch."""
    return httpx.Client(
        transport=transport,
        timeout=REQUEST_TIMEOUT_S,
        limits=httpx.Limits(max_keepalive_connections=2, keepalive_expiry=REQUEST_TIMEOUT_S),
        trust_env=False,
        headers={"User-Agent": "headcount-ledger", "Accept-Encoding": "identity"},
    )
