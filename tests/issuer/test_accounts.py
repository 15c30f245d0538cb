from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headcount_issuer.accounts import CAPACITY, MAX_PSEUDONYMS, RECORD_BYTES, Accounts
from headcount_issuer.attester import Proof, Share
from headcount_issuer.keys import make_tag
from headcount_issuer.passkey import Passkey
from headcount_issuer.person import create_account_key, key_proof, load_account_key
from headcount_issuer.schema import accounts
from headcount_issuer.shelf import Shelf
from headcount_issuer.store import Store
from headcount_spec.errors import ConfigurationError, CorruptionError, NotEligibleError, ProtocolError

KEY = bytes(range(32))


def person(name: str, share: Share | None = None) -> Proof:
    return key_proof(KEY, Proof("email", (b"email\0" + name.encode(),), share))


def passkey(name: str, count: int = 0) -> Passkey:
    return Passkey(hashlib.sha256(b"id " + name.encode()).digest(), b"key of " + name.encode(), count)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store.create(tmp_path / "issuer.sqlite")
    yield made
    made.close()


@pytest.fixture
def kept(store: Store) -> Accounts:
    return Accounts(store, KEY)


def test_a_passkey_finds_its_person(kept):
    ada = person("ada", Share(b"domain", 200))
    kept.keep(ada, passkey("ada", 7))
    handle = kept.handle(ada)
    found = kept.find(handle, passkey("ada").credential_id)
    assert found is not None
    assert found.proof == replace(ada, remembered=True)
    assert found.passkey == passkey("ada", 7)
    assert kept.find(handle, passkey("eve").credential_id) is None
    assert kept.find(kept.handle(person("eve")), passkey("ada").credential_id) is None


def test_an_account_for_one_check_is_not_that_of_another(kept):
    ada = person("ada")
    kept.keep(ada, passkey("ada"))
    assert kept.handle(replace(ada, proves="oidc")) != kept.handle(ada)
    assert kept.find(kept.handle(replace(ada, proves="oidc")), passkey("ada").credential_id) is None


def test_no_account_is_opened_with_a_slip_or_by_who_came_back(kept):
    for proof in (replace(person("ada"), lasting=False), replace(person("ada"), remembered=True)):
        with pytest.raises(NotEligibleError):
            kept.keep(proof, passkey("ada"))
    assert kept.count() == 0


def test_a_new_passkey_ends_the_old_one(kept):
    ada = person("ada")
    handle = kept.handle(ada)
    kept.keep(ada, passkey("first"))
    kept.keep(ada, passkey("second"))
    assert kept.find(handle, passkey("first").credential_id) is None
    assert kept.find(handle, passkey("second").credential_id) is not None
    assert kept.count() == 1


def test_a_removed_account_is_gone(kept):
    ada = person("ada")
    kept.keep(ada, passkey("ada"))
    assert kept.remove(kept.handle(ada))
    assert not kept.remove(kept.handle(ada))
    assert kept.find(kept.handle(ada), passkey("ada").credential_id) is None
    with pytest.raises(NotEligibleError):
        kept.use(kept.handle(ada), passkey("ada", 1))


def test_a_counter_that_has_not_risen_is_refused_and_changes_nothing(kept):
    ada = person("ada")
    handle, name = kept.handle(ada), passkey("ada").credential_id
    kept.keep(ada, passkey("ada", 4))
    kept.use(handle, passkey("ada", 9))
    for count in (9, 8, 0):
        with pytest.raises(NotEligibleError, match="copy"):
            kept.use(handle, passkey("ada", count))
    found = kept.find(handle, name)
    assert found is not None
    assert found.passkey.sign_count == 9
    kept.use(handle, passkey("ada", 10))


def test_of_two_uses_of_one_counter_at_once_one_is_refused(kept):
    ada = person("ada")
    kept.keep(ada, passkey("ada", 1))
    gate, refused = threading.Barrier(8), []

    def use() -> None:
        gate.wait()
        try:
            kept.use(kept.handle(ada), passkey("ada", 2))
        except NotEligibleError as error:
            refused.append(error)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7


def test_too_many_proofs_are_refused(kept):
    inputs = tuple(bytes([i]) for i in range(MAX_PSEUDONYMS + 1))
    with pytest.raises(NotEligibleError):
        kept.keep(key_proof(KEY, Proof("a", inputs)), passkey("ada"))
    kept.keep(key_proof(KEY, Proof("a", inputs[1:])), passkey("ada"))


