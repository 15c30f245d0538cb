"""What dishonest people would do to a sample ledger, by attack and by what they can do.

host            edits entry bundles and totals files
host-rebuilds   also builds the tiles again, and writes a checkpoint that it cannot sign
operator        signs the rebuilt tree, and leaves seals and archived checkpoints as they were
operator-seals  rebuilds every seal, total and archived checkpoint besides
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass

import ledgers
import manifests
from headcount_spec import jcs, notice, tile
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint
from headcount_spec.merkle import LeafHash, leaf_hash, root
from headcount_spec.note import Note
from headcount_spec.notice import Notice
from headcount_spec.pledge import Pledge
from headcount_spec.scope import ScopeId
from headcount_spec.seal import Seal
from headcount_spec.tlog_proof import TlogProof
from headcount_spec.totals import decode_totals, encode_totals
from headcount_spec.wire import opaque16, u8
from ledgers import Batch, Ledger

STYLES = ("host", "host-rebuilds", "operator", "operator-seals")

Nested = list[list[bytes]]  # the entries of each batch, its seal last


@dataclass
class Case:
    """A corrupted ledger, and what the auditor holds."""

    ledger: Ledger
    batch: int | None = None  # where the fault must be named
    remembered: tuple[Checkpoint, ...] = ()
    receipts: tuple[tuple[LeafHash, TlogProof], ...] = ()


def corrupt(attack: str, style: str) -> Case:
    return _ATTACKS[attack](style)


def _deleted_entry(style: str) -> Case:
    victim = ledgers.sample().batches[2].entries[1]

    def edit(nested: Nested) -> None:
        nested[2].remove(victim)

    case = Case(_apply(style, edit), 2)
    if style == "operator-seals":  # leaves no trace in what is published
        whole = ledgers.sample()
        index = whole.leaves.index(victim)
        case.receipts = ((leaf_hash(victim), whole.receipt(index)),)
    return case


def _changed_entry(style: str) -> Case:
    def edit(nested: Nested) -> None:
        place, pledge = _pledge_in(nested[2])
        nested[2][place] = dataclasses.replace(pledge, choice=pledge.choice ^ 1).to_bytes()
        _order(nested[2])

    return Case(_apply(style, edit), 2)


def _reordered_batch(style: str) -> Case:
    def edit(nested: Nested) -> None:
        nested[2][0], nested[2][1] = nested[2][1], nested[2][0]

    return Case(_apply(style, edit), 2)


def _replayed_token(style: str) -> Case:
    def edit(nested: Nested) -> None:
        nested[4].append(nested[1][0])
        _order(nested[4])

    return Case(_apply(style, edit), 4)


def _foreign_key(style: str) -> Case:
    def edit(nested: Nested) -> None:
        place, _ = _pledge_in(nested[2])
        nested[2][place] = ledgers.forged_pledge(ledgers.campaign(), 50).to_bytes()
        _order(nested[2])

    return Case(_apply(style, edit), 2)


def _forked_ledger(style: str) -> Case:
    whole = ledgers.sample()
    other = [Batch(item.day, list(item.entries)) for item in whole.batches]
    # Another person's pledge stands where one of the first batch stood, and everything else fits.
    other[1].entries[0] = manifests.pledge(ledgers.campaign(), 60).to_bytes()
    del other[2:]
    other += [Batch(ledgers.OPENS + 1, []) for _ in whole.batches[2:]]
    other[-1].entries = [manifests.pledge(ledgers.campaign(), 61 + i).to_bytes() for i in range(30)]
    fork = ledgers.build(other)
    if style.startswith("host"):
        fork.files["checkpoint"] = _unsigned(fork, whole)
    return Case(fork, remembered=(whole.checkpoint,))


def _rolled_back_ledger(style: str) -> Case:
    whole = ledgers.sample()
    if style.startswith("host"):
        # An old copy of everything, signed then.
        return Case(ledgers.build(whole.batches[:5]), remembered=(whole.checkpoint,))
    shorter = ledgers.build([*whole.batches[:4], Batch(whole.batches[4].day + 1, whole.batches[4].entries)])
    return Case(shorter, remembered=(whole.checkpoint,))


def _swapped_terms(style: str) -> Case:
    def edit(nested: Nested) -> None:
        place = next(i for i, e in enumerate(nested[0]) if _is_manifest(e))
        nested[0][place] = with_statement(nested[0][place], _lower_threshold)

    return Case(_apply(style, edit, sort=False), 0)


def _edited_count(style: str) -> Case:
    def more(number: int, totals: dict[ScopeId, tuple[int, int]]) -> dict[ScopeId, tuple[int, int]]:
        return {s: (g + 1000, live + 1000) if number >= 4 else (g, live) for s, (g, live) in totals.items()}

    whole = ledgers.sample()
    if style == "operator-seals":
        return Case(ledgers.build(ledgers.sample_batches(), edit_totals=more), 4)
    if style == "operator":

        def edit(nested: Nested) -> None:
            seal = Seal.from_bytes(nested[4][-1])
            nested[4][-1] = dataclasses.replace(
                seal, pledges_in_batch=seal.pledges_in_batch + 1000, pledges_total=seal.pledges_total + 1000
            ).to_bytes()

        return Case(_apply(style, edit), 4)
    path = "totals/4"
    whole.files[path] = encode_totals(more(4, decode_totals(whole.files[path])))
    return Case(whole, 4)


def _broken_seal(style: str) -> Case:
    if style == "operator-seals":

        def lie(seal: Seal) -> Seal:
            return dataclasses.replace(seal, prev_root=bytes(32)) if seal.batch == 3 else seal

        return Case(ledgers.build(ledgers.sample_batches(), edit_seal=lie), 3)

    def edit(nested: Nested) -> None:
        seal = Seal.from_bytes(nested[3][-1])
        nested[3][-1] = dataclasses.replace(seal, chain=bytes(32)).to_bytes()

    return Case(_apply(style, edit), 3)


_ATTACKS: dict[str, Callable[[str], Case]] = {
    "deleted-entry": _deleted_entry,
    "changed-entry": _changed_entry,
    "reordered-batch": _reordered_batch,
    "replayed-token": _replayed_token,
    "foreign-key": _foreign_key,
    "forked-ledger": _forked_ledger,
    "rolled-back-ledger": _rolled_back_ledger,
    "swapped-terms": _swapped_terms,
    "edited-count": _edited_count,
    "broken-seal": _broken_seal,
}
ATTACKS = tuple(_ATTACKS)


def _apply(style: str, edit: Callable[[Nested], None], *, sort: bool = True) -> Ledger:
    """The sample ledger after an edit of its entries, published as the style can."""
    whole = ledgers.sample()
    nested = [whole.leaves[whole.first(i) : end] for i, end in enumerate(whole.ends)]
    edit(nested)
    if style == "operator-seals":
        given = [Batch(item.day, entries[:-1]) for item, entries in zip(whole.batches, nested, strict=True)]
        return ledgers.build(given, sort=False)
    leaves = [entry for entries in nested for entry in entries]
    if style == "host":
        size = len(whole.leaves)
        for bundle in tile.bundles_for(size):
            first = bundle.index * tile.TILE_WIDTH
            stop = None if first + bundle.width == size else first + bundle.width
            whole.files[bundle.path] = tile.encode_bundle(leaves[first:stop])
        return whole
    before = dataclasses.replace(whole)
    whole.leaves = leaves
    ledgers.publish_tiles(whole.files, leaves, 0)
    if style == "operator":
        whole.files["checkpoint"] = ledgers.sign(whole, whole.batches[-1].day)
    else:
        whole.files["checkpoint"] = _unsigned(whole, before)
    ledgers.publish_hints(whole)
    return whole


def _unsigned(ledger: Ledger, signed: Ledger) -> bytes:
    """A checkpoint of a ledger under the signature of another."""
    text = Checkpoint(ledger.key.name, len(ledger.leaves), root(ledger.hashes())).to_text()
    return Note(text, parse_checkpoint(signed.files["checkpoint"]).note.signatures).to_bytes()


def _pledge_in(entries: list[bytes]) -> tuple[int, Pledge]:
    for place, entry in enumerate(map(ledgers.parsed, entries)):
        if isinstance(entry, Pledge) and entry.scope_id == ledgers.campaign().scope_id:
            return place, entry
    raise ValueError("no pledge")


def _order(entries: list[bytes]) -> None:
    entries[:] = ledgers.in_order(entries)


def _is_manifest(data: bytes) -> bool:
    entry = ledgers.parsed(data)
    return isinstance(entry, Notice) and entry.statement.type == "manifest"


def _lower_threshold(statement: dict[str, object]) -> None:
    body = statement["body"]
    assert isinstance(body, dict)
    body["manifest"]["threshold"] = 1


def with_statement(data: bytes, edit: Callable[[dict[str, object]], None]) -> bytes:
    """A notice entry with an edited statement under the old signatures, whether it makes sense or not."""
    old = Notice.from_bytes(data)
    statement = json.loads(old.statement_bytes)
    edit(statement)
    signatures = b"".join(key + value for key, value in old.signatures)
    return notice.HEADER + opaque16(jcs.canonicalise(statement)) + u8(len(old.signatures)) + signatures
