from __future__ import annotations

import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import contacts
import keys
import manifests
from contact_story import Story
from headcount import contact_key, contact_list, opening
from headcount.opening import Keys, Opened
from headcount.opening_commands import certificate as certificate_command
from headcount.opening_commands import organiser as command
from headcount_engine.hpke import seal_box
from headcount_spec import blobs, sealed
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError, NotEligibleError, UnknownKeyError
from headcount_spec.pledge import Nullifier
from headcount_spec.sealed import Blob

LEDGER = "http://localhost:8000/ledger"


@pytest.fixture
def story(world: Any) -> Story:
    return Story(world, LEDGER, t=2, n=3)


def stored(story: Story, *numbers: int) -> dict[bytes, bytes]:
    return {contacts.pledge(story.scope, n).nullifier: contacts.blob(story.scope, n) for n in numbers}


def reach(story: Story, *depositors: int) -> None:
    """These leave contacts, then the campaign is reached."""
    for number in depositors:
        story.deposit(number)
    story.world.seal()
    story.pledge(1, 2, 3, 4, 5)


def open_(story: Story, store: dict[bytes, bytes], organiser: bytes = manifests.CONTACT_PRIVATE) -> Opened:
    checked = story.check(story.trustees[0])
    with ThreadPoolExecutor(2) as pool:
        found = [(Nullifier(key), blob) for key, blob in sorted(store.items())]
        return opening.open_all(opening.standing(checked), found, opening.keys_of(checked, organiser), pool)


def test_contacts_open_once_t_trustees_have_released_and_not_before(story: Story) -> None:
    store = stored(story, 1, 2, 3)
    for number in (1, 2, 3):
        story.deposit(number)
    story.world.seal()
    checked = story.check(story.trustees[0])
    with pytest.raises(NotEligibleError, match="not reached"):
        opening.keys_of(checked, manifests.CONTACT_PRIVATE)
    with pytest.raises(NotEligibleError, match="not reached"):
        opening.standing(checked)
    story.pledge(1, 2, 3, 4, 5)
    story.release(story.trustees[0])
    with pytest.raises(NotEligibleError, match="1 trustees have released"):
        open_(story, store)
    story.release(story.trustees[2])
    opened = open_(story, store)
    assert opened.contacts == sorted(map(contacts.address, (1, 2, 3)), key=lambda c: c.value)
    assert opened.failures == {}
    assert not any(name in repr(opened) for name in ("nullifier", "quillfeather"))


def test_only_what_stood_at_the_seal_is_opened(story: Story) -> None:
    reach(story, 1, 2, 3)
    late = 4
    story.deposit(late)  # a blob that slipped into the store belongs to an entry behind the seal
    story.world.seal()
    for folder in story.trustees[:2]:
        story.release(folder)
    opened = open_(story, {**stored(story, 1, 3, late), bytes(32): contacts.blob(story.scope, 5)})
    assert [c.value for c in opened.contacts] == [contacts.address(n).value for n in (1, 3)]
    assert opened.failures == {contacts.pledge(story.scope, 2).nullifier: "no-blob"}


def test_who_withdrew_before_stays_closed_and_who_withdraws_after_is_open(story: Story) -> None:
    for number in (1, 2):
        story.deposit(number)
    story.world.seal()
    day = story.world.clock.day
    story.world.ledger.accept(manifests.revision(contacts.pledge(story.scope, 1), 1).to_bytes(), day)
    story.world.seal()
    story.pledge(1, 2, 3, 4, 5)
    story.world.ledger.accept(manifests.revision(contacts.pledge(story.scope, 2), 2).to_bytes(), day)
    story.world.seal()
    for folder in story.trustees[:2]:
        story.release(folder)
    opened = open_(story, stored(story, 1, 2))
    assert opened.contacts == [contacts.address(2)]
    assert opened.failures == {}


def test_what_cannot_be_opened_is_listed_with_its_reason(story: Story) -> None:
    reach(story, 1, 2, 3, 4)
    for folder in story.trustees[:2]:
        story.release(folder)
    store = stored(story, 1, 2, 3, 4)
    second = contacts.pledge(story.scope, 2).nullifier
    opened = open_(story, {**store, second: contacts.blob(story.scope, 1)})
    assert opened.failures == {second: "other-blob"}
    assert len(opened.contacts) == 3
    lost = open_(story, store, organiser=keys.seed("another organiser"))
    assert lost.contacts == []
    assert set(lost.failures.values()) == {"cannot-open-inner"}


