"""That an entry is in none of the batches in which it may stand, shown by few leaves.

The batches of a scope begin behind the one with its manifest, of which a ledger has one, and end with
the one that closes it, or with the first whose seal is after a given day. Each seal says where its batch
begins, so that none can be left out. Inside a batch the entries ascend, so that two neighbours show that
nothing stands between them; the seal before is below everything in a batch, its own seal above.

That the leaves are in a signed tree is not asked here (``accusation``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from headcount_spec.batch import Key, sort_key
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import MalformedError, NoticeConflictError, ProofError, VerificationError
from headcount_spec.merkle import LeafHash, leaf_hash
from headcount_spec.notice import Notice, manifest_of, verify_notice
from headcount_spec.promise import KIND_PLEDGE, Promise
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal

Leaf = tuple[int, bytes]  # leaf index, entry

_BEFORE_ALL: Key = (0, b"", 0)


@dataclass(frozen=True, slots=True)
class Absence:
    """In which batches a promised entry is not."""

    manifest: Manifest
    first_batch: int
    last_batch: int
    first_index: int  # of the first leaf of the first batch
    end_index: int  # behind the last seal
    last_day: int  # of the last seal
    is_closing: bool  # the last batch closes the scope
    is_replaced: bool  # another entry stands where the promised one belongs


@dataclass(frozen=True, slots=True)
class _Item:
    """One leaf that is shown."""

    index: int
    hash: LeafHash
    entry: Entry

    @property
    def key(self) -> Key:
        return sort_key(self.entry)


def check_absence(leaves: Sequence[Leaf], promise: Promise, scope_id: ScopeId) -> Absence:
    """Check that these leaves, by ascending index, show that a ledger does not hold what it promised.

    Protocol, Section 4.10.

    Raises:
        MalformedError: a leaf is no entry.
        ProofError: a batch is left out or not shown to lack the entry, or they end too early or late.
    """
    items = [_Item(index, leaf_hash(data), parse_entry(data)) for index, data in leaves]
    if len(items) < 2:
        raise ProofError("no batch is shown")
    manifest = _manifest_of(items[0], scope_id)
    last, seal = items[1], items[1].entry
    if not isinstance(seal, Seal) or not seal.first_index <= items[0].index < last.index:
        raise ProofError("the batch of the manifest is not shown")
    first_batch, first_index = seal.batch + 1, last.index + 1
    is_closing = is_replaced = False
    for window, following in _windows(items[2:]):
        seal = _checked_seal(following, last, seal)
        is_replaced |= _check_window([last, *window], promise)
        is_closing = any(_closes(item.entry, manifest) for item in window)
        last = window[-1]
        if is_closing or seal.day > promise.deadline:
            break
    else:
        raise ProofError("the batches that are shown end before the deadline has passed")
    if last is not items[-1]:
        raise ProofError("leaves are shown behind the last batch")
    return Absence(
        manifest, first_batch, seal.batch, first_index, last.index + 1, seal.day, is_closing, is_replaced
    )


def _manifest_of(item: _Item, scope_id: ScopeId) -> Manifest:
    manifest = _manifest_in(item.entry)
    if manifest is None or manifest.scope_id != scope_id:
        raise ProofError("the first leaf is not the manifest of the scope")
    return manifest


def _manifest_in(entry: Entry | None) -> Manifest | None:
    """The manifest of a notice by its organisers; of each scope an honest ledger has one."""
    if not isinstance(entry, Notice) or entry.statement.type != "manifest":
        return None
    manifest = manifest_of(entry.statement)
    try:
        verify_notice(entry, manifest, None)
    except (VerificationError, NoticeConflictError, MalformedError):
        return None
    return manifest


def _windows(items: Sequence[_Item]) -> Iterator[tuple[list[_Item], Seal]]:
    """The leaves of each batch, its seal among them and beside them."""
    window: list[_Item] = []
    for item in items:
        window.append(item)
        if isinstance(item.entry, Seal):
            yield window, item.entry
            window = []
    if window:
        raise ProofError("a batch is shown without its seal")


def _checked_seal(following: Seal, last: _Item, seal: Seal) -> Seal:
    """The next seal, if no other batch can be between the two; last is the leaf of the one before."""
    place = (following.batch, following.first_index, following.prev_seal)
    if place != (seal.batch + 1, last.index + 1, last.hash):
        raise ProofError("a seal does not follow the one before it")
    return following


def _check_window(window: Sequence[_Item], promise: Promise) -> bool:
    """Whether another entry stands in the promised one's place; window begins with the seal before."""
    wanted = _key_of(promise)
    end = None  # of the run of consecutive leaves that begins with one below the wanted
    is_replaced = False
    for item in window:
        key = _BEFORE_ALL if item is window[0] else item.key
        if key < wanted:
            end, is_replaced = item.index, False
        elif end is not None and item.index == end + 1:
            if key > wanted:
                return is_replaced
            if item.hash == promise.leaf_hash:
                break
            end, is_replaced = item.index, True
        else:
            end = None
    if any(item.hash == promise.leaf_hash for item in window):
        raise ProofError("the promised entry is there")
    raise ProofError("a batch is not shown to be without the entry")


