"""Ledgers with one rule of an audit broken each, by the code that names it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import corrupter
import keys
import ledgers
import manifests
from headcount_ledger.audit import AuditReport, audit
from headcount_spec import tile
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.merkle import RootHash
from headcount_spec.note import Note, SigningKey
from headcount_spec.notice import sign_statement
from headcount_spec.revision import Revision
from ledgers import CLOSES, OPENS, Batch, Ledger


def run(ledger: Ledger, **held: object) -> AuditReport:
    return audit(ledger.fetch, ledger.policy, **held)  # type: ignore[arg-type]


def codes(ledger: Ledger, **held: object) -> set[str]:
    return {fault.code for fault in run(ledger, **held).faults}


def edited(edit: Callable[[list[Batch]], object]) -> Ledger:
    batches = ledgers.copied()
    edit(batches)
    return ledgers.build(batches)


def without(batch: int, wanted: Callable[[object], bool]) -> Ledger:
    batches = ledgers.copied()
    batches[batch].entries = [e for e in batches[batch].entries if not wanted(ledgers.parsed(e))]
    return ledgers.build(batches)


def is_type(name: str) -> Callable[[object], bool]:
    return lambda entry: getattr(getattr(entry, "statement", None), "type", "") == name


def revised(serial: int = 1, choice: int = 0xFFFF, by: int = 5, sign_by: int = 5) -> bytes:
    pledge = manifests.pledge(ledgers.campaign(), by)
    return manifests.revision(pledge, sign_by, serial, choice).to_bytes()


def torsion_revision() -> bytes:
    # Everything signs under the identity as key and R, with S = 0, in libraries that do not look.
    good = Revision.from_bytes(revised())
    return dataclasses.replace(good, signature=b"\x01" + bytes(63)).to_bytes()


def with_torsion_key() -> Ledger:
    batches = ledgers.copied()
    pledge = manifests.pledge(ledgers.campaign(), 0)
    batches[1].entries[0] = dataclasses.replace(pledge, revision_key=b"\x01" + bytes(31)).to_bytes()
    return ledgers.build(batches)


def shared_token_key() -> Ledger:
    other = manifests.manifest(
        kind="round",
        title=manifests.both("Other", "Autre"),
        options=manifests.options("a"),
        tiers=None,
        action=None,
    )
    return edited(lambda b: b[1].entries.append(manifests.manifest_notice(other).to_bytes()))


def other_ledgers_terms() -> Ledger:
    key = SigningKey("other.example", keys.seed("other"))
    terms = {"origin": key.name, "key": key.verification_key.to_text()}
    other = manifests.manifest(issuers=[manifests.issuer(0, 4)], title=manifests.both("X", "Y"), ledger=terms)
    return edited(lambda b: b[1].entries.append(manifests.manifest_notice(other).to_bytes()))


def forged_issuance() -> Ledger:
    def edit(batches: list[Batch]) -> None:
        at = next(i for i, e in enumerate(batches[3].entries) if is_type("issuance")(ledgers.parsed(e)))
        statement = ledgers.parsed(batches[3].entries[at]).statement  # type: ignore[union-attr]
        batches[3].entries[at] = sign_statement(statement, [keys.seed("nobody")]).to_bytes()

    return edited(edit)


def issuance_of(*numbers: tuple[int, int]) -> Ledger:
    """The campaign's issuance notices replaced: (batch, issued)."""
    one = ledgers.campaign()
    batches = ledgers.copied()
    last = manifests.openings(one)[0]
    for item in batches:
        item.entries = [
            e
            for e in item.entries
            if not (is_type("issuance")(entry := ledgers.parsed(e)) and entry.statement.scope == one.scope_id)  # type: ignore[union-attr]
        ]
    for batch, issued in numbers:
        last = manifests.issuance(one, OPENS + batch, issued, last)
        batches[batch].entries.append(last.to_bytes())
    return ledgers.build(batches)


def after_destruction(*notices: tuple[str, dict[str, object]]) -> Ledger:
    """A closed campaign whose issuer says these things after the closing."""
    one = ledgers.campaign()
    opening = manifests.opening(one)
    last = manifests.issuance(one, CLOSES, 16, opening)
    pledges = [manifests.pledge(one, i) for i in range(8)]
    said = []
    for type, body in notices:
        said.append(manifests.notice(one, "issuer", type, body, said[-1] if said else last))  # type: ignore[arg-type]
    terms = [manifests.manifest_notice(one), *manifests.text_notices(one), opening]
    return ledgers.build(
        (
            Batch(OPENS - 1, ledgers.raw(*terms)),
            Batch(OPENS, ledgers.raw(*pledges)),
            Batch(CLOSES + 1, ledgers.raw(last, manifests.closing(one))),
            Batch(CLOSES + 2, ledgers.raw(*said)),
        )
    )


