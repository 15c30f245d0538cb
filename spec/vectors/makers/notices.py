"""Vectors of notices: signed statements about a scope."""

from __future__ import annotations

from typing import Any

import keys
import manifests
from headcount_spec import jcs, signature
from headcount_spec.entry import parse_entry
from headcount_spec.errors import (
    MalformedError,
    NoticeConflictError,
    ProtocolError,
    SignatureError,
    UnknownKeyError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import HEADER, Notice, author, verify_notice
from headcount_spec.scope import Manifest
from headcount_spec.text import encode_base64
from headcount_spec.wire import opaque16

from . import Case, fails, octets, ok, same, text

FILE = "notices.json"

_CAMPAIGN = manifests.manifest()
_SEED = manifests.ORGANISER_SEEDS[0]
_FIRST = manifests.manifest_notice(_CAMPAIGN)
_HASH = keys.seed("bundle").hex()


def make() -> dict[str, Any]:
    """Each type of each role, and one failure at a time."""
    return {
        "about": "Notices: 04 01 | uint16 length | RFC 8785 statement | n u8 | n x (public_key[32] | "
        'signature[64]) by ascending keys over "headcount/notice/v1\\0" || statement.',
        "source": "Made by makers/notices.py.",
        "cases": [
            *_good(),
            *_layouts(),
            *_statements(),
            *_bodies(),
            *_authors(),
            *_sequence(),
            *_contradictions(),
        ],
    }


def _notice(
    scope: Manifest, role: str, type: str, body: dict[str, Any], *previous: Any, **options: Any
) -> Notice:
    notice: Notice = manifests.notice(scope, role, type, body, *previous, **options)
    return notice


def _update(previous: Notice | None = _FIRST, **options: Any) -> Notice:
    body = {"title": {"en": "News"}, "text": {"en": "Half of us are here.\n"}}
    return _notice(_CAMPAIGN, "organiser", "update", body, previous, **options)


def _good() -> list[Case]:
    sealed = manifests.contact(_CAMPAIGN)
    quorum = manifests.manifest(organisers=_organisers(3, 2))
    opening = manifests.opening(_CAMPAIGN)
    texts = manifests.text_notices(_CAMPAIGN)
    mailing = _mailing()
    codes = {"root": keys.seed("codes").hex(), "number": 100}

    def organiser(type: str, body: dict[str, Any]) -> Notice:
        return _notice(_CAMPAIGN, "organiser", type, body, _FIRST)

    def trustee(type: str, body: dict[str, Any], i: int = 0) -> Notice:
        return _notice(sealed, "trustee", type, body, seeds=manifests.TRUSTEE_SEEDS[i : i + 1])

    first = manifests.manifest_notice(sealed)
    return [
        _ok("manifest", _FIRST),
        _ok("text", texts[0], _FIRST),
        _ok("second-text", texts[1], texts[0]),
        _ok("child", organiser("child", {"scope": sealed.scope_id.hex()}), _FIRST),
        _ok("update", _update(), _FIRST),
        _ok("mailing", _notice(sealed, "organiser", "mailing", mailing, first), first, sealed),
        _ok("pages", organiser("pages", _pages()), _FIRST),
        _ok("pages-of-two-builds", organiser("pages", _pages(bundles=[_HASH, _HASH[::-1]])), _FIRST),
        _ok("opening", opening),
        _ok("issuance", manifests.issuance(_CAMPAIGN, manifests.OPENS, 16, opening), opening),
        _ok("codes", _notice(_CAMPAIGN, "issuer", "codes", codes, opening), opening),
        *(
            _ok(f"destroyed-{'-and-'.join(destroyed)}", _destruction(opening, destroyed), opening)
            for destroyed in (["tag"], ["token"], ["tag", "token"])
        ),
        _ok("closing", manifests.closing(_CAMPAIGN)),
        _ok("enrolment", trustee("enrolment", _scope_key(0)), manifest=sealed),
        _ok("release", trustee("release", _release(1), 1), manifest=sealed),
        _ok("destruction", trustee("destruction", _scope_key(4), 4), manifest=sealed),
        _ok(
            "two-of-three", manifests.manifest_notice(quorum, manifests.ORGANISER_SEEDS[1:]), manifest=quorum
        ),
        _ok("three-of-three", manifests.manifest_notice(quorum, manifests.ORGANISER_SEEDS), manifest=quorum),
    ]


def _layouts() -> list[Case]:
    notice = _update(seeds=manifests.ORGANISER_SEEDS[:2])
    data = notice.to_bytes()
    head = HEADER + opaque16(notice.statement_bytes)
    first, second = (key + value for key, value in notice.signatures)
    return [
        _fails("empty-notice", MalformedError, HEADER),
        _fails("truncated", MalformedError, data[:-1]),
        _fails("trailing-byte", MalformedError, data + b"\x00"),
        _fails("version-two", MalformedError, b"\x04\x02" + data[2:]),
        _fails("without-signature", MalformedError, head + b"\x00"),
        _fails("seventeen-signatures", MalformedError, head + b"\x11" + _signatures(notice, 17)),
        _fails("keys-descending", MalformedError, head + b"\x02" + second + first),
        _fails("key-twice", MalformedError, head + b"\x02" + first + first),
        _fails("statement-empty", MalformedError, HEADER + opaque16(b"") + b"\x01" + first),
    ]


def _statements() -> list[Case]:
    right = _update().statement_bytes
    edits: tuple[tuple[str, bytes, bytes], ...] = (
        ("statement-not-canonical", b'"seq":1', b'"seq": 1'),
        ("statement-with-duplicate-key", b'"seq":1', b'"seq":1,"seq":1'),
        ("statement-with-unknown-member", b'"seq":1', b'"seq":1,"then":1'),
        ("statement-without-seq", b'"seq":1,', b""),
        ("seq-as-text", b'"seq":1', b'"seq":"1"'),
        ("seq-negative", b'"seq":1', b'"seq":-1'),
        ("seq-zero-with-prev", b'"seq":1', b'"seq":0'),
        ("role-unknown", b'"organiser"', b'"verifier"'),
        ("role-of-another-type", b'"organiser"', b'"issuer"'),
        ("type-unknown", b'"type":"update"', b'"type":"upsert"'),
        ("scope-too-short", _CAMPAIGN.scope_id.hex().encode(), _CAMPAIGN.scope_id.hex()[2:].encode()),
        ("scope-in-upper-case", _CAMPAIGN.scope_id.hex().encode(), _CAMPAIGN.scope_id.hex().upper().encode()),
        ("prev-zeros-with-seq", leaf_hash(_FIRST.to_bytes()).hex().encode(), b"00" * 32),
        (
            "body-as-text",
            b'"body":{"text":{"en":"Half of us are here.\\n"},"title":{"en":"News"}}',
            b'"body":"x"',
        ),
    )
    cases = []
    for name, old, new in edits:
        statement = right.replace(old, new, 1)
        cases.append(_fails(name, MalformedError, _sign(statement)))
    manifest = _FIRST.statement_bytes
    other = manifests.manifest(2).scope_id.hex().encode()
    wrong_scope = manifest.replace(_CAMPAIGN.scope_id.hex().encode(), other)
    changed = manifest.replace(b'"threshold":5', b'"threshold":6')
    second = manifest.replace(b'"seq":0', b'"seq":1').replace(b"00" * 32, b"11" * 32)
    return [
        *cases,
        _fails(
            "update-first",
            MalformedError,
            _sign(
                right.replace(b'"seq":1', b'"seq":0').replace(
                    leaf_hash(_FIRST.to_bytes()).hex().encode(), b"00" * 32
                )
            ),
        ),
        _fails("manifest-of-another-scope", MalformedError, _sign(wrong_scope)),
        _fails("manifest-changed-under-its-scope-id", MalformedError, _sign(changed)),
        _fails("manifest-later-than-first", MalformedError, _sign(second)),
    ]


def _bodies() -> list[Case]:
    hash32 = "ab" * 32
    wrong: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        ("text-without-language", "organiser", "text", {"text": "We"}),
        ("text-not-nfc", "organiser", "text", {"language": "en", "text": "e\u0301"}),
        ("text-with-unknown-member", "organiser", "text", {"language": "en", "text": "We", "by": "me"}),
        ("child-too-short", "organiser", "child", {"scope": hash32[2:]}),
        ("update-in-other-languages", "organiser", "update", {"title": {"en": "a"}, "text": {"fr": "a"}}),
        ("update-without-language", "organiser", "update", {"title": {}, "text": {}}),
        ("mailing-to-nobody", "organiser", "mailing", {"template": hash32, "number": 0, "purpose": "x"}),
        ("mailing-without-purpose", "organiser", "mailing", {"template": hash32, "number": 1}),
        ("pages-of-no-build", "organiser", "pages", _pages(bundles=[])),
        ("pages-of-nine-builds", "organiser", "pages", _pages(bundles=[f"{i:064x}" for i in range(9)])),
        ("pages-with-one-build-twice", "organiser", "pages", _pages(bundles=[_HASH, _HASH])),
        ("pages-with-a-hash-in-capitals", "organiser", "pages", _pages(bundles=[_HASH.upper()])),
        ("pages-with-a-short-hash", "organiser", "pages", _pages(bundles=[_HASH[2:]])),
        ("pages-with-a-path", "organiser", "pages", _pages(site=f"{_CAMPAIGN.origins[0]}/sign")),
        ("pages-without-site", "organiser", "pages", {"bundles": [_HASH]}),
        ("pages-by-an-issuer", "issuer", "pages", _pages()),
        ("opening-without-key", "issuer", "opening", {"issuer": "issuer0.example"}),
        ("issuance-not-of-sixteen", "issuer", "issuance", {"day": 20463, "issued": 17}),
        ("issuance-negative", "issuer", "issuance", {"day": 20463, "issued": -16}),
        ("issuance-day-as-date", "issuer", "issuance", {"day": "2026-01-10", "issued": 16}),
        ("codes-of-none", "issuer", "codes", {"root": hash32, "number": 0}),
        ("destruction-of-nothing", "issuer", "destruction", {"day": 20514, "keys": []}),
        ("destruction-twice", "issuer", "destruction", {"day": 20514, "keys": ["tag", "tag"]}),
        ("destruction-out-of-order", "issuer", "destruction", {"day": 20514, "keys": ["token", "tag"]}),
        ("destruction-of-an-unknown-key", "issuer", "destruction", {"day": 20514, "keys": ["notice"]}),
        ("destruction-without-day", "issuer", "destruction", {"keys": ["tag"]}),
        ("closing-without-day", "ledger", "closing", {}),
        ("closing-day-above-32-bits", "ledger", "closing", {"day": 2**32}),
        ("enrolment-of-small-order", "trustee", "enrolment", {"scope_key": encode_base64(bytes(32))}),
        (
            "release-of-31-bytes",
            "trustee",
            "release",
            {**_release(0), "private_key": encode_base64(bytes(31))},
        ),
        ("release-with-short-signature", "trustee", "release", {**_release(0), "signature": "AA=="}),
    )
    cases = []
    for name, role, type, body in wrong:
        statement = {
            "body": body,
            "prev": hash32,
            "role": role,
            "scope": _CAMPAIGN.scope_id.hex(),
            "seq": 1,
            "type": type,
        }
        cases.append(_fails(name, MalformedError, _sign(jcs.canonicalise(statement))))
    return cases


