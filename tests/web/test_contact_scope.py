from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ledgers
import manifests
import nodejs
from headcount.contact_scope import find_contacts
from headcount_ledger.reader.view import open_ledger
from headcount_spec.contact import Contact
from headcount_spec.errors import ProtocolError
from headcount_spec.notice import Notice
from headcount_spec.scope import Manifest
from headcount_spec.text import encode_base64
from ledgers import OPENS, Batch, Ledger, raw

CAMPAIGN = manifests.manifest(threshold=2, min_batch=1, tiers=None)
SCOPE = manifests.contact(
    CAMPAIGN, 2, 3, threshold=2, min_batch=1, title=manifests.both("Reach me", "Me joindre")
)


def said(scope: Manifest, i: int, type: str, previous: Notice | None = None) -> Notice:
    key = {"scope_key": encode_base64(manifests.agreement_key(i))}
    release = {
        "private_key": encode_base64(manifests.agreement_private(i)),
        "seal": 2,
        "live": 2,
        "signature": encode_base64(bytes(96)),
    }
    body: dict[str, Any] = release if type == "release" else key
    return manifests.notice(scope, "trustee", type, body, previous, (manifests.TRUSTEE_SEEDS[i],))


def ledger(
    *more: Notice,
    enrolled: int = 3,
    pledges: int = 0,
    named: bool = True,
    scope: Manifest = SCOPE,
    campaign: Manifest = CAMPAIGN,
    choices: tuple[int, ...] = (),
) -> Ledger:
    texts = manifests.text_notices(campaign)
    terms = [manifests.manifest_notice(campaign), *texts, *manifests.openings(campaign)]
    contacts = [manifests.manifest_notice(scope), *manifests.text_notices(scope), *manifests.openings(scope)]
    child = manifests.notice(campaign, "organiser", "child", {"scope": scope.scope_id.hex()}, texts[-1])
    signed = [said(scope, i, "enrolment") for i in range(enrolled)]
    given = [manifests.pledge(campaign, number) for number in range(pledges)]
    given += [manifests.pledge(campaign, number, choice) for number, choice in enumerate(choices)]
    return ledgers.build(
        [
            Batch(OPENS, raw(*terms)),
            Batch(OPENS + 1, raw(*contacts, *([child] if named else []), *signed)),
            Batch(OPENS + 2, raw(*given, *more)),
        ]
    )


def both(found: Ledger, folder: Path, channel: str = "email", scope: Manifest = SCOPE) -> list[str]:
    """What the page says, and what the command line says."""
    nodejs.require()
    job = {
        "folder": str(found.write(folder)),
        "policy": found.policy.to_bytes().hex(),
        "scope": scope.scope_id.hex(),
        "channel": channel,
    }
    done = nodejs.run([nodejs.COMPILED / "test" / "contact_folder.js"], input=json.dumps(job) + "\n")
    assert done.returncode == 0, done.stderr
    values = {"email": "ada@example.org", "phone": "+4915112345678"}
    try:
        view = open_ledger(found.fetch, found.policy)
        find_contacts(view, scope.scope_id).check_sealable(Contact.of(channel, values[channel]))
    except ProtocolError as exc:
        return [json.loads(done.stdout), exc.code]
    return [json.loads(done.stdout), "ok"]


def test_a_contact_may_be_sealed(tmp_path: Path) -> None:
    assert both(ledger(pledges=1), tmp_path) == ["ok"] * 2


@pytest.mark.parametrize(
    ("found", "code"),
    [
        pytest.param(ledger(enrolled=2), "unknown-key", id="a trustee has not signed"),
        pytest.param(ledger(named=False), "unknown-key", id="not named by the campaign's organisers"),
        pytest.param(
            ledger(said(SCOPE, 1, "release", said(SCOPE, 1, "enrolment"))), "unknown-key", id="a key is out"
        ),
        pytest.param(
            ledger(said(SCOPE, 1, "destruction", said(SCOPE, 1, "enrolment"))),
            "unknown-key",
            id="a key is destroyed",
        ),
        pytest.param(ledger(pledges=2), "closed-scope", id="reached"),
    ],
)
def test_nothing_is_sealed(tmp_path: Path, found: Ledger, code: str) -> None:
    assert both(found, tmp_path) == [code] * 2


def test_a_channel_that_the_organiser_does_not_use_is_refused(tmp_path: Path) -> None:
    assert both(ledger(), tmp_path, channel="phone") == ["not-eligible"] * 2


def test_a_campaign_is_no_contact_scope(tmp_path: Path) -> None:
    assert both(ledger(), tmp_path, scope=CAMPAIGN) == ["not-found"] * 2


WITH_QUOTAS = manifests.manifest(
    threshold=2,
    min_batch=1,
    tiers=None,
    options=manifests.options("Austria", "Belgium"),
    quotas={"each": 1, "options": 2},
)
LATER = manifests.contact(
    WITH_QUOTAS, 2, 3, threshold=2, min_batch=1, title=manifests.both("Reach me", "Me joindre")
)


@pytest.mark.parametrize(("choices", "code"), [((1, 1, 1), "ok"), ((1, 2), "closed-scope")])
def test_contacts_are_taken_until_the_quotas_are_met(
    tmp_path: Path, choices: tuple[int, ...], code: str
) -> None:
    found = ledger(scope=LATER, campaign=WITH_QUOTAS, choices=choices)
    assert both(found, tmp_path, scope=LATER) == [code] * 2
