from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import contacts
import keys
import manifests
from contact_story import PASSPHRASE, Story
from headcount import trustee as trustees
from headcount.assurance import assess
from headcount.trustee_commands import trustee as command
from headcount.trustee_keys import TrusteeFolder
from headcount_engine import bls
from headcount_engine.certificate import certify, verify_certificate
from headcount_ledger.audit import ScopeCount
from headcount_node.forgery import StolenLedger
from headcount_spec import hpke
from headcount_spec.certificate import Certificate
from headcount_spec.contact import Contact
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    ProofError,
    UnknownKeyError,
)
from headcount_spec.notice import sign_statement
from headcount_spec.statement import Statement
from headcount_spec.text import encode_base64

LEDGER = "http://localhost:8000/ledger"
ADA = Contact.of("email", "ada@example.org")


@pytest.fixture
def story(world: Any) -> Story:
    return Story(world, LEDGER)


def test_all_have_signed_and_contacts_may_be_sealed(story: Story) -> None:
    found = story.contacts()
    assert found.those_who("enrolment") == (1, 2, 3, 4, 5)
    found.check_sealable(ADA)
    story.enrol(story.trustees[0])  # again: nothing happens
    story.world.seal()
    assert story.contacts().view.notices == found.view.notices


def test_the_keys_stay_closed_below_the_threshold_and_open_at_it(story: Story) -> None:
    story.pledge(1, 2, 3, 4)
    for folder in story.trustees:
        checked = story.check(folder)
        assert checked.sentence == "not reached: 4 of 5, until 2026-03-05"
        with pytest.raises(NotEligibleError, match="4 of 5"):
            trustees.release(folder, checked, story.world.clock.day)
        with pytest.raises(NotEligibleError):
            trustees.destroy(folder, checked, story.world.clock.day)
    story.pledge(5)
    story.pledge(6)
    for folder in story.trustees[:3]:
        story.release(folder)
    found = story.contacts()
    assert found.reached is not None
    assert found.reached.reached.live == 5
    assert sorted(found.releases) == [1, 2, 3]
    for i, release in found.releases.items():
        assert hpke.public_key(release.private_key) == found.trustees.members[i - 1].scope_key
        assert release.matches(found.reached)
    signatures = {i: release.signature for i, release in found.releases.items()}
    certificate = certify(found.reached.reached, found.manifest, signatures)
    again = Certificate.from_bytes(certificate.to_bytes())
    assert verify_certificate(again, found.manifest).live == 5
    # Again is harmless, and nothing is sealed for them any more.
    assert trustees.release(story.trustees[0], story.check(story.trustees[0]), story.world.clock.day) is None
    with pytest.raises(UnknownKeyError, match="released"):
        found.check_sealable(ADA)


def test_reached_stays_reached_when_people_withdraw_before_the_release(story: Story) -> None:
    story.pledge(1, 2, 3, 4, 5)
    story.withdraw(1, 2)
    checked = story.check(story.trustees[0])
    assert checked.live == 3
    assert checked.sentence.startswith("reached: 5 of 5")
    story.release(story.trustees[0])
    assert story.contacts().releases[1].live == 5


ASKED = {"options": manifests.options("Austria", "Belgium", "Croatia"), "quotas": {"each": 2, "options": 2}}


def test_the_threshold_without_the_quotas_opens_nothing(world: Any) -> None:
    story = Story(world, LEDGER, t=1, n=1, threshold=4, **ASKED)
    (folder,) = story.trustees
    story.pledge(1, 2, 3, 4, choice=1)
    story.pledge(5, choice=2)
    checked = story.check(folder)
    quotas = "at least 2 each at 2 of the 3 options: so far at 1"
    assert checked.sentence == f"not reached: 5 of 4, {quotas}, until 2026-03-05"
    with pytest.raises(NotEligibleError, match="so far at 1"):
        trustees.release(folder, checked, world.clock.day)
    assert story.contacts().reached is None
    story.contacts().check_sealable(ADA)
    story.pledge(6, choice=2)
    # Reached stays reached, although the second country falls below at once.
    story.withdraw(6, choice=2)
    assert story.check(folder).sentence.startswith("reached: 6 of 4")
    story.release(folder)
    found = story.contacts()
    assert found.reached is not None
    assert (found.reached.reached.live, found.releases[1].live) == (6, 6)