def _authors() -> list[Case]:
    quorum = manifests.manifest(organisers=_organisers(3, 2))
    two = manifests.manifest(2)
    one = manifests.manifest_notice(quorum)
    flipped = bytearray(_FIRST.to_bytes())
    flipped[-1] ^= 1
    both = _notice(
        two, "issuer", "opening", manifests.opening(two).statement.body, seeds=manifests.ISSUER_SEEDS[:2]
    )
    sealed = manifests.contact(_CAMPAIGN)
    stranger = _notice(sealed, "trustee", "enrolment", _scope_key(0), seeds=(bytes(32),))
    undomained = _FIRST.statement_bytes
    return [
        _fails("signature-changed", SignatureError, bytes(flipped)),
        _fails("signature-without-domain", SignatureError, _sign(undomained, domain=b"")),
        _fails("signature-of-the-second-organiser-changed", SignatureError, _spoilt(quorum), manifest=quorum),
        _fails("one-of-two-organisers", UnknownKeyError, one.to_bytes(), manifest=quorum),
        _fails(
            "organiser-and-stranger", UnknownKeyError, _update(seeds=(_SEED, bytes(32))).to_bytes(), _FIRST
        ),
        _fails("stranger", UnknownKeyError, _update(seeds=(bytes(32),)).to_bytes(), _FIRST),
        _fails(
            "issuer-speaks-for-organisers",
            UnknownKeyError,
            _update(seeds=manifests.ISSUER_SEEDS[:1]).to_bytes(),
            _FIRST,
        ),
        _fails("two-issuers-in-one-notice", UnknownKeyError, both.to_bytes(), manifest=two),
        _fails("organiser-closes", UnknownKeyError, _by("ledger", "closing", {"day": manifests.CLOSES + 1})),
        _fails("organiser-issues", UnknownKeyError, _by("issuer", "issuance", {"day": 20463, "issued": 0})),
        _fails("trustee-of-none", UnknownKeyError, _by("trustee", "enrolment", _scope_key(0))),
        _fails("stranger-enrols", UnknownKeyError, stranger.to_bytes(), manifest=sealed),
        _fails("notice-of-another-scope", UnknownKeyError, _update().to_bytes(), _FIRST, manifest=two),
    ]


