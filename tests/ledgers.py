"""Ledgers made by the specification alone, and what dishonest people would do to them."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keys
import manifests
from headcount_spec import batch as batches
from headcount_spec import tile
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.entry import parse_entry
from headcount_spec.errors import MalformedError, NotFoundError
from headcount_spec.merkle import LeafHash, leaf_hash, root
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice, manifest_of
from headcount_spec.pledge import Pledge, nonce
from headcount_spec.policy import Log, Policy, Witness
from headcount_spec.revision import Revision
from headcount_spec.scope import PLAIN, WITHDRAWN, Manifest, ScopeId
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_start
from headcount_spec.tlog_proof import TlogProof
from headcount_spec.totals import encode_totals

Files = dict[str, bytes]
EditSeal = Callable[[Seal], Seal]
EditTotals = Callable[[int, dict[ScopeId, tuple[int, int]]], dict[ScopeId, tuple[int, int]]]


@dataclass
class Batch:
    day: int
    entries: list[bytes]  # without the seal


@dataclass
class Ledger:
    """The published files, and what they were made of."""

    batches: list[Batch]
    files: Files
    leaves: list[bytes] = field(default_factory=list)  # all entries with the seals
    ends: list[int] = field(default_factory=list)  # size after each batch
    key: SigningKey = manifests.LEDGER_KEY
    witnesses: tuple[SigningKey, ...] = ()

    def fetch(self, path: str) -> bytes:
        if path not in self.files:
            raise NotFoundError(f"no {path}")
        return self.files[path]

    def write(self, folder: Path) -> Path:
        for path, data in self.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        return folder

    @property
    def policy(self) -> Policy:
        names = [f"w{i}" for i in range(len(self.witnesses))]
        return Policy(
            logs=(Log(self.key.verification_key),),
            witnesses=tuple(
                Witness(name, key.cosigner_key) for name, key in zip(names, self.witnesses, strict=True)
            ),
            quorum=names[0] if names else "none",
        )

    @property
    def checkpoint(self) -> Checkpoint:
        return parse_checkpoint(self.files["checkpoint"]).checkpoint

    def hashes(self) -> list[LeafHash]:
        return [leaf_hash(entry) for entry in self.leaves]

    def first(self, number: int) -> int:
        return self.ends[number - 1] if number else 0

    def receipt(self, index: int) -> TlogProof:
        reader = tile.TileReader(self.fetch, self.checkpoint.size)
        return TlogProof(index, tuple(reader.inclusion_proof(index)), self.files["checkpoint"])

    def copy(self) -> Ledger:
        return dataclasses.replace(
            self,
            batches=[Batch(b.day, list(b.entries)) for b in self.batches],
            files=dict(self.files),
            leaves=list(self.leaves),
            ends=list(self.ends),
        )


def build(
    given: Sequence[Batch],
    *,
    key: SigningKey = manifests.LEDGER_KEY,
    witnesses: tuple[SigningKey, ...] = (),
    sort: bool = True,
    edit_seal: EditSeal = lambda seal: seal,
    edit_totals: EditTotals = lambda number, totals: totals,
) -> Ledger:
    """Seal and publish batches as a ledger does, whatever stands in them."""
    ledger = Ledger([], {}, key=key, witnesses=witnesses)
    chain = chain_start(key.name)
    prev_seal = prev_root = prev_checkpoint = GENESIS
    count = _Count()
    for number, item in enumerate(given):
        entries = in_order(item.entries) if sort else list(item.entries)
        first = len(ledger.leaves)
        for entry in entries:
            chain = chain_extend(chain, leaf_hash(entry))
        pledges = count.take(entries)
        totals = encode_totals(edit_totals(number, count.totals()))
        seal = edit_seal(
            Seal(
                number,
                first,
                pledges,
                count.pledges,
                item.day,
                prev_seal,
                prev_root,
                prev_checkpoint,
                hashlib.sha256(totals).digest(),
                chain,
            )
        )
        prev_seal = leaf_hash(seal.to_bytes())
        chain = chain_extend(chain, prev_seal)
        ledger.leaves += [*entries, seal.to_bytes()]
        ledger.batches.append(Batch(item.day, entries))
        ledger.ends.append(len(ledger.leaves))
        publish_tiles(ledger.files, ledger.leaves, first)
        checkpoint = sign(ledger, item.day)
        ledger.files |= {f"totals/{number}": totals, f"checkpoints/{number}": checkpoint}
        ledger.files["checkpoint"] = checkpoint
        prev_root, prev_checkpoint = root(ledger.hashes()), hashlib.sha256(checkpoint).digest()
    publish_hints(ledger)
    return ledger


def sign(ledger: Ledger, day: int) -> bytes:
    checkpoint = Checkpoint(ledger.key.name, len(ledger.leaves), root(ledger.hashes()))
    signed = sign_checkpoint(checkpoint, ledger.key)
    note = parse_checkpoint(signed).note
    return note.with_signatures(
        cosign(checkpoint, w, day * 86400 + 3600) for w in ledger.witnesses
    ).to_bytes()


def publish_tiles(files: Files, leaves: Sequence[bytes], old_size: int) -> None:
    """The tiles and bundles of this size that the old size has not, partial ones among them."""
    builder = tile.TileBuilder()
    made = dict(builder.extend([leaf_hash(entry) for entry in leaves]))
    made |= dict(builder.partial_tiles())
    for part in tile.new_tiles(old_size, len(leaves)):
        files[part.path] = made[part]
    for bundle in tile.new_bundles(old_size, len(leaves)):
        first = bundle.index * tile.TILE_WIDTH
        files[bundle.path] = tile.encode_bundle(leaves[first : first + bundle.width])


def publish_hints(ledger: Ledger) -> None:
    places: dict[str, list[int]] = {}
    for index, data in enumerate(ledger.leaves):
        entry = parsed(data)
        if isinstance(entry, Notice):
            places.setdefault(f"scopes/{entry.statement.scope.hex()}", []).append(index)
    for path, indices in places.items():
        ledger.files[path] = "".join(f"{index}\n" for index in indices).encode()


def in_order(entries: Iterable[bytes]) -> list[bytes]:
    """As a batch orders them; what does not parse stands last."""
    good = [entry for data in entries if (entry := parsed(data)) is not None]
    bad = [data for data in entries if parsed(data) is None]
    return [entry.to_bytes() for entry in batches.order(good)] + bad


def parsed(data: bytes) -> batches.Entry | None:
    try:
        return parse_entry(data)
    except MalformedError:
        return None


class _Count:
    """Counts as an operator would who asks no questions."""

    def __init__(self) -> None:
        self.pledges = 0
        self._gross: dict[ScopeId, int] = {}
        self._withdrawn: set[tuple[ScopeId, bytes]] = set()
        self._choices: dict[tuple[ScopeId, bytes], int] = {}  # of scopes with quotas
        self._with_quotas: set[ScopeId] = set()

    def take(self, entries: Iterable[bytes]) -> int:
        before = self.pledges
        for entry in map(parsed, entries):
            if isinstance(entry, Pledge):
                self.pledges += 1
                self._gross[entry.scope_id] = self._gross.get(entry.scope_id, 0) + 1
                if entry.scope_id in self._with_quotas:
                    self._choices[entry.scope_id, entry.nullifier] = entry.choice
            elif isinstance(entry, Notice) and entry.statement.type == "manifest":
                if manifest_of(entry.statement).quotas is not None:
                    self._with_quotas.add(entry.statement.scope)
            elif isinstance(entry, Revision):
                key = (entry.scope_id, entry.nullifier)
                (self._withdrawn.add if entry.choice == WITHDRAWN else self._withdrawn.discard)(key)
                if key in self._choices:
                    self._choices[key] = entry.choice
        return self.pledges - before

    def totals(self) -> dict[ScopeId, tuple[int, int]]:
        withdrawn = [scope for scope, _ in self._withdrawn]
        rows = {scope: (gross, gross - withdrawn.count(scope)) for scope, gross in self._gross.items()}
        options = Counter(
            option_row(scope, choice) for (scope, _), choice in self._choices.items() if choice != WITHDRAWN
        )
        return rows | {row: (live, live) for row, live in options.items()}


def option_row(scope: ScopeId, option: int) -> ScopeId:
    """Where totals have an option, by the specification."""
    named = b"headcount/option/v1\0" + scope + option.to_bytes(2)
    return ScopeId(hashlib.sha256(named).digest())


# Sample ledgers.

OPENS, CLOSES = manifests.OPENS, manifests.CLOSES
WITNESS = SigningKey("witness.example/w", keys.seed("witness"))


@functools.cache
def campaign() -> Manifest:
    return manifests.manifest(threshold=8)


@functools.cache
def vote() -> Manifest:
    """A second scope with two issuers and options."""
    return manifests.manifest(
        kind="round",
        title=manifests.both("Where to", "Où aller"),
        issuers=[manifests.issuer(0, token_key=2), manifests.issuer(1, token_key=3)],
        options=manifests.options("Here", "There"),
        tiers=None,
        action=None,
        min_batch=2,
        threshold=100,
    )


def raw(*entries: batches.Entry) -> list[bytes]:
    return [entry.to_bytes() for entry in entries]


@functools.cache
def sample_batches() -> tuple[Batch, ...]:
    """Two scopes, withdrawals, changes, issuance and a closing: seven batches, 35 leaves or so."""
    one, two = campaign(), vote()
    p = [manifests.pledge(one, i) for i in range(12)]
    v = [manifests.pledge(two, 100 + i, 1 + i % 2) for i in range(4)]
    openings = [*manifests.openings(one), *manifests.openings(two)]
    day = OPENS + 2
    issued = [manifests.issuance(one, day, 16, openings[0])]
    issued += [manifests.issuance(two, day, 16, openings[1 + i], i) for i in range(2)]
    later = [manifests.issuance(one, day + 2, 32, issued[0])]
    later += [manifests.issuance(two, day + 2, 16, issued[1 + i], i) for i in range(2)]
    terms = [manifests.manifest_notice(one), manifests.manifest_notice(two)]
    texts = [*manifests.text_notices(one, terms[0]), *manifests.text_notices(two, terms[1])]
    return (
        Batch(OPENS - 1, raw(*terms, *texts, *openings)),
        Batch(OPENS, raw(*p[:4])),
        Batch(OPENS + 1, raw(*p[4:8], *v[:2], manifests.revision(p[0], 0))),
        Batch(
            OPENS + 2, raw(manifests.revision(p[0], 0, 2, 0), manifests.revision(v[0], 100, 1, 2), *issued)
        ),
        Batch(OPENS + 3, raw(*p[8:11], *v[2:], manifests.revision(p[1], 1))),
        Batch(OPENS + 4, raw(*later)),
        Batch(CLOSES + 1, raw(p[11], manifests.closing(one), manifests.closing(two))),
    )


def copied() -> list[Batch]:
    """The sample's batches, to be edited and built."""
    return [Batch(item.day, list(item.entries)) for item in sample_batches()]


