"""Vectors of proof packs."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import ledgers
import manifests
import quota_ledgers
from headcount_spec import jcs
from headcount_spec.archived import Archived
from headcount_spec.checkpoint import parse_checkpoint
from headcount_spec.entry import parse_entry
from headcount_spec.errors import (
    MalformedError,
    NoticeConflictError,
    ProofError,
    ProtocolError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.multiproof import prove_leaves
from headcount_spec.note import SigningKey
from headcount_spec.notice import Notice, manifest_of
from headcount_spec.pack import Pack, make_pack, verify_pack
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest
from headcount_spec.seal import Seal
from headcount_spec.tile import TileReader
from ledgers import Batch, Ledger

from . import Case, fails, octets, ok, same, text

FILE = "packs.json"

_OTHER = SigningKey("other.example", bytes(32))


def make() -> dict[str, Any]:
    """Packs of open and closed scopes; and what somebody would try who has fewer pledges than they say."""
    return {
        "about": "Proof packs (Protocol, Section 4.12), under a policy.",
        "source": "Made by makers/packs.py.",
        "cases": [*_proven(), *_left_out(), *_forged(), *_lied(), *_quotas(), *_malformed()],
    }


@functools.cache
def _ledger() -> Ledger:
    """One scope, reached at batch 2, closed at batch 4, with a batch after that."""
    one = manifests.manifest(
        threshold=4, witnesses=f"witness w {ledgers.WITNESS.cosigner_key.to_text()}\nquorum w\n"
    )
    p = [manifests.pledge(one, 300 + i) for i in range(7)]
    opening, texts = manifests.opening(one), manifests.text_notices(one)
    body = {"title": {"en": "News"}, "text": {"en": "It is done."}}
    batches = [
        Batch(manifests.OPENS - 1, ledgers.raw(manifests.manifest_notice(one), *texts, opening)),
        Batch(manifests.OPENS, ledgers.raw(*p[:3])),
        Batch(manifests.OPENS + 1, ledgers.raw(*p[3:6], manifests.revision(p[0], 300))),
        Batch(manifests.OPENS + 2, ledgers.raw(manifests.issuance(one, manifests.OPENS + 2, 16, opening))),
        Batch(manifests.CLOSES + 1, ledgers.raw(p[6], manifests.closing(one))),
        Batch(
            manifests.CLOSES + 2, ledgers.raw(manifests.notice(one, "organiser", "update", body, texts[-1]))
        ),
    ]
    return ledgers.build(batches, witnesses=(ledgers.WITNESS,))


def _manifests(ledger: Ledger) -> list[tuple[int, Manifest]]:
    entries = enumerate(map(parse_entry, ledger.leaves))
    notices = [(i, e.statement) for i, e in entries if isinstance(e, Notice)]
    return [(i, manifest_of(s)) for i, s in notices if s.type == "manifest"]


def _indices(ledger: Ledger, scope: Manifest) -> list[int]:
    """The scope's notices and the seals from its manifest on."""
    entries = list(enumerate(map(parse_entry, ledger.leaves)))
    notices = [i for i, e in entries if isinstance(e, Notice) and e.statement.scope == scope.scope_id]
    first = next(i for i, manifest in _manifests(ledger) if manifest == scope)
    return sorted([*notices, *(i for i, e in entries if isinstance(e, Seal) and i > first)])


def _subtree(ledger: Ledger) -> Callable[[int, int], bytes]:
    return TileReader(ledger.fetch, len(ledger.leaves)).hash


def _pack(ledger: Ledger, scope: Manifest | None = None) -> Pack:
    scope = scope or _manifests(ledger)[0][1]
    leaves = [(i, ledger.leaves[i]) for i in _indices(ledger, scope)]
    checkpoint = parse_checkpoint(ledger.files["checkpoint"])
    return make_pack(scope.scope_id, leaves, _subtree(ledger), ledger.fetch, checkpoint)


def _shown(pack: Pack, ledger: Ledger, indices: Iterable[int]) -> Pack:
    """With other leaves, proven to be in the tree."""
    shown = sorted(set(indices))
    hashes = tuple(prove_leaves(_subtree(ledger), shown, len(ledger.leaves)))
    return dataclasses.replace(pack, leaves=tuple((i, ledger.leaves[i]) for i in shown), hashes=hashes)


def _case(pack: Pack | bytes, ledger: Ledger, policy: Policy | None = None) -> dict[str, Any]:
    data = pack if isinstance(pack, bytes) else pack.to_bytes()
    return {**text("pack", data), **text("policy", (policy or ledger.policy).to_bytes())}


