"""One entry bundle, entry by entry: cut, hashed and parsed, and pledges judged with a name for what is wrong.

The careful way, for blocks in which something is unusual; ``scan`` has the fast one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import NamedTuple

from headcount_engine.acceptance import ScopeVerifier
from headcount_spec import blind_rsa, notice, seal, spki
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import MalformedError, ProtocolError, SignatureError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.scope import Manifest
from headcount_spec.tile import TILE_WIDTH
from headcount_spec.wire import Reader


class Verdict(NamedTuple):
    """What is wrong with a pledge; no code if nothing is."""

    code: str
    detail: str


VALID = Verdict("", "")


class ScopeJudge:
    """Judges the pledges of one scope and names what is wrong with them."""

    __slots__ = ("manifest", "verifier")

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.verifier = ScopeVerifier(manifest)

    def judge(self, pledge: Pledge) -> Verdict:
        """Verify all authenticators and fields."""
        try:
            self.verifier.verify_pledge(pledge)
        except ProtocolError as exc:
            return self._name(pledge, exc)
        return VALID

    def _name(self, pledge: Pledge, exc: ProtocolError) -> Verdict:
        # A signature that an issuer made, over something else, tells a changed pledge from one that
        # somebody made up.
        found: dict[blind_rsa.Diagnosis, str] = {}
        inputs = self.manifest.token_inputs(pledge.nullifier)
        for issuer, message, authenticator in zip(
            self.manifest.issuers, inputs, pledge.authenticators, strict=False
        ):
            public = spki.decode_token_key(issuer.token_key)
            found.setdefault(blind_rsa.diagnose(public, message, authenticator), issuer.name)
        if isinstance(exc, SignatureError) and "foreign" in found:
            return Verdict("foreign-key", f"an authenticator is not made by {found['foreign']}'s token key")
        if "other-message" in found:
            return Verdict("changed-entry", f"{found['other-message']} has signed another pledge than this")
        return Verdict("malformed-entry", str(exc))


@dataclass(frozen=True, slots=True)
class Leaf:
    """One entry as it is served."""

    offset: int  # of its length field in the bundle
    hash: LeafHash
    kind: int  # first byte, -1 if empty
    entry: Entry | None  # None if it does not parse
    verdict: Verdict | None  # why it does not parse, or of a pledge that is judged already


@dataclass(frozen=True, slots=True)
class BundleScan:
    """One bundle as it is served."""

    leaves: tuple[Leaf, ...]
    ends: tuple[int, ...]  # offset behind each entry
    problem: str  # why it does not parse to its end
    problem_offset: int


EMPTY_SCAN = BundleScan((), (), "", 0)


def scan_bundle(data: bytes, width: int) -> BundleScan:
    """Cut a bundle of width entries and look at each; C2SP tlog-tiles, "Log Entries"."""
    leaves: list[Leaf] = []
    ends: list[int] = []
    at = 0
    problem = ""
    while at < len(data):
        if len(leaves) == TILE_WIDTH:
            problem = f"{len(data) - at} bytes follow the last entry"
            break
        size = int.from_bytes(data[at : at + 2], "big")
        end = at + 2 + size
        if at + 2 > len(data) or end > len(data):
            problem = f"the bundle ends inside entry {len(leaves)} of {width}"
            break
        leaves.append(look(data[at + 2 : end], at))
        ends.append(end)
        at = end
    if not problem and len(leaves) != width:
        problem = f"{len(leaves)} entries where {width} must be"
    return BundleScan(tuple(leaves), tuple(ends), problem, at)


def look(data: bytes, offset: int) -> Leaf:
    """One entry, parsed; whether a pledge is good is not asked yet."""
    entry: Entry | None = None
    verdict: Verdict | None = None
    try:
        entry = parse_entry(data)
    except MalformedError as exc:
        verdict = _name_malformed(data, exc)
    return Leaf(offset, leaf_hash(data), data[0] if data else -1, entry, verdict)


def _name_malformed(data: bytes, exc: MalformedError) -> Verdict:
    # A manifest that is not the one of its scope id does not even parse; that has a name of its own.
    if data[:2] == notice.HEADER:
        try:
            statement = json.loads(Reader(data[2:]).opaque16())
        except (MalformedError, ValueError, RecursionError):
            return Verdict("malformed-entry", str(exc))
        kind = statement.get("type") if isinstance(statement, dict) else None
        if kind == "manifest":
            return Verdict("swapped-terms", f"the published manifest is not the scope's: {exc}")
        if kind == "issuance":
            return Verdict("wrong-issuance", str(exc))
    if data[:2] == seal.HEADER:
        return Verdict("broken-seal", str(exc))
    return Verdict("malformed-entry", str(exc))
