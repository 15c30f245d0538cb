"""Vectors of scope manifests."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import keys
import manifests
from headcount_spec import jcs, spki
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import MalformedError
from headcount_spec.scope import Manifest
from headcount_spec.text import encode_base64

from . import Case, fails, octets, ok, same, text

FILE = "manifests.json"

Edit = Callable[[dict[str, Any]], object]

_LEDGER_KEY = manifests.LEDGER_KEY.verification_key.to_text()

# A member of a complete manifest is set to what no manifest may have there. A dot goes inside.
_WRONG: tuple[tuple[str, str, Any], ...] = (
    ("version-two", "headcount", 2),
    ("version-as-text", "headcount", "1"),
    ("version-as-boolean", "headcount", True),
    ("unknown-kind", "kind", "petition"),
    ("kind-as-list", "kind", ["campaign"]),
    ("unknown-eligible", "eligible", "citizens"),
    ("language-not-of-the-title", "language", "de"),
    ("language-in-upper-case", "language", "EN"),
    ("no-language-at-all", "title", {}),
    ("title-as-text", "title", "We move together"),
    ("title-empty", "title.en", ""),
    ("title-too-long", "title.en", "a" * 301),
    ("title-not-nfc", "title.fr", "Nous de\u0301mentons"),
    ("title-of-two-lines", "title.en", "We\nmove"),
    ("title-with-tab", "title.en", "We\tmove"),
    ("title-with-private-use-character", "title.en", "We move \ue000"),
    ("title-with-unassigned-character", "title.en", "We move \U000e0080"),
    ("title-with-character-of-unicode-15", "title.en", "We move \U0001fae8"),
    ("language-missing-in-addressee", "addressee", {"en": "The networks"}),
    ("language-added-in-data-use", "data_use.de", "Nur hierfür"),
    ("text-hash-in-upper-case", "texts.en", "AB" * 32),
    ("text-hash-too-short", "texts.en", "ab" * 31),
    ("opens-no-such-day", "opens", "2026-02-30"),
    ("opens-without-zero", "opens", "2026-1-10"),
    ("opens-as-number", "opens", 20463),
    ("opens-after-freezes", "opens", "2026-02-21"),
    ("freezes-after-closes", "freezes", "2026-03-02"),
    ("threshold-zero", "threshold", 0),
    ("threshold-as-text", "threshold", "5"),
    ("options-empty", "options", []),
    ("quotas-without-options", "quotas", {"each": 2, "options": 1}),
    ("tiers-as-object", "tiers", {"count": 3}),
    ("action-zone-in-lower-case", "action.time_zone", "europe/paris"),
    ("action-zone-as-offset", "action.time_zone", "+01:00"),
    ("action-with-hour", "action.date", "2026-04-01T12:00"),
    ("level-with-space", "level", "e mail"),
    ("level-part-twice", "level", "email+email"),
    ("level-choice-without-colon", "level", "2-of-email,oidc,device"),
    ("level-one-of-three", "level", "1-of:email,oidc,device"),
    ("level-two-of-four", "level", "2-of:email,oidc,device,eid"),
    ("level-two-of-two", "level", "2-of:email,oidc"),
    ("no-issuers", "issuers", []),
    ("issuer-name-in-upper-case", "issuers.0.name", "Issuer.example"),
    ("issuer-url-with-user", "issuers.0.url", "https://user@issuer.example"),
    ("issuer-url-with-query", "issuers.0.url", "https://issuer.example/?q=1"),
    ("issuer-url-with-fragment", "issuers.0.url", "https://issuer.example/#a"),
    ("issuer-url-with-slash-at-the-end", "issuers.0.url", "https://issuer.example/"),
    ("issuer-url-with-dot-segments", "issuers.0.url", "https://issuer.example/../a"),
    ("issuer-url-of-another-scheme", "issuers.0.url", "ftp://issuer.example"),
    ("issuer-url-with-port-65536", "issuers.0.url", "https://issuer.example:65536"),
    ("issuer-url-with-newline", "issuers.0.url", "https://issuer.example\n"),
    ("token-key-not-base64", "issuers.0.token_key", "*"),
    ("token-key-empty", "issuers.0.token_key", ""),
    ("notice-key-too-short", "issuers.0.notice_key", encode_base64(bytes([9]) * 31)),
    ("notice-key-of-small-order", "issuers.0.notice_key", encode_base64(b"\x01" + bytes(31))),
    ("notice-key-not-canonical", "issuers.0.notice_key", encode_base64(b"\xef" + b"\xff" * 30 + b"\x7f")),
    ("attesters-empty", "issuers.0.attesters", []),
    ("attesters-twice-the-same", "issuers.0.attesters", ["email", "email"]),
    ("slips-none", "issuers.0.slips", 0),
    ("slips-as-text", "issuers.0.slips", "300"),
    ("slips-too-many", "issuers.0.slips", 2**32),
    ("returning-empty", "issuers.0.returning", []),
    ("returning-as-text", "issuers.0.returning", "passkey"),
    ("returning-twice-the-same", "issuers.0.returning", ["passkey", "passkey"]),
    ("returning-in-upper-case", "issuers.0.returning", ["Passkey"]),
    ("no-organiser-keys", "organisers.keys", []),
    ("quorum-zero", "organisers.quorum", 0),
    ("quorum-above-keys", "organisers.quorum", 2),
    ("origin-line-not-the-name-of-the-key", "ledger.origin", "localhost:8000/other"),
    ("ledger-key-not-a-vkey", "ledger.key", "abc"),
    ("witnesses-without-quorum", "witnesses", "# none\n"),
    ("witnesses-with-log", "witnesses", f"log {_LEDGER_KEY}\nquorum none\n"),
    ("origin-with-path", "origins", ["https://partner.example/p"]),
    ("origin-twice", "origins", ["https://partner.example", "https://partner.example"]),
    ("origin-with-port-with-zero", "origins", ["https://partner.example:080"]),
    ("no-origins", "origins", []),
    ("min-batch-zero", "min_batch", 0),
    ("max-hold-negative", "max_hold", -1),
    ("max-hold-above-a-month", "max_hold", 32),
    ("parent-too-short", "parent", "00" * 31),
    ("continues-without-seal", "continues", {"scope": "00" * 32}),
    ("unknown-member", "colour", "red"),
    ("unknown-member-of-an-issuer", "issuers.0.colour", "red"),
    ("unknown-member-of-the-ledger", "ledger.url", "http://localhost:8000"),
)

# Spellings of the same JSON value that are not the one of RFC 8785.
_SPELLINGS: tuple[tuple[str, bytes, bytes], ...] = (
    ("space-after-colon", b'"headcount":1', b'"headcount": 1'),
    ("number-as-float", b'"headcount":1', b'"headcount":1.0'),
    ("number-with-exponent", b'"headcount":1', b'"headcount":1e0'),
    ("duplicate-key", b'"headcount":1', b'"headcount":1,"headcount":1'),
    ("escaped-letter", b'"campaign"', b'"\\u0063ampaign"'),
    ("not-utf-8", b'"campaign"', b'"campaign\xff"'),
    ("integer-of-two-to-the-53", b'"threshold":5', b'"threshold":9007199254740992'),
    ("not-a-number", b'"threshold":5', b'"threshold":NaN'),
)


def make() -> dict[str, Any]:
    """Manifests of each kind, and one failure at a time."""
    return {
        "about": "Scope manifests: RFC 8785 JSON with every member checked; scope_id = SHA-256("
        '"headcount/scope/v1\\0" || manifest).',
        "source": "Made by makers/manifests.py.",
        "cases": [*_good(), *_bad_values(), *_bad_lists(), *_bad_bytes()],
    }


def _good() -> list[Case]:
    campaign = manifests.manifest()
    sealed = manifests.contact(campaign)
    path = {"url": "https://issuer.example:8443/a/b-c_d~e.f"}
    return [
        _ok("campaign", campaign),
        _ok("two-issuers", manifests.manifest(2)),
        _ok("eight-issuers", manifests.manifest(8)),
        _ok("level-of-two", manifests.manifest(level="email+device")),
        _ok("level-two-of-three", manifests.manifest(level="2-of:email,oidc,device")),
        _ok(
            "slips",
            manifests.manifest(
                level="in-person",
                issuers=[manifests.issuer(0) | {"attesters": ["in-person"], "slips": 300}],
            ),
        ),
        _ok("returning", manifests.manifest(issuers=[manifests.issuer(0) | {"returning": ["passkey"]}])),
        _ok("without-optional-members", manifests.manifest(tiers=None, action=None)),
        _ok("round-with-options", manifests.manifest(kind="round", options=manifests.options("A", "B", "C"))),
        _ok("quotas", _quotas(2, 3)),
        _ok("quotas-of-one-option", _quotas(2, 1)),
        _ok("quotas-in-a-round", _quotas(1, 2, kind="round")),
        _ok("quotas-beside-trustees", _quotas(2, 2, trustees=manifests.trustees(2, 3))),
        _ok("contact-with-trustees", sealed),
        _ok("sealed-round", manifests.manifest(kind="round", trustees=manifests.trustees(2, 3))),
        _ok("checkin-of-parent", manifests.manifest(kind="checkin", parent=campaign.scope_id.hex())),
        _ok("continues-another", manifests.manifest(continues={"scope": campaign.scope_id.hex(), "seal": 7})),
        _ok("one-day", manifests.manifest(opens="2026-03-01", freezes="2026-03-01", closes="2026-03-01")),
        _ok("zone-of-three-parts", manifests.manifest(action=_zone("America/Argentina/Buenos_Aires"))),
        _ok("zone-utc", manifests.manifest(action=_zone("UTC"))),
        _ok("url-with-path", manifests.manifest(issuers=[{**manifests.issuer(), **path}])),
        _ok("onion-origin", manifests.manifest(origins=["http://abc.onion", "https://a.example:65535"])),
    ]


def _bad_values() -> list[Case]:
    cases = [_fails(name, partial(_set, path=path, value=value)) for name, path, value in _WRONG]
    cases += [
        _fails(f"without-{name.replace('_', '-')}", operator.methodcaller("pop", name))
        for name in manifests.draft()
        if name not in ("tiers", "action")
    ]
    return cases


def _bad_lists() -> list[Case]:
    def issuers(field: str) -> Edit:
        second = manifests.issuer(1)
        return lambda draft: draft.update(
            issuers=[draft["issuers"][0], {**second, field: draft["issuers"][0][field]}]
        )

    def options(*numbers: int) -> Edit:
        labels = manifests.options(*("A" for _ in numbers))
        return lambda draft: draft.update(
            options=[{**label, "number": number} for label, number in zip(labels, numbers, strict=True)]
        )

    def tiers(*counts: int) -> Edit:
        effect = manifests.both("A letter", "Une lettre")
        return lambda draft: draft.update(tiers=[{"count": count, "effect": effect} for count in counts])

    def quotas(value: Any, **changes: Any) -> Edit:
        options = manifests.options("A", "B", "C")
        return lambda draft: draft.update(options=options, quotas=value, **changes)

    two = {"each": 2, "options": 2}

    def trustees(edit: Edit) -> Edit:
        def change(draft: dict[str, Any]) -> None:
            draft.update(kind="round", trustees=copy.deepcopy(manifests.trustees(2, 3)))
            edit(draft["trustees"])

        return change

    def twin(field: str) -> Edit:
        return trustees(lambda terms: terms["members"][1].update({field: terms["members"][0][field]}))

    def key_of_small_order(terms: dict[str, Any]) -> None:
        terms["members"][0]["scope_key"] = encode_base64(bytes(32))

    def trustees_of_contact(draft: dict[str, Any]) -> None:
        trustees(lambda terms: None)(draft)
        draft.update(
            kind="contact",
            parent="00" * 32,
            contacts=manifests.contacts(),
            options=manifests.options("A"),
        )

    def contacts(**changes: Any) -> Edit:
        def change(draft: dict[str, Any]) -> None:
            trustees_of_contact(draft)
            draft.pop("options")
            draft["contacts"].update(changes)

        return change

    def without_contacts(draft: dict[str, Any]) -> None:
        contacts()(draft)
        draft.pop("contacts")

    purpose = manifests.contacts()["purposes"][0]

    key = manifests.b64_key(manifests.ORGANISER_SEEDS[0])
    # Of factors of two test keys: another modulus, so that the number of issuers is all that is wrong.
    ninth = {
        **manifests.issuer(),
        "name": "issuer8.example",
        "token_key": encode_base64(
            spki.encode_token_key(PublicKey(keys.token_key(0).p * keys.token_key(1).q, 65537))
        ),
        "notice_key": manifests.b64_key(bytes(32)),
    }
    nine = [*(manifests.issuer(i) for i in range(8)), ninth]
    return [
        _fails("two-issuers-of-one-name", issuers("name")),
        _fails("two-issuers-with-one-token-key", issuers("token_key")),
        _fails("two-issuers-with-one-notice-key", issuers("notice_key")),
        _fails("nine-issuers", lambda draft: draft.update(issuers=nine)),
        _fails("two-organisers-with-one-key", lambda draft: draft["organisers"].update(keys=[key, key])),
        _fails("options-from-zero", options(0, 1)),
        _fails("options-with-gap", options(1, 3)),
        _fails("options-out-of-order", options(2, 1)),
        _fails("tiers-equal", tiers(3, 3)),
        _fails("tiers-descending", tiers(4, 3)),
        _fails("tier-of-zero", tiers(0)),
        _fails("quotas-as-number", quotas(2)),
        _fails("quotas-without-each", quotas({"options": 2})),
        _fails("quotas-without-number-of-options", quotas({"each": 2})),
        _fails("quotas-each-none", quotas({"each": 0, "options": 2})),
        _fails("quotas-each-as-text", quotas({"each": "2", "options": 2})),
        _fails("quotas-of-no-option", quotas({"each": 2, "options": 0})),
        _fails("quotas-of-more-options-than-there-are", quotas({"each": 2, "options": 4})),
        _fails("quotas-with-unknown-member", quotas({**two, "of": 3})),
        _fails("quotas-in-a-checkin", quotas(two, kind="checkin", parent="00" * 32)),
        _fails("quotas-in-a-sealed-round", quotas(two, kind="round", trustees=manifests.trustees(2, 3))),
        _fails("quotas-in-a-scope-that-continues", quotas(two, continues={"scope": "00" * 32, "seal": 7})),
        _fails("parent-missing-for-checkin", lambda draft: draft.update(kind="checkin")),
        _fails("parent-missing-for-eligible", lambda draft: draft.update(eligible="parent-token-holders")),
        _fails("contact-without-trustees", lambda draft: draft.update(kind="contact", parent="00" * 32)),
        _fails("contact-with-options", trustees_of_contact),
        _fails("trustees-more-needed-than-there-are", trustees(lambda terms: terms.update(t=4))),
        _fails("trustees-none-needed", trustees(lambda terms: terms.update(t=0))),
        _fails("two-trustees-of-one-name", twin("name")),
        _fails("two-trustees-with-one-identity", twin("identity_key")),
        _fails("two-trustees-with-one-scope-key", twin("scope_key")),
        _fails("two-trustees-with-one-bls-key", twin("bls_key")),
        _fails("trustee-key-of-small-order", trustees(key_of_small_order)),
        _fails("contact-without-contacts", without_contacts),
        _fails("contacts-outside-a-contact-scope", lambda draft: draft.update(contacts=manifests.contacts())),
        _fails("contacts-key-of-small-order", contacts(key=encode_base64(bytes(32)))),
        _fails("contacts-channel-unknown", contacts(channels=["pigeon"])),
        _fails("contacts-channel-twice", contacts(channels=["email", "email"])),
        _fails("contacts-without-channel", contacts(channels=[])),
        _fails("contacts-without-purpose", contacts(purposes=[])),
        _fails("contacts-purpose-twice", contacts(purposes=[purpose, purpose])),
        _fails("contacts-with-unknown-member", contacts(quorum=1)),
    ]


def _bad_bytes() -> list[Case]:
    raw = manifests.manifest().raw
    cases = [
        fails(name, MalformedError, **text("manifest", raw.replace(old, new, 1)))
        for name, old, new in _SPELLINGS
    ]
    cases += [
        fails("empty", MalformedError, manifest=""),
        fails("truncated", MalformedError, **text("manifest", raw[:-1])),
        fails("trailing-newline", MalformedError, **text("manifest", raw + b"\n")),
        fails("trailing-brace", MalformedError, **text("manifest", raw + b"}")),
        fails("byte-order-mark", MalformedError, **text("manifest", b"\xef\xbb\xbf" + raw)),
        fails("a-list", MalformedError, **text("manifest", b"[" + raw + b"]")),
    ]
    return cases


def _quotas(each: int, options: int, **changes: Any) -> Manifest:
    quotas = {"each": each, "options": options}
    labels = manifests.options("A", "B", "C")
    made: Manifest = manifests.manifest(options=labels, quotas=quotas, **changes)
    return made


def _zone(name: str) -> dict[str, Any]:
    return {**manifests.draft()["action"], "time_zone": name}


def _set(draft: dict[str, Any], path: str, value: Any) -> None:
    *inner, last = path.split(".")
    place: Any = draft
    for name in inner:
        place = place[int(name)] if name.isdigit() else place[name]
    place[last] = value


def _ok(name: str, manifest: Manifest) -> Case:
    return ok(name, **text("manifest", manifest.raw), **_outputs(manifest))


def _fails(name: str, edit: Edit) -> Case:
    draft = copy.deepcopy(manifests.draft())
    edit(draft)
    return fails(name, MalformedError, **text("manifest", jcs.canonicalise(draft)))


def _outputs(manifest: Manifest) -> dict[str, Any]:
    return {
        "scope_id": manifest.scope_id.hex(),
        "challenges": [manifest.challenge(i).to_bytes().hex() for i in range(len(manifest.issuers))],
        "deadline_day": manifest.deadline_day,
    }


def check(case: Case) -> None:
    """Read the manifest."""
    manifest = Manifest.from_bytes(octets(case, "manifest"))
    if case["expect"] == "ok":
        same(case, **_outputs(manifest))