def _found(pack: Pack, policy: Policy) -> dict[str, Any]:
    found = verify_pack(pack, policy)
    return {
        "scope_id": found.manifest.scope_id.hex(),
        "size": found.checkpoint.size,
        "growth": [[c.batch, c.day, c.gross, c.live] for c in found.growth],
        "issued": {name: said.body["issued"] for name, said in sorted(found.issued.items())},
        "reached": found.reached.count.batch if found.reached else None,
        "closed": found.closed.count.batch if found.closed else None,
        "cosigners": [list(item) for item in found.cosigners],
    }


def _proven() -> list[Case]:
    small, both = _ledger(), ledgers.sample(witnessed=True)
    young = ledgers.build(small.batches[:3], witnesses=small.witnesses)
    empty = ledgers.build(small.batches[:1], witnesses=small.witnesses)
    given: dict[str, tuple[Ledger, Manifest | None]] = {
        "closed-scope": (small, None),
        "open-scope": (young, None),
        "scope-without-pledges": (empty, None),
        "two-scopes-the-first": (both, ledgers.campaign()),
        "two-scopes-the-second-not-reached": (both, ledgers.vote()),
    }
    cases = []
    for name, (ledger, scope) in given.items():
        pack = _pack(ledger, scope)
        cases.append(ok(name, **_case(pack, ledger), **_found(pack, ledger.policy)))
    return cases


def _left_out() -> list[Case]:
    """What a pack may not leave out, or bring besides."""
    ledger = _ledger()
    right = _pack(ledger)
    indices = [i for i, _ in right.leaves]
    entries = {i: parse_entry(data) for i, data in right.leaves}
    seals = [i for i in indices if isinstance(entries[i], Seal)]
    types = {e.statement.type: i for i, e in entries.items() if isinstance(e, Notice)}
    pledge = next(i for i, data in enumerate(ledger.leaves) if data[:1] == b"\x01")

    def without(*left_out: int) -> Pack:
        return _shown(right, ledger, [i for i in indices if i not in left_out])

    wrong: dict[str, tuple[type[ProtocolError], Pack]] = {
        "no-manifest": (ProofError, without(types["manifest"])),
        "opening-left-out": (NoticeConflictError, without(types["opening"])),
        "first-seal-left-out": (ProofError, without(seals[0])),
        "seal-left-out": (ProofError, without(seals[2])),
        "last-seal-left-out": (ProofError, without(seals[-1])),
        "no-seals": (ProofError, without(*seals)),
        "pledge-among-the-leaves": (MalformedError, _shown(right, ledger, [*indices, pledge])),
        "totals-missing": (ProofError, dataclasses.replace(right, totals=right.totals[:-1])),
        "totals-added": (ProofError, dataclasses.replace(right, totals=(*right.totals, b""))),
        "totals-exchanged": (
            ProofError,
            dataclasses.replace(right, totals=(right.totals[1], right.totals[0], *right.totals[2:])),
        ),
        "checkpoint-of-reached-missing": (ProofError, dataclasses.replace(right, archived=())),
        "checkpoint-of-another-batch-kept": (
            ProofError,
            dataclasses.replace(
                right, archived=(Archived(1, ledger.files["checkpoints/1"]), *right.archived)
            ),
        ),
        "checkpoint-of-reached-is-another": (
            ProofError,
            dataclasses.replace(
                right, archived=(Archived(right.archived[0].batch, ledger.files["checkpoints/1"]),)
            ),
        ),
        "checkpoint-of-reached-without-its-cosignature": (
            ProofError,
            dataclasses.replace(
                right,
                archived=(Archived(right.archived[0].batch, _uncosigned(right.archived[0].checkpoint)),),
            ),
        ),
    }
    return [fails(name, error, **_case(pack, ledger)) for name, (error, pack) in wrong.items()]


def _uncosigned(note: bytes) -> bytes:
    return note.rsplit("—".encode(), 1)[0]


