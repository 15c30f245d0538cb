from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from contact_story import Story
from headcount import contact, pledge, receipt, revise
from headcount.contact_commands import contact as command
from headcount.pledge_file import PledgeFile, PledgeStore
from headcount.signer_commands import prove as prove_command
from headcount_spec import sealed
from headcount_spec.contact import Contact
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    ScopeClosedError,
    UnknownKeyError,
)
from headcount_spec.scope import WITHDRAWN
from headcount_verifier import Redeemer, VerifierConfig
from headcount_verifier import create_app as verifier_app
from headcount_verifier.contacts import Contacts, ReachedWatch

LEDGER = "http://localhost:8000/ledger"
VERIFIER = "http://localhost:8000"
ADA = Contact.of("email", "ada.lovelace@example.org")


class Kept:
    """The story with a contact store at the verifier."""

    def __init__(self, world: Any, folder: Path) -> None:
        self.world = world
        self.story = Story(world, LEDGER, t=2, n=3)
        watch = ReachedWatch(lambda manifest: self.story.view(), lambda: 0.0)
        self.store = Contacts(world.scopes, folder / "contacts", watch, lambda: world.clock.day)
        redeemer = Redeemer(world.scopes, world.to_ledger, lambda: world.clock.day)
        world.router.serve(VERIFIER, verifier_app(VerifierConfig(LEDGER), redeemer, self.store))

    def person(self, place: Path, address: str, way: Contact | None = ADA, **more: Any) -> PledgeFile:
        """Somebody who pledges, and leaves a contact with the same address."""
        self.world.prove(self.story.campaign, place, ask=self.world.answers(address))
        pledge.submit(place, transport=self.world.http)
        other = place.with_suffix(".contact")
        ask = self.world.answers(address)
        found: PledgeFile = self.world.prove(self.story.scope, other, ask=ask, contact=way, **more)
        return found

    def blobs(self) -> list[bytes]:
        data = b"".join(self.store.export(self.story.scope.scope_id))
        size = 32 + sealed.blob_bytes(3)
        body = data[52:]
        return [body[at + 32 : at + size] for at in range(0, len(body), size)]


@pytest.fixture
def kept(world: Any, tmp_path: Path) -> Iterator[Kept]:
    made = Kept(world, tmp_path)
    yield made
    made.store.close()


def test_a_contact_is_left_with_a_token_of_its_own_and_erased(kept: Kept, tmp_path: Path) -> None:
    content = kept.person(tmp_path / "ada.pledge", "ada@example.org", after=1000)
    place = tmp_path / "ada.contact"
    assert content.blob is not None
    assert b"lovelace" not in place.read_bytes()
    assert kept.blobs() == []
    with pytest.raises(NotEligibleError, match="too early"):
        contact.deposit(place, transport=kept.world.http, now=999)
    done = contact.deposit(place, transport=kept.world.http, now=1000)
    assert done.is_deposited
    assert contact.deposit(place, transport=kept.world.http, now=1000) == done
    assert kept.blobs() == [content.blob]
    kept.world.seal()
    (found,) = receipt.fetch(place, transport=kept.world.http)
    assert found.proof is not None
    main = PledgeStore(tmp_path / "ada.pledge").load()
    assert main.nullifier != content.nullifier
    assert main.revision_key != content.revision_key
    assert main.seed != content.seed
    contact.erase(place, transport=kept.world.http)
    assert kept.blobs() == []


def test_the_file_is_read_as_written_and_not_without_its_blob(kept: Kept, tmp_path: Path) -> None:
    content = kept.person(tmp_path / "a", "a@example.org", after=7)
    for file in (content, replace(content, is_deposited=True)):
        assert PledgeFile.from_bytes(file.to_bytes()) == file
    with pytest.raises(MalformedError):
        PledgeFile.from_bytes(replace(content, blob=None).to_bytes())
    plain = PledgeStore(tmp_path / "a").load()
    with pytest.raises(MalformedError):
        PledgeFile.from_bytes(replace(plain, blob=content.blob).to_bytes())
    with pytest.raises(ConfigurationError, match="no contact"):
        contact.deposit(tmp_path / "a", transport=kept.world.http, now=0)
    with pytest.raises(ConfigurationError, match="no contact"):
        contact.erase(tmp_path / "a", transport=kept.world.http)