@functools.cache
def _sample(witnessed: bool) -> Ledger:
    return build(sample_batches(), witnesses=(WITNESS,) if witnessed else ())


def sample(*, witnessed: bool = False) -> Ledger:
    """A valid ledger; the caller may change it."""
    return _sample(witnessed).copy()


@functools.cache
def _small() -> Ledger:
    one = manifests.manifest(threshold=6, witnesses=f"witness w {WITNESS.cosigner_key.to_text()}\nquorum w\n")
    p = [manifests.pledge(one, 200 + i) for i in range(7)]
    opening = manifests.opening(one)
    return build(
        (
            Batch(OPENS - 1, raw(manifests.manifest_notice(one), *manifests.text_notices(one), opening)),
            Batch(OPENS, raw(*p[:3])),
            Batch(OPENS + 1, raw(*p[3:6], manifests.revision(p[0], 200))),
            Batch(OPENS + 2, raw(manifests.issuance(one, OPENS + 2, 16, opening))),
            Batch(CLOSES + 1, raw(p[6], manifests.closing(one))),
        ),
        witnesses=(WITNESS,),
    )


def small() -> Ledger:
    """A valid ledger of one scope with a witness, as short as one can be that has everything."""
    return _small().copy()


@functools.cache
def _long(leaves: int) -> Ledger:
    one = campaign()
    notices = [manifests.manifest_notice(one), *manifests.text_notices(one), *manifests.openings(one)]
    body = {"title": {"en": "News"}, "text": {"en": "Soon."}}
    last = notices[-2]
    updates = []
    # Batches of 61 and a last one of the rest; the first holds the terms, each has a seal.
    while len(updates) < leaves:
        last = manifests.notice(one, "organiser", "update", body, last)
        updates.append(last)
    pledges = [manifests.pledge(one, i) for i in range(6)]
    items = [Batch(OPENS, raw(*notices)), Batch(OPENS, raw(*pledges[:3]))]
    size = len(notices) + 1 + 3 + 1
    taken = 0
    while size < leaves:
        number = min(60, leaves - size - 1)
        items.append(Batch(OPENS, raw(*updates[taken : taken + number])))
        taken += number
        size += number + 1
    return build(items)


def long(leaves: int) -> Ledger:
    """A valid ledger of so many leaves, mostly updates."""
    return _long(leaves).copy()


def forged_pledge(manifest: Manifest, seed_int: int, key: int = 7, choice: int = PLAIN) -> Pledge:
    """A pledge whose authenticators are made by a key that the terms do not name."""
    good = manifests.pledge(manifest, seed_int, choice)
    nullifier = nonce(good.scope_id, good.choice, good.revision_key, good.sealed_hash)
    made = tuple(keys.sign_pss(keys.token_key(key), m) for m in manifest.token_inputs(nullifier))
    return dataclasses.replace(good, authenticators=made)
