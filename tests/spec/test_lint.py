from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import keys
import manifests
from headcount_spec.level import Level
from headcount_spec.lint import ERROR, Finding, lint
from headcount_spec.note import COSIGNATURE_V1, VerificationKey
from headcount_spec.scope import Manifest
from mutations import JSON_VALUES, spoilt_json

DRAFT = manifests.draft()


def codes(data: Any, *siblings: Manifest, today: int | None = None) -> set[str]:
    return {finding.code for finding in lint(data, siblings, today)}


def errors(data: Any, *siblings: Manifest, today: int | None = None) -> list[tuple[str, str]]:
    found = lint(data, siblings, today)
    return [(finding.code, finding.path) for finding in found if finding.severity == ERROR]


def careful() -> dict[str, Any]:
    """A manifest with which the linter finds nothing."""
    key = manifests.SigningKey("witness", keys.seed("witness")).verification_key
    witness = VerificationKey("witness", COSIGNATURE_V1, key.public_key).to_text()
    issuers = [{**manifests.issuer(i), "url": f"https://issuer{i}.example"} for i in range(2)]
    organisers = [manifests.b64_key(seed) for seed in manifests.ORGANISER_SEEDS]
    return manifests.draft(
        issuers=issuers,
        organisers={"keys": organisers, "quorum": 2},
        witnesses=f"witness w {witness}\nquorum w\n",
        origins=["https://partner.example", "http://abcdef.onion"],
        min_batch=10,
    )


def test_a_careful_manifest_has_no_findings() -> None:
    assert lint(careful(), today=manifests.OPENS) == ()


def test_the_factory_s_manifest_has_no_errors() -> None:
    assert errors(DRAFT, today=manifests.OPENS) == []


def test_an_empty_draft_lacks_everything() -> None:
    found = errors({})
    assert len(found) == 21
    assert ("no-end-of-life", "$.end_of_life") in found
    assert ("no-closing-day", "$.closes") in found
    assert ("no-issuer", "$.issuers") in found


@pytest.mark.parametrize("data", [[], "manifest", None, 1])
def test_what_is_no_object_is_malformed(data: Any) -> None:
    assert errors(data) == [("malformed", "$")]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("title", "no-title"),
        ("texts", "no-text"),
        ("closes", "no-closing-day"),
        ("end_of_life", "no-end-of-life"),
        ("data_use", "no-data-use"),
        ("threshold", "no-threshold"),
        ("kind", "incomplete"),
    ],
)
def test_a_missing_or_empty_member_is_named(name: str, code: str) -> None:
    draft = manifests.draft(**{name: None})
    assert errors(draft) == [(code, f"$.{name}")]
    assert (code, f"$.{name}") in errors({**DRAFT, name: ""})


def test_members_missing_inside_are_named() -> None:
    issuer = manifests.issuer()
    del issuer["token_key"], issuer["notice_key"]
    draft = manifests.draft(issuers=[issuer], action={"date": "2026-04-01"}, ledger={"origin": "x"})
    assert errors(draft) == [
        ("incomplete", "$.action.time_zone"),
        ("incomplete", "$.action.what"),
        ("incomplete", "$.issuers[0].token_key"),
        ("incomplete", "$.issuers[0].notice_key"),
        ("incomplete", "$.ledger.key"),
    ]


def test_missing_and_added_languages_are_named() -> None:
    option = {"number": 1, "label": {"en": "A"}}
    assert errors(manifests.draft(options=[option])) == [("language-missing", "$.options[0].label")]
    assert errors({**DRAFT, "addressee": {"en": "a", "de": "a", "fr": "a"}}) == [
        ("language-extra", "$.addressee")
    ]
    assert errors({**DRAFT, "language": "de"}) == [("language-missing", "$.title")]


def test_texts_that_read_differently_are_refused() -> None:
    title = manifests.both("We", "e\u0301")
    assert errors({**DRAFT, "title": title}) == [("not-nfc", "$.title.fr")]
    title = manifests.both("We \U000e0080", "a")
    assert errors({**DRAFT, "title": title}) == [("unassigned-character", "$.title.en")]
    assert errors({**DRAFT, "origins": ["http://a\t"]}) == [("unassigned-character", "$.origins[0]")]
    assert "direction-control" in codes({**DRAFT, "title": manifests.both("We \u202eevom", "a")})


def test_what_cannot_be_read_has_a_place() -> None:
    assert errors({**DRAFT, "threshold": 0}) == [("malformed", "$.threshold")]
    assert errors({**DRAFT, "ledger": {**DRAFT["ledger"], "key": "x"}}) == [("malformed", "$.ledger.key")]
    assert errors({**DRAFT, "opens": "2026-03-01"}) == [("malformed", "$")]
    assert errors({**DRAFT, "threshold": 2**53}) == [("malformed", "$")]
    assert errors({**DRAFT, "colour": "red"}) == [("malformed", "$")]