CTX_SCOPE, REVISION = keys.seed("scope"), keys.seed("revision")
CTX = sealed.context(CTX_SCOPE, REVISION)
PRIVATE = {i: manifests.agreement_private(i - 1) for i in range(1, 6)}
PUBLIC = [manifests.agreement_key(i) for i in range(5)]
ADA = Contact.of("email", "ada@example.org")


def made(t: int = 3, contact: Contact = ADA, organiser: bytes = manifests.CONTACT_KEY) -> Blob:
    data = sealed.seal(contact, CTX, organiser, PUBLIC, t, keys.seed("client"), seal_box)
    return Blob.from_bytes(data, t, 5)


def one(blob: bytes, t: int = 3, released: dict[int, bytes] | None = None, hash: bytes | None = None) -> Any:
    keys_ = Keys(CTX_SCOPE, t, 5, PRIVATE if released is None else released, manifests.CONTACT_PRIVATE)
    entry = opening.Standing(REVISION, hash or hashlib.sha256(blob).digest())
    return opening.open_one(keys_, entry, blob)


def spoil(blob: Blob, *places: int) -> bytes:
    """False shares in these boxes, by a malicious client."""
    boxes = list(blob.boxes)
    for i in places:
        boxes[i - 1] = seal_box(PUBLIC[i - 1], blob.share_info(CTX, i), keys.seed("false") + bytes((i,)))
    return replace(blob, boxes=tuple(boxes)).to_bytes()


def test_a_malicious_blob_has_one_reading_or_none_whoever_released() -> None:
    blob = made()
    for places in ((1,), (1, 2), (4, 5)):
        data = spoil(blob, *places)
        readings = {
            one(data, released={i: PRIVATE[i] for i in subset})
            for size in (3, 4, 5)
            for subset in itertools.combinations(PRIVATE, size)
        }
        assert readings == {ADA, "cannot-open"}
        assert one(data) == ADA
    assert one(spoil(blob, 1, 2, 3)) == "cannot-open"