def _sequence() -> list[Case]:
    second = _update()
    skipped = _update(second)
    other = _update(seeds=(_SEED,))
    return [
        _fails("manifest-again", NoticeConflictError, _FIRST.to_bytes(), _FIRST),
        _fails("seq-skips", NoticeConflictError, skipped.to_bytes(), _FIRST),
        _fails("seq-repeats", NoticeConflictError, other.to_bytes(), second),
        _fails("not-the-first", NoticeConflictError, second.to_bytes()),
        _fails(
            "prev-is-another-notice",
            NoticeConflictError,
            second.to_bytes(),
            manifests.manifest_notice(manifests.manifest(2)),
        ),
    ]


def _contradictions() -> list[Case]:
    sealed = manifests.contact(_CAMPAIGN)
    first = manifests.manifest_notice(sealed)
    terms = _CAMPAIGN.issuers[0]
    two = manifests.manifest(2)

    def organiser(type: str, body: dict[str, Any]) -> bytes:
        return _notice(_CAMPAIGN, "organiser", type, body, _FIRST).to_bytes()

    def opening(issuer: str, key: bytes, manifest: Manifest = _CAMPAIGN) -> bytes:
        body = {"issuer": issuer, "token_key_id": key.hex()}
        return _notice(manifest, "issuer", "opening", body).to_bytes()

    def trustee(type: str, body: dict[str, Any]) -> bytes:
        return _notice(sealed, "trustee", type, body).to_bytes()

    texts = manifests.TEXTS
    second = two.issuers[1]
    return [
        _fails(
            "text-changed",
            MalformedError,
            organiser("text", {"language": "en", "text": texts["en"] + "Now."}),
            _FIRST,
        ),
        _fails(
            "text-of-another-language",
            MalformedError,
            organiser("text", {"language": "de", "text": texts["en"]}),
            _FIRST,
        ),
        _fails(
            "child-is-itself", MalformedError, organiser("child", {"scope": _CAMPAIGN.scope_id.hex()}), _FIRST
        ),
        _fails("opening-of-another-key", MalformedError, opening(terms.name, keys.seed("key"))),
        _fails(
            "opening-for-another-issuer",
            MalformedError,
            opening(second.name, second.token_key_id, two),
            manifest=two,
        ),
        _fails("opening-of-an-unlisted-issuer", MalformedError, opening("other.example", terms.token_key_id)),
        _fails("mailing-where-no-contacts-are", MalformedError, organiser("mailing", _mailing()), _FIRST),
        _fails(
            "mailing-for-another-purpose",
            MalformedError,
            _notice(sealed, "organiser", "mailing", _mailing("fundraising"), first).to_bytes(),
            first,
            sealed,
        ),
        _fails(
            "pages-of-a-site-elsewhere",
            MalformedError,
            organiser("pages", _pages(site="https://elsewhere.example")),
            _FIRST,
        ),
        _fails(
            "destruction-on-the-last-day",
            MalformedError,
            _destruction(None, ["tag"], _CAMPAIGN.closes).to_bytes(),
        ),
        _fails(
            "closing-on-the-last-day",
            MalformedError,
            manifests.closing(_CAMPAIGN, _CAMPAIGN.closes).to_bytes(),
        ),
        _fails(
            "enrolment-with-another-key", MalformedError, trustee("enrolment", _scope_key(1)), manifest=sealed
        ),
        _fails("release-of-another-key", MalformedError, trustee("release", _release(1)), manifest=sealed),
        _fails(
            "destruction-of-another-key",
            MalformedError,
            trustee("destruction", _scope_key(1)),
            manifest=sealed,
        ),
    ]