def test_a_level_names_what_the_issuers_check() -> None:
    def level(level: str, *attesters: list[str]) -> list[tuple[str, str]]:
        issuers = [{**manifests.issuer(i), "attesters": asked} for i, asked in enumerate(attesters)]
        return errors(manifests.draft(level=level, issuers=issuers))

    mixed = [("level-mixed", "$.level")]
    assert level("email", ["email"], ["email"]) == []
    assert level("email+device", ["email", "device"]) == []
    assert level("email+device", ["email"], ["device"]) == []
    assert level("email", ["email", "device"]) == mixed
    assert level("email", ["email"], ["device"]) == mixed
    assert level("email+device", ["email"]) == mixed
    assert level("oidc", ["email"]) == mixed
    assert level("device+email", ["email", "device"]) == mixed
    three = ["email", "oidc", "device"]
    assert level("2-of:email,oidc,device", three, three) == []
    assert level("2-of:email,oidc,device", three, ["email"]) == mixed
    assert level("2-of:device,email,oidc", three) == mixed
    assert level("email+oidc+device", three) == []


def test_a_token_key_serves_one_scope() -> None:
    other = manifests.manifest(title=manifests.both("Other", "Autre"))
    assert errors(DRAFT, other) == [("token-key-reused", "$.issuers")]
    separate = manifests.manifest(
        title=manifests.both("Other", "Autre"), issuers=[manifests.issuer(0, token_key=3)]
    )
    assert errors(DRAFT, separate) == []


def test_a_sibling_of_the_same_kind_has_another_title() -> None:
    def sibling(english: str, **changes: Any) -> Manifest:
        issuers = [manifests.issuer(0, token_key=3)]
        return manifests.manifest(title=manifests.both(english, "Autre"), issuers=issuers, **changes)

    same = [("same-title", "$.title")]
    assert errors(DRAFT, sibling("We move together")) == same
    assert errors(DRAFT, sibling("WE  MOVE Ｔogether")) == same
    assert errors(DRAFT, sibling("We move apart")) == []
    assert errors(DRAFT, sibling("We move together", kind="round")) == []
    assert errors(DRAFT, sibling("We move together", parent="00" * 32)) == []


def test_a_successor_has_the_title_the_level_and_an_issuer_of_what_it_continues() -> None:
    old = manifests.manifest(issuers=[manifests.issuer(0, token_key=3), manifests.issuer(1, token_key=4)])

    def successor(**changes: Any) -> dict[str, Any]:
        continues = {"scope": old.scope_id.hex(), "seal": 3}
        return manifests.draft(**{"continues": continues, **changes})

    assert errors(successor(), old) == []
    assert errors(successor(issuers=[manifests.issuer(1), manifests.issuer(2)]), old) == []
    assert errors(successor(issuers=[manifests.issuer(2)]), old) == [("successor-forgets", "$.continues")]
    differs = [("successor-differs", "$.continues")]
    assert errors(successor(kind="round"), old) == differs
    assert errors(successor(parent="00" * 32), old) == differs
    in_person = [manifests.issuer(0) | {"attesters": ["in-person"]}]
    assert errors(successor(level="in-person", issuers=in_person), old) == differs
    first = manifests.manifest(
        title=manifests.both("Another", "Autre"),
        issuers=[manifests.issuer(0, token_key=5)],
        continues={"scope": old.scope_id.hex(), "seal": 2},
    )
    assert errors(successor(), old, first) == [("successor-twice", "$.continues")]


FORGETS = [("successor-forgets", "$.continues")]


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        ("in-person", FORGETS),
        ("email+in-person", []),
        ("2-of:email,in-person,oidc", FORGETS),
        ("3-of:email,in-person,oidc,eid", []),
        ("2-of:email,eid,oidc", []),
    ],
)
def test_a_successor_recognises_who_has_pledged(level: str, wanted: list[tuple[str, str]]) -> None:
    attesters = {"attesters": list(Level.from_text(level).parts)}
    old = manifests.manifest(level=level, issuers=[manifests.issuer(0, token_key=3) | attesters])
    continues = {"scope": old.scope_id.hex(), "seal": 3}
    now = [manifests.issuer(0) | attesters]
    assert errors(manifests.draft(level=level, issuers=now, continues=continues), old) == wanted


def test_what_an_issuer_has_asked_before_is_what_it_can_recognise() -> None:
    def asking(*attesters: str, token_key: int) -> list[dict[str, Any]]:
        return [
            manifests.issuer(i, token_key=token_key + i) | {"attesters": [name]}
            for i, name in enumerate(attesters)
        ]

    old = manifests.manifest(level="email+oidc", issuers=asking("email", "oidc", token_key=3))
    continues = {"scope": old.scope_id.hex(), "seal": 3}
    new = asking("email", "oidc", token_key=0)
    new[0]["notice_key"], new[1]["notice_key"] = new[1]["notice_key"], new[0]["notice_key"]
    assert errors(manifests.draft(level="email+oidc", issuers=new, continues=continues), old) == FORGETS