def test_without_the_quotas_it_has_failed_after_the_deadline(world: Any) -> None:
    story = Story(world, LEDGER, t=1, n=1, threshold=4, **ASKED)
    (folder,) = story.trustees
    story.pledge(1, 2, 3, 4, choice=1)
    story.issuance()
    found = assess(story.campaign, counted(story, folder), world.clock.now)
    assert (found.state, found.missing, found.enough) == ("open", 2, (1,))
    world.clock.now += (story.campaign.closes + 1 - world.clock.day) * 86400
    world.seal()
    checked = story.check(folder)
    assert checked.sentence.startswith("failed: 4 of 4, at least 2 each at 2 of the 3 options: so far at 1")
    assert assess(story.campaign, counted(story, folder), world.clock.now).state == "failed"
    assert trustees.destroy(folder, checked, world.clock.day) is not None


def counted(story: Story, folder: TrusteeFolder) -> ScopeCount:
    return story.check(folder).report.scopes[story.campaign.scope_id]


def test_a_failed_campaign_lets_the_keys_be_destroyed_and_not_before(story: Story) -> None:
    story.pledge(1, 2)
    story.issuance()
    story.world.clock.now += (story.campaign.closes + 1 - story.world.clock.day) * 86400
    folder = story.trustees[0]
    with pytest.raises(NotEligibleError):
        trustees.destroy(folder, story.check(folder), story.world.clock.day)
    story.world.seal()
    checked = story.check(folder)
    assert checked.sentence == "failed: 2 of 5, and it has ended"
    with pytest.raises(NotEligibleError):
        trustees.release(folder, checked, story.world.clock.day)
    key = story.scope.trustees.members[0].scope_key
    # A ledger whose clock has run ahead of this machine's destroys nothing.
    with pytest.raises(NotEligibleError, match="this machine's clock"):
        trustees.destroy(folder, checked, story.campaign.closes)
    assert folder.secret(key) is not None
    notice = trustees.destroy(folder, checked, story.world.clock.day)
    assert notice is not None
    trustees.post(notice, LEDGER, story.world.http)
    story.world.seal()
    assert folder.secret(key) is None
    assert [path.name for path in folder.path.iterdir() if path.suffix in (".secret", ".backup")] == []
    assert story.contacts().those_who("destruction") == (1,)
    with pytest.raises(UnknownKeyError, match="destroyed"):
        story.contacts().check_sealable(ADA)


def test_an_early_release_is_public_useless_and_signed(story: Story) -> None:
    folder = story.trustees[1]
    secret = folder.secret(story.scope.trustees.members[1].scope_key)
    assert secret is not None
    last = story.contacts().view.last("trustee:Trustee 2")
    assert last is not None
    body = {
        "private_key": encode_base64(secret.private_key),
        "seal": 1,
        "live": 5,
        "signature": encode_base64(bytes(96)),
    }
    statement = Statement("trustee", story.scope.scope_id, 1, last.leaf_hash, "release", body)
    trustees.post(sign_statement(statement, [folder.identity().seed]), LEDGER, story.world.http)
    story.world.seal()
    checked = story.check(story.trustees[0])
    assert list(trustees.misfits(checked)) == ["Trustee 2"]
    with pytest.raises(UnknownKeyError, match="Trustee 2 has released"):
        checked.scope.check_sealable(ADA)
    assert checked.report.ok  # the count is as true as before


def test_a_trustee_shown_another_history_refuses_and_keeps_the_evidence(story: Story, tmp_path: Path) -> None:
    story.pledge(1, 2)
    folder = story.trustees[0]
    shutil.copytree(story.world.ledger.config.public, tmp_path / "old")
    story.pledge(3)
    story.check(folder)
    with pytest.raises(ProofError, match="rolled-back-ledger; the evidence is in headcount-evidence"):
        story.check(folder, tmp_path / "old")
    (evidence,) = folder.path.glob("headcount-evidence-*.json")
    assert len(json.loads(evidence.read_text())["evidence"]) == 2


def test_a_ledger_that_does_not_add_up_releases_nothing(story: Story, tmp_path: Path) -> None:
    story.pledge(1, 2, 3, 4, 5)
    forged = tmp_path / "forged"
    shutil.copytree(story.world.ledger.config.public, forged)
    totals = max((forged / "totals").iterdir(), key=lambda path: int(path.name))
    totals.write_bytes(totals.read_bytes()[:-1] + b"\x06")
    with pytest.raises(ProofError, match="does not pass the audit"):
        story.check(story.trustees[0], forged)


def test_a_seal_of_the_future_waits(story: Story) -> None:
    story.pledge(1, 2, 3, 4, 5)
    checked = story.check(story.trustees[0])
    with pytest.raises(NotEligibleError, match="still to come"):
        trustees.release(story.trustees[0], checked, story.world.clock.day - 2)