def test_many_accounts_are_kept_changed_and_removed(kept):
    people = [person(f"p{i}") for i in range(4 * CAPACITY)]
    for i, one in enumerate(people):
        kept.keep(one, passkey(f"p{i}", i))
    assert kept.count() == len(people)
    for i in range(0, len(people), 3):
        assert kept.remove(kept.handle(people[i]))
    for i, one in enumerate(people):
        found = kept.find(kept.handle(one), passkey(f"p{i}").credential_id)
        assert (found is None) == (i % 3 == 0)
        assert found is None or found.passkey.sign_count == i


def test_the_file_does_not_depend_on_the_order(tmp_path):
    def filled(name: str, order: list[int]) -> bytes:
        store = Store.create(tmp_path / name)
        kept = Accounts(store, KEY)
        for i in order:
            kept.keep(person(f"p{i}"), passkey(f"p{i}"))
        store.close()
        return (tmp_path / name).read_bytes()

    order = list(range(3 * CAPACITY))
    # The header counts the changes; which record came when is nowhere.
    assert filled("a", order)[100:] == filled("b", order[::-1])[100:]
    random.Random(5).shuffle(order)
    assert filled("c", order)[100:] == filled("b2", sorted(order))[100:]


def test_the_file_holds_no_credential_id_no_key_and_no_pseudonym(store, kept, tmp_path):
    ada = person("ada", Share(b"group of ada" * 3, 200))
    kept.keep(ada, passkey("ada", 3))
    kept.use(kept.handle(ada), passkey("ada", 0x41424344))
    store.close()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    one = passkey("ada")
    assert ada.share is not None
    for secret in (
        one.credential_id,
        one.public_key,
        *ada.inputs,
        ada.share.group,
        kept.handle(ada),
        b"ABCD",
    ):
        assert secret not in data


def test_who_has_file_and_key_but_not_the_passkey_reads_nothing(store, kept):
    ada = person("ada")
    kept.keep(ada, passkey("ada"))
    with store.reading() as connection:
        record = Shelf(connection, accounts, RECORD_BYTES, CAPACITY).find(kept._mark(kept.handle(ada)))
    assert record is not None
    assert kept._open(record, kept.handle(ada), b"") is None
    assert kept._open(record, kept.handle(ada), passkey("eve").credential_id) is None


def test_a_record_moved_to_another_place_does_not_open(store, kept):
    ada, eve = person("ada"), person("eve")
    kept.keep(ada, passkey("ada"))
    with store.transaction() as connection:
        shelf = Shelf(connection, accounts, RECORD_BYTES, CAPACITY)
        record = shelf.find(kept._mark(kept.handle(ada)))
        assert record is not None
        shelf.put(kept._mark(kept.handle(eve)) + record[32:])
    assert kept.find(kept.handle(eve), passkey("ada").credential_id) is None


@pytest.mark.parametrize("damage", [b"", b"\1", b"\1" * 100])
def test_a_damaged_blob_is_corruption(store, kept, damage):
    kept.keep(person("ada"), passkey("ada"))
    with store.transaction() as connection:
        blob = connection.execute(accounts.select()).one().records
        broken = (
            damage if len(damage) < 2 else blob[: RECORD_BYTES * 2] + damage + blob[RECORD_BYTES * 2 + 100 :]
        )
        connection.execute(accounts.update().values(records=broken if damage != b"\1" else b"\1" + blob))
    with pytest.raises(CorruptionError):
        kept.find(kept.handle(person("ada")), b"x" * 32)


def test_errors_name_nobody(kept):
    ada = person("ada")
    with pytest.raises(ProtocolError) as caught:
        kept.use(kept.handle(ada), passkey("ada", 1))
    assert "ada" not in str(caught.value)
    assert "ada" not in repr(ada) + repr(passkey("ada"))


def test_a_pseudonym_is_keyed_once_and_sorted():
    ada = person("ada", Share(b"email domain", 5))
    assert key_proof(KEY, replace(ada, remembered=True)).inputs == ada.inputs
    assert ada.share is not None
    assert b"domain" not in ada.share.group
    assert ada.share.limit == 5
    assert make_tag(bytes(32), ada.inputs[0]) not in ada.inputs
    both = key_proof(KEY, Proof("x", (b"b", b"a", b"b")))
    assert len(both.inputs) == 2
    assert list(both.inputs) == sorted(both.inputs)
    assert key_proof(bytes(32), Proof("x", (b"a",))).inputs[0] not in both.inputs


def test_the_account_key_is_drawn_once_and_private(tmp_path):
    create_account_key(tmp_path)
    key = load_account_key(tmp_path)
    with pytest.raises(ConfigurationError):
        create_account_key(tmp_path)
    assert load_account_key(tmp_path) == key
    path = tmp_path / "account.key"
    path.write_bytes(key[:-1])
    with pytest.raises(ConfigurationError):
        load_account_key(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ConfigurationError):
        load_account_key(tmp_path)
