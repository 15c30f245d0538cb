from __future__ import annotations

import hashlib
import itertools
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller

import manifests
from contact_story import Story
from headcount import contact, contact_list, leave, mailing, opening, pledge
from headcount import trustee as trustees
from headcount.mailing_state import MailingState
from headcount.notice import post
from headcount.opening import Keys
from headcount.pledge_file import PledgeStore
from headcount_engine.certificate import certify, verify_certificate
from headcount_spec import hpke, sealed
from headcount_spec.contact import Contact
from headcount_spec.errors import NotEligibleError, OpeningError, ScopeClosedError
from headcount_spec.sealed import Blob
from headcount_verifier import Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app
from headcount_verifier.contacts import Contacts, ReachedWatch
from ports import free_ports

LEDGER = "http://localhost:8000/ledger"
VERIFIER = "http://localhost:8000"
SIGNERS, THRESHOLD = 60, 50
DEPOSITORS = range(0, 40, 4)  # ten of those who come early
ERASED = 8
KEY = manifests.CONTACT_PRIVATE


class Town:
    """Sixty people, one campaign, and everything that they meet."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.story = Story(world, LEDGER, t=3, n=5, threshold=THRESHOLD)
        minutes = itertools.count(0, 60)
        watch = ReachedWatch(lambda manifest: self.story.view(), lambda: next(minutes))
        self.store = Contacts(world.scopes, world.folder / "store", watch, lambda: world.clock.day)
        redeemer = Redeemer(world.scopes, world.to_ledger, lambda: world.clock.day)
        world.router.serve(VERIFIER, verifier_app(VerifierConfig(LEDGER), redeemer, self.store))
        self.people = world.folder / "people"
        self.people.mkdir()

    def address(self, number: int) -> str:
        return f"person{number}@mail{number % 7}.example.org"

    def reach(self, number: int) -> Contact:
        return Contact.of("email", f"reach{number}.quillfeather@post{number % 3}.example.org")

    def pledge(self, number: int) -> None:
        file = self.people / f"{number}.pledge"
        self.world.prove(self.story.campaign, file, ask=self.world.answers(self.address(number)))
        pledge.submit(file, transport=self.world.http)

    def leave_contact(self, number: int) -> None:
        file = self.people / f"{number}.contact"
        ask = self.world.answers(self.address(number))
        self.world.prove(self.story.scope, file, ask=ask, contact=self.reach(number), after=0)
        contact.deposit(file, transport=self.world.http, now=1)

    def stored(self) -> dict[bytes, bytes]:
        size = 32 + sealed.blob_bytes(5)
        data = b"".join(self.store.export(self.story.scope.scope_id))[52:]
        return {data[at : at + 32]: data[at + 32 : at + size] for at in range(0, len(data), size)}

    def private(self, i: int) -> bytes:
        assert self.story.scope.trustees is not None
        secret = self.story.trustees[i - 1].secret(self.story.scope.trustees.members[i - 1].scope_key)
        assert secret is not None
        return secret.private_key


class PostOffice:
    def __init__(self) -> None:
        self.mails: list[tuple[str, bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append((envelope.rcpt_tos[0], envelope.content))
        return "250 taken"


def disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_sixty_people_reach_fifty_and_are_written_to(world: Any, tmp_path: Path) -> None:
    town = Town(world)
    story = town.story
    for number in range(THRESHOLD - 1):
        town.pledge(number)
    world.seal()
    for number in DEPOSITORS:
        town.leave_contact(number)
    world.seal()
    contact.erase(town.people / f"{ERASED}.contact", transport=world.http)
    assert len(town.stored()) == len(DEPOSITORS) - 1

    # 49: every trustee refuses on a machine of its own, and what the servers have opens nothing.
    for folder in story.trustees:
        with pytest.raises(NotEligibleError, match="49 of 50"):
            trustees.release(folder, story.check(folder), world.clock.day)
    _nothing_opens_with_too_few_keys(town)

    # The fiftieth, and then a few more. Two of the five trustees are lost.
    town.pledge(THRESHOLD - 1)
    world.seal()
    for number in range(THRESHOLD, SIGNERS):
        town.pledge(number)
    world.seal()
    late = town.people / "1.contact"
    with pytest.raises(ScopeClosedError):
        town.leave_contact(1)
    assert not late.exists()
    for folder in story.trustees[3:]:
        shutil.rmtree(folder.path)
    for folder in story.trustees[:3]:
        story.release(folder)

    checked = story.check(story.trustees[0])
    assert checked.report.ok
    assert checked.scope.reached is not None
    assert checked.scope.reached.reached.live == THRESHOLD
    assert checked.live == SIGNERS
    signatures = {i: release.signature for i, release in checked.scope.releases.items()}
    certificate = certify(checked.scope.reached.reached, story.scope, signatures)
    assert certificate.signers == (1, 2, 3)
    assert verify_certificate(certificate, story.scope).scope_id == story.campaign.scope_id

    # The opening is public but for the organiser's layer; what comes out names no entry.
    entries = opening.standing(checked)
    assert len(entries) == len(DEPOSITORS)
    with ThreadPoolExecutor(2) as pool:
        found = sorted(town.stored().items())
        keys = opening.keys_of(checked, KEY)
        opened = opening.open_all(entries, found, keys, pool)  # type: ignore[arg-type]
    expected = {town.reach(number) for number in DEPOSITORS if number != ERASED}
    assert set(opened.contacts) == expected
    assert list(opened.failures.values()) == ["no-blob"]
    _nothing_leads_from_a_contact_to_a_pledge(town, keys)

    # A confirmation to each, at a real mail server; announced before.
    _mail(town, opened.contacts, tmp_path)
    world.seal()
    assert story.check(story.trustees[0]).report.ok
    _the_public_identifies_nobody(town)


def _nothing_opens_with_too_few_keys(town: Town) -> None:
    """Every server's disk, the organiser's key and t - 1 trustees' keys."""
    two = {i: town.private(i) for i in (1, 2)}
    entries = {
        PledgeStore(town.people / f"{n}.contact").load().nullifier: PledgeStore(
            town.people / f"{n}.contact"
        ).load()
        for n in DEPOSITORS
    }
    for nullifier, data in town.stored().items():
        blob = Blob.from_bytes(data, 3, 5)
        ctx = sealed.context(town.story.scope.scope_id, entries[nullifier].revision_key)  # type: ignore[index]
        for subset in itertools.combinations(two, 2):
            with pytest.raises(OpeningError):
                sealed.open_outer(blob, ctx, two, [subset])
        shares = {i: sealed.open_share(blob, ctx, i, key) for i, key in two.items()}
        with pytest.raises(OpeningError):
            sealed.open_body(blob, ctx, {**shares, 3: hashlib.sha256(shares[1]).digest()})
        with pytest.raises(OpeningError):
            hpke.open_box(KEY, b"sealed/1/inner\x00" + ctx, blob.body[:304])
    servers = [town.world.folder / name for name in ("ledger", "issuer0", "store")]
    for folder in servers:
        assert b"quillfeather" not in disk(folder)


