"""A ledger as one client sees it: a checkpoint that its policy accepts, and what is proven under it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from headcount_spec.checkpoint import Checkpoint, SignedCheckpoint, open_checkpoint
from headcount_spec.errors import MisbehaviourError, ProofError, ProtocolError, UnknownKeyError
from headcount_spec.merkle import CompactRange, leaf_hash, verify_consistency, verify_inclusion
from headcount_spec.policy import Policy, VerifiedCheckpoint
from headcount_spec.scope import Manifest
from headcount_spec.tile import TILE_WIDTH, Fetch, TileReader

Progress = Callable[[int, int], None]  # entries done, entries in all


@dataclass(frozen=True, slots=True)
class LedgerView:
    """The published tree of one checkpoint; what is read here is checked against its root."""

    verified: VerifiedCheckpoint
    policy: Policy
    fetch: Fetch
    reader: TileReader

    @property
    def checkpoint(self) -> Checkpoint:
        """Origin line, size and root hash."""
        return self.verified.signed.checkpoint

    @property
    def raw(self) -> bytes:
        """The signed checkpoint as it was published."""
        return self.verified.signed.raw

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.checkpoint.size

    @property
    def is_witnessed(self) -> bool:
        """Whether the policy demands witnesses, and has found them."""
        return bool(self.verified.cosignatures)

    def entry(self, index: int) -> bytes:
        """The entry at a leaf index, proven to be in the tree.

        Raises:
            ProofError: the published files do not lead to the signed root.
            MalformedError, NotFoundError, UnavailableError: they cannot be read.
        """
        data = self.reader.entry(index)
        proof = self.reader.inclusion_proof(index)
        verify_inclusion(proof, index, self.size, leaf_hash(data), self.checkpoint.root)
        return data

    def entries(self, progress: Progress | None = None) -> Iterator[tuple[int, bytes]]:
        """All entries with their leaf indices; what they lead to is checked after the last one.

        Raises:
            ProofError: they are not the entries under the signed root.
        """
        tree = CompactRange()
        for index, data in self.scan(0, progress):
            tree.append(leaf_hash(data))
            yield index, data
        if tree.root() != self.checkpoint.root:
            raise ProofError("the published entries are not those that the ledger signed")

    def scan(self, start: int, progress: Progress | None = None) -> Iterator[tuple[int, bytes]]:
        """The entries from a leaf index on, by whole bundles, not proven: to find, not to count."""
        for bundle in range(start // TILE_WIDTH, -(-self.size // TILE_WIDTH)):
            for offset, data in enumerate(self.reader.bundle(bundle)):
                if bundle * TILE_WIDTH + offset >= start:
                    yield bundle * TILE_WIDTH + offset, data
            if progress is not None:
                progress(min((bundle + 1) * TILE_WIDTH, self.size), self.size)

    def check_terms(self, manifest: Manifest) -> None:
        """Check that this is the ledger of the manifest, witnessed as the manifest demands.

        Raises:
            UnknownKeyError: another ledger or key, or the manifest's witness quorum is not reached.
            SignatureError: a line of one of the manifest's witnesses does not verify.
        """
        if manifest.ledger.key not in self.policy.log_keys(manifest.ledger.origin):
            raise UnknownKeyError("the scope names a ledger that the trust policy does not list")
        open_checkpoint(self.raw, manifest.ledger.key)
        Policy.from_bytes(manifest.witnesses.encode()).verify_cosignatures(self.verified.signed)


def open_ledger(fetch: Fetch, policy: Policy, remembered: Iterable[bytes] = ()) -> LedgerView:
    """The ledger of its current checkpoint, which must continue every remembered one.

    remembered are signed checkpoints that this client accepted before; those of other logs are passed over.

    Raises:
        MalformedError, SignatureError, UnknownKeyError: the checkpoint is not one that the policy accepts.
        MisbehaviourError: the ledger went back or signed another history; carries both checkpoints.
        ProofError: the published tiles do not lead to the signed root.
    """
    verified = policy.verify_checkpoint(fetch("checkpoint"))
    view = LedgerView(verified, policy, fetch, TileReader(fetch, verified.signed.checkpoint.size))
    for raw in remembered:
        old = _own(raw, policy, view.checkpoint.origin)
        if old is not None:
            _check_continues(view, old)
    return view


def _own(raw: bytes, policy: Policy, origin: str) -> SignedCheckpoint | None:
    for key in policy.log_keys(origin):
        try:
            return open_checkpoint(raw, key)
        except ProtocolError:
            continue  # of another log, or of its other key
    return None


def _check_continues(view: LedgerView, old: SignedCheckpoint) -> None:
    then, now = old.checkpoint, view.checkpoint
    if then.size > now.size:
        raise MisbehaviourError(
            f"the ledger went back from {then.size} entries to {now.size}", (old.raw, view.raw)
        )
    if then.size == now.size and then.root != now.root:
        raise MisbehaviourError(f"the ledger signed two histories of {now.size} entries", (old.raw, view.raw))
    if then.size == now.size or then.size == 0:
        return
    proof = view.reader.consistency_proof(then.size)
    root = view.reader.root_at(then.size)
    # The tiles are authentic if they lead to the signed root: only then is another old root a fork.
    verify_consistency(proof, then.size, now.size, root, now.root)
    if root != then.root:
        raise MisbehaviourError(
            f"the ledger signed another history of its first {then.size} entries", (old.raw, view.raw)
        )
