"""The work itself: bundles cut, hashed, compared with their hash tiles, and every authenticator verified.

Runs in any process or machine that can read the files. A block in which anything is unusual is handed
back undone: the recount then goes through it entry by entry and names what is wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256, sha384

from headcount_engine import acceptance
from headcount_engine.engine import Check
from headcount_engine.portable import Portable
from headcount_ledger.audit.unit import PREFIX_BYTES, Extent, OtherEntry, PackedBlock, PledgeRun, Unit
from headcount_spec import pledge, seal
from headcount_spec.errors import CorruptionError, ProtocolError
from headcount_spec.merkle import root
from headcount_spec.pledge import AUTHENTICATOR_BYTES
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.tile import TILE_WIDTH, Bundle, Fetch, Tile
from headcount_spec.token import TOKEN_TYPE
from headcount_spec.wire import u16

# Places in a pledge, see headcount_spec.pledge.
_SCOPE = slice(2, 34)
_SCOPE_AND_CHOICE = slice(2, 36)
_SEALED_HASH = slice(68, 100)
_BODY = slice(2, 100)  # what the nonce is a hash of
_NUMBER_AT = 100
_FIRST_AT = 101  # authenticator

_TOKEN_HEAD = u16(TOKEN_TYPE)
_MAX_CACHED = 4096


@dataclass(frozen=True, slots=True)
class _Key:
    check: Check
    second: Check  # by `cryptography`
    tail: bytes  # of the token input, behind the nonce


@dataclass(frozen=True, slots=True)
class _Scope:
    """What verifying the pledges of one scope takes."""

    keys: tuple[_Key, ...]
    length: int  # of a pledge
    valid_choice: Callable[[int], bool]
    valid_sealed_hash: Callable[[bytes], bool]


def scan_unit(
    fetch: Fetch, unit: Unit, manifests: tuple[bytes, ...], extent: Extent
) -> list[PackedBlock | None]:
    """The blocks of a unit; None for each that must be gone through entry by entry.

    manifests are those of all scopes whose pledges may be here.
    """
    thread = threading.get_ident()  # a context of libcrypto is for one thread
    scopes = dict(_scope(raw, thread) for raw in manifests)
    return [_scan(fetch, number, width, scopes, extent) for number, width in unit.widths()]


def _scan(
    fetch: Fetch, number: int, width: int, scopes: dict[ScopeId, _Scope], extent: Extent
) -> PackedBlock | None:
    try:
        data = fetch(Bundle(number, width).path)
        tile = fetch(Tile(0, number, width).path)
    except ProtocolError:
        return None
    entries: list[bytes] = []
    offsets: list[int] = []
    hashes: list[bytes] = []
    at, end, total = 0, 0, len(data)
    while at < total:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        entry = data[at + 2 : end]
        offsets.append(at)
        entries.append(entry)
        hashes.append(sha256(b"\x00" + entry).digest())
        at = end
    packed = b"".join(hashes)
    # A bundle that ends inside its last entry has at > total.
    if at != total or len(entries) != width or packed != tile:
        return None
    parts = _Parts(scopes, number * TILE_WIDTH, extent)
    if not parts.take(entries, offsets):
        return None
    return PackedBlock(
        number=number,
        width=width,
        hashes=packed,
        root=bytes(root(hashes)) if width == TILE_WIDTH else b"",
        parts=tuple(parts.parts),
        data=data if parts.has_seal else b"",
    )


class _Parts:
    """The entries of a block as runs of pledges and what stands between them."""

    __slots__ = ("_choices", "_extent", "_index", "_nullifiers", "_place", "_scopes", "has_seal", "parts")

    def __init__(self, scopes: dict[ScopeId, _Scope], first_index: int, extent: Extent) -> None:
        self._scopes = scopes
        self._index = first_index
        self._extent = extent
        self.parts: list[PledgeRun | OtherEntry] = []
        self.has_seal = False
        self._place = 0
        self._nullifiers: list[bytes] = []
        self._choices: dict[bytes, int] = {}

    def take(self, entries: list[bytes], offsets: list[int]) -> bool:
        """Take them in order; False if a pledge is not good, or not in order."""
        nullifiers = self._nullifiers
        choices = self._choices
        current, scope, verifies = b"", None, False
        last = b""
        digest256, digest384 = sha256, sha384
        domain, head = pledge.DOMAIN, _TOKEN_HEAD
        for place, entry in enumerate(entries):
            if entry[:2] != pledge.HEADER:
                self._flush()
                nullifiers, choices, last = self._nullifiers, self._choices, b""
                self.has_seal = self.has_seal or entry[:1] == seal.HEADER[:1]
                self.parts.append(OtherEntry(place, offsets[place], entry))
                continue
            if not nullifiers:
                self._place = place
            if entry[_SCOPE] != current:
                current = entry[_SCOPE]
                scope = self._scopes.get(ScopeId(current))
                verifies = self._extent.only in (None, current)
            if scope is None or len(entry) != scope.length or entry[_NUMBER_AT] != len(scope.keys):
                return False
            what = entry[_SCOPE_AND_CHOICE]
            if what in choices:
                choices[what] += 1
            elif scope.valid_choice(int.from_bytes(what[32:], "big")):
                choices[what] = 1
            else:
                return False
            if not scope.valid_sealed_hash(entry[_SEALED_HASH]):
                return False
            nullifier = digest256(domain + entry[_BODY]).digest()
            if nullifier < last:
                return False
            last = nullifier
            nullifiers.append(nullifier)
            if verifies and self._index + place >= self._extent.start:
                at = _FIRST_AT
                for key in scope.keys:
                    digest = digest384(head + nullifier + key.tail).digest()
                    if not key.check(digest, entry[at : at + AUTHENTICATOR_BYTES]):
                        return False
                    at += AUTHENTICATOR_BYTES
                # One in 256 by the other library, too: drawn by the signers' own randomness.
                if not nullifier[31]:
                    _cross_check(scope, entry, nullifier)
        self._flush()
        return True

    def _flush(self) -> None:
        nullifiers = self._nullifiers
        if nullifiers:
            prefixes = b"".join([nullifier[:PREFIX_BYTES] for nullifier in nullifiers])
            run = PledgeRun(
                self._place,
                len(nullifiers),
                (nullifiers[0], nullifiers[-1]),
                prefixes,
                tuple(self._choices.items()),
            )
            self.parts.append(run)
            self._nullifiers, self._choices = [], {}


def _cross_check(scope: _Scope, entry: bytes, nullifier: bytes) -> None:
    for number, key in enumerate(scope.keys):
        at = _FIRST_AT + number * AUTHENTICATOR_BYTES
        digest = sha384(_TOKEN_HEAD + nullifier + key.tail).digest()
        if not key.second(digest, entry[at : at + AUTHENTICATOR_BYTES]):
            raise CorruptionError("the two RSA engines disagree about an authenticator")


@lru_cache(_MAX_CACHED)
def _scope(raw: bytes, thread: int) -> tuple[ScopeId, _Scope]:
    manifest = Manifest.from_bytes(raw)
    verifier = acceptance.ScopeVerifier(manifest)
    portable = Portable()
    keys = tuple(
        _Key(key.checker(), portable.load_public_key(key.public).checker(), tail)
        for key, tail in verifier.keys
    )
    length = _FIRST_AT + len(keys) * AUTHENTICATOR_BYTES
    return manifest.scope_id, _Scope(keys, length, manifest.valid_choice, manifest.valid_sealed_hash)