def _forged() -> list[Case]:
    ledger = _ledger()
    right = _pack(ledger)
    at = next(i for i, (_, data) in enumerate(right.leaves) if data[:1] == b"\x02")
    index, entry = right.leaves[at]
    more = dataclasses.replace(Seal.from_bytes(entry), pledges_total=1000).to_bytes()
    lied = (*right.leaves[:at], (index, more), *right.leaves[at + 1 :])
    stranger = Policy(logs=(dataclasses.replace(ledger.policy.logs[0], key=_OTHER.verification_key),))
    other = ledgers.sample(witnessed=True)
    replaced: dict[str, tuple[type[ProtocolError], dict[str, Any]]] = {
        "leaf-changed": (ProofError, {"leaves": lied}),
        "hash-missing": (ProofError, {"hashes": right.hashes[:-1]}),
        "hash-added": (ProofError, {"hashes": (*right.hashes, bytes(32))}),
        "checkpoint-changed": (SignatureError, {"checkpoint": right.checkpoint.replace(b"\n", b"\n1", 1)}),
        "checkpoint-of-another-tree": (ProofError, {"checkpoint": other.files["checkpoint"]}),
        "no-cosignature": (UnknownKeyError, {"checkpoint": _uncosigned(right.checkpoint)}),
        "another-scope": (ProofError, {"scope_id": ledgers.vote().scope_id}),
    }
    nobody = Policy(logs=ledger.policy.logs)
    quorum_of_terms = dataclasses.replace(right, checkpoint=_uncosigned(right.checkpoint))
    return [
        *(
            fails(name, error, **_case(dataclasses.replace(right, **change), ledger))
            for name, (error, change) in replaced.items()
        ),
        fails("log-not-in-the-policy", UnknownKeyError, **_case(right, ledger, stranger)),
        fails("no-quorum-of-the-terms", UnknownKeyError, **_case(quorum_of_terms, ledger, nobody)),
    ]


def _lied() -> list[Case]:
    """Signed by the ledger, and contradicting itself."""
    small = _ledger()
    (_, scope), *_ = _manifests(small)
    key = scope.scope_id
    opening = manifests.opening(scope)

    def built(name: str, error: type[ProtocolError], items: list[Batch], **edit: Any) -> Case:
        ledger = ledgers.build(items, witnesses=small.witnesses, **edit)
        leaves = [(i, ledger.leaves[i]) for i in _indices(ledger, scope)]
        good = _pack(small)
        pack = _shown(good, ledger, [i for i, _ in leaves])
        seals = [Seal.from_bytes(data) for _, data in leaves if data[:1] == b"\x02"]
        files = dict.fromkeys(ledger.files[f"totals/{seal.batch}"] for seal in seals)
        kept = tuple(
            Archived(item.batch, ledger.files[f"checkpoints/{item.batch}"]) for item in good.archived
        )
        pack = dataclasses.replace(
            pack, totals=tuple(files), archived=kept, checkpoint=ledger.files["checkpoint"]
        )
        return fails(name, error, **_case(pack, ledger))

    def batches() -> list[Batch]:
        items: list[Batch] = small.copy().batches
        return items

    def seal(at: int, **changes: int) -> dict[str, Any]:
        return {"edit_seal": lambda s: dataclasses.replace(s, **changes) if s.batch == at else s}

    def totals(batch: int, gross: int, live: int) -> dict[str, Any]:
        return {"edit_totals": lambda number, t: {**t, key: (gross, live)} if number == batch else t}

    def two_more(seal: Seal) -> Seal:
        in_batch = seal.pledges_in_batch + (2 if seal.batch == 3 else 0)
        total = seal.pledges_total + (2 if seal.batch >= 3 else 0)
        return dataclasses.replace(seal, pledges_in_batch=in_batch, pledges_total=total)

    late = batches()
    late[4].day = late[5].day = scope.deadline_day + 1
    few = batches()
    few[3].entries = ledgers.raw(manifests.issuance(scope, ledgers.OPENS + 2, 0, opening))
    unopened = batches()
    unopened[0].entries.remove(opening.to_bytes())
    unopened[1].entries.append(opening.to_bytes())
    return [
        built("batch-number-skipped", ProofError, batches(), **seal(3, batch=4)),
        built("day-falls", ProofError, batches(), **seal(2, day=ledgers.OPENS - 3)),
        built("day-other-than-the-witnesses", ProofError, batches(), **seal(5, day=ledgers.CLOSES + 5)),
        built("pledges-do-not-add-up", ProofError, batches(), **seal(2, pledges_total=900)),
        built("more-pledges-than-entries", ProofError, batches(), edit_seal=two_more),
        built("count-grows-more-than-the-batch", ProofError, batches(), **totals(1, 5, 5)),
        built("count-falls", ProofError, batches(), **totals(3, 5, 4)),
        built("pledges-before-the-opening", ProofError, unopened),
        built("issuance-below-the-count", ProofError, few),
        built("closed-after-the-deadline", ProofError, late),
    ]