def test_only_who_has_pledged_leaves_a_contact_and_only_one(kept: Kept, tmp_path: Path) -> None:
    stranger = kept.world.answers("stranger@example.org")
    with pytest.raises(NotEligibleError):
        kept.world.prove(kept.story.scope, tmp_path / "s", ask=stranger, contact=ADA)
    with pytest.raises(NotEligibleError, match="say how"):
        kept.world.prove(kept.story.scope, tmp_path / "t", ask=stranger)
    phone = Contact.of("phone", "+4915112345678")
    with pytest.raises(NotEligibleError, match="cannot use phone; only none, email, matrix"):
        kept.world.prove(kept.story.scope, tmp_path / "u", ask=stranger, contact=phone)
    assert not (tmp_path / "t").exists()
    assert not (tmp_path / "u").exists()


def test_nothing_is_sealed_or_sent_when_a_trustee_has_let_the_key_out(kept: Kept, tmp_path: Path) -> None:
    kept.person(tmp_path / "a", "a@example.org")
    kept.story.pledge(1, 2, 3, 4)
    kept.story.release(kept.story.trustees[0])
    with pytest.raises(UnknownKeyError, match="released"):
        contact.deposit(tmp_path / "a.contact", transport=kept.world.http, now=0)
    with pytest.raises(UnknownKeyError, match="released"):
        kept.person(tmp_path / "b", "b@example.org")
    assert not (tmp_path / "b.contact").exists()
    assert kept.blobs() == []


def test_nothing_is_sent_once_the_campaign_was_reached(kept: Kept, tmp_path: Path) -> None:
    kept.person(tmp_path / "a", "a@example.org")
    kept.story.pledge(1, 2, 3, 4)
    with pytest.raises(ScopeClosedError):
        contact.deposit(tmp_path / "a.contact", transport=kept.world.http, now=0)


def test_a_withdrawn_contact_can_be_taken_up_again(kept: Kept, tmp_path: Path) -> None:
    kept.person(tmp_path / "a", "a@example.org")
    place = tmp_path / "a.contact"
    contact.deposit(place, transport=kept.world.http, now=0)
    kept.world.seal()
    withdrawn = revise.withdraw(place, transport=kept.world.http, day=kept.world.clock.day)
    assert withdrawn.changes[-1].choice == WITHDRAWN
    kept.world.seal()
    again = revise.revise(place, 0, transport=kept.world.http, day=kept.world.clock.day)
    kept.world.seal()
    assert again.changes[-1].promise is not None
    assert kept.story.check(kept.story.trustees[0]).report.scopes[kept.story.scope.scope_id].live == 1


def test_a_stop_at_any_request_leads_to_one_blob(
    kept: Kept, tmp_path: Path, recorder: Any, crash: type[BaseException]
) -> None:
    whole = recorder(kept.world.http)
    kept.person(tmp_path / "whole", "whole@example.org")
    contact.deposit(tmp_path / "whole.contact", transport=whole, now=0)
    posts = [n for n, (method, _, _) in enumerate(whole.sent) if method == "POST"]
    assert [whole.sent[n][1].rpartition("/")[2] for n in posts] == ["pledges", "contacts"]
    for n in posts:
        for when in ("fail_before", "fail_after"):
            place = tmp_path / f"{n}{when}"
            kept.person(place, f"{n}{when.replace('_', '')}@example.org")
            broken = recorder(kept.world.http)
            setattr(broken, when, n)
            with pytest.raises(crash):
                contact.deposit(place.with_suffix(".contact"), transport=broken, now=0)
            contact.deposit(place.with_suffix(".contact"), transport=kept.world.http, now=0)
    assert len(set(kept.blobs())) == len(kept.blobs()) == 5


def test_the_one_contact_scope_of_a_campaign_is_found(kept: Kept) -> None:
    found = contact.find_child(kept.story.view(), kept.story.campaign.scope_id)
    assert found.manifest == kept.story.scope
    with pytest.raises(NotFoundError, match="takes no contacts"):
        contact.find_child(kept.story.view(), kept.story.scope.scope_id)


def test_a_deposit_waits_an_hour_to_two_days() -> None:
    assert contact.draw_wait(lambda n: 0) == 3600
    assert contact.draw_wait(lambda n: n - 1) == 48 * 3600 - 1


def test_the_commands_refuse_what_is_no_contact(tmp_path: Path) -> None:
    for value in ("email:nobody", "pigeon:x", "ada@example.org"):
        asked = CliRunner().invoke(prove_command, ["ledger", "00", "--contact", value])
        assert asked.exit_code == 2
    for name in ("send", "erase"):
        missing = CliRunner().invoke(command, [name, str(tmp_path / "none")])
        assert isinstance(missing.exception, ConfigurationError)
