"""Vectors of ledger entries other than notices, of their order, the running chain and the totals."""

from __future__ import annotations

from typing import Any

import keys
import manifests
from headcount_spec import batch
from headcount_spec.entry import Entry, parse_entry
from headcount_spec.errors import MalformedError
from headcount_spec.merkle import leaf_hash
from headcount_spec.pledge import Pledge
from headcount_spec.revision import Revision
from headcount_spec.seal import GENESIS, Seal, chain_extend, chain_start
from headcount_spec.totals import decode_totals, encode_totals
from headcount_spec.wire import u64

from . import Case, fails, ok, same

FILE = "entries.json"

_SEAL = Seal(0, 0, 3, 3, manifests.OPENS, GENESIS, GENESIS, GENESIS, keys.seed("totals"), keys.seed("chain"))


def make() -> dict[str, Any]:
    """Entries, orders of a batch, chains and totals, and one failure at a time."""
    return {
        "about": "Pledges, revisions and seals in the layouts of protocol, Section 4; the order of a batch; "
        'the chain c_0 = SHA-256(origin || "\\n"), '
        "c_i = SHA-256(0x02 || c_(i-1) || leaf_hash_i); "
        "files of totals.",
        "source": "Made by makers/entries.py.",
        "cases": [*_pledges(), *_revisions(), *_seals(), *_types(), *_orders(), *_chains(), *_totals()],
    }


def _pledges() -> list[Case]:
    manifest = manifests.manifest(2, options=manifests.options("A", "B"))
    entry = manifests.pledge(manifest, 0, 2)
    data = entry.to_bytes()
    one = data[:100] + b"\x01" + entry.authenticators[0]
    return [
        _ok("pledge-of-one-issuer", manifests.pledge(manifests.manifest(), 0)),
        _ok("pledge-of-two-issuers", entry),
        _ok("pledge-of-eight-issuers", parse_entry(data[:100] + b"\x08" + entry.authenticators[0] * 8)),
        _fails("pledge-truncated", data[:-1]),
        _fails("pledge-trailing-byte", data + b"\x00"),
        _fails("pledge-without-authenticators", data[:100] + b"\x00"),
        _fails("pledge-with-nine-authenticators", data[:100] + b"\x09" + entry.authenticators[0] * 9),
        _fails("pledge-with-one-authenticator-less-than-it-says", data[:-256]),
        _fails("pledge-with-one-authenticator-more-than-it-says", one + entry.authenticators[1]),
        _fails("pledge-of-header-only", data[:2]),
    ]


def _revisions() -> list[Case]:
    entry = manifests.pledge(manifests.manifest(), 0)
    revision = manifests.revision(entry, 0)
    data = revision.to_bytes()
    return [
        _ok("revision-that-withdraws", revision),
        _ok("revision-of-serial-sixteen", manifests.revision(entry, 0, 16, 1)),
        _fails("revision-truncated", data[:-1]),
        _fails("revision-trailing-byte", data + b"\x00"),
        _fails("revision-of-serial-zero", data[:69] + b"\x00" + data[70:]),
        _fails("revision-of-serial-seventeen", data[:69] + b"\x11" + data[70:]),
    ]


def _seals() -> list[Case]:
    later = Seal(7, 70, 0, 2**40, 20469, *(keys.seed(f"seal {i}") for i in range(5)))
    data = _SEAL.to_bytes()
    return [
        _ok("seal-of-genesis", _SEAL),
        _ok("seal-without-pledges", later),
        _fails("seal-truncated", data[:-1]),
        _fails("seal-trailing-byte", data + b"\x00"),
        _fails("seal-with-more-pledges-than-all", data[:18] + u64(4) + data[26:]),
    ]


def _types() -> list[Case]:
    data = manifests.pledge(manifests.manifest(), 0).to_bytes()
    return [
        _fails("empty", b""),
        _fails("one-byte", b"\x01"),
        _fails("type-zero", b"\x00" + data[1:]),
        _fails("type-five", b"\x05" + data[1:]),
        _fails("version-zero", data[:1] + b"\x00" + data[2:]),
        _fails("version-two", data[:1] + b"\x02" + data[2:]),
    ]