def test_the_slips_of_a_parent_are_shown_to_its_childs_successor_again() -> None:
    slips = {"attesters": ["in-person"]}
    child = {"level": "in-person", "parent": "00" * 32, "eligible": "parent-token-holders"}
    for eligible, wanted in (("parent-token-holders", []), ("anyone", FORGETS)):
        old = manifests.manifest(
            **child | {"eligible": eligible}, issuers=[manifests.issuer(0, token_key=3) | slips]
        )
        continues = {"scope": old.scope_id.hex(), "seal": 3}
        new = manifests.draft(**child, issuers=[manifests.issuer(0) | slips], continues=continues)
        assert errors(new, old) == wanted


def test_a_manifest_is_no_sibling_of_itself() -> None:
    assert errors(DRAFT, manifests.manifest()) == []


def test_the_past() -> None:
    assert errors(DRAFT, today=manifests.CLOSES) == []
    assert errors(DRAFT, today=manifests.CLOSES + 1) == [("already-closed", "$.closes")]
    assert "already-open" in codes(DRAFT, today=manifests.OPENS + 1)
    assert "already-open" not in codes(DRAFT, today=manifests.OPENS)


def test_places_are_encrypted_or_local() -> None:
    origins = ["http://partner.example", "http://127.0.0.1:8000", "http://abc.onion", "https://a.example"]
    found = lint({**DRAFT, "origins": origins})
    places = [(f.code, f.path) for f in found if f.code in ("not-encrypted", "local-only")]
    assert places == [
        ("not-encrypted", "$.origins[0]"),
        ("local-only", "$.issuers[0].url"),
        ("local-only", "$.origins[1]"),
    ]


def changed(**changes: Any) -> set[str]:
    return codes({**careful(), **changes}, today=manifests.OPENS)


def test_each_doubt_has_its_warning() -> None:
    organiser = manifests.b64_key(manifests.ORGANISER_SEEDS[0])
    issuers = careful()["issuers"]
    ledger = manifests.SigningKey(manifests.ORIGIN, manifests.ORGANISER_SEEDS[0]).verification_key
    assert changed(issuers=issuers[:1]) == {"sole-issuer"}
    assert changed(organisers={"keys": [organiser], "quorum": 1}) == {"sole-organiser"}
    assert changed(witnesses="quorum none\n") == {"no-witnesses"}
    assert changed(min_batch=9) == {"small-batch"}
    assert changed(closes="2027-01-12", action=None) == {"malformed"}
    no_action = {name: value for name, value in careful().items() if name != "action"}
    assert codes({**no_action, "closes": "2027-01-12"}) == {"long-campaign"}
    assert codes({**no_action, "closes": "2027-01-11"}) == set()
    assert changed(closes="2026-04-01") == {"action-before-close"}
    assert changed(tiers=[{"count": 6, "effect": manifests.both("a", "b")}]) == {"tier-above-threshold"}
    assert changed(issuers=[{**issuers[0], "notice_key": organiser}, issuers[1]]) == {"same-party"}
    assert changed(ledger={"origin": manifests.ORIGIN, "key": ledger.to_text()}) == {"same-party"}
    assert changed(origins=["https://issuer0.example:8443"]) == {"same-host"}
    paper = [issuer | {"attesters": ["in-person"]} for issuer in issuers]
    assert changed(level="in-person", issuers=paper) == {"slips-without-cap"}
    capped = [issuer | {"slips": 300} for issuer in paper]
    assert changed(level="in-person", issuers=capped) == set()
    assert changed(issuers=[issuers[0] | {"slips": 300}, issuers[1]]) == {"slips-without-sheet"}
    three = [issuer | {"attesters": ["email", "oidc", "device"]} for issuer in issuers]
    assert changed(level="2-of:email,oidc,device", issuers=three) == {"level-choice"}
    assert changed(level="email+oidc+device", issuers=three) == set()
    assert changed(trustees=manifests.trustees(3, 5)) == set()
    assert changed(trustees=manifests.trustees(2, 4)) == {"trustees-few"}
    assert changed(trustees=manifests.trustees(2, 2)) == {"trustees-all"}
    trustees = manifests.trustees(2, 3)
    trustees["members"][0]["identity_key"] = issuers[0]["notice_key"]
    assert changed(trustees=trustees) == {"same-party"}