def _closes(entry: Entry | None, manifest: Manifest | None) -> bool:
    """Whether the entry is the notice with which the ledger closes the scope."""
    if manifest is None or not isinstance(entry, Notice):
        return False
    if entry.statement.type != "closing" or entry.statement.scope != manifest.scope_id:
        return False
    try:
        verify_notice(entry, manifest, None)  # a ledger says nothing else in a scope
    except (VerificationError, NoticeConflictError, MalformedError):
        return False  # nothing that a stranger says ends the search
    return True


def _key_of(promise: Promise) -> Key:
    """Where a batch would have the entry; sort_key has the same numbers."""
    return (1 if promise.kind == KIND_PLEDGE else 2, promise.nullifier, promise.serial)


def show_absence(entries: Iterable[Leaf], promise: Promise) -> list[Leaf]:
    """The leaves that check_absence needs, of all entries from the scope's manifest on.

    Reads no further than it must. Whether they show anything is said by check_absence.

    Raises:
        ProofError: the promised entry is among them, at whatever place.
    """
    walk = iter(entries)
    shown = [leaf for leaf in [next(walk, None)] if leaf is not None]
    manifest = _manifest_in(_parsed(shown[0][1])) if shown else None
    around: _Around | None = None  # in the manifest's own batch nothing is looked for
    for index, data in walk:
        entry = _parsed(data)
        if leaf_hash(data) == promise.leaf_hash:
            raise ProofError(f"the promised entry is there: entry {index}")
        if around is not None:
            around.add((index, data), entry, promise, manifest)
        if isinstance(entry, Seal):
            shown += [(index, data)] if around is None else around.leaves()
            if around is not None and (around.closing or entry.day > promise.deadline):
                break
            around = _Around()
    return shown


@dataclass(slots=True)
class _Around:
    """What stands around the place of an entry in one batch."""

    below: Leaf | None = None
    run: list[Leaf] = field(default_factory=list)  # from below to the first leaf above
    is_over: bool = False
    closing: list[Leaf] = field(default_factory=list)
    last: Leaf | None = None

    def add(self, leaf: Leaf, entry: Entry | None, promise: Promise, manifest: Manifest | None) -> None:
        """Take the next leaf; entry is None if it is malformed."""
        self.last = leaf
        if _closes(entry, manifest):
            self.closing.append(leaf)
        if self.is_over:
            return
        wanted = _key_of(promise)
        key = _BEFORE_ALL if entry is None else sort_key(entry)
        if key < wanted:
            self.below, self.run = leaf, []
        else:
            self.run.append(leaf)
            self.is_over = key > wanted

    def leaves(self) -> list[Leaf]:
        """What is shown of the batch; its last leaf is the seal."""
        edges = [leaf for leaf in (self.below, self.last) if leaf is not None]
        return sorted({*edges, *self.run, *self.closing})


def _parsed(data: bytes) -> Entry | None:
    try:
        return parse_entry(data)
    except MalformedError:
        return None