def _destruction(previous: Notice | None, destroyed: list[str], day: int = manifests.CLOSES + 1) -> Notice:
    return _notice(_CAMPAIGN, "issuer", "destruction", {"day": day, "keys": destroyed}, previous)


def _organisers(n: int, quorum: int) -> dict[str, Any]:
    return {"keys": [manifests.b64_key(seed) for seed in manifests.ORGANISER_SEEDS[:n]], "quorum": quorum}


def _mailing(purpose: str = "confirmation") -> dict[str, Any]:
    return {"template": keys.seed("template").hex(), "number": 40, "purpose": purpose}


def _pages(site: str = _CAMPAIGN.origins[0], bundles: list[str] | None = None) -> dict[str, Any]:
    return {"site": site, "bundles": [_HASH] if bundles is None else bundles}


def _scope_key(i: int) -> dict[str, Any]:
    return {"scope_key": encode_base64(manifests.agreement_key(i))}


def _release(i: int) -> dict[str, Any]:
    return {
        "private_key": encode_base64(manifests.agreement_private(i)),
        "seal": 7,
        "live": 5,
        "signature": encode_base64(bytes(96)),
    }


def _sign(statement: bytes, domain: bytes = b"headcount/notice/v1\x00") -> bytes:
    """The entry of any statement, by the organiser's key."""
    value = signature.sign(_SEED, domain + statement)
    return HEADER + opaque16(statement) + b"\x01" + signature.public_key(_SEED) + value