def test_each_kind_of_bad_blob_has_its_reason() -> None:
    blob = made()
    assert one(blob.to_bytes()) == ADA
    assert one(blob.to_bytes(), hash=bytes(32)) == "other-blob"
    assert one(b"") == "malformed-blob"
    assert one(made(t=2).to_bytes()) == "malformed-blob"
    assert one(replace(blob, body=bytes(320)).to_bytes()) == "cannot-open"
    assert one(made(organiser=PUBLIC[0]).to_bytes()) == "cannot-open-inner"
    inside = bytes((9,)) + bytes(255)

    def other(public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
        return seal_box(public_key, info, inside if len(plaintext) == 256 else plaintext)

    raw = sealed.seal(ADA, CTX, manifests.CONTACT_KEY, PUBLIC, 3, keys.seed("client"), other)
    assert one(raw) == "no-contact"


def test_the_tries_for_one_blob_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    original = sealed.open_body
    monkeypatch.setattr(sealed, "open_body", lambda *args: tried.append(1) or original(*args))
    monkeypatch.setattr(opening, "MAX_SUBSETS", 4)
    assert one(spoil(made(), 1)) == "cannot-open"  # the fifth subset would have opened it
    assert len(tried) <= 4


def test_the_same_address_twice_is_one_contact(story: Story) -> None:
    entries = {}
    found = []
    for number in (1, 2):
        blob = contacts.blob(story.scope, number, ADA)
        key = contacts.revision_key(story.scope.scope_id, number)
        nullifier = Nullifier(bytes((number,)) * 32)
        entries[nullifier] = opening.Standing(key, hashlib.sha256(blob).digest())
        found.append((nullifier, blob))
    private = {
        i: secret.private_key
        for i, trustee in enumerate(story.scope.trustees.members, 1)  # type: ignore[union-attr]
        if (secret := story.trustees[i - 1].secret(trustee.scope_key)) is not None
    }
    all_keys = Keys(story.scope.scope_id, 2, 3, private, manifests.CONTACT_PRIVATE)
    with ThreadPoolExecutor(1) as pool:
        opened = opening.open_all(entries, found, all_keys, pool)
    assert (opened.contacts, opened.repeated) == ([ADA], 1)


# The organiser's key and list


def test_any_two_of_three_paper_shares_restore_the_key(tmp_path: Path) -> None:
    public_key, lines = contact_key.create(tmp_path / "key")
    for n, pair in enumerate(itertools.permutations(lines, 2)):
        assert contact_key.restore(tmp_path / f"again{n}", pair) == public_key
        assert contact_key.read(tmp_path / f"again{n}") == contact_key.read(tmp_path / "key")
    other = contact_key.create(tmp_path / "other")[1]
    number, share, mark = lines[0].split(" ")[1:]
    wrong = [
        lines[:1],
        lines,
        [lines[0], lines[0]],
        [lines[0], other[1]],
        [lines[0], ""],
        [lines[0].replace(f" {number} ", " 2 "), lines[2]],
        [lines[0].replace(" 1 ", " 4 "), lines[1]],
        [lines[0].replace(mark, "00000000"), lines[1].replace(mark, "00000000")],
        [lines[0].replace(share, share[:-4] + "AAA="), lines[1]],
    ]
    for n, bad in enumerate(wrong):
        with pytest.raises(ConfigurationError):
            contact_key.restore(tmp_path / f"wrong{n}", bad)
        assert not (tmp_path / f"wrong{n}").exists()
    (tmp_path / "key2").write_text("headcount-organiser-key-1 AAAA\n")
    with pytest.raises(ConfigurationError):
        contact_key.read(tmp_path / "key2")


def test_the_list_opens_with_its_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "list"
    contact_list.write(path, manifests.manifest().scope_id, [ADA], manifests.CONTACT_PRIVATE)
    data = path.read_bytes()
    assert b"ada" not in data
    assert path.stat().st_mode & 0o077 == 0
    found = contact_list.read(path, manifests.CONTACT_PRIVATE)
    assert found.contacts == (ADA,)
    with pytest.raises(ConfigurationError, match="another contact key"):
        contact_list.read(path, keys.seed("other"))
    for bad in (b"", data[:-1], data + b"x", b"x" + data):
        path.write_bytes(bad)
        with pytest.raises(ConfigurationError):
            contact_list.read(path, manifests.CONTACT_PRIVATE)


# The commands


@pytest.fixture
def opened_story(story: Story, tmp_path: Path) -> tuple[Story, list[str], Path]:
    reach(story, 1, 2)
    for folder in story.trustees[:2]:
        story.release(folder)
    (tmp_path / "policy").write_bytes(story.world.policy)
    key = f"headcount-contact-key-1 {manifests.encode_base64(manifests.CONTACT_PRIVATE)}\n"
    (tmp_path / "key").write_text(key)
    records = sorted(stored(story, 1, 2).items())
    data = blobs.encode_header(story.scope.scope_id, 3) + b"".join(a + b for a, b in records)
    (tmp_path / "blobs").write_bytes(data)
    target = [str(story.world.ledger.config.public), story.scope.scope_id.hex()]
    options = ["--policy", str(tmp_path / "policy"), "--state", str(tmp_path / "state")]
    return story, [*target, *options], tmp_path


def test_the_organiser_opens_and_anybody_certifies(opened_story: tuple[Story, list[str], Path]) -> None:
    story, target, folder = opened_story
    options = ["--key", str(folder / "key"), "--blobs", str(folder / "blobs"), "--out", str(folder / "list")]
    failures = ["--failures", str(folder / "failures")]
    done = CliRunner().invoke(command, ["open", *target, *options, *failures])
    assert done.exit_code == 0, done.output
    assert "opened: 2 contacts of 2 entries" in done.output
    assert "quillfeather" not in done.output
    assert len(contact_list.read(folder / "list", manifests.CONTACT_PRIVATE).contacts) == 2
    assert (folder / "failures").read_text() == "{}\n"
    made_ = CliRunner().invoke(command, ["certify", *target, "--out", str(folder / "reached.json")])
    assert made_.exit_code == 0, made_.output
    assert "certified by Trustee 1, Trustee 2: reached: 5 of 5" in made_.output
    (folder / "scope.json").write_bytes(story.scope.raw)
    arguments = ["verify", str(folder / "reached.json"), str(folder / "scope.json")]
    verified = CliRunner().invoke(certificate_command, arguments)
    assert verified.exit_code == 0, verified.output
    assert "reached: 5 at batch" in verified.output
    (folder / "scope.json").write_bytes(story.campaign.raw)
    refused = CliRunner().invoke(certificate_command, arguments)
    assert isinstance(refused.exception, UnknownKeyError)


def test_the_key_commands(tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["contact-key", str(tmp_path / "key")])
    public_key, *shares = done.stdout.splitlines()
    again = CliRunner().invoke(
        command, ["join-key", str(tmp_path / "again")], input=f"{shares[2]}\n{shares[0]}\n"
    )
    assert again.stdout.splitlines()[-1] == public_key
