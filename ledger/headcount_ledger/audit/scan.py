"""The work itself: bundles cut, hashed, compared with their hash tiles, and every authenticator verified.

Runs in any process or machine that can read the files. A block in which anything is unusual is handed
back undone: the recount then goes through it entry by entry and names what is wrong.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256, sha384
from itertools import groupby

from headcount_engine import acceptance, many
from headcount_engine.engine import Check
from headcount_engine.portable import Portable
from headcount_ledger.audit.ahead import ahead
from headcount_ledger.audit.unit import PREFIX_BYTES, Extent, OtherEntry, PackedBlock, PledgeRun, Unit
from headcount_spec import pledge, seal
from headcount_spec.errors import CorruptionError, ProtocolError
from headcount_spec.merkle import root
from headcount_spec.pledge import AUTHENTICATOR_BYTES
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.tile import TILE_WIDTH, Bundle, Fetch, Tile, common_stride
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
    paths = [
        path
        for number, width in unit.widths()
        for path in (Bundle(number, width).path, Tile(0, number, width).path)
    ]
    fetch = ahead(fetch, paths)
    return [_scan(fetch, number, width, scopes, extent) for number, width in unit.widths()]


def _scan(
    fetch: Fetch, number: int, width: int, scopes: dict[ScopeId, _Scope], extent: Extent
) -> PackedBlock | None:
    try:
        data = fetch(Bundle(number, width).path)
        tile = fetch(Tile(0, number, width).path)
    except ProtocolError:
        return None
    cut = _uniform(data, width) or _cut(data)
    if cut is None:
        return None
    entries, offsets = cut
    digest = sha256
    hashes = [digest(b"\x00" + entry).digest() for entry in entries]
    packed = b"".join(hashes)
    if len(entries) != width or packed != tile:
        return None
    parts: list[PledgeRun | OtherEntry] = []
    has_seal = False
    place = 0
    for is_pledge, some in groupby(entries, _is_pledge):
        group = list(some)
        if is_pledge:
            run = _run(group, place, number * TILE_WIDTH + place, scopes, extent)
            if run is None:
                return None
            parts.append(run)
        else:
            parts += [OtherEntry(place + i, offsets[place + i], entry) for i, entry in enumerate(group)]
            has_seal = has_seal or any(entry[:1] == seal.HEADER[:1] for entry in group)
        place += len(group)
    return PackedBlock(
        number=number,
        width=width,
        hashes=packed,
        root=bytes(root(hashes)) if width == TILE_WIDTH else b"",
        parts=tuple(parts),
        data=data if has_seal else b"",
    )


def _uniform(data: bytes, width: int) -> tuple[list[bytes], Sequence[int]] | None:
    """The entries of a bundle, and where each begins, if all are equally long; None for any other bundle."""
    stride = common_stride(data, width)
    if stride is None:
        return None
    offsets = range(0, len(data), stride)
    return [data[at + 2 : at + stride] for at in offsets], offsets


def _cut(data: bytes) -> tuple[list[bytes], Sequence[int]] | None:
    """The entries of any bundle; None if it ends inside its last one."""
    entries, offsets = [], []
    at, total = 0, len(data)
    while at < total:
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        offsets.append(at)
        entries.append(data[at + 2 : end])
        at = end
    return (entries, offsets) if at == total else None


def _is_pledge(entry: bytes) -> bool:
    return entry[:2] == pledge.HEADER


def _run(
    entries: list[bytes], place: int, index: int, scopes: dict[ScopeId, _Scope], extent: Extent
) -> PledgeRun | None:
    """Pledges side by side, the first at this place of its block; None unless all are good and in order."""
    choices = Counter([entry[_SCOPE_AND_CHOICE] for entry in entries])
    domain, digest = pledge.DOMAIN, sha256
    nullifiers = [digest(domain + entry[_BODY]).digest() for entry in entries]
    if nullifiers != sorted(nullifiers):
        return None
    here = {ScopeId(what[:32]) for what in choices}
    for scope_id in sorted(here):
        scope = scopes.get(scope_id)
        if scope is None or not all(
            scope.valid_choice(int.from_bytes(what[32:], "big")) for what in choices if what[:32] == scope_id
        ):
            return None
        ours, names = entries, nullifiers
        if len(here) > 1:
            pairs = zip(entries, nullifiers, strict=True)
            both = [pair for pair in pairs if pair[0][_SCOPE] == scope_id]
            ours, names = [entry for entry, _ in both], [nullifier for _, nullifier in both]
        if set(map(len, ours)) != {scope.length} or {entry[_NUMBER_AT] for entry in ours} != {
            len(scope.keys)
        }:
            return None
        if not all(map(scope.valid_sealed_hash, {entry[_SEALED_HASH] for entry in ours})):
            return None
        if extent.covers(index + len(entries) - 1, scope_id) and not _verify(scope, ours, names):
            return None
    return PledgeRun(
        place=place,
        number=len(entries),
        edges=(nullifiers[0], nullifiers[-1]),
        prefixes=b"".join([nullifier[:PREFIX_BYTES] for nullifier in nullifiers]),
        choices=tuple(choices.items()),
    )


def _verify(scope: _Scope, entries: list[bytes], nullifiers: list[bytes]) -> bool:
    head, digest = _TOKEN_HEAD, sha384
    at = _FIRST_AT
    for key in scope.keys:
        tail = key.tail
        digests = [digest(head + nullifier + tail).digest() for nullifier in nullifiers]
        authenticators = [entry[at : at + AUTHENTICATOR_BYTES] for entry in entries]
        if not key.check(digests, authenticators):
            return False
        # A sample by the other library too, drawn by the signers' own randomness.
        some = [i for i, nullifier in enumerate(nullifiers) if not nullifier[31]]
        if not key.second([digests[i] for i in some], [authenticators[i] for i in some]):
            raise CorruptionError("the two RSA engines disagree about an authenticator")
        at += AUTHENTICATOR_BYTES
    return True


@lru_cache(_MAX_CACHED)
def _scope(raw: bytes, thread: int) -> tuple[ScopeId, _Scope]:
    manifest = Manifest.from_bytes(raw)
    verifier = acceptance.ScopeVerifier(manifest)
    portable = Portable()
    keys = tuple(
        _Key(many.checker(key), portable.load_public_key(key.public).checker(), tail)
        for key, tail in verifier.keys
    )
    length = _FIRST_AT + len(keys) * AUTHENTICATOR_BYTES
    return manifest.scope_id, _Scope(keys, length, manifest.valid_choice, manifest.valid_sealed_hash)
