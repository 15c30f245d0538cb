"""What dishonest people would do to a large ledger, at a place that chance picks: one attack, one fault code.

host            edits entry bundles and other files
host-rebuilds   also builds the tiles again, and writes a checkpoint that it cannot sign
operator        signs the rebuilt tree, and leaves seals and archived checkpoints as they were
operator-seals  seals everything again from the batch on in which it lies

The ledger in the folder is not copied: files that do not change are one with those of the valid ledger.
Where an entry is replaced, only the tiles above it are built again.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bulk
import corrupter
import ledgers
import manifests
from bulk import Base, Sealer, Totals, Writer, put
from headcount_ledger.audit import Receipt
from headcount_ledger.reader.fetch import directory_fetch
from headcount_spec import tile as tiles
from headcount_spec.batch import sort_key
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.merkle import leaf_hash, root
from headcount_spec.note import Note
from headcount_spec.notice import Notice
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Policy, Witness
from headcount_spec.promise import KIND_PLEDGE, sign_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tile import TILE_WIDTH, Bundle, Tile, TileReader
from headcount_spec.tlog_proof import TlogProof
from headcount_spec.totals import encode_totals

STYLES = ("host", "host-rebuilds", "operator", "operator-seals")
_SIGNED = STYLES[2:]
_SEALED = STYLES[3:]
_HOST = STYLES[:1]
_LAST = bulk.BATCHES


@dataclass
class Corrupted:
    """What an auditor is shown, and what they hold."""

    folder: Path
    batches: frozenset[int] | None = None  # in one of them the fault must be named; None: it has no place
    policy: Policy = dataclasses.field(default_factory=bulk.policy)
    remembered: tuple[Checkpoint, ...] = ()
    receipts: tuple[Receipt, ...] = ()


@dataclass
class _Edit:
    """Entries of some batches, without their seals, and what that does to the numbers from then on."""

    entries: dict[int, list[bytes]]
    delta: tuple[int, int] = (0, 0)  # gross, live
    scope: ScopeId = dataclasses.field(default_factory=lambda: bulk.main().scope_id)
    edit_seal: Callable[[Seal], Seal] = lambda seal: seal

    @property
    def first(self) -> int:
        return min(self.entries)


Attack = Callable[[Base, Path, str, random.Random], Corrupted]


def corrupt(base: Base, folder: Path, attack: str, style: str, rng: random.Random) -> Corrupted:
    """Write the corrupted ledger to a folder, which must be on the disk of the valid one."""
    _link(base.folder, folder)
    make, _ = ATTACKS[attack]
    return make(base, folder, style, rng)


def _link(source: Path, target: Path) -> None:
    for folder, _, names in os.walk(source):
        here = target / os.path.relpath(folder, source)
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.link(os.path.join(folder, name), here / name)


# How an edit is published


def _publish(base: Base, folder: Path, style: str, edit: _Edit) -> None:
    if style == "operator-seals":
        _seal_again(base, folder, edit)
        return
    changes: dict[int, bytes] = {}
    for number, entries in edit.entries.items():
        seal = edit.edit_seal(base.seal(number)).to_bytes()
        old, new = [*base.batch(number), base.entry(base.ends[number] - 1)], [*entries, seal]
        first = base.first(number)
        if len(old) != len(new):
            assert len(edit.entries) == 1
            same = sum(
                1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False))
            )
            later = itertools.chain(new[same:], base.entries(base.ends[number]))
            _rewrite(base, folder, style, first + same, later)
            return
        changes |= {first + i: b for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b}
    _replace(base, folder, style, changes)


def _seal_again(base: Base, folder: Path, edit: _Edit) -> None:
    sealer = Sealer(folder, base, edit.first)
    for number in range(edit.first, len(base.ends)):
        entries = edit.entries.get(number)
        seal = base.seal(number)
        sealer.close(
            base.batch(number) if entries is None else entries,
            seal.day,
            _moved(base.totals(number), edit),
            edit.edit_seal if number == edit.first else lambda seal: seal,
        )
    bulk.put_hints(folder, sealer.tree.size)


def _moved(totals: Totals, edit: _Edit) -> Totals:
    gross, live = totals.get(edit.scope, (0, 0))
    moved = (gross + edit.delta[0], live + edit.delta[1])
    return {**totals, edit.scope: moved} if moved != (0, 0) else totals


def _rewrite(base: Base, folder: Path, style: str, start: int, entries: Iterable[bytes]) -> None:
    """Everything from an index on, shifted."""
    if style == "host":
        size = base.checkpoint.size
        first = start // TILE_WIDTH
        later = itertools.chain(base.entries(first * TILE_WIDTH, start), entries)
        for bundle in tiles.bundles_for(size)[first:]:
            # Of the last bundle the host knows no other width.
            last = bundle.index * TILE_WIDTH + bundle.width == size
            put(folder, bundle.path, _bundle(later if last else itertools.islice(later, bundle.width)))
        return
    writer = Writer(folder, base, start)
    for entry in entries:
        writer.append(entry, leaf_hash(entry))
        if entry[:1] == b"\x02":
            writer.write_partials()
    _sign(base, folder, style, writer.tree.size)
    bulk.put_hints(folder, writer.tree.size)


def _bundle(entries: Iterable[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def _replace(base: Base, folder: Path, style: str, changes: Mapping[int, bytes]) -> None:
    """Single entries: their bundles, and the tiles above them."""
    for number in {index // TILE_WIDTH for index in changes}:
        entries = list(base.reader.bundle(number))
        for index in changes:
            if index // TILE_WIDTH == number:
                entries[index % TILE_WIDTH] = changes[index]
        path = Bundle(number).path
        for width in _widths(folder, path):
            put(folder, _of_width(path, width), _bundle(entries[:width]))
    if style == "host":
        return
    for index, entry in changes.items():
        _replace_leaf(base, folder, index, leaf_hash(entry))
    _sign(base, folder, style, base.checkpoint.size)
    if any(entry[:1] == b"\x04" for entry in changes.values()):
        bulk.put_hints(folder, base.checkpoint.size)


def _replace_leaf(base: Base, folder: Path, index: int, node: bytes) -> None:
    level = 0
    while True:
        number, place = divmod(index, TILE_WIDTH)
        path = Tile(level, number).path
        widest = b""
        for width in _widths(folder, path):
            if width > place:
                name = _of_width(path, width)
                data = bytearray((folder / name).read_bytes())
                data[32 * place : 32 * place + 32] = node
                put(folder, name, bytes(data))
                widest = max(widest, bytes(data), key=len)
        if len(widest) < 32 * TILE_WIDTH:
            return
        node = root([widest[i : i + 32] for i in range(0, len(widest), 32)])
        index, level = number, level + 1


def _widths(folder: Path, path: str) -> list[int]:
    partial = folder / f"{path}.p"
    widths = [int(item.name) for item in partial.iterdir()] if partial.is_dir() else []
    return [*widths, TILE_WIDTH] if (folder / path).exists() else widths


def _of_width(path: str, width: int) -> str:
    return path if width == TILE_WIDTH else f"{path}.p/{width}"


def _sign(base: Base, folder: Path, style: str, size: int) -> None:
    checkpoint = Checkpoint(bulk.KEY.name, size, TileReader(directory_fetch(folder), size).root())
    if style == "operator":
        put(folder, "checkpoint", sign_checkpoint(checkpoint, bulk.KEY))
    else:
        put(folder, "checkpoint", _unsigned(base, checkpoint))


def _unsigned(base: Base, checkpoint: Checkpoint) -> bytes:
    """Under the signature of the valid one."""
    signatures = parse_checkpoint(base.read("checkpoint")).note.signatures
    return Note(checkpoint.to_text(), signatures).to_bytes()


# Places


def _batch(rng: random.Random, choices: Sequence[int] = range(2, _LAST)) -> int:
    return rng.choice(choices)


def _quiet_pledge(base: Base, rng: random.Random) -> tuple[int, int]:
    """A batch, and the place in it of a main pledge that nobody has revised."""
    number = _batch(rng)
    revised = {
        e.nullifier for k in (number, number + 1, number + 2) if k <= _LAST for e in _revisions(base, k)
    }
    entries = base.batch(number)
    while True:
        place = rng.randrange(base.seal(number).pledges_in_batch - 1)
        entry = Pledge.from_bytes(entries[place])
        if entry.scope_id == bulk.main().scope_id and entry.nullifier not in revised:
            return number, place


def _revisions(base: Base, number: int) -> list[Revision]:
    return [Revision.from_bytes(data) for data in base.batch(number) if data[:1] == b"\x03"]


def _ordered(entries: Iterable[bytes]) -> list[bytes]:
    return sorted(entries, key=lambda data: sort_key(ledgers.parsed(data)))  # type: ignore[arg-type]


def _named(number: int, base: Base, folder: Path, style: str, edit: _Edit) -> Corrupted:
    _publish(base, folder, style, edit)
    return Corrupted(folder, frozenset({number}))


def _plus(base: Base, number: int, *entries: bytes) -> dict[int, list[bytes]]:
    return {number: _ordered([*base.batch(number), *entries])}


def _notices(
    base: Base, number: int, type: str, scope: ScopeId, role: str = "issuer"
) -> list[tuple[int, Notice]]:
    found = [(i, ledgers.parsed(data)) for i, data in enumerate(base.batch(number)) if data[:1] == b"\x04"]
    return [
        (i, e)
        for i, e in found
        if isinstance(e, Notice)
        and (e.statement.type, e.statement.scope, e.statement.role) == (type, scope, role)
    ]


# The first ten codes


def _deleted_entry(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    victim = entries.pop(place)
    case = _named(number, base, folder, style, _Edit({number: entries}, (-1, -1)))
    if style == "operator-seals":  # leaves no trace in what is published
        index = base.first(number) + place
        proof = TlogProof(index, tuple(base.reader.inclusion_proof(index)), base.read("checkpoint"))
        case.receipts = (Receipt("mine", leaf_hash(victim), proof),)
        case.batches = None
    return case


def _changed_entry(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    entries[place] = dataclasses.replace(Pledge.from_bytes(entries[place]), choice=1).to_bytes()
    # Who only edits a file leaves it in its place.
    edited = entries if style == "host" else _ordered(entries)
    return _named(number, base, folder, style, _Edit({number: edited}))


def _reordered_batch(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    entries[place], entries[place + 1] = entries[place + 1], entries[place]
    return _named(number, base, folder, style, _Edit({number: entries}))


def _replayed_token(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    later = _batch(rng, range(number + 1, _LAST + 1))
    return _named(later, base, folder, style, _Edit(_plus(base, later, base.batch(number)[place]), (1, 1)))


def _foreign_key(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    entries[place] = ledgers.forged_pledge(bulk.main(), rng.randrange(10**6)).to_bytes()
    return _named(number, base, folder, style, _Edit({number: _ordered(entries)}))


def _forked_ledger(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    entries[place], *more = rng.sample(base.spare, 9)
    # Another person's pledge stands where somebody's stood; it is sealed, and has grown.
    sealer = Sealer(folder, base, number)
    for k in range(number, _LAST + 1):
        sealer.close(_ordered(entries) if k == number else base.batch(k), base.seal(k).day, base.totals(k))
    totals = base.totals(_LAST)
    gross, live = totals[bulk.main().scope_id]
    sealer.close(
        _ordered(more), base.seal(_LAST).day, {**totals, bulk.main().scope_id: (gross + 8, live + 8)}
    )
    bulk.put_hints(folder, sealer.tree.size)
    if style == "host-rebuilds":
        signed = parse_checkpoint((folder / "checkpoint").read_bytes()).checkpoint
        put(folder, "checkpoint", _unsigned(base, signed))
    return Corrupted(folder, remembered=(base.checkpoint,))


def _rolled_back_ledger(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    size = base.ends[number]
    if style == "host":  # an old copy of everything, signed then
        put(folder, "checkpoint", base.read(f"checkpoints/{number}"))
    else:
        sealer = Sealer(folder, base, number + 1)
        totals = base.totals(number)
        gross, live = totals[bulk.main().scope_id]
        more = _ordered(rng.sample(base.spare, 8))
        sealer.close(more, base.seal(number).day, {**totals, bulk.main().scope_id: (gross + 8, live + 8)})
        size = sealer.tree.size
    bulk.put_hints(folder, size)
    return Corrupted(folder, remembered=(base.checkpoint,))


def _swapped_terms(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    scope = rng.choice((bulk.main(), bulk.second()))
    ((place, _),) = _notices(base, 0, "manifest", scope.scope_id, "organiser")
    entries = base.batch(0)
    entries[place] = corrupter.with_statement(entries[place], corrupter._lower_threshold)
    return _named(0, base, folder, style, _Edit({0: entries}))


def _edited_count(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    more = rng.randrange(1, 1000)
    edit = _Edit({number: base.batch(number)}, (more, more))
    if style == "operator":
        edit.edit_seal = lambda seal: dataclasses.replace(
            seal, pledges_in_batch=seal.pledges_in_batch + more, pledges_total=seal.pledges_total + more
        )
    if style == "host":
        put(folder, f"totals/{number}", encode_totals(_moved(base.totals(number), edit)))
        return Corrupted(folder, frozenset({number}))
    return _named(number, base, folder, style, edit)


def _broken_seal(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    field = "prev_root" if style == "operator-seals" else rng.choice(("chain", "prev_seal", "prev_root"))
    edit = _Edit({number: base.batch(number)})
    edit.edit_seal = lambda seal: dataclasses.replace(seal, **{field: rng.randbytes(32)})
    return _named(number, base, folder, style, edit)


# Entries


def _added_entry(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    edit = _Edit(_plus(base, number, rng.choice(base.spare)), (1, 1))
    return _named(number, base, folder, style, edit)


def _malformed_entry(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    entries[place] = rng.choice((entries[place][:-1], b"\x09" + entries[place][1:], b""))
    return _named(number, base, folder, style, _Edit({number: entries}, (-1, -1)))


def _unknown_scope(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    forged = ledgers.forged_pledge(bulk.main(), rng.randrange(10**6))
    stranger = dataclasses.replace(forged, scope_id=ScopeId(rng.randbytes(32)))
    return _named(number, base, folder, style, _Edit(_plus(base, number, stranger.to_bytes())))


def _refused_terms(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    title = manifests.both(f"Scope {rng.random()}", "Encore")  # with the main scope's token key
    notice = manifests.manifest_notice(manifests.manifest(title=title, opens="2025-01-01"))
    return _named(number, base, folder, style, _Edit(_plus(base, number, notice.to_bytes())))


def _missing_opening(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    openings = _notices(base, 0, "opening", bulk.second().scope_id)
    entries = base.batch(0)
    del entries[rng.choice(openings)[0]]
    _publish(base, folder, style, _Edit({0: entries}))
    return Corrupted(folder, frozenset({4}))


def _wrong_opening(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    scope = bulk.second()
    place, _ = rng.choice(_notices(base, 0, "opening", scope.scope_id))
    entries = base.batch(0)
    issuer = Notice.from_bytes(entries[place]).statement.body["issuer"]
    i = [terms.name for terms in scope.issuers].index(issuer)
    body = {"issuer": issuer, "token_key_id": rng.randbytes(32).hex()}
    wrong = manifests.notice(scope, "issuer", "opening", body, seeds=(manifests.ISSUER_SEEDS[i],))
    entries[place] = wrong.to_bytes()
    return _named(0, base, folder, style, _Edit({0: _ordered(entries)}))


def _update(previous: Notice, seeds: tuple[bytes, ...] | None = None) -> bytes:
    body = {"title": {"en": "News"}, "text": {"en": "Soon."}}
    return manifests.notice(bulk.main(), "organiser", "update", body, previous, seeds).to_bytes()


def _forged_notice(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    last = manifests.text_notices(bulk.main())[-1]
    forged = _update(last, (rng.randbytes(32),))
    return _named(number, base, folder, style, _Edit(_plus(base, number, forged)))


def _notice_sequence(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    before = manifests.text_notices(bulk.main())[rng.randrange(2)]
    skipped = Notice.from_bytes(_update(Notice.from_bytes(_update(before))))
    return _named(number, base, folder, style, _Edit(_plus(base, number, skipped.to_bytes())))


def _forged_revision(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    entries = base.batch(number)
    place = rng.choice([i for i, data in enumerate(entries) if data[:1] == b"\x03"])
    bent = bytearray(entries[place])
    bent[104 + rng.randrange(60)] ^= 1 << rng.randrange(8)
    entries[place] = bytes(bent)
    return _named(number, base, folder, style, _Edit({number: entries}))


def _wrong_revision(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng, range(3, _LAST + 1))
    per_batch = -(-len(base.given) // bulk.BATCHES)
    i = (number - 2) * per_batch + rng.randrange(6, per_batch)  # the first five are revised
    revision = bulk.main_revision(i, Pledge.from_bytes(base.given[i]), rng.randrange(2, 17))
    return _named(number, base, folder, style, _Edit(_plus(base, number, revision.to_bytes()), (0, -1)))


def _late_revision(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = rng.choice((15, 16))
    revision = bulk.second_revision(rng.choice((14, 15, 16, 17, 20, 21)))
    edit = _Edit(_plus(base, number, revision.to_bytes()), (0, -1), bulk.second().scope_id)
    return _named(number, base, folder, style, edit)


# Days, sizes and issuance


def _wrong_day(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng)
    day = base.seal(number - 1).day - rng.randrange(1, 100)
    edit = _Edit({number: base.batch(number)})
    edit.edit_seal = lambda seal: dataclasses.replace(seal, day=day)
    return _named(number, base, folder, style, edit)


def _of_second(rng: random.Random, number: int) -> list[bytes]:
    first = rng.randrange(1000, 10**6)
    return [bulk.second_pledge(i).to_bytes() for i in range(first, first + number)]


def _early_entry(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = rng.choice((1, 2))
    edit = _Edit(_plus(base, number, *_of_second(rng, 3)), (3, 3), bulk.second().scope_id)
    return _named(number, base, folder, style, edit)


def _late_entry(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = _batch(rng, range(bulk.CLOSING + 1, _LAST + 1))
    edit = _Edit(_plus(base, number, *_of_second(rng, 3)), (3, 3), bulk.second().scope_id)
    return _named(number, base, folder, style, edit)


def _wrong_closing(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    scope = bulk.second()
    ((place, _),) = _notices(base, bulk.CLOSING, "closing", scope.scope_id, "ledger")
    entries = base.batch(bulk.CLOSING)
    day = base.seal(bulk.CLOSING).day + rng.randrange(1, 50)
    entries[place] = manifests.closing(scope, day).to_bytes()
    return _named(bulk.CLOSING, base, folder, style, _Edit({bulk.CLOSING: _ordered(entries)}))


def _batch_below_minimum(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number = rng.choice((5, 7, 9, 11, 13, 14, 15, 16))
    edit = _Edit(_plus(base, number, *_of_second(rng, 1)), (1, 1), bulk.second().scope_id)
    return _named(number, base, folder, style, edit)


def _issuance(base: Base, scope: ScopeId, i: int, number: int) -> tuple[int, Notice]:
    """An issuer's notice in a batch."""
    found = _notices(base, number, "issuance", scope)
    terms = {m.scope_id: m for m in (bulk.main(), bulk.second())}[scope]
    key = terms.issuers[i].notice_key
    return next((place, notice) for place, notice in found if notice.signatures[0][0] == key)