def destruction(*destroyed: str, day: int = CLOSES + 2) -> tuple[str, dict[str, object]]:
    return "destruction", {"day": day, "keys": list(destroyed)}


def successor_from(seal: int, scope: str | None = None) -> Ledger:
    """The sample with terms that continue its campaign, or another scope, from a seal."""
    one = ledgers.campaign()
    two = manifests.manifest(
        issuers=[manifests.issuer(0, token_key=6)],
        continues={"scope": scope or one.scope_id.hex(), "seal": seal},
    )
    return edited(lambda b: b[2].entries.append(manifests.manifest_notice(two).to_bytes()))


def sheets_of(*numbers: int) -> Ledger:
    """A meeting whose terms allow five slips, on sheets of these numbers."""
    entry = manifests.issuer(0, token_key=4) | {"attesters": ["in-person"], "slips": 5}
    meeting = manifests.manifest(title=manifests.both("Meet", "Venez"), level="in-person", issuers=[entry])
    batches = ledgers.copied()
    batches[0].entries += ledgers.raw(manifests.manifest_notice(meeting), *manifests.text_notices(meeting))
    (last,) = manifests.openings(meeting)
    batches[0].entries.append(last.to_bytes())
    for number in numbers:
        body = {"root": "00" * 32, "number": number}
        last = manifests.notice(meeting, "issuer", "codes", body, last, manifests.ISSUER_SEEDS[:1])
        batches[2].entries.append(last.to_bytes())
    return ledgers.build(batches)


def odd_issuance() -> Ledger:
    batches = ledgers.copied()
    at = next(i for i, e in enumerate(batches[3].entries) if is_type("issuance")(ledgers.parsed(e)))

    def lower(statement: dict[str, object]) -> None:
        statement["body"]["issued"] = 17  # type: ignore[index]

    batches[3].entries[at] = corrupter.with_statement(batches[3].entries[at], lower)
    return ledgers.build(batches)


def wrong_opening() -> Ledger:
    one = ledgers.campaign()
    body = {"issuer": one.issuers[0].name, "token_key_id": bytes(32).hex()}
    bad = manifests.notice(one, "issuer", "opening", body)
    batches = ledgers.copied()
    batches[0].entries = [
        bad.to_bytes() if e == manifests.opening(one).to_bytes() else e for e in batches[0].entries
    ]
    return ledgers.build(batches[:1])


def shifted(batch: int, day: int) -> Ledger:
    def edit(batches: list[Batch]) -> None:
        batches[batch].day = day

    return edited(edit)


def unsigned_by_witness(path: str) -> Ledger:
    ledger = ledgers.sample(witnessed=True)
    note = parse_checkpoint(ledger.files[path]).note
    ledger.files[path] = Note(note.text, note.signatures[:1]).to_bytes()
    return ledger


def hinted(data: bytes) -> Ledger:
    ledger = ledgers.sample()
    path = f"scopes/{ledgers.campaign().scope_id.hex()}"
    ledger.files[path] = data.replace(b"<good>", ledger.files[path])
    return ledger


def tile_of(edit: Callable[[bytes], bytes], path: str | None = None) -> Ledger:
    ledger = ledgers.sample()
    path = path or tile.tiles_for(len(ledger.leaves))[0].path
    ledger.files[path] = edit(ledger.files[path])
    return ledger


def bundle_of(edit: Callable[[bytes], bytes]) -> Ledger:
    ledger = ledgers.sample()
    return tile_of(edit, tile.bundles_for(len(ledger.leaves))[0].path)


def without_file(path: str) -> Ledger:
    ledger = ledgers.sample()
    del ledger.files[path]
    return ledger


def checkpoint_of(data: bytes) -> Ledger:
    ledger = ledgers.sample()
    ledger.files["checkpoint"] = data
    return ledger


def forged_checkpoint() -> Ledger:
    ledger = ledgers.sample()
    note = parse_checkpoint(ledger.files["checkpoint"]).note
    forged = dataclasses.replace(note.signatures[0], signature=bytes(64))
    return checkpoint_of(Note(note.text, (forged,)).to_bytes())