def _orders() -> list[Case]:
    first, second = manifests.manifest(), manifests.manifest(2)
    pledges = [manifests.pledge(manifest, i) for manifest in (first, second) for i in range(2)]
    revisions = [manifests.revision(pledges[0], 0, serial) for serial in (1, 2)]
    notices = [manifests.manifest_notice(first), *manifests.openings(first)]
    right = [*batch.order([*pledges, *revisions, *notices]), _SEAL]
    swapped = {
        "pledges-swapped": (0, 1),
        "revisions-swapped": (4, 5),
        "notices-swapped": (6, 7),
        "revision-before-pledge": (3, 4),
        "notice-before-revision": (5, 6),
        "seal-before-notice": (7, 8),
    }
    cases = [
        _order("order-of-a-batch", right),
        _order("order-of-a-seal-alone", [_SEAL]),
        _order("order-with-a-nullifier-twice", [right[0], right[0], _SEAL]),
        _order("order-with-two-seals", [_SEAL, _SEAL]),
    ]
    for name, (i, j) in swapped.items():
        wrong = list(right)
        wrong[i], wrong[j] = wrong[j], wrong[i]
        cases.append(_order(f"order-with-{name}", wrong))
    return cases


def _chains() -> list[Case]:
    leaves = [leaf_hash(b"pledge-%d" % i).hex() for i in range(3)]
    return [
        _chain("chain-without-leaves", manifests.ORIGIN, []),
        _chain("chain-of-three-leaves", manifests.ORIGIN, leaves),
        _chain("chain-of-swapped-leaves", manifests.ORIGIN, leaves[::-1]),
        _chain("chain-of-another-origin", "pledge.example/demo", leaves),
    ]


def _totals() -> list[Case]:
    first, second = sorted((manifests.manifest().scope_id, manifests.manifest(2).scope_id))
    rows = encode_totals({first: (5, 4)}), encode_totals({second: (2**40, 0)})
    return [
        _totals_ok("totals-of-nothing", b""),
        _totals_ok("totals-of-two-scopes", b"".join(rows)),
        _totals_fails("totals-descending", rows[1] + rows[0]),
        _totals_fails("totals-with-a-scope-twice", rows[0] + rows[0]),
        _totals_fails("totals-truncated", rows[0][:-1]),
        _totals_fails("totals-with-more-live-than-gross", encode_totals({first: (4, 5)})),
    ]


def _ok(name: str, entry: Entry) -> Case:
    data = entry.to_bytes()
    return ok(name, operation="parse", entry=data.hex(), **_outputs(data))


def _fails(name: str, data: bytes) -> Case:
    return fails(name, MalformedError, operation="parse", entry=data.hex())


def _order(name: str, entries: list[Entry]) -> Case:
    data = [entry.to_bytes().hex() for entry in entries]
    return ok(name, operation="order", entries=data, first_violation=batch.check_order(entries))


def _chain(name: str, origin: str, leaves: list[str]) -> Case:
    return ok(name, operation="chain", origin=origin, leaf_hashes=leaves, chain=_run_chain(origin, leaves))


def _totals_ok(name: str, data: bytes) -> Case:
    return ok(name, operation="totals", file=data.hex(), totals=_rows(data))


def _totals_fails(name: str, data: bytes) -> Case:
    return fails(name, MalformedError, operation="totals", file=data.hex())


def _outputs(data: bytes) -> dict[str, Any]:
    entry = parse_entry(data)
    outputs: dict[str, Any] = {"type": type(entry).__name__.lower(), "leaf_hash": leaf_hash(data).hex()}
    if isinstance(entry, Pledge):
        outputs |= {"choice": entry.choice, "nullifier": entry.nullifier.hex()}
    elif isinstance(entry, Revision):
        outputs |= {
            "serial": entry.serial,
            "choice": entry.choice,
            "signed_message": entry.signed_message.hex(),
        }
    elif isinstance(entry, Seal):
        outputs |= {"batch": entry.batch, "day": entry.day, "pledges_total": entry.pledges_total}
    return outputs


def _run_chain(origin: str, leaves: list[str]) -> str:
    chain = chain_start(origin)
    for leaf in leaves:
        chain = chain_extend(chain, bytes.fromhex(leaf))
    return chain.hex()


def _rows(data: bytes) -> list[dict[str, Any]]:
    return [
        {"scope_id": scope.hex(), "gross": gross, "live": live}
        for scope, (gross, live) in decode_totals(data).items()
    ]


def check(case: Case) -> None:
    """Parse an entry or totals, look at an order, or run a chain."""
    if case["operation"] == "parse":
        same(case, **_outputs(bytes.fromhex(case["entry"])))
    elif case["operation"] == "order":
        entries = [parse_entry(bytes.fromhex(entry)) for entry in case["entries"]]
        same(case, first_violation=batch.check_order(entries))
    elif case["operation"] == "chain":
        same(case, chain=_run_chain(case["origin"], case["leaf_hashes"]))
    else:
        same(case, totals=_rows(bytes.fromhex(case["file"])))