def _quotas() -> list[Case]:
    """A campaign with quotas by option, and rows of options that contradict it."""
    scope, story = quota_ledgers.campaign(), quota_ledgers.story()
    whole = ledgers.build(story)
    plain = manifests.manifest(
        title=manifests.both("Beside", "À côté"), issuers=[manifests.issuer(0, token_key=6)], min_batch=1
    )
    beside = quota_ledgers.terms(plain)
    beside.entries += story[0].entries
    counted = Batch(story[1].day, [*story[1].entries, manifests.pledge(plain, 40).to_bytes()])
    neighbours = ledgers.build([beside, counted])
    proven = {
        "quotas-met": (whole, scope),
        "threshold-without-quotas": (ledgers.build(story[:2]), scope),
        "quotas-without-threshold": (ledgers.build(story[:3]), scope),
        "beside-a-scope-with-quotas": (neighbours, plain),
    }
    cases = []
    for name, (ledger, terms) in proven.items():
        pack = _pack(ledger, terms)
        cases.append(ok(name, **_case(pack, ledger), **_found(pack, ledger.policy)))

    def built(name: str, error: type[ProtocolError], ledger: Ledger) -> Case:
        leaves = _indices(ledger, scope)
        seals = [Seal.from_bytes(ledger.leaves[i]) for i in leaves if ledger.leaves[i][:1] == b"\x02"]
        files = tuple(dict.fromkeys(ledger.files[f"totals/{seal.batch}"] for seal in seals))
        kept: tuple[Archived, ...] = (Archived(3, ledger.files["checkpoints/3"]),)
        if len(ledger.batches) > len(story):
            kept += (Archived(len(story), ledger.files[f"checkpoints/{len(story)}"]),)
        pack = Pack(scope.scope_id, (), (), files, kept, ledger.files["checkpoint"])
        return fails(name, error, **_case(_shown(pack, ledger, leaves), ledger))

    for wrong in ("missing", "altered", "altered-on-one-side", "surplus"):
        edited = quota_ledgers.edited(quota_ledgers.WRONG_ROWS[wrong])
        cases.append(built(f"option-row-{wrong}", MalformedError, edited))
    body = {"title": {"en": "News"}, "text": {"en": "It is done."}}
    update = manifests.notice(scope, "organiser", "update", body, manifests.text_notices(scope)[-1])
    ended = [*story, quota_ledgers.closing(scope), Batch(manifests.CLOSES + 2, ledgers.raw(update))]
    moved = ledgers.build(
        ended,
        edit_totals=lambda at, rows: (
            quota_ledgers.with_row(1, 2, 2)(quota_ledgers.without(3)(rows)) if at == len(ended) - 1 else rows
        ),
    )
    return [*cases, built("options-change-after-the-closing", ProofError, moved)]


def _malformed() -> list[Case]:
    ledger = _ledger()
    right = _pack(ledger).to_bytes()

    def changed(edit: Callable[[dict[str, Any]], object]) -> bytes:
        value = json.loads(right)
        edit(value)
        return jcs.canonicalise(value)

    def leaf(value: dict[str, Any]) -> dict[str, Any]:
        first: dict[str, Any] = value["leaves"][0]
        return first

    wrong = {
        "not-json": right[:-1],
        "white-space": right + b"\n",
        "other-order-of-members": json.dumps(dict(reversed(json.loads(right).items()))).encode(),
        "not-an-object": b"[]",
        "version-2": changed(lambda v: v.update(headcount_pack=2)),
        "unknown-member": changed(lambda v: v.update(note="")),
        "no-scope": changed(lambda v: v.pop("scope")),
        "scope-in-upper-case": changed(lambda v: v.update(scope=v["scope"].upper())),
        "no-leaves": changed(lambda v: v.update(leaves=[])),
        "leaves-not-a-list": changed(lambda v: v.update(leaves={})),
        "leaf-twice": changed(lambda v: v["leaves"].insert(0, v["leaves"][0])),
        "leaf-without-index": changed(lambda v: leaf(v).pop("index")),
        "leaf-index-negative": changed(lambda v: leaf(v).update(index=-1)),
        "leaf-with-member": changed(lambda v: leaf(v).update(hash="")),
        "leaf-noncanonical-base64": changed(lambda v: leaf(v).update(entry=leaf(v)["entry"] + "=")),
        "hash-of-31-bytes": changed(lambda v: v["hashes"].__setitem__(0, "A" * 40 + "AA==")),
        "totals-not-a-string": changed(lambda v: v["totals"].__setitem__(0, 1)),
        "archived-batches-exchanged": changed(
            lambda v: v.update(archived=[{**v["archived"][0], "batch": 9}, v["archived"][0]])
        ),
        "checkpoint-not-a-string": changed(lambda v: v.update(checkpoint=None)),
        "checkpoint-without-signature": changed(
            lambda v: v.update(checkpoint=v["checkpoint"].partition("\n\n")[0])
        ),
    }
    return [fails(f"malformed-{name}", MalformedError, **_case(data, ledger)) for name, data in wrong.items()]


def check(case: Case) -> None:
    """Read a pack and verify it."""
    pack = Pack.from_bytes(octets(case, "pack"))
    policy = Policy.from_bytes(octets(case, "policy"))
    same(case, pack=pack.to_bytes().decode(), **_found(pack, policy))
