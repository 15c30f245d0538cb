"""Opening the contacts of a campaign that was reached. Protocol, Section 9.4.

Which entries count is taken from the audited ledger, which blobs there are from the store's file, which
keys are out from the trustees' notices. Each blob is a job of its own, so they are opened in parallel; what
comes out has no nullifier any more.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from headcount.contact_audit import Checked
from headcount_ledger.reader.view import LedgerView, Progress
from headcount_spec import blobs, sealed
from headcount_spec.contact import Contact
from headcount_spec.entry import parse_entry
from headcount_spec.errors import ConfigurationError, MalformedError, NotEligibleError, OpeningError
from headcount_spec.pledge import Nullifier, Pledge
from headcount_spec.revision import Revision
from headcount_spec.scope import WITHDRAWN, ScopeId
from headcount_spec.sealed import Blob

MAX_SUBSETS = 200  # of trustees, tried for one blob whose first t shares do not open it
_BLOCK = 500  # blobs in one piece of work
_AHEAD = 8  # pieces of work that wait

Reason = str  # why one was not opened; stable


@dataclass(frozen=True, slots=True)
class Standing:
    """A contact entry that is live at the seal at which the campaign was reached."""

    revision_key: bytes
    sealed_hash: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """What opens the blobs of one scope."""

    scope_id: ScopeId
    t: int
    n: int
    released: Mapping[int, bytes] = field(repr=False)  # private keys by trustee, from 1
    organiser: bytes = field(repr=False)  # private key of the inner layer


@dataclass(slots=True)
class Opened:
    """What came out."""

    contacts: list[Contact] = field(default_factory=list)  # in the order of their text, each once
    failures: dict[Nullifier, Reason] = field(default_factory=dict)
    repeated: int = 0  # contacts that more than one person left

    @property
    def reasons(self) -> Counter[Reason]:
        """How many could not be opened, by why."""
        return Counter(self.failures.values())


def keys_of(checked: Checked, organiser: bytes) -> Keys:
    """The keys that are out, each of which is the manifest's (verify_notice has compared them).

    Raises:
        NotEligibleError: the campaign was not reached, or fewer than t trustees have released.
    """
    scope = checked.scope
    if scope.reached is None:
        raise NotEligibleError(f"nothing is opened: {checked.sentence}")
    released = {i: release.private_key for i, release in scope.releases.items()}
    t, n = scope.trustees.t, len(scope.trustees.members)
    if len(released) < t:
        raise NotEligibleError(f"{len(released)} trustees have released their keys, and {t} are needed")
    return Keys(scope.manifest.scope_id, t, n, released, organiser)


def standing(checked: Checked, progress: Progress | None = None) -> dict[Nullifier, Standing]:
    """The contact entries that are live at the seal at which the campaign was reached.

    Raises:
        NotEligibleError: it was not reached.
        ProofError: the published files are not those that the ledger signed.
    """
    if checked.scope.reached is None:
        raise NotEligibleError(f"nothing is opened: {checked.sentence}")
    return _standing(checked.view, checked.scope.manifest.scope_id, checked.scope.reached.index, progress)


def _standing(
    view: LedgerView, scope_id: ScopeId, last: int, progress: Progress | None
) -> dict[Nullifier, Standing]:
    found: dict[Nullifier, Standing] = {}
    withdrawn: set[Nullifier] = set()
    for index, data in view.entries(progress):
        # The audit has passed: every pledge and revision that stands there is valid and the first.
        if index > last or data[2:34] != scope_id or data[:1] not in (b"\x01", b"\x03"):
            continue
        entry = parse_entry(data)
        if isinstance(entry, Pledge):
            found[entry.nullifier] = Standing(entry.revision_key, entry.sealed_hash)
        elif isinstance(entry, Revision) and entry.choice == WITHDRAWN:
            withdrawn.add(entry.nullifier)
        elif isinstance(entry, Revision):
            withdrawn.discard(entry.nullifier)
            found[entry.nullifier] = Standing(found[entry.nullifier].revision_key, entry.sealed_hash)
    return {nullifier: item for nullifier, item in found.items() if nullifier not in withdrawn}


def read_file(path: Path, keys: Keys) -> Iterator[blobs.Blob]:
    """The records of the store's file.

    Raises:
        ConfigurationError: it cannot be read, or is not the file of this scope.
    """
    try:
        with open(path, "rb") as file:
            yield from blobs.read_blobs(file.read, keys.scope_id, keys.n)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def open_all(
    entries: Mapping[Nullifier, Standing],
    found: Iterable[blobs.Blob],
    keys: Keys,
    executor: Executor,
    progress: Progress | None = None,
) -> Opened:
    """Open what belongs to these entries; blobs of no entry are passed over.

    Raises:
        ConfigurationError: as read_file, if found comes from it.
    """
    opened = Opened()
    missing = set(entries)
    seen: Counter[Contact] = Counter()
    done = 0

    def jobs() -> Iterator[tuple[Nullifier, Standing, bytes]]:
        for nullifier, blob in found:
            if nullifier in missing:
                missing.discard(nullifier)
                yield nullifier, entries[nullifier], blob

    for results in _in_parallel(executor, partial(open_block, keys), jobs()):
        for nullifier, result in results:
            if isinstance(result, Contact):
                seen[result] += 1
            else:
                opened.failures[nullifier] = result
        done += len(results)
        if progress is not None:
            progress(done, len(entries))
    opened.failures |= dict.fromkeys(sorted(missing), "no-blob")
    opened.contacts = sorted(seen, key=lambda contact: (contact.type, contact.value))
    opened.repeated = sum(seen.values()) - len(seen)
    return opened


Job = tuple[Nullifier, Standing, bytes]
Result = tuple[Nullifier, "Contact | Reason"]


def _in_parallel(
    executor: Executor, work: partial[list[Result]], jobs: Iterator[Job]
) -> Iterator[list[Result]]:
    waiting: list[Future[list[Result]]] = []
    while block := list(itertools.islice(jobs, _BLOCK)):
        waiting.append(executor.submit(work, block))
        if len(waiting) >= _AHEAD:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def open_block(keys: Keys, jobs: Iterable[Job]) -> list[Result]:
    """Open some blobs: a piece of work for any process."""
    return [(nullifier, open_one(keys, entry, blob)) for nullifier, entry, blob in jobs]


def open_one(keys: Keys, entry: Standing, data: bytes) -> Contact | Reason:
    """The contact of one entry, or why it cannot be had.

    other-blob: not the one whose hash stands in the ledger. malformed-blob, cannot-open: whoever made it
    made it so. cannot-open-inner: not for this organiser's key. no-contact: what was sealed is none.
    """
    if hashlib.sha256(data).digest() != entry.sealed_hash:
        return "other-blob"
    try:
        blob = Blob.from_bytes(data, keys.t, keys.n)
    except MalformedError:
        return "malformed-blob"
    ctx = sealed.context(keys.scope_id, entry.revision_key)
    subsets = itertools.islice(itertools.combinations(sorted(keys.released), keys.t), MAX_SUBSETS)
    try:
        inner = sealed.open_outer(blob, ctx, keys.released, subsets)
    except OpeningError:
        return "cannot-open"
    try:
        return sealed.open_inner(inner, ctx, keys.organiser)
    except OpeningError:
        return "cannot-open-inner"
    except MalformedError:
        return "no-contact"
