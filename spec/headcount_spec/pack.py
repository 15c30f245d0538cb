"""The proof pack: terms, count, growth, witnesses and proofs of one scope in one file.

What ``headcount pack verify`` checks without the ledger. Everything in it stands under one checkpoint, by one
proof for many leaves. It shows what the ledger has published and sealed; that the pledges themselves
are valid is shown by an audit, which reads all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from headcount_spec import archived, growth, jcs, seal
from headcount_spec.archived import Archived, Witnessed
from headcount_spec.checkpoint import Checkpoint, SignedCheckpoint
from headcount_spec.entry import MAX_ENTRY_BYTES
from headcount_spec.errors import MalformedError, ProofError, UnknownKeyError
from headcount_spec.growth import CountAt
from headcount_spec.members import Members
from headcount_spec.merkle import HASH_BYTES, MAX_SIZE, Subtree, leaf_hash
from headcount_spec.multiproof import prove_leaves, root_from_leaves
from headcount_spec.notice import Notice
from headcount_spec.policy import Policy
from headcount_spec.quotas import is_enough
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.seal import Seal
from headcount_spec.sequence import Said, manifest_in, read_notices
from headcount_spec.text import decode_base64, encode_base64
from headcount_spec.tile import Fetch
from headcount_spec.totals import totals_path

MAX_PACK_BYTES = 2**26  # a seal an hour for ten years is 40 MiB
VERSION = 1

Leaf = tuple[int, bytes]  # leaf index, entry


# Pack (Protocol, Section 4.12), RFC 8785:
#   {"archived":   [{"batch": n, "checkpoint": text}, ...],   ascending
#    "checkpoint": text,                                      the signed note
#    "hashes":     [base64, ...],                             one proof for all leaves, left to right
#    "headcount_pack": 1,
#    "leaves":     [{"entry": base64, "index": n}, ...],      ascending
#    "scope":      hex,
#    "totals":     [base64, ...]}                             distinct files, as the seals first name them
@dataclass(frozen=True, slots=True)
class Pack:
    """The contents of a file; verified only by ``verify_pack``."""

    scope_id: ScopeId
    leaves: tuple[Leaf, ...]  # ascending
    hashes: tuple[bytes, ...]  # 32 bytes each
    totals: tuple[bytes, ...]
    archived: tuple[Archived, ...]  # ascending batches
    checkpoint: bytes  # the signed note

    def to_bytes(self) -> bytes:
        """The bytes of the file: one spelling.

        Raises:
            MalformedError: they would be more than 64 MiB.
        """
        data = jcs.canonicalise(
            {
                "archived": [
                    {"batch": item.batch, "checkpoint": item.checkpoint.decode()} for item in self.archived
                ],
                "checkpoint": self.checkpoint.decode(),
                "hashes": [encode_base64(item) for item in self.hashes],
                "headcount_pack": VERSION,
                "leaves": [{"entry": encode_base64(entry), "index": i} for i, entry in self.leaves],
                "scope": self.scope_id.hex(),
                "totals": [encode_base64(item) for item in self.totals],
            }
        )
        if len(data) > MAX_PACK_BYTES:
            raise MalformedError(f"pack longer than {MAX_PACK_BYTES} bytes")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Pack:
        """The pack of a file. Checkpoints and entries are cut out here and parsed by ``verify_pack``.

        Raises:
            MalformedError: over 64 MiB, not canonical JSON, another version, a member missing, unknown or
                of another type, leaves or batches that do not ascend.
        """
        members = Members(jcs.parse_canonical(data, MAX_PACK_BYTES), "pack")
        members.integer("headcount_pack", VERSION, VERSION)
        pack = cls(
            scope_id=ScopeId(members.hex32("scope")),
            leaves=tuple(_leaf(item, f"leaves[{i}]") for i, item in enumerate(_list(members, "leaves"))),
            hashes=tuple(_base64(item, "hashes", HASH_BYTES) for item in _list(members, "hashes")),
            totals=tuple(_base64(item, "totals") for item in _list(members, "totals")),
            archived=tuple(
                _archived(item, f"archived[{i}]") for i, item in enumerate(_list(members, "archived"))
            ),
            checkpoint=_note(members, "checkpoint"),
        )
        members.finish()
        if not pack.leaves or any(b[0] <= a[0] for a, b in pairwise(pack.leaves)):
            raise MalformedError("pack.leaves: none, or they do not ascend")
        if any(b.batch <= a.batch for a, b in pairwise(pack.archived)):
            raise MalformedError("pack.archived: the batches do not ascend")
        return pack


@dataclass(frozen=True, slots=True)
class VerifiedPack:
    """What a pack shows."""

    manifest: Manifest
    checkpoint: Checkpoint
    cosigners: tuple[tuple[str, int], ...]  # the policy's witness name, seconds since 1970
    growth: tuple[CountAt, ...]  # at every seal from the batch of the manifest on
    texts: Mapping[str, str]  # language → full text
    opened: Mapping[str, int]  # issuer → batch
    issued: Mapping[str, Said]  # issuer → its last issuance notice
    reached: Witnessed | None  # the first seal with enough pledges in time, and the quotas met
    closed: Witnessed | None

    @property
    def count(self) -> CountAt:
        """At the last seal."""
        return self.growth[-1]


def make_pack(
    scope_id: ScopeId, leaves: Sequence[Leaf], subtree: Subtree, fetch: Fetch, checkpoint: SignedCheckpoint
) -> Pack:
    """A pack of a scope's notices and of all seals since its manifest, by ascending index.

    subtree gives the hashes of the checkpoint's tree, fetch the ledger's files. Whether the pack shows
    anything is said by verify_pack.

    Raises:
        NotFoundError, UnavailableError: a file cannot be read.
        ProtocolError: as verify_pack.
    """
    size = checkpoint.checkpoint.size
    notices, seals = _split(leaves)
    _, manifest = manifest_in(notices, scope_id)
    said = read_notices(manifest, notices, [(i, item.batch) for i, item in seals])
    distinct = {item.totals: item.batch for _, item in reversed(seals)}  # the first batch that names each
    totals = tuple(fetch(totals_path(batch)) for batch in sorted(distinct.values()))
    counts = growth.follow(seals, totals, manifest, size)
    batches = {count.batch for count in _milestones(manifest, said, counts) if count is not None}
    kept = tuple(
        Archived(batch, fetch(f"checkpoints/{batch}")) for batch in sorted(batches - {counts[-1].batch})
    )
    hashes = prove_leaves(subtree, [index for index, _ in leaves], size)
    return Pack(scope_id, tuple(leaves), tuple(hashes), totals, kept, checkpoint.raw)


def verify_pack(pack: Pack, policy: Policy) -> VerifiedPack:
    """Check that everything in a pack stands under a checkpoint that the policy accepts.

    Protocol, Section 4.12. Needs neither the ledger nor a clock.

    Raises:
        MalformedError: a checkpoint, an entry or a totals file is malformed.
        SignatureError: a signature does not verify.
        UnknownKeyError: the log is not listed or not the scope's, or too few witnesses.
        NoticeConflictError: a notice of an author's sequence is missing.
        ProofError: the leaves are not in the tree, or do not show a count.
    """
    # 1. The checkpoint is the log's, and cosigned as the policy asks.
    verified = policy.verify_checkpoint(pack.checkpoint)
    checkpoint = verified.signed.checkpoint
    # 2. The leaves are in its tree.
    leaves = [(index, leaf_hash(entry)) for index, entry in pack.leaves]
    if root_from_leaves(pack.hashes, leaves, checkpoint.size) != checkpoint.root:
        raise ProofError("the leaves lead to another root")
    # 3., 4. Notices of the scope, each author's in sequence; the terms are the scope's.
    notices, seals = _split(pack.leaves)
    first, manifest = manifest_in(notices, pack.scope_id)
    if manifest.ledger.key not in policy.log_keys(checkpoint.origin):
        raise UnknownKeyError("the pledges of the scope count in another ledger")
    said = read_notices(manifest, notices, [(i, s.batch) for i, s in seals])
    own = Policy.from_bytes(manifest.witnesses.encode())
    own.verify_cosignatures(verified.signed)
    # 5., 6. Every seal since, and the totals that they carry.
    if not seals or not seals[0][1].first_index <= first < seals[0][0]:
        raise ProofError("the first seal is not that of the manifest's batch")
    counts = growth.follow(seals, pack.totals, manifest, checkpoint.size)
    # 7. The terms and the openings stand before the first pledge.
    opened = _openings(said, manifest)
    _check_opened(opened, manifest, counts)
    # 8. Issuance.
    issued = _issuance(said, counts)
    # 9. When it was enough, and when it ended, with the checkpoints of those batches.
    head = Archived(counts[-1].batch, pack.checkpoint)
    by_batch = archived.read((*pack.archived, head), seals, policy, checkpoint.origin)
    reached, closed = _milestones(manifest, said, counts)
    _check_closed(closed, counts, manifest)
    wanted = {count.batch for count in (reached, closed) if count is not None}
    if {item.batch for item in pack.archived} != wanted - {head.batch}:
        raise ProofError("other checkpoints are kept than those of the batches that matter")
    if closed is not None:
        archived.check_closing(by_batch[closed.batch], own, manifest.deadline_day)
    return VerifiedPack(
        manifest=manifest,
        checkpoint=checkpoint,
        cosigners=verified.cosignatures,
        growth=counts,
        texts={item.body["language"]: item.body["text"] for item in said if item.type == "text"},
        opened=opened,
        issued=issued,
        reached=None if reached is None else Witnessed(reached, by_batch[reached.batch].cosignatures),
        closed=None if closed is None else Witnessed(closed, by_batch[closed.batch].cosignatures),
    )


def own_policy(pack: Pack) -> Policy:
    """The policy that the pack's own terms name: their ledger and their witnesses.

    Whoever compares the scope id with the one that the campaign has published needs no other.

    Raises:
        MalformedError: the pack has no manifest of its scope.
    """
    notices, _ = _split(pack.leaves)
    try:
        _, manifest = manifest_in(notices, pack.scope_id)
    except ProofError as exc:
        raise MalformedError(f"pack.leaves: {exc}") from exc
    line = f"log {manifest.ledger.key.to_text()}\n"
    return Policy.from_bytes(line.encode() + manifest.witnesses.encode())


def _split(leaves: Sequence[Leaf]) -> tuple[list[tuple[int, Notice]], list[tuple[int, Seal]]]:
    """The notices and the seals; anything else is malformed here."""
    seals = [(i, Seal.from_bytes(entry)) for i, entry in leaves if entry[:2] == seal.HEADER]
    return [(i, Notice.from_bytes(entry)) for i, entry in leaves if entry[:2] != seal.HEADER], seals


def _milestones(
    manifest: Manifest, said: Sequence[Said], counts: Sequence[CountAt]
) -> tuple[CountAt | None, CountAt | None]:
    """The first seal with enough pledges in time, and that of the closing batch."""
    enough = (c for c in counts if is_enough(manifest, c.live, c.options, c.day))
    ends = {item.batch for item in said if item.type == "closing"}
    return next(enough, None), next((count for count in counts if count.batch in ends), None)


def _openings(said: Sequence[Said], manifest: Manifest) -> dict[str, int]:
    found: dict[str, int] = {}
    for item in said:
        if item.type == "opening":
            found.setdefault(item.issuer, item.batch)
    return {issuer.name: found[issuer.name] for issuer in manifest.issuers if issuer.name in found}


def _check_opened(opened: Mapping[str, int], manifest: Manifest, counts: Sequence[CountAt]) -> None:
    first = next((count for count in counts if count.gross), None)
    if first is None:
        return
    if counts[0].gross or any(
        opened.get(issuer.name, first.batch) >= first.batch for issuer in manifest.issuers
    ):
        raise ProofError("pledges were counted before every issuer had opened the scope")


def _issuance(said: Sequence[Said], counts: Sequence[CountAt]) -> dict[str, Said]:
    last: dict[str, Said] = {}
    for item in sorted((s for s in said if s.type == "issuance"), key=lambda s: s.seq):
        before = last.get(item.issuer)
        if before is not None and item.body["issued"] < before.body["issued"]:
            raise ProofError(f"the number of tokens of {item.issuer} falls")
        at = item.batch - counts[0].batch - 1
        if at >= 0 and counts[at].gross > item.body["issued"]:
            raise ProofError(f"there are more pledges than {item.issuer} says it has signed tokens for")
        last[item.issuer] = item
    return last


def _check_closed(closed: CountAt | None, counts: Sequence[CountAt], manifest: Manifest) -> None:
    if closed is not None:
        if not manifest.closes < closed.day <= manifest.deadline_day:
            raise ProofError("the scope was not closed in the days that its terms give")
        if _counted(closed) != _counted(counts[-1]):
            raise ProofError("the count has changed after the scope was closed")
    late = [count.gross for count in counts if count.day > manifest.deadline_day]
    in_time = [count.gross for count in counts if count.day <= manifest.deadline_day]
    if late and late[-1] != (in_time[-1] if in_time else 0):
        raise ProofError("pledges were counted after the deadline day")


def _counted(count: CountAt) -> tuple[int, int, Mapping[int, int]]:
    return count.gross, count.live, count.options


def _leaf(value: jcs.JSON, path: str) -> Leaf:
    members = Members(value, f"pack.{path}")
    leaf = members.integer("index", 0, min(MAX_SIZE, 2**53 - 1)), _base64(members.take("entry"), path)
    members.finish()
    if len(leaf[1]) > MAX_ENTRY_BYTES:
        raise MalformedError(f"pack.{path}: entry longer than {MAX_ENTRY_BYTES} bytes")
    return leaf


def _archived(value: jcs.JSON, path: str) -> Archived:
    members = Members(value, f"pack.{path}")
    item = Archived(members.integer("batch", 0), _note(members, "checkpoint"))
    members.finish()
    return item


def _list(members: Members, name: str) -> list[jcs.JSON]:
    value = members.take(name)
    if not isinstance(value, list):
        raise MalformedError(f"pack.{name}: not a list")
    return value


def _base64(value: jcs.JSON, name: str, size_bytes: int | None = None) -> bytes:
    if not isinstance(value, str):
        raise MalformedError(f"pack.{name}: not a string")
    return decode_base64(value, size_bytes)


def _note(members: Members, name: str) -> bytes:
    value = members.take(name)
    if not isinstance(value, str):
        raise MalformedError(f"{members.path}.{name}: not a string")
    return value.encode()