def test_a_stranger_and_a_lost_key_release_nothing(story: Story, tmp_path: Path) -> None:
    story.pledge(1, 2, 3, 4, 5)
    checked = story.check(story.trustees[0])
    stranger = TrusteeFolder(tmp_path / "stranger")
    stranger.create("Trustee 1")
    with pytest.raises(UnknownKeyError, match="no trustee"):
        trustees.release(stranger, checked, story.world.clock.day)
    folder = story.trustees[0]
    (backup,) = folder.path.glob("*.backup")
    kept = tmp_path / "kept"
    shutil.copy(backup, kept)
    (secret,) = folder.path.glob("*.secret")
    secret.unlink()
    with pytest.raises(ConfigurationError, match="restore"):
        trustees.release(folder, checked, story.world.clock.day)
    for passphrase in ("wrong", ""):
        with pytest.raises(ConfigurationError, match="passphrase"):
            folder.restore(kept, passphrase)
    for text in (b"", b"headcount-trustee-backup-1 AAAA", kept.read_bytes().replace(b"-1 ", b"-2 ")):
        (tmp_path / "bad").write_bytes(text)
        with pytest.raises(ConfigurationError, match="not a trustee's backup"):
            folder.restore(tmp_path / "bad", PASSPHRASE)
    folder.restore(kept, PASSPHRASE)
    assert trustees.release(folder, checked, story.world.clock.day) is not None


def test_borrowed_keys_are_never_sealed_for(world: Any) -> None:
    # Another campaign writes the trustees of this one into its manifest; they have not signed it.
    story = Story(world, LEDGER)
    changes = contacts.changes(story.campaign, trustees=story.scope.json["trustees"])
    borrowed = world.publish(
        "borrowed", **{**changes, "title": manifests.both("B", "B"), "issuers": [manifests.issuer(0, 2)]}
    )
    with pytest.raises(UnknownKeyError, match="not named"):
        trustees.enrolment(story.trustees[0], borrowed, story.view())
    story.scope = borrowed
    story.name_child()
    with pytest.raises(UnknownKeyError, match="Trustee 1 has not signed"):
        story.contacts().check_sealable(ADA)


@pytest.mark.parametrize("swapped", ["scope_key", "bls_key"])
def test_terms_with_another_key_in_a_trustees_name_are_not_signed(world: Any, swapped: str) -> None:
    # Organisers who write a key of their own beside the trustee's identity would hold that share themselves.
    story = Story(world, LEDGER, enrolled=0)
    members = [dict(member) for member in story.scope.json["trustees"]["members"]]
    own = {
        "scope_key": {"scope_key": encode_base64(hpke.public_key(keys.seed("organiser's own")))},
        "bls_key": {
            "bls_key": encode_base64(bls.public_key(keys.seed("organiser's own"))),
            "bls_proof": encode_base64(bls.prove_possession(keys.seed("organiser's own"))),
        },
    }[swapped]
    members[0].update(own)
    terms = {**story.scope.json["trustees"], "members": members}
    changes = {**contacts.changes(story.campaign, trustees=terms), "issuers": [manifests.issuer(0, 2)]}
    story.scope = world.publish("swapped", **{**changes, "title": manifests.both("S", "S")})
    story.name_child()
    with pytest.raises(UnknownKeyError, match=r"another (BLS )?key than this trustee's"):
        trustees.enrolment(story.trustees[0], story.scope, story.view())


def test_one_missing_signature_is_enough_to_seal_nothing(world: Any) -> None:
    story = Story(world, LEDGER, enrolled=4)
    with pytest.raises(UnknownKeyError, match="Trustee 5 has not signed"):
        story.contacts().check_sealable(ADA)
    story.scope = story.campaign
    with pytest.raises(NotFoundError):
        story.contacts()


def test_the_draft_gets_keys_once_and_another_key_is_refused(world: Any, tmp_path: Path) -> None:
    folder = TrusteeFolder(tmp_path / "t")
    folder.create("T")
    with pytest.raises(ConfigurationError, match="exists"):
        folder.create("T")
    with pytest.raises(ConfigurationError, match="no draft"):
        trustees.enrol_draft(folder, manifests.draft(), lambda: PASSPHRASE)
    draft: dict[str, Any] = {"kind": "contact", "trustees": {"t": 1, "members": []}}
    once = trustees.enrol_draft(folder, draft, lambda: PASSPHRASE)
    assert once is not None
    assert trustees.enrol_draft(folder, once, lambda: PASSPHRASE) is None
    assert (folder.path / "identity.key").stat().st_mode & 0o077 == 0
    for path in folder.path.iterdir():
        if path.suffix == ".backup":
            (secret,) = folder.path.glob("*.secret")
            assert secret.read_bytes() not in path.read_bytes()


