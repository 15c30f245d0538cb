from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import contacts
import fakes
import manifests
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.ledger import Ledger
from headcount_ledger.reader.fetch import directory_fetch
from headcount_ledger.reader.reached import find_reached, seals, totals_at
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec import blobs
from headcount_spec.errors import (
    MalformedError,
    NotEligibleError,
    ProofError,
    ScopeClosedError,
    SignatureError,
)
from headcount_spec.promise import Promise
from headcount_spec.scope import Manifest
from headcount_spec.totals import totals_path
from headcount_verifier import LedgerClient, Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app
from headcount_verifier.contacts import LOOK_S, Contacts, ReachedWatch

DEPOSIT = "application/vnd.headcount.deposit"
ERASURE = "application/vnd.headcount.erasure"


class Place:
    """A ledger with a campaign and its contacts, and a store beside it."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.ledger = ledger
        self.day = fakes.DAY
        self.now = 0.0
        self.campaign = manifests.manifest(threshold=3, min_batch=1)
        self.scope = manifests.manifest(**contacts.changes(self.campaign))
        fakes.open_scopes(ledger, self.campaign)
        fakes.open_scopes(ledger, self.scope)
        self.scopes = {manifest.scope_id: manifest for manifest in (self.campaign, self.scope)}
        self.watch = ReachedWatch(lambda manifest: self.view(), lambda: self.now)
        self.store = Contacts(self.scopes, folder / "contacts", self.watch, lambda: self.day)

    def view(self) -> LedgerView:
        return open_ledger(directory_fetch(self.ledger.config.public), self.ledger.policy())

    def promise(self, number: int) -> Promise:
        found = self.ledger.accept(contacts.pledge(self.scope, number).to_bytes(), self.day)
        return found if isinstance(found, Promise) else Promise.from_bytes(found)

    def deposit(self, number: int) -> None:
        self.store.deposit(contacts.deposit(self.scope, number, self.promise(number)).to_bytes())

    def pledge(self, *numbers: int) -> None:
        for number in numbers:
            self.ledger.accept(manifests.pledge(self.campaign, number).to_bytes(), self.day)
        self.ledger.seal(self.day)

    def exported(self) -> list[tuple[bytes, bytes]]:
        data = b"".join(self.store.export(self.scope.scope_id))
        return read(data, self.scope)


def read(data: bytes, manifest: Manifest) -> list[tuple[bytes, bytes]]:
    rest = memoryview(data)

    def take(size: int) -> bytes:
        nonlocal rest
        piece, rest = rest[:size], rest[size:]
        return bytes(piece)

    return list(blobs.read_blobs(take, manifest.scope_id, 5))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with fakes.new_ledger(tmp_path) as ledger:
        made = Place(tmp_path, ledger)
        yield made
        made.store.close()


def test_a_deposit_is_kept_under_its_nullifier_and_exported_in_order(place: Place) -> None:
    for number in (3, 1, 2, 1):
        place.deposit(number)
    expected = sorted(
        (contacts.pledge(place.scope, n).nullifier, contacts.blob(place.scope, n)) for n in (1, 2, 3)
    )
    assert place.exported() == expected


def test_no_deposit_without_the_ledgers_promise_for_this_blob(place: Place) -> None:
    right = contacts.deposit(place.scope, 1, place.promise(1))
    other = contacts.deposit(place.scope, 2, place.promise(2))
    forged = replace(right.promise, signature=bytes(64))
    campaign = place.ledger.accept(manifests.pledge(place.campaign, 1).to_bytes(), place.day)
    for wrong in (
        replace(right, promise=other.promise),
        replace(right, promise=forged),
        replace(right, promise=campaign),
        replace(right, blob=other.blob),
        replace(right, revision_key=other.revision_key),
    ):
        with pytest.raises(SignatureError):
            place.store.deposit(wrong.to_bytes())
    assert place.exported() == []


def test_no_blob_of_other_trustees_or_scopes(place: Place) -> None:
    right = contacts.deposit(place.scope, 1, place.promise(1))
    for blob in (b"\x02" + right.blob[1:], right.blob[:1] + b"\x02" + right.blob[2:], right.blob[:-81]):
        with pytest.raises(MalformedError):
            place.store.deposit(replace(right, blob=blob).to_bytes())
    for scope_id in (place.campaign.scope_id, bytes(32)):
        with pytest.raises(NotEligibleError):
            place.store.deposit(replace(right, scope_id=scope_id).to_bytes())
    for data in (b"", right.to_bytes()[:-1], right.to_bytes() + b"\x00", b"\x02" + right.to_bytes()[1:]):
        with pytest.raises(MalformedError):
            place.store.deposit(data)


def test_nothing_is_taken_once_the_campaign_was_reached(place: Place) -> None:
    place.pledge(1, 2)
    place.deposit(1)
    place.pledge(3)
    place.deposit(2)  # the last answer is believed for a while
    place.now += LOOK_S
    with pytest.raises(ScopeClosedError):
        place.deposit(3)
    # Reached is permanent, whoever withdraws afterwards.
    place.ledger.accept(manifests.revision(manifests.pledge(place.campaign, 1), 1).to_bytes(), place.day)
    place.ledger.seal(place.day)
    place.now += LOOK_S
    with pytest.raises(ScopeClosedError):
        place.deposit(3)
    assert len(place.exported()) == 2


def test_a_store_that_was_restarted_finds_that_it_was_reached_and_fell_below(place: Place) -> None:
    place.pledge(1, 2, 3)
    place.ledger.accept(manifests.revision(manifests.pledge(place.campaign, 1), 1).to_bytes(), place.day)
    place.ledger.seal(place.day)
    assert ReachedWatch(lambda manifest: place.view())(place.campaign)


def test_the_number_of_contacts_opens_nothing(place: Place) -> None:
    for number in range(1, 5):
        place.deposit(number)
    place.ledger.seal(place.day)
    place.now += LOOK_S
    place.deposit(5)
    assert find_reached(place.view(), place.campaign) is None


def test_nothing_is_taken_after_the_end(place: Place) -> None:
    deposit = contacts.deposit(place.scope, 1, place.promise(1)).to_bytes()
    place.day = place.scope.deadline_day + 1
    with pytest.raises(ScopeClosedError):
        place.store.deposit(deposit)


def test_only_the_holder_has_it_erased(place: Place) -> None:
    place.deposit(1)
    place.deposit(2)
    right = contacts.erasure(place.scope, 1)
    wrong_key = contacts.revision_key(place.scope.scope_id, 2)
    for wrong in (
        contacts.erasure(place.scope, 1, signer=2),
        replace(right, signature=bytes(64)),
        replace(right, revision_key=wrong_key),
        replace(right, sealed_hash=bytes(32)),
        # A point of small order takes a signature of anything where it is not refused.
        replace(right, revision_key=b"\x01" + bytes(31), signature=b"\x01" + bytes(63)),
    ):
        with pytest.raises(SignatureError):
            place.store.erase(wrong.to_bytes())
    assert len(place.exported()) == 2
    place.store.erase(right.to_bytes())
    place.store.erase(right.to_bytes())
    assert [key for key, _ in place.exported()] == [contacts.pledge(place.scope, 2).nullifier]


def test_reached_is_the_first_seal_in_time_and_its_count(place: Place) -> None:
    place.pledge(1, 2)
    assert find_reached(place.view(), place.campaign) is None
    place.pledge(3, 4)
    place.pledge(5)
    found = find_reached(place.view(), place.campaign)
    assert found is not None
    assert found.reached.live == 4
    assert found.reached.day == fakes.DAY
    (seal,) = [placed for placed in seals(place.view()) if placed.index == found.index]
    assert (seal.hash, seal.seal.batch) == (found.reached.seal, found.reached.batch)
    assert totals_at(place.view(), seal.seal)[place.campaign.scope_id] == (4, 4)
    late = replace(place.campaign, closes=0, max_hold=0)
    assert find_reached(place.view(), late) is None


def test_totals_that_were_not_sealed_are_refused(place: Place) -> None:
    place.pledge(1, 2, 3)
    view = place.view()
    newest = next(seals(view)).seal

    def forged(path: str) -> bytes:
        data = view.fetch(path)
        return data[:-1] + b"\x09" if path == totals_path(newest.batch) else data

    with pytest.raises(ProofError):
        find_reached(replace(view, fetch=forged), place.campaign)


def test_the_store_over_http(place: Place, tmp_path: Path) -> None:
    served = httpx.WSGITransport(ledger_app(place.ledger, fakes.FakeClock()))
    client = LedgerClient("http://localhost:8000/ledger", transport=served)
    redeemer = Redeemer(place.scopes, client, lambda: place.day)
    config = VerifierConfig("http://localhost:8000/ledger")
    web = verifier_app(config, redeemer, place.store).test_client()
    deposit = contacts.deposit(place.scope, 1, place.promise(1)).to_bytes()

    def post(path: str, data: bytes, kind: str = DEPOSIT, **headers: str) -> Any:
        return web.post(path, data=data, content_type=kind, headers=headers)

    origin = place.scope.origins[0]
    for answer in (post("/contacts", deposit), post("/contacts", deposit, Origin=origin)):
        assert (answer.status_code, answer.data) == (204, b"")
        assert "Set-Cookie" not in answer.headers
    assert len(place.exported()) == 1
    assert post("/contacts", deposit, Origin="https://elsewhere.example").status_code == 403
    assert post("/contacts", deposit, "application/octet-stream").status_code == 415
    assert post("/contacts", deposit + bytes(4000)).status_code == 413
    assert post("/contacts", b"").status_code == 400
    erasure = contacts.erasure(place.scope, 1).to_bytes()
    assert post("/erasures", erasure[:-1] + b"\xff", ERASURE).status_code == 401
    assert post("/erasures", erasure, ERASURE).status_code == 204
    assert place.exported() == []
    assert web.get("/contacts").status_code == 405
    closed = verifier_app(config, redeemer).test_client()
    assert closed.post("/contacts", data=deposit, content_type=DEPOSIT).status_code == 404


def test_what_is_not_the_export_of_this_scope_is_malformed(place: Place) -> None:
    place.deposit(1)
    place.deposit(2)
    data = b"".join(place.store.export(place.scope.scope_id))
    head, size = blobs.HEADER_BYTES, blobs.record_bytes(5)
    swapped = data[:head] + data[head + size :] + data[head : head + size]
    for wrong in (b"", data[:-1], data + b"\x00", b"x" + data[1:], swapped, data + data[-size:]):
        with pytest.raises(MalformedError):
            read(wrong, place.scope)
    with pytest.raises(MalformedError):
        read(data, place.campaign)