def signed_root(root: bytes) -> Ledger:
    ledger = ledgers.sample()
    checkpoint = Checkpoint(ledger.key.name, len(ledger.leaves), RootHash(root))
    ledger.files["checkpoint"] = sign_checkpoint(checkpoint, ledger.key)
    return ledger


def extra_leaf_after_sealing() -> Ledger:
    whole = ledgers.sample()
    update = manifests.notice(
        ledgers.campaign(),
        "organiser",
        "update",
        {"title": {"en": "News"}, "text": {"en": "Soon."}},
        manifests.text_notices(ledgers.campaign())[-1],
    )
    whole.leaves.insert(whole.ends[2] - 1, update.to_bytes())
    ledgers.publish_tiles(whole.files, whole.leaves, 0)
    whole.files["checkpoint"] = ledgers.sign(whole, OPENS)
    return whole


def unsealed() -> Ledger:
    whole = ledgers.sample()
    del whole.leaves[-1]
    ledgers.publish_tiles(whole.files, whole.leaves, 0)
    whole.files["checkpoint"] = ledgers.sign(whole, OPENS)
    return whole


def witness_of_another_day() -> Ledger:
    ledger = ledgers.sample(witnessed=True)
    ledger.files["checkpoints/6"] = ledger.files["checkpoint"] = ledgers.sign(ledger, CLOSES + 4)
    return ledger


def late_witness_of_the_closing() -> Ledger:
    one = manifests.manifest(
        max_hold=0, witnesses=f"witness w {ledgers.WITNESS.cosigner_key.to_text()}\nquorum w\n"
    )
    notices = [manifests.manifest_notice(one), *manifests.openings(one)]
    batches = [Batch(OPENS, ledgers.raw(*notices)), Batch(CLOSES + 1, ledgers.raw(manifests.closing(one)))]
    ledger = ledgers.build(batches, witnesses=(ledgers.WITNESS,))
    ledger.files["checkpoints/1"] = ledger.files["checkpoint"] = ledgers.sign(ledger, CLOSES + 2)
    return ledger


def witness_of_the_terms_alone() -> Ledger:
    ledger = ledgers.small()
    for path in ("checkpoint", "checkpoints/4"):
        note = parse_checkpoint(ledger.files[path]).note
        ledger.files[path] = Note(note.text, note.signatures[:1]).to_bytes()
    ledger.witnesses = ()
    return ledger