def _signatures(notice: Notice, n: int) -> bytes:
    message = b"headcount/notice/v1\x00" + notice.statement_bytes
    seeds = [keys.seed(f"notice {i}") for i in range(n)]
    return b"".join(sorted(signature.public_key(seed) + signature.sign(seed, message) for seed in seeds))


def _by(role: str, type: str, body: dict[str, Any]) -> bytes:
    """A notice of another role by the organiser's key."""
    return _notice(_CAMPAIGN, role, type, body, seeds=(_SEED,)).to_bytes()


def _spoilt(manifest: Manifest) -> bytes:
    data = bytearray(manifests.manifest_notice(manifest, manifests.ORGANISER_SEEDS[:2]).to_bytes())
    data[-1] ^= 1
    return bytes(data)


def _inputs(data: bytes, previous: Notice | None, manifest: Manifest) -> dict[str, Any]:
    place = previous and {
        "seq": previous.statement.seq,
        "leaf_hash": leaf_hash(previous.to_bytes()).hex(),
    }
    return {"entry": data.hex(), **text("manifest", manifest.raw), "previous": place}


def _ok(name: str, notice: Notice, previous: Notice | None = None, manifest: Manifest = _CAMPAIGN) -> Case:
    speaker = author(notice, manifest)
    return ok(
        name,
        **_inputs(notice.to_bytes(), previous, manifest),
        author=speaker,
        type=notice.statement.type,
        seq=notice.statement.seq,
    )


def _fails(
    name: str,
    error: type[ProtocolError],
    data: bytes,
    previous: Notice | None = None,
    manifest: Manifest = _CAMPAIGN,
) -> Case:
    return fails(name, error, **_inputs(data, previous, manifest))


def check(case: Case) -> None:
    """Read the notice and verify it as the next one of its author."""
    notice = parse_entry(bytes.fromhex(case["entry"]))
    if not isinstance(notice, Notice):
        raise MalformedError("not a notice")
    manifest = Manifest.from_bytes(octets(case, "manifest"))
    place = case["previous"]
    previous = None if place is None else (place["seq"], bytes.fromhex(place["leaf_hash"]))
    statement = verify_notice(notice, manifest, previous)
    same(case, author=author(notice, manifest), type=statement.type, seq=statement.seq)