def test_errors_come_first_and_every_finding_is_a_sentence() -> None:
    found: list[Finding] = []
    for name in DRAFT:
        found += lint({**DRAFT, name: None})
    found += lint({**DRAFT, "level": "oidc"})
    for finding in found:
        assert finding.path.startswith("$")
        assert finding.message.endswith(".")
    severities = [finding.severity for finding in lint({**DRAFT, "level": "oidc"})]
    assert severities == sorted(severities)
    assert set(severities) == {"error", "warning"}


@given(spoilt_json(manifests.draft(options=manifests.options("A"), trustees=manifests.trustees())))
def test_a_draft_without_errors_is_a_manifest(value: dict[str, Any]) -> None:
    if not errors(value):
        Manifest.from_bytes(manifests.jcs.canonicalise(value))


@given(JSON_VALUES)
def test_any_json_is_linted(value: Any) -> None:
    assert errors(value)
    errors({**DRAFT, "title": value, "issuers": value})


def test_accounts_are_said_to_join_scopes() -> None:
    draft = careful()
    draft["issuers"][1]["returning"] = ["passkey"]
    found = lint(draft, today=manifests.OPENS)
    assert [(finding.code, finding.path) for finding in found] == [("accounts", "$.issuers[1].returning")]
    assert errors(draft, today=manifests.OPENS) == []


def test_nobody_comes_back_where_only_slips_are_taken() -> None:
    draft = careful()
    draft["level"] = "email+in-person"
    draft["issuers"][1] |= {"attesters": ["in-person"], "returning": ["passkey"]}
    assert errors(draft, today=manifests.OPENS) == [("returning-without-check", "$.issuers[1].returning")]
    draft["issuers"][1]["attesters"] = ["email", "in-person"]
    assert errors(draft, today=manifests.OPENS) == []


def contact_draft(parent: Manifest, **changes: Any) -> dict[str, Any]:
    return dict(manifests.contact(parent).json, **changes)


def test_contacts_open_on_the_condition_of_their_parent() -> None:
    parent = manifests.manifest()
    assert errors(contact_draft(parent), parent) == []
    assert errors(contact_draft(parent, threshold=4), parent) == [("contact-threshold", "$.threshold")]
    assert errors(contact_draft(parent, threshold=4)) == []  # the parent is not in sight
    ledger = manifests.SigningKey("elsewhere", keys.seed("elsewhere")).verification_key.to_text()
    moved = contact_draft(parent, ledger={"origin": "elsewhere", "key": ledger})
    assert errors(moved, parent) == [("contact-ledger", "$.ledger")]
    checkin = manifests.manifest(kind="checkin", parent=parent.scope_id.hex(), title=manifests.both("C", "C"))
    assert errors(contact_draft(checkin), checkin) == [("contact-parent", "$.parent")]
    assert "contact-late" in codes(contact_draft(parent, closes="2026-03-02"), parent)


def test_a_trustee_is_not_the_organiser() -> None:
    parent = manifests.manifest()
    draft = contact_draft(parent)
    draft["contacts"]["key"] = draft["trustees"]["members"][2]["scope_key"]
    assert errors(draft) == [("trustee-is-organiser", "$.trustees.members[2].scope_key")]


def with_quotas(each: int, options: int, threshold: int, n: int = 4) -> dict[str, Any]:
    labels = manifests.options(*"ABCDEFGH"[:n])
    quotas = {"each": each, "options": options}
    return {**careful(), "options": labels, "quotas": quotas, "threshold": threshold}


@pytest.mark.parametrize(
    ("each", "options", "threshold", "found"),
    [
        (20, 3, 100, set()),
        (20, 3, 61, set()),
        (20, 3, 60, {"quotas-above-threshold"}),
        (9, 3, 100, {"small-quota"}),
        # Of 77 people who choose one of four, twenty have chosen the same: with 76 it may be nineteen each.
        (20, 1, 77, {"quotas-say-nothing"}),
        (20, 1, 76, set()),
        (20, 2, 77, set()),
    ],
)
def test_quotas_that_say_little_are_named(each: int, options: int, threshold: int, found: set[str]) -> None:
    draft = with_quotas(each, options, threshold)
    assert codes(draft) == {"quotas-unchecked", *found}
    assert errors(draft) == []


def test_quotas_lack_what_nobody_has_said() -> None:
    draft = {**with_quotas(20, 3, 100), "quotas": {"each": 20}}
    assert ("incomplete", "$.quotas.options") in errors(draft)


def test_a_scope_with_quotas_has_no_successor() -> None:
    one = manifests.manifest(options=manifests.options("A", "B"), quotas={"each": 1, "options": 2})
    continues = {"scope": one.scope_id.hex(), "seal": 3}
    two = manifests.draft(issuers=[manifests.issuer(0, token_key=3)], continues=continues)
    assert errors(two, one) == [("successor-of-quotas", "$.continues")]
    plain = manifests.manifest(options=manifests.options("A", "B"))
    two["continues"]["scope"] = plain.scope_id.hex()
    assert errors(two, plain) == []