def test_the_commands_say_what_they_do(story: Story, tmp_path: Path) -> None:
    story.pledge(1, 2, 3, 4)
    policy = tmp_path / "policy"
    policy.write_bytes(story.world.policy)
    public = str(story.world.ledger.config.public)
    folder = str(story.trustees[0].path)
    options = ["--policy", str(policy), "--dir", folder]
    shown = CliRunner().invoke(command, ["check", public, story.scope.scope_id.hex(), *options])
    assert shown.exit_code == 0, shown.output
    assert "not reached: 4 of 5" in shown.output
    assert "signed: Trustee 1, Trustee 2, Trustee 3, Trustee 4, Trustee 5" in shown.output
    refused = CliRunner().invoke(command, ["release", public, story.scope.scope_id.hex(), *options, "--yes"])
    assert isinstance(refused.exception, NotEligibleError)
    story.pledge(5)
    # Without a yes nothing leaves the machine; a folder takes no notices.
    asked = CliRunner().invoke(
        command, ["release", public, story.scope.scope_id.hex(), *options], input="n\n"
    )
    assert asked.exit_code != 0
    assert "released" not in asked.stdout.splitlines()[-1]


def test_a_draft_is_enrolled_by_the_command(tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.mkdir()
    value = {"kind": "contact", "trustees": {"t": 1, "members": []}}
    (draft / "manifest.json").write_text(json.dumps(value))
    (tmp_path / "pass").write_text(PASSPHRASE + "\n")
    own = ["--dir", str(tmp_path / "t")]
    assert CliRunner().invoke(command, ["init", "Ada Lovelace", *own]).exit_code == 0
    enrol = ["enrol", str(draft), *own, "--passphrase-file", str(tmp_path / "pass")]
    for _ in range(2):
        done = CliRunner().invoke(command, enrol)
        assert done.exit_code == 0, done.output
    members = json.loads((draft / "manifest.json").read_text())["trustees"]["members"]
    assert [member["name"] for member in members] == ["Ada Lovelace"]
    (draft / "scope.json").write_text("{}")
    assert CliRunner().invoke(command, enrol).exit_code == 2


@pytest.mark.parametrize("whose", ["another trustee's", "nobody's"])
def test_a_swapped_or_made_up_key_is_no_release(story: Story, whose: str) -> None:
    story.pledge(1, 2, 3, 4, 5)
    folder, other = story.trustees[:2]
    swapped = other.secret(story.scope.trustees.members[1].scope_key)
    assert swapped is not None
    private = swapped.private_key if whose == "another trustee's" else keys.seed("nobody")
    last = story.contacts().view.last("trustee:Trustee 1")
    assert last is not None
    body = {
        "private_key": encode_base64(private),
        "seal": 1,
        "live": 5,
        "signature": encode_base64(bytes(96)),
    }
    statement = Statement("trustee", story.scope.scope_id, 1, last.leaf_hash, "release", body)
    with pytest.raises(MalformedError):
        trustees.post(sign_statement(statement, [folder.identity().seed]), LEDGER, story.world.http)
    story.world.seal()
    assert story.contacts().releases == {}


def test_a_trustee_shown_a_fork_refuses_and_keeps_the_evidence(story: Story, tmp_path: Path) -> None:
    story.pledge(1, 2, 3, 4, 5)
    folder = story.trustees[0]
    shutil.copytree(story.world.ledger.config.public, tmp_path / "fork")
    StolenLedger(tmp_path / "fork").fork(manifests.LEDGER_KEY)
    story.check(folder)
    with pytest.raises(ProofError, match="forked-ledger; the evidence is in headcount-evidence"):
        story.check(folder, tmp_path / "fork")
    (evidence,) = folder.path.glob("headcount-evidence-*.json")
    assert len(json.loads(evidence.read_text())["evidence"]) == 2


def test_terms_with_another_threshold_are_another_scope_that_nobody_has_signed(story: Story) -> None:
    easier = contacts.changes(story.campaign, trustees=story.scope.json["trustees"], threshold=4)
    changed = manifests.manifest(**easier)
    assert changed.scope_id != story.scope.scope_id
    with pytest.raises(NotFoundError):
        trustees.enrolment(story.trustees[0], changed, story.view())


def test_a_bad_signature_in_a_release_does_not_stop_the_others(world: Any) -> None:
    story = Story(world, LEDGER, t=1, n=2)
    story.pledge(1, 2, 3, 4, 5)
    reached = story.contacts().reached
    assert reached is not None
    secret = story.trustees[0].secret(story.scope.trustees.members[0].scope_key)
    assert secret is not None
    good = bls.sign(secret.bls_seed, reached.reached.message)
    for bad in (bls.sign(secret.bls_seed, b"another"), bytes(96)):
        assert certify(reached.reached, story.scope, {1: good, 2: bad}).signers == (1,)
    with pytest.raises(UnknownKeyError, match="0 trustees"):
        certify(reached.reached, story.scope, {2: bytes(96)})