def _nothing_leads_from_a_contact_to_a_pledge(town: Town, keys: Keys) -> None:
    """All the trustees' keys and the organiser's: the entries of a contact and of a pledge share no bytes."""
    for number in DEPOSITORS:
        main = PledgeStore(town.people / f"{number}.pledge").load().pledge()
        other = PledgeStore(town.people / f"{number}.contact").load()
        assert other.blob is not None
        first = _pieces(main.to_bytes()[34:])
        second = _pieces(other.pledge().to_bytes()[34:] + other.blob)
        assert not (first - {bytes(16)}) & (second - {bytes(16)})
    assert len(keys.released) == 3


def _pieces(data: bytes) -> set[bytes]:
    return {data[at : at + 16] for at in range(len(data) - 15)}


def _mail(town: Town, contacts: list[Contact], folder: Path) -> None:
    story, world = town.story, town.world
    place, gone = folder / "list", leave.Gone(folder / "gone")
    contact_list.write(place, story.scope.scope_id, contacts, KEY)
    (folder / "template").mkdir()
    (folder / "template" / "en.txt").write_text("Subject: Reached\n\nWe are enough.\n{leave}\n")
    template = mailing.Template.read(folder / "template", "en")
    office = PostOffice()
    (port,) = free_ports(0)
    controller = Controller(office, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        with MailingState(folder / "mailing", KEY) as state:
            listed = contact_list.read(place, KEY)
            view = story.contacts().view
            found = mailing.announce(
                state,
                view,
                listed,
                template,
                "confirmation",
                manifests.ORGANISER_SEEDS[:1],
                lambda contact: False,
            )
            post(found.notice, LEDGER, world.http)
            done = mailing.send(
                found,
                state,
                listed,
                template,
                mailing.Server("127.0.0.1", port, "campaign@example.org", tls=False),
                contact_key=KEY,
                leave_url="https://leave.example.org",
                gone=gone,
                pause=lambda: None,
            )
    finally:
        controller.stop()
    assert done == {"sent": len(contacts)}
    assert sorted(address for address, _ in office.mails) == sorted(c.value for c in contacts)
    assert f"reach{ERASED}." not in "".join(address for address, _ in office.mails)
    mail = message_from_bytes(office.mails[0][1], policy=policy.default)
    path = str(mail["List-Unsubscribe"]).strip("<>").removeprefix("https://leave.example.org")
    assert leave.leave_app(leave.leave_key(KEY), gone).test_client().post(path).status_code == 200
    assert len(gone.ids()) == 1
    assert b"quillfeather" not in disk(folder / "template") + place.read_bytes()
    assert b"quillfeather" not in (folder / "mailing").read_bytes() + (folder / "gone").read_bytes()


def _the_public_identifies_nobody(town: Town) -> None:
    """The published ledger alone, after release and mailing."""
    public = disk(town.world.ledger.config.public)
    assert b"quillfeather" not in public
    assert not re.search(rb"person[0-9]+@", public)
    for key, blob in town.stored().items():
        assert blob[35:99] not in public  # the ledger has hashes only
        assert key not in public  # and the nullifier is computed, not written
