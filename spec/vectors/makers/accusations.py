"""Vectors of accusations, and of receipts that refute them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import ledgers
import manifests
from headcount_spec.accusation import Accusation, Preimage, accuse, refute, verify_accusation
from headcount_spec.errors import MalformedError, ProofError, SignatureError, UnknownKeyError
from headcount_spec.merkle import leaf_hash
from headcount_spec.multiproof import prove_leaves
from headcount_spec.note import SigningKey
from headcount_spec.pledge import Pledge
from headcount_spec.policy import Policy
from headcount_spec.promise import KIND_PLEDGE, KIND_REVISION, Promise, sign_promise
from headcount_spec.revision import Revision
from headcount_spec.seal import Seal
from headcount_spec.tile import TileReader
from headcount_spec.tlog_proof import TlogProof
from ledgers import Batch, Ledger

from . import Case, fails, octets, ok, same, text

FILE = "accusations.json"

_OTHER = SigningKey("other.example", bytes(32))


def make() -> dict[str, Any]:
    """Broken promises; and what somebody would try against a ledger that has kept one."""
    return {
        "about": "Proofs that a ledger has broken a promise (Protocol, Section 4.10), under a policy, and "
        "receipts that refute them.",
        "source": "Made by makers/accusations.py.",
        "cases": [*_broken(), *_kept(), *_forged(), *_malformed(), *_refuted()],
    }


# The ledgers: two scopes; one batch of notices alone; the scope is closed, or the deadline passes.


@functools.cache
def _ledger(*, closed: bool = True, extra: int | None = None) -> Ledger:
    one, two = ledgers.campaign(), ledgers.vote()
    p = [_pledge(i) for i in range(8)]
    openings = [*manifests.openings(one), *manifests.openings(two)]
    end = [manifests.closing(one)] if closed else manifests.text_notices(two)[:1]
    late = manifests.CLOSES + 1 if closed else one.deadline_day + 1
    batches = [
        Batch(manifests.OPENS - 1, ledgers.raw(manifests.manifest_notice(one), openings[0])),
        Batch(manifests.OPENS, ledgers.raw(manifests.manifest_notice(two), *openings[1:], *p[:3])),
        Batch(manifests.OPENS + 1, ledgers.raw(*p[3:6], _revision(0), _revision(1))),
        Batch(manifests.OPENS + 2, ledgers.raw(manifests.issuance(one, manifests.OPENS, 16, openings[0]))),
        Batch(late, ledgers.raw(p[6], *end)),
        Batch(late + 1, ledgers.raw(*manifests.text_notices(one)[:1])),
    ]
    if extra is not None:
        batches[5].entries.append(_pledge(extra).to_bytes())
    return ledgers.build(batches, witnesses=(ledgers.WITNESS,))


def _pledge(i: int) -> Pledge:
    pledge: Pledge = manifests.pledge(ledgers.campaign(), i)
    return pledge


def _revision(i: int, serial: int = 1) -> Any:
    return manifests.revision(_pledge(i), i, serial)


def _promise(entry: Any, key: SigningKey = manifests.LEDGER_KEY, **changes: Any) -> Promise:
    kind = KIND_PLEDGE if isinstance(entry, Pledge) else KIND_REVISION
    fields = {
        "leaf_hash": leaf_hash(entry.to_bytes()),
        "kind": kind,
        "nullifier": entry.nullifier,
        "serial": entry.serial if isinstance(entry, Revision) else 0,
        "deadline": ledgers.campaign().deadline_day,
    }
    return sign_promise(key, **{**fields, **changes})


def _preimage(pledge: Pledge) -> Preimage:
    return Preimage(pledge.scope_id, pledge.choice, pledge.revision_key, pledge.sealed_hash)


def _made(entry: Any, pledge: Pledge, ledger: Ledger, promise: Promise | None = None) -> Accusation:
    """By the rules, from the manifest on."""
    first = ledger.leaves.index(manifests.manifest_notice(ledgers.campaign()).to_bytes())
    entries = enumerate(ledger.leaves[first:], first)
    reader = TileReader(ledger.fetch, len(ledger.leaves))
    return accuse(
        promise or _promise(entry), _preimage(pledge), entries, reader.hash, ledger.files["checkpoint"]
    )


def _shown(accusation: Accusation, indices: Sequence[int], ledger: Ledger) -> Accusation:
    """With other leaves, proven to be in the tree."""
    leaves = tuple((i, ledger.leaves[i]) for i in sorted(set(indices)))
    reader = TileReader(ledger.fetch, len(ledger.leaves))
    hashes = tuple(prove_leaves(reader.hash, [i for i, _ in leaves], len(ledger.leaves)))
    return dataclasses.replace(accusation, leaves=leaves, hashes=hashes)


def _around(entry: Any, ledger: Ledger) -> list[int]:
    """What is shown when another leaf hash is promised: the entry itself and its neighbours."""
    pledge = entry if isinstance(entry, Pledge) else _pledge(0)
    return [i for i, _ in _made(entry, pledge, ledger, _promise(entry, leaf_hash=bytes(32))).leaves]


def _case(accusation: Accusation | bytes, ledger: Ledger, policy: Policy | None = None) -> dict[str, Any]:
    data = accusation if isinstance(accusation, bytes) else accusation.to_bytes()
    return {**text("accusation", data), **text("policy", (policy or ledger.policy).to_bytes())}


def _proven(name: str, accusation: Accusation, ledger: Ledger) -> Case:
    absence = verify_accusation(accusation, ledger.policy).absence
    found = {
        "scope_id": absence.manifest.scope_id.hex(),
        "first_batch": absence.first_batch,
        "last_batch": absence.last_batch,
        "first_index": absence.first_index,
        "end_index": absence.end_index,
        "is_closing": absence.is_closing,
        "is_replaced": absence.is_replaced,
    }
    return ok(name, **_case(accusation, ledger), **found)


def _broken() -> list[Case]:
    closed, open_ = _ledger(), _ledger(closed=False)
    # Where the nullifiers of these stand among those of the batches: below, between, above.
    order = sorted(range(20, 40), key=lambda i: _pledge(i).nullifier)
    places = {"lowest": order[0], "middle": order[len(order) // 2], "highest": order[-1]}
    cases = []
    for name, i in places.items():
        cases.append(
            _proven(f"pledge-with-the-{name}-nullifier", _made(_pledge(i), _pledge(i), closed), closed)
        )
        cases.append(
            _proven(f"revision-of-the-{name}-nullifier", _made(_revision(i), _pledge(i), closed), closed)
        )
    middle = _pledge(places["middle"])
    cases += [
        _proven("second-revision", _made(_revision(0, 2), _pledge(0), closed), closed),
        _proven("scope-not-closed-and-deadline-passed", _made(middle, middle, open_), open_),
        _proven(
            "another-entry-in-its-place",
            _made(_pledge(4), _pledge(4), closed, _promise(_pledge(4), leaf_hash=leaf_hash(b"other"))),
            closed,
        ),
    ]
    return cases


def _kept() -> list[Case]:
    """Against a ledger that holds the entry."""
    ledger = _ledger()
    seals = [i for i, data in enumerate(ledger.leaves) if data[:1] == b"\x02"]
    cases: list[Case] = []

    def fail(name: str, entry: Any, pledge: Pledge, indices: Sequence[int], code: Any = ProofError) -> None:
        base = dataclasses.replace(_made(absent, absent, ledger), promise=_promise(entry))
        base = dataclasses.replace(base, preimage=_preimage(pledge))
        cases.append(fails(name, code, **_case(_shown(base, indices, ledger), ledger)))

    absent = _pledge(20)
    pledge = next(_pledge(i) for i in range(3) if _place(ledger, _pledge(i)) == seals[0] + 2)  # the second
    right = _around(pledge, ledger)
    at = _place(ledger, pledge)
    fail("entry-shown", pledge, pledge, right)
    fail("entry-between-the-neighbours-left-out", pledge, pledge, [i for i in right if i != at])
    fail("batch-left-out", pledge, pledge, [i for i in right if not seals[0] < i <= seals[1]])
    fail(
        "later-seal-as-that-of-the-manifest",
        pledge,
        pledge,
        [i for i in right if not seals[0] <= i < seals[1]],
    )
    fail("seal-left-out", pledge, pledge, [i for i in right if i != seals[1] and i != at])
    fail("begins-behind-the-manifest", pledge, pledge, [i for i in right if i > seals[1]])
    other = _place(ledger, manifests.manifest_notice(ledgers.vote()))
    fail(
        "begins-with-the-manifest-of-another-scope",
        pledge,
        pledge,
        [i for i in right if i >= seals[1]] + [other],
    )
    fail("begins-with-a-seal", pledge, pledge, [i for i in right if i >= seals[1]])
    fail("only-the-manifest", pledge, pledge, right[:1])
    fail("only-the-batch-of-the-manifest", pledge, pledge, right[:2])
    # The first of its batch: the seal before is no neighbour of the second.
    first = next(_pledge(i) for i in range(3, 6) if _place(ledger, _pledge(i)) == seals[1] + 1)
    fail(
        "neighbour-in-the-batch-before",
        first,
        first,
        [i for i in [*_around(first, ledger), seals[1] - 1] if i != seals[1] + 1],
    )
    # The last pledge of a batch: the notices do not follow its neighbour, revisions stand between.
    last = next(_pledge(i) for i in range(3, 6) if _place(ledger, _pledge(i)) == seals[1] + 3)
    fail(
        "entry-of-another-type-as-neighbour",
        last,
        last,
        [i for i in [*_around(last, ledger), seals[1] + 4] if i != seals[1] + 3],
    )
    revision = _revision(0)
    where = _place(ledger, revision)
    fail(
        "pledge-as-neighbour-of-a-revision",
        revision,
        _pledge(0),
        [i for i in [*_around(revision, ledger), seals[1] + 3] if i != where],
    )
    return cases


def _place(ledger: Ledger, entry: Any) -> int:
    index: int = ledger.leaves.index(entry.to_bytes())
    return index


def _forged() -> list[Case]:
    ledger, early = _ledger(), _ledger(closed=False)
    absent = _pledge(20)
    right = _made(absent, absent, ledger)
    waiting = _made(absent, absent, early)
    seals = [i for i, entry in right.leaves if entry[:1] == b"\x02"]
    turned = dataclasses.replace(right.preimage, scope_id=ledgers.vote().scope_id)
    index, entry = right.leaves[1]
    seal = dataclasses.replace(Seal.from_bytes(entry), day=manifests.CLOSES + 60).to_bytes()
    lied = (right.leaves[0], (index, seal), *right.leaves[2:])
    stranger = Policy(logs=(dataclasses.replace(ledger.policy.logs[0], key=_OTHER.verification_key),))
    unsigned = right.checkpoint.rsplit("—".encode(), 1)[0]
    replaced: dict[str, tuple[Any, dict[str, Any]]] = {
        "promise-by-another-key": (SignatureError, {"promise": _promise(absent, _OTHER)}),
        "promise-changed": (
            SignatureError,
            {"promise": dataclasses.replace(right.promise, deadline=right.promise.deadline - 9)},
        ),
        "promise-for-another-pledge": (ProofError, {"promise": _promise(_pledge(21))}),
        "preimage-in-another-scope": (ProofError, {"preimage": turned}),
        "leaf-changed": (ProofError, {"leaves": lied}),
        "leaf-at-another-index": (
            ProofError,
            {"leaves": ((right.leaves[0][0] + 1, right.leaves[0][1]), *right.leaves[1:])},
        ),
        "leaf-beyond-the-tree": (ProofError, {"leaves": (*right.leaves, (len(ledger.leaves), entry))}),
        "no-leaves": (ProofError, {"leaves": ()}),
        "hash-missing": (ProofError, {"hashes": right.hashes[:-1]}),
        "hash-added": (ProofError, {"hashes": (*right.hashes, bytes(32))}),
        "hashes-exchanged": (ProofError, {"hashes": (*right.hashes[1::-1], *right.hashes[2:])}),
        "checkpoint-changed": (SignatureError, {"checkpoint": right.checkpoint.replace(b"\n", b"\n1", 1)}),
        "no-cosignature": (UnknownKeyError, {"checkpoint": unsigned}),
    }
    shown = [i for i, _ in right.leaves]
    before = [i for i, _ in waiting.leaves]
    last_seal = [i for i in before if early.leaves[i][:1] == b"\x02"][-1]
    return [
        *(
            fails(name, error, **_case(dataclasses.replace(right, **change), ledger))
            for name, (error, change) in replaced.items()
        ),
        fails("log-not-in-the-policy", UnknownKeyError, **_case(right, ledger, stranger)),
        fails(
            "ends-before-the-deadline",
            ProofError,
            **_case(_shown(waiting, [i for i in before if i <= seals[-2]], early), early),
        ),
        fails(
            "ends-without-a-seal",
            ProofError,
            **_case(_shown(waiting, [i for i in before if i != last_seal], early), early),
        ),
        fails(
            "leaves-behind-the-end",
            ProofError,
            **_case(_shown(right, [*shown, len(ledger.leaves) - 1], ledger), ledger),
        ),
    ]


def _malformed() -> list[Case]:
    ledger = _ledger()
    right = _made(_pledge(20), _pledge(20), ledger).to_bytes().decode()
    head, _, checkpoint = right.partition("\n\n")
    lines = head.split("\n")
    leaf = next(i for i, line in enumerate(lines) if line.startswith("leaf "))
    number, data = lines[leaf].split(" ")[1:]
    wrong = {
        "version-2": right.replace("/v1", "/v2", 1),
        "leading-newline": "\n" + right,
        "no-promise": right.replace(lines[1] + "\n", ""),
        "no-preimage": right.replace(lines[2] + "\n", ""),
        "fields-exchanged": right.replace(f"{lines[1]}\n{lines[2]}", f"{lines[2]}\n{lines[1]}"),
        "preimage-of-97-bytes": right.replace(lines[2], f"preimage {'A' * 128}AA=="),
        "leaf-with-leading-zero": right.replace(f"leaf {number} ", f"leaf 0{number} "),
        "leaf-without-entry": right.replace(lines[leaf], f"leaf {number}"),
        "leaf-with-two-spaces": right.replace(f"leaf {number} ", f"leaf {number}  "),
        "leaf-twice": right.replace(lines[leaf], f"{lines[leaf]}\n{lines[leaf]}"),
        "leaves-exchanged": right.replace(
            f"{lines[leaf]}\n{lines[leaf + 1]}", f"{lines[leaf + 1]}\n{lines[leaf]}"
        ),
        "leaf-behind-a-hash": right.replace(head, f"{head}\n{lines[leaf]}"),
        "leaf-noncanonical-base64": right.replace(data, data + "="),
        "hash-of-31-bytes": head + "\n" + "A" * 40 + "AA==\n\n" + checkpoint,
        "no-empty-line": head + "\n" + checkpoint,
        "no-checkpoint": head + "\n\n",
        "two-empty-lines": head + "\n\n\n" + checkpoint,
        "truncated": right[:-1],
    }
    return [
        fails(f"malformed-{name}", MalformedError, **_case(p.encode(), ledger)) for name, p in wrong.items()
    ]


def _refuted() -> list[Case]:
    """By a ledger whose order is broken, or that has shown two histories: else there is nothing to refute."""
    ledger = _ledger()
    pledge = _pledge(20)
    accusation = _made(pledge, pledge, ledger)
    given = [Batch(batch.day, list(batch.entries)) for batch in ledger.batches]
    given[2].entries.append(pledge.to_bytes())
    kept = ledgers.build(given, witnesses=(ledgers.WITNESS,))
    late = _ledger(extra=20)
    early = [Batch(batch.day, list(batch.entries)) for batch in ledger.batches]
    early[0].entries.append(pledge.to_bytes())
    before = ledgers.build(early, witnesses=(ledgers.WITNESS,))
    good = kept.receipt(_place(kept, pledge))
    case = {**_case(accusation, ledger)}
    return [
        ok("refuted", **case, **text("receipt", good.to_bytes()), index=good.index),
        *(
            fails(name, error, **case, **text("receipt", receipt.to_bytes()))
            for name, error, receipt in [
                ("refuted-by-a-receipt-of-another-entry", ProofError, kept.receipt(good.index + 1)),
                ("refuted-by-a-later-batch", ProofError, late.receipt(_place(late, pledge))),
                ("refuted-by-the-manifests-batch", ProofError, before.receipt(_place(before, pledge))),
                (
                    "refuted-under-a-checkpoint-without-quorum",
                    UnknownKeyError,
                    dataclasses.replace(good, checkpoint=good.checkpoint.rsplit("—".encode(), 1)[0]),
                ),
            ]
        ),
    ]


def check(case: Case) -> None:
    """Read an accusation and verify it; where there is a receipt, it must refute it."""
    accusation = Accusation.from_bytes(octets(case, "accusation"))
    policy = Policy.from_bytes(octets(case, "policy"))
    verified = verify_accusation(accusation, policy)
    absence = verified.absence
    if "receipt" in case:
        found = refute(verified, TlogProof.from_bytes(octets(case, "receipt")), policy)
        same(case, index=found.index)
        return
    same(
        case,
        accusation=accusation.to_bytes().decode(),
        scope_id=absence.manifest.scope_id.hex(),
        first_batch=absence.first_batch,
        last_batch=absence.last_batch,
        first_index=absence.first_index,
        end_index=absence.end_index,
        is_closing=absence.is_closing,
        is_replaced=absence.is_replaced,
    )