def _reissued(base: Base, scope: ScopeId, i: int, number: int, before: int, issued: int) -> _Edit:
    terms = {m.scope_id: m for m in (bulk.main(), bulk.second())}[scope]
    _, previous = _issuance(base, scope, i, before)
    place, _ = _issuance(base, scope, i, number)
    entries = base.batch(number)
    entries[place] = manifests.issuance(terms, base.seal(number).day, issued, previous, i).to_bytes()
    return _Edit({number: _ordered(entries)})


def _wrong_issuance(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    before, number = bulk.ISSUANCES[1:]
    edit = _reissued(base, bulk.second().scope_id, rng.randrange(2), number, before, 16 * rng.randrange(3, 9))
    return _named(number, base, folder, style, edit)


def _issuance_below_pledges(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    before, number = bulk.ISSUANCES[1:]
    scope = bulk.main().scope_id
    issued = _issuance(base, scope, 0, before)[1].statement.body["issued"] + 16 * rng.randrange(4)
    return _named(number, base, folder, style, _reissued(base, scope, 0, number, before, issued))


def _missing_issuance(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    scope, i = rng.choice(((bulk.main().scope_id, 0), (bulk.second().scope_id, rng.randrange(2))))
    edited = {}
    for number in bulk.ISSUANCES:
        entries = base.batch(number)
        del entries[_issuance(base, scope, i, number)[0]]
        edited[number] = entries
    _publish(base, folder, style, _Edit(edited))
    return Corrupted(folder, frozenset(range(1, _LAST + 1)))


def _broken_promise(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    pledge = bulk.second_pledge(rng.randrange(1000, 10**6))
    leaf = leaf_hash(pledge.to_bytes())
    promise = sign_promise(bulk.KEY, leaf, KIND_PLEDGE, pledge.nullifier, 0, bulk.second().deadline_day)
    return Corrupted(folder, receipts=(Receipt("mine", leaf, promise=promise),))


# Files


def _files(base: Base, pattern: str) -> list[str]:
    found = [path for path in base.folder.glob(pattern) if path.is_file()]
    return sorted(str(path.relative_to(base.folder)) for path in found)


def _unreadable_file(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    kinds = ("tile/entries/*", "tile/entries/*.p/*", "tile/0/*", "tile/1/*.p/*", "totals/*", "checkpoints/*")
    kind = rng.choice([kind for kind in kinds if _files(base, kind)])
    (folder / rng.choice(_files(base, kind))).unlink()
    return Corrupted(folder)


def _malformed_checkpoint(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    path = rng.choice(["checkpoint", *_files(base, "checkpoints/*")])
    data = base.read(path)
    put(folder, path, rng.choice((data[:-1], b"\n" + data, data.replace(b"\n", b"\n0", 1), b"<html>", b"")))
    return Corrupted(folder)


def _forged_checkpoint(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    path = rng.choice(["checkpoint", *_files(base, "checkpoints/*")])
    signed = parse_checkpoint(base.read(path))
    line = signed.note.signatures[0]
    value = bytearray(line.signature)
    value[rng.randrange(64)] ^= 1 << rng.randrange(8)
    put(folder, path, Note(signed.note.text, (dataclasses.replace(line, signature=bytes(value)),)).to_bytes())
    return Corrupted(folder)


def _witness_quorum(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    watched = (Witness("w", ledgers.WITNESS.cosigner_key),)
    return Corrupted(folder, policy=dataclasses.replace(bulk.policy(), witnesses=watched, quorum="w"))


def _broken_tile(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    path = rng.choice(_files(base, rng.choice(("tile/0/*", "tile/[01]/*.p/*"))))
    data = bytearray(base.read(path))
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    put(folder, path, bytes(data))
    return Corrupted(folder)


def _malformed_bundle(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    path = rng.choice(_files(base, "tile/entries/*"))
    data = base.read(path)
    put(folder, path, rng.choice((data[: -rng.randrange(1, 200)], data + b"\x00", data + data[:90])))
    return Corrupted(folder)


def _wrong_root(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    number, place = _quiet_pledge(base, rng)
    entries = base.batch(number)
    entries[place] = rng.choice(base.spare)
    _publish(base, folder, "host-rebuilds", _Edit({number: _ordered(entries)}))
    put(folder, "checkpoint", base.read("checkpoint"))  # as if nothing were
    return Corrupted(folder)


def _wrong_hint(base: Base, folder: Path, style: str, rng: random.Random) -> Corrupted:
    path = rng.choice(_files(base, "scopes/*"))
    lines = base.read(path).splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    put(folder, path, b"".join(lines))
    return Corrupted(folder)


ATTACKS: dict[str, tuple[Attack, tuple[str, ...]]] = {
    "deleted-entry": (_deleted_entry, STYLES),
    "changed-entry": (_changed_entry, STYLES),
    "reordered-batch": (_reordered_batch, STYLES),
    "replayed-token": (_replayed_token, STYLES),
    "foreign-key": (_foreign_key, STYLES),
    "forked-ledger": (_forked_ledger, ("host-rebuilds", "operator-seals")),
    "rolled-back-ledger": (_rolled_back_ledger, ("host", "operator-seals")),
    "swapped-terms": (_swapped_terms, STYLES),
    "edited-count": (_edited_count, ("host", "operator", "operator-seals")),
    "broken-seal": (_broken_seal, STYLES),
    "unreadable-file": (_unreadable_file, _HOST),
    "malformed-checkpoint": (_malformed_checkpoint, _HOST),
    "forged-checkpoint": (_forged_checkpoint, _HOST),
    "witness-quorum": (_witness_quorum, _HOST),
    "broken-tile": (_broken_tile, _HOST),
    "malformed-bundle": (_malformed_bundle, _HOST),
    "wrong-root": (_wrong_root, ("host-rebuilds",)),
    "wrong-hint": (_wrong_hint, _HOST),
    "added-entry": (_added_entry, STYLES[:3]),
    "malformed-entry": (_malformed_entry, _SIGNED),
    "unknown-scope": (_unknown_scope, _SEALED),
    "refused-terms": (_refused_terms, _SEALED),
    "missing-opening": (_missing_opening, _SEALED),
    "wrong-opening": (_wrong_opening, _SEALED),
    "forged-notice": (_forged_notice, _SEALED),
    "notice-sequence": (_notice_sequence, _SEALED),
    "forged-revision": (_forged_revision, _SIGNED),
    "wrong-revision": (_wrong_revision, _SEALED),
    "late-revision": (_late_revision, _SEALED),
    "wrong-day": (_wrong_day, _SEALED),
    "early-entry": (_early_entry, _SEALED),
    "late-entry": (_late_entry, _SEALED),
    "wrong-closing": (_wrong_closing, _SEALED),
    "batch-below-minimum": (_batch_below_minimum, _SEALED),
    "wrong-issuance": (_wrong_issuance, _SEALED),
    "issuance-below-pledges": (_issuance_below_pledges, _SEALED),
    "missing-issuance": (_missing_issuance, _SEALED),
    "broken-promise": (_broken_promise, _SEALED),
}
CASES = [(attack, style) for attack, (_, styles) in ATTACKS.items() for style in styles]