RULES: list[tuple[str, Callable[[], Ledger]]] = [
    ("unreadable-file", lambda: without_file("checkpoint")),
    ("unreadable-file", lambda: without_file("totals/3")),
    ("unreadable-file", lambda: without_file("checkpoints/3")),
    ("unreadable-file", lambda: without_file("checkpoints/6")),
    ("unreadable-file", lambda: without_file("tile/0/000.p/44")),
    ("unreadable-file", lambda: without_file("tile/entries/000.p/44")),
    ("unreadable-file", lambda: without_file("tile/0/000.p/15")),
    ("unreadable-file", lambda: without_file("tile/entries/000.p/15")),
    ("unreadable-file", lambda: without_file(f"scopes/{ledgers.vote().scope_id.hex()}")),
    ("malformed-checkpoint", lambda: checkpoint_of(b"")),
    ("malformed-checkpoint", lambda: checkpoint_of(b"\xff" * 10_000_000)),
    ("forged-checkpoint", forged_checkpoint),
    ("witness-quorum", lambda: unsigned_by_witness("checkpoint")),
    ("broken-seal", lambda: unsigned_by_witness("checkpoints/3")),
    ("witness-quorum", late_witness_of_the_closing),
    ("witness-quorum", witness_of_the_terms_alone),
    ("broken-tile", lambda: tile_of(lambda data: data[:-1])),
    ("broken-tile", lambda: tile_of(lambda data: data + bytes(32))),
    ("broken-tile", lambda: tile_of(lambda data: data[:32] + bytes(32) + data[64:])),
    ("broken-tile", lambda: tile_of(lambda data: b"", "tile/entries/000.p/15")),
    ("malformed-bundle", lambda: bundle_of(lambda data: data + b"\x00")),
    ("malformed-bundle", lambda: bundle_of(lambda data: data[:-1])),
    ("deleted-entry", lambda: bundle_of(lambda data: b"")),
    ("added-entry", lambda: bundle_of(lambda data: data + b"\x00\x01x")),
    ("wrong-root", lambda: signed_root(bytes(32))),
    ("forked-ledger", lambda: signed_root(bytes(32))),
    ("wrong-hint", lambda: hinted(b"")),
    ("wrong-hint", lambda: hinted(b"<good>43\n")),
    ("wrong-hint", lambda: hinted(b"0\n<good>")),
    ("wrong-hint", lambda: hinted(b"<good>\xff\n")),
    ("added-entry", extra_leaf_after_sealing),
    ("broken-seal", unsealed),
    ("malformed-entry", lambda: edited(lambda b: b[2].entries.append(b"\x09\x01unknown"))),
    ("malformed-entry", lambda: edited(lambda b: b[2].entries.append(b"\x01\x02" + b[2].entries[0][2:]))),
    ("malformed-entry", lambda: edited(lambda b: b[2].entries.append(b""))),
    ("malformed-entry", lambda: edited(lambda b: b[2].entries.append(b[1].entries[0] + b"\x00"))),
    ("malformed-entry", lambda: edited(lambda b: b[2].entries.append(
        manifests.pledge(ledgers.campaign(), 70, 1).to_bytes()))),
    ("changed-entry", with_torsion_key),
    ("unknown-scope", lambda: edited(lambda b: b[2].entries.append(
        manifests.pledge(manifests.manifest(issuers=[manifests.issuer(0, 5)]), 1).to_bytes()))),
    ("unknown-scope", lambda: ledgers.build([
        Batch(OPENS, ledgers.copied()[0].entries + ledgers.copied()[1].entries)])),
    ("refused-terms", shared_token_key),
    ("refused-terms", other_ledgers_terms),
    ("refused-terms", lambda: successor_from(2)),
    ("refused-terms", lambda: successor_from(0, "00" * 32)),
    ("wrong-issuance", lambda: after_destruction(
        destruction("token"), ("issuance", {"day": CLOSES + 2, "issued": 32}))),
    ("forged-notice", lambda: after_destruction(destruction("tag", day=CLOSES))),
    ("missing-opening", lambda: without(0, is_type("opening"))),
    ("wrong-opening", wrong_opening),
    ("forged-notice", forged_issuance),
    ("notice-sequence", lambda: without(3, is_type("issuance"))),
    ("notice-sequence", lambda: edited(lambda b: b[5].entries.append(
        next(e for e in b[0].entries if is_type("manifest")(ledgers.parsed(e)))))),
    ("forged-revision", lambda: edited(lambda b: b[4].entries.append(revised(sign_by=6)))),
    ("forged-revision", lambda: edited(lambda b: b[4].entries.append(torsion_revision()))),
    ("wrong-revision", lambda: edited(lambda b: b[4].entries.append(revised(serial=2)))),
    ("wrong-revision", lambda: edited(lambda b: b[4].entries.extend([revised(), revised(2, 0)]))),
    ("wrong-revision", lambda: edited(lambda b: b[4].entries.append(revised(choice=7)))),
    ("wrong-revision", lambda: edited(lambda b: b[4].entries.append(revised(by=90, sign_by=90)))),
    ("late-revision", lambda: edited(lambda b: b[6].entries.append(revised()))),
    ("wrong-day", lambda: shifted(3, OPENS - 1)),
    ("wrong-day", witness_of_another_day),
    ("early-entry", lambda: shifted(1, OPENS - 1)),
    ("late-entry", lambda: edited(lambda b: b.append(Batch(CLOSES + 2, ledgers.raw(
        *(manifests.pledge(ledgers.campaign(), 80 + i) for i in range(3))))))),
    ("late-entry", lambda: shifted(6, CLOSES + 9)),
    ("wrong-closing", lambda: shifted(6, CLOSES + 9)),
    ("wrong-closing", lambda: shifted(6, CLOSES)),
    ("wrong-closing", lambda: edited(lambda b: b.__setitem__(6, Batch(CLOSES + 9, [])))),
    ("batch-below-minimum", lambda: edited(lambda b: b[1].entries.__delitem__(slice(2, None)))),
    ("wrong-issuance", lambda: issuance_of((3, 32), (5, 16))),
    ("wrong-issuance", odd_issuance),
    ("issuance-below-pledges", lambda: issuance_of((3, 16), (4, 0))),
    ("issuance-below-pledges", lambda: issuance_of((3, 0), (5, 16))),
    ("missing-issuance", lambda: issuance_of()),
    ("too-many-slips", lambda: sheets_of(6)),
    ("too-many-slips", lambda: sheets_of(3, 2, 1)),
]  # fmt: skip
