"""Whether a credential was revoked: token status lists (draft-ietf-oauth-status-list, JWT form).

The list is fetched from where the credential says, if that is below one of the addresses that the operator
trusts for the credential's issuer, and kept while it says it may be kept: its host learns that a credential
was shown here at most once an hour or so, and never which of the list.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from headcount_issuer import base64url
from headcount_issuer.jose import Jws, KeySet
from headcount_issuer.sd_jwt import LEEWAY_S
from headcount_spec.errors import MalformedError, NotEligibleError, SignatureError, UnavailableError

TYPE = "statuslist+jwt"
MEDIA_TYPE = "application/statuslist+jwt"
MAX_TOKEN_BYTES = 2**22
MAX_LIST_BYTES = 2**25  # 2^28 credentials of one bit
MAX_INDEX = 2**31
MAX_KEPT_S = 3600
MAX_KEPT = 256  # lists in memory
_VALID = 0
_TIMEOUT_S = 10

Fetch = Callable[[str], bytes]  # the token at an address; raises UnavailableError


@dataclass(frozen=True, slots=True)
class StatusList:
    """A list that was fetched and verified."""

    bits: int  # of each status: 1, 2, 4 or 8
    data: bytes = field(repr=False)
    until: int  # after which it is fetched again

    def status(self, index: int) -> int:
        """The status with this index. Section 4.1: from the least significant bits of a byte.

        Raises:
            MalformedError: the list is shorter.
        """
        byte, place = divmod(index * self.bits, 8)
        if byte >= len(self.data):
            raise MalformedError("the status list is shorter than the credential says")
        return self.data[byte] >> place & ((1 << self.bits) - 1)


class StatusLists:
    """The lists that were asked lately; threads share them."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], StatusList] = {}  # (issuer, address)

    def check(
        self, issuer: str, status: Mapping[str, Any], keys: KeySet, places: tuple[str, ...], now: int
    ) -> None:
        """Refuse a credential whose status is not "valid". keys and places are those trusted for its issuer.

        Raises:
            MalformedError: not a reference to a status list, or not a list.
            SignatureError, UnknownKeyError: the list is not the issuer's.
            NotEligibleError: revoked, suspended, or a list at an address that is not trusted.
            UnavailableError: the list cannot be had now.
        """
        reference = status.get("status_list")
        uri = reference.get("uri") if isinstance(reference, dict) else None
        index = reference.get("idx") if isinstance(reference, dict) else None
        if not isinstance(uri, str) or isinstance(index, bool) or not isinstance(index, int):
            raise MalformedError("credential.status: not a reference to a status list")
        if not 0 <= index < MAX_INDEX:
            raise MalformedError("credential.status: index out of range")
        if not any(uri.startswith(f"{place}/") or uri == place for place in places) or ".." in uri:
            raise NotEligibleError("the credential's status is at an address that is not trusted here")
        if self._list(issuer, uri, keys, now).status(index) != _VALID:
            raise NotEligibleError("the credential was revoked or suspended")

    def _list(self, issuer: str, uri: str, keys: KeySet, now: int) -> StatusList:
        with self._lock:
            kept = self._kept.get((issuer, uri))
        if kept is not None and now < kept.until:
            return kept
        found = verify_status_list(self._fetch(uri), uri, keys, now)
        with self._lock:
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[issuer, uri] = found
        return found


def verify_status_list(token: bytes, uri: str, keys: KeySet, now: int) -> StatusList:
    """Verify a status list token. Section 8.3.

    Raises:
        MalformedError: not a token of this kind.
        SignatureError, UnknownKeyError: not signed by one of the keys, for another address, or expired.
    """
    try:
        text = token.decode("ascii").strip()
    except UnicodeDecodeError as exc:
        raise MalformedError("not a status list token") from exc
    jws = Jws.from_text(text, MAX_TOKEN_BYTES)
    jws.check_type(TYPE)
    keys.verify(jws)
    said = jws.payload
    if said.get("sub") != uri:
        raise SignatureError("the status list is for another address")
    issued_at, expires_at = _number(said, "iat"), _number(said, "exp")
    if issued_at is None or now < issued_at - LEEWAY_S:
        raise SignatureError("the status list is not of now")
    if expires_at is not None and now >= expires_at + LEEWAY_S:
        raise SignatureError("the status list has expired")
    kept_s = _number(said, "ttl")
    until = min(now + (MAX_KEPT_S if kept_s is None else min(kept_s, MAX_KEPT_S)), expires_at or 2**53)
    return StatusList(*_decompress(said.get("status_list")), until)


def _decompress(value: Any) -> tuple[int, bytes]:
    bits = value.get("bits") if isinstance(value, dict) else None
    packed = value.get("lst") if isinstance(value, dict) else None
    if bits not in (1, 2, 4, 8) or isinstance(bits, bool) or not isinstance(packed, str):
        raise MalformedError("not a status list")
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(base64url.decode(packed), MAX_LIST_BYTES)
    except zlib.error as exc:
        raise MalformedError("not a status list") from exc
    if not inflate.eof or inflate.unused_data:
        raise MalformedError(f"a status list that does not end within {MAX_LIST_BYTES} bytes")
    return bits, data


def _number(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MalformedError(f"{name}: not a number of seconds")
    return value


def fetch(url: str) -> bytes:
    """The status list token at an address: no redirects, a cap, a time-out.

    Raises:
        UnavailableError: it does not answer with one.
    """
    body = b""
    try:
        with (
            httpx.Client(timeout=_TIMEOUT_S, trust_env=False, headers={"Accept": MEDIA_TYPE}) as client,
            client.stream("GET", url) as answer,
        ):
            if answer.status_code != 200:
                raise UnavailableError("the status list cannot be had now", 60)
            for chunk in answer.iter_bytes(65536):
                body += chunk
                if len(body) > MAX_TOKEN_BYTES:
                    raise UnavailableError("the status list is too long", 60)
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        raise UnavailableError("the status list cannot be had now", 60) from exc
    return body
