from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

import fakes
import keys
import manifests
from asgi import AsgiClient, hot_client
from fakes import DAY
from headcount_ledger.app import create_app
from headcount_ledger.exchange import (
    ANSWERS_TYPE,
    BUNDLE_TYPE,
    MAX_BUNDLE_BYTES,
    open_answers,
    open_bundle,
)
from headcount_ledger.ledger import Ledger
from headcount_spec.entry import MAX_ENTRY_BYTES, MEDIA_TYPE
from headcount_spec.errors import MalformedError, ProtocolError, RevisionConflictError
from headcount_spec.merkle import leaf_hash
from headcount_spec.note import SigningKey
from headcount_spec.pledge import Pledge, nonce
from headcount_spec.promise import Promise, verify_promise
from headcount_spec.revision import Revision
from headcount_spec.scope import NO_SEALED_HASH
from headcount_spec.seal import GENESIS, Seal

TWO = manifests.manifest(2, min_batch=1, options=manifests.options("Yes", "No"))
EARLY = manifests.manifest(
    title=manifests.both("Later", "Plus tard"),
    opens="2026-02-01",
    issuers=[manifests.issuer(0, token_key=4)],
)
UNOPENED = manifests.manifest(
    title=manifests.both("Not opened", "Pas ouvert"), issuers=[manifests.issuer(0, token_key=5)]
)
UNSEALED = manifests.manifest(
    title=manifests.both("Not sealed", "Pas scellé"), issuers=[manifests.issuer(0, token_key=6)]
)
UNKNOWN = manifests.manifest(title=manifests.both("Unknown", "Inconnu"))

IDENTITY = b"\x01" + bytes(31)
SMALL_ORDER = bytes(32)  # a point of order 4


@dataclass
class World:
    ledger: Ledger
    client: FlaskClient | AsgiClient
    clock: fakes.FakeClock
    sealed: Pledge
    staged: Pledge

    def post(self, body: bytes, content_type: str = MEDIA_TYPE) -> tuple[int, dict[str, object]]:
        answer = self.client.post("/ledger/entries", data=body, content_type=content_type)
        assert answer.mimetype == "application/problem+json"
        document = json.loads(answer.data)
        assert document["status"] == answer.status_code
        return answer.status_code, document


@pytest.fixture(scope="module", params=["flask", "hot"])
def world(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    """Once with the blueprint, once with the node's hot routes: the same answers."""
    with fakes.new_ledger(tmp_path_factory.mktemp("ledger")) as ledger:
        fakes.stage_terms(ledger, EARLY)
        ledger.accept(manifests.manifest_notice(UNOPENED).to_bytes(), DAY)
        fakes.open_scopes(ledger, TWO)
        ledger.accept(manifests.manifest_notice(UNSEALED).to_bytes(), DAY)
        sealed, staged = (manifests.pledge(TWO, i, choice=1) for i in range(2))
        ledger.accept(sealed.to_bytes(), DAY)
        revised = manifests.pledge(TWO, 2, choice=1)
        ledger.accept(revised.to_bytes(), DAY)
        ledger.seal(DAY)
        ledger.accept(staged.to_bytes(), DAY)
        clock = fakes.FakeClock()
        if request.param == "flask":
            yield World(ledger, create_app(ledger, clock).test_client(), clock, sealed, staged)
        else:
            with hot_client(ledger, clock) as client:
                yield World(ledger, client, clock, sealed, staged)


def fresh(i: int = 10, **changes: object) -> Pledge:
    return dataclasses.replace(manifests.pledge(TWO, i, choice=1), **changes)  # type: ignore[arg-type]


def signed(pledge: Pledge, sign: Callable[[int, bytes], bytes]) -> bytes:
    """The pledge with authenticators made otherwise."""
    messages = TWO.token_inputs(pledge.nullifier)
    authenticators = tuple(sign(i, message) for i, message in enumerate(messages))
    return dataclasses.replace(pledge, authenticators=authenticators).to_bytes()


def good(i: int, message: bytes) -> bytes:
    return keys.sign_pss(keys.token_key(i), message)


def salted(length: int) -> bytes:
    return signed(fresh(), lambda i, m: keys.sign_pss(keys.token_key(i), m, bytes(length)))


def with_revision_key(revision_key: bytes) -> bytes:
    nullifier = nonce(TWO.scope_id, 1, revision_key, NO_SEALED_HASH)
    authenticators = tuple(good(i, message) for i, message in enumerate(TWO.token_inputs(nullifier)))
    return Pledge(TWO.scope_id, 1, revision_key, NO_SEALED_HASH, authenticators).to_bytes()


def above_modulus() -> bytes:
    pledge = fresh()
    n = keys.token_key(0).public.n
    value = int.from_bytes(pledge.authenticators[0], "big") + n
    first = (value % 2**2048).to_bytes(256, "big") if value < 2**2048 else b"\xff" * 256
    return dataclasses.replace(pledge, authenticators=(first, pledge.authenticators[1])).to_bytes()


def revise(i: int = 0, **changes: object) -> bytes:
    revision = manifests.revision(manifests.pledge(TWO, i, choice=1), i, choice=2)
    return dataclasses.replace(revision, **changes).to_bytes()  # type: ignore[arg-type]


def skipping(serial: int) -> bytes:
    return manifests.revision(manifests.pledge(TWO, 0, choice=1), 0, serial, 2).to_bytes()


def identity_revision() -> bytes:
    # R = A = the identity and S = 0 satisfy the equation for every message.
    return revise(signature=IDENTITY + bytes(32))


def torsion_revision() -> bytes:
    revision = manifests.revision(manifests.pledge(TWO, 0, choice=1), 0, choice=2)
    return dataclasses.replace(revision, signature=SMALL_ORDER + revision.signature[32:]).to_bytes()


def large_s_revision() -> bytes:
    revision = manifests.revision(manifests.pledge(TWO, 0, choice=1), 0, choice=2)
    order = 2**252 + 27742317777372353535851937790883648493
    s = int.from_bytes(revision.signature[32:], "little") + order
    return dataclasses.replace(
        revision, signature=revision.signature[:32] + s.to_bytes(32, "little")
    ).to_bytes()


def seal_entry() -> bytes:
    return Seal(9, 0, 0, 0, DAY, GENESIS, GENESIS, GENESIS, GENESIS, GENESIS).to_bytes()


def unsigned_mailing() -> bytes:
    body = {"template": "00" * 32, "number": 5, "purpose": "spam"}
    return manifests.notice(
        TWO, "organiser", "mailing", body, manifests.text_notices(TWO)[-1], (bytes(32),)
    ).to_bytes()


def altered_notice() -> bytes:
    notice = manifests.notice(
        TWO, "organiser", "child", {"scope": "11" * 32}, manifests.text_notices(TWO)[-1]
    )
    key, _ = notice.signatures[0]
    return dataclasses.replace(notice, signatures=((key, bytes(64)),)).to_bytes()


def out_of_sequence() -> bytes:
    return manifests.notice(
        TWO, "organiser", "child", {"scope": "11" * 32}, manifests.manifest_notice(TWO)
    ).to_bytes()


def ledgers_own() -> bytes:
    return manifests.closing(TWO).to_bytes()


def foreign_ledger() -> bytes:
    key = SigningKey("elsewhere.example/ledger", bytes(32))
    terms = {"origin": key.name, "key": key.verification_key.to_text()}
    changes = {
        "title": manifests.both("Elsewhere", "Ailleurs"),
        "issuers": [manifests.issuer(0, token_key=7)],
    }
    return manifests.manifest_notice(manifests.manifest(ledger=terms, **changes)).to_bytes()


def shared_token_key() -> bytes:
    return manifests.manifest_notice(UNKNOWN).to_bytes()


def orphan() -> bytes:
    issuers = [manifests.issuer(0, token_key=7)]
    return manifests.manifest_notice(manifests.contact(UNKNOWN, issuers=issuers)).to_bytes()


def twin() -> bytes:
    changes = {"threshold": 6, "issuers": [manifests.issuer(0, token_key=7)]}
    return manifests.manifest_notice(
        manifests.manifest(options=manifests.options("Yes", "No"), **changes)
    ).to_bytes()


def over_quorum() -> bytes:
    organisers = {
        "keys": sorted(manifests.b64_key(seed) for seed in manifests.ORGANISER_SEEDS),
        "quorum": 2,
    }
    changes = {"title": manifests.both("Two", "Deux"), "issuers": [manifests.issuer(0, token_key=7)]}
    return manifests.manifest_notice(manifests.manifest(organisers=organisers, **changes)).to_bytes()


BAD: dict[str, tuple[Callable[[], bytes], int, str]] = {
    "empty": (lambda: b"", 400, "malformed"),
    "unknown-type": (lambda: b"\x05\x01", 400, "malformed"),
    "unknown-version": (lambda: b"\x01\x02" + fresh().to_bytes()[2:], 400, "malformed"),
    "truncated-pledge": (lambda: fresh().to_bytes()[:-1], 400, "malformed"),
    "trailing-byte": (lambda: fresh().to_bytes() + b"\0", 400, "malformed"),
    "no-authenticator": (lambda: fresh(authenticators=()).to_bytes(), 400, "malformed"),
    "one-authenticator-missing": (
        lambda: fresh(authenticators=fresh().authenticators[:1]).to_bytes(),
        400,
        "malformed",
    ),
    "one-authenticator-too-many": (
        lambda: fresh(authenticators=(*fresh().authenticators, bytes(256))).to_bytes(),
        400,
        "malformed",
    ),
    "swapped-authenticators": (
        lambda: fresh(authenticators=fresh().authenticators[::-1]).to_bytes(),
        401,
        "bad-signature",
    ),
    "one-issuer-twice": (
        lambda: signed(fresh(), lambda i, m: good(0, m)),
        401,
        "bad-signature",
    ),
    "authenticator-of-another-key": (
        lambda: signed(fresh(), lambda i, m: good(i + 2, m)),
        401,
        "bad-signature",
    ),
    "salt-of-0-bytes": (lambda: salted(0), 401, "bad-signature"),
    "salt-of-47-bytes": (lambda: salted(47), 401, "bad-signature"),
    "salt-of-49-bytes": (lambda: salted(49), 401, "bad-signature"),
    "authenticator-above-the-modulus": (above_modulus, 401, "bad-signature"),
    "altered-choice": (lambda: fresh(choice=2).to_bytes(), 401, "bad-signature"),
    "choice-of-no-option": (lambda: fresh(choice=3).to_bytes(), 400, "malformed"),
    "withdrawn-from-the-start": (lambda: fresh(choice=0xFFFF).to_bytes(), 400, "malformed"),
    "sealed-hash-where-none-is": (lambda: fresh(sealed_hash=b"\1" * 32).to_bytes(), 400, "malformed"),
    "other-revision-key": (lambda: fresh(revision_key=IDENTITY).to_bytes(), 401, "bad-signature"),
    "pledge-of-another-scope": (lambda: fresh(scope_id=EARLY.scope_id).to_bytes(), 400, "malformed"),
    "pledge-of-an-unknown-scope": (lambda: manifests.pledge(UNKNOWN, 0).to_bytes(), 404, "not-found"),
    "pledge-before-the-opening-day": (lambda: manifests.pledge(EARLY, 0).to_bytes(), 403, "closed-scope"),
    "pledge-without-opening": (lambda: manifests.pledge(UNOPENED, 0).to_bytes(), 403, "closed-scope"),
    "pledge-before-its-terms": (lambda: manifests.pledge(UNSEALED, 0).to_bytes(), 403, "closed-scope"),
    "revision-of-nothing": (lambda: revise(nullifier=bytes(32)), 404, "not-found"),
    "revision-in-another-scope": (lambda: revise(scope_id=EARLY.scope_id), 404, "not-found"),
    "revision-by-another-key": (
        lambda: manifests.revision(manifests.pledge(TWO, 0, choice=1), 1, choice=2).to_bytes(),
        401,
        "bad-signature",
    ),
    "identity-revision": (identity_revision, 401, "bad-signature"),
    "torsion-revision": (torsion_revision, 401, "bad-signature"),
    "revision-with-large-s": (large_s_revision, 401, "bad-signature"),
    "serial-that-skips": (lambda: skipping(2), 409, "revision-conflict"),
    "serial-17": (lambda: skipping(1)[:66] + b"\0\0\0\x11" + skipping(1)[70:], 400, "malformed"),
    "revision-to-no-option": (lambda: revise(choice=3), 400, "malformed"),
    "a-seal": (seal_entry, 400, "malformed"),
    "notice-of-an-unknown-scope": (lambda: manifests.opening(UNKNOWN).to_bytes(), 404, "not-found"),
    "notice-by-a-stranger": (unsigned_mailing, 401, "unknown-key"),
    "notice-with-a-false-signature": (altered_notice, 401, "bad-signature"),
    "notice-out-of-sequence": (out_of_sequence, 409, "notice-conflict"),
    "notice-in-the-ledgers-name": (ledgers_own, 409, "notice-conflict"),
    "manifest-of-another-ledger": (foreign_ledger, 403, "not-eligible"),
    "manifest-with-a-used-token-key": (shared_token_key, 403, "not-eligible"),
    "manifest-of-an-unknown-parent": (orphan, 404, "not-found"),
    "manifest-with-a-lint-error": (twin, 403, "not-eligible"),
    "manifest-below-the-quorum": (over_quorum, 401, "unknown-key"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_answered_by_name_and_changes_nothing(world: World, name: str) -> None:
    make, status, code = BAD[name]
    body = make()
    before = fakes.tables(world.ledger), fakes.published(world.ledger)
    answer, document = world.post(body)
    assert (answer, document["code"]) == (status, code)
    assert (fakes.tables(world.ledger), fakes.published(world.ledger)) == before


def test_conflicts_carry_the_number_that_stands(world: World) -> None:
    assert world.post(skipping(2))[1]["serial"] == 0
    assert world.post(out_of_sequence())[1]["seq"] == 3


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json", ""])
def test_another_content_type_is_refused(world: World, content_type: str) -> None:
    before = fakes.tables(world.ledger), fakes.published(world.ledger)
    status, document = world.post(fresh().to_bytes(), content_type)
    assert (status, document["code"]) == (415, "wrong-type")
    assert (fakes.tables(world.ledger), fakes.published(world.ledger)) == before


def test_a_larger_body_than_any_entry_is_refused(world: World) -> None:
    status, document = world.post(bytes(MAX_ENTRY_BYTES + 1))
    assert (status, document["code"]) == (413, "too-large")
    assert world.post(bytes(MAX_ENTRY_BYTES))[0] == 400


def test_a_larger_body_without_a_length_is_refused(world: World) -> None:
    answer = world.client.post(
        "/ledger/entries",
        input_stream=io.BytesIO(bytes(MAX_ENTRY_BYTES + 1)),
        content_type=MEDIA_TYPE,
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "path",
    [
        "",
        "nothing",
        "tile//0/000.p/5",
        "key",
        "ledger.sqlite",
        "../key",
        "tile/../../key",
        "%2e%2e/key",
        "tile/0/x000/000",
        "tile/0/000.p/256",
        "tile/0/999",
        "totals/99",
        "totals/00",
        "checkpoints/-1",
        "checkpoints",
        "scopes/00",
        f"scopes/{'0' * 64}",
        f"scopes/{'A' * 64}",
    ],
)
def test_what_is_not_published_is_not_found(world: World, path: str) -> None:
    answer = world.client.get(f"/ledger/{path}")
    assert answer.status_code == 404
    if not path.startswith("..") and "/../" not in path:
        assert json.loads(answer.data)["code"] == "not-found"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "entries", "POST"),
        ("DELETE", "entries", "POST"),
        ("PUT", "bundles", "POST"),
        ("OPTIONS", "entries", "POST"),
        ("POST", "checkpoint", "GET, HEAD"),
        ("PUT", "tile/0/000.p/5", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused(world: World, method: str, path: str, allow: str) -> None:
    answer = world.client.open(f"/ledger/{path}", method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)
    assert json.loads(answer.data)["code"] == "method-refused"


def test_a_bug_is_answered_without_a_word_about_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr(world.ledger, "accepting", fail)
    answer = world.client.post("/ledger/entries", data=fresh().to_bytes(), content_type=MEDIA_TYPE)
    assert (answer.status_code, json.loads(answer.data)["code"]) == (503, "unavailable")
    assert b"canary" not in answer.data


def test_published_files_have_the_types_and_caching_of_tlog_tiles(world: World) -> None:
    immutable, seconds = "public, max-age=31536000, immutable", "public, max-age=2"
    expected = {
        "checkpoint": ("text/plain; charset=utf-8", seconds),
        "checkpoints/1": ("text/plain; charset=utf-8", immutable),
        f"scopes/{TWO.scope_id.hex()}": ("text/plain; charset=utf-8", seconds),
    }
    for path, data in fakes.published(world.ledger).items():
        answer = world.client.get(f"/ledger/{path}")
        assert (answer.status_code, answer.data) == (200, data)
        content_type, caching = expected.get(
            path,
            ("application/octet-stream", immutable)
            if path.startswith(("tile/", "totals/"))
            else ("text/plain; charset=utf-8", immutable if path.startswith("checkpoints") else seconds),
        )
        assert answer.headers["Content-Type"] == content_type
        assert answer.headers["Cache-Control"] == caching
        assert "Set-Cookie" not in answer.headers
        head = world.client.head(f"/ledger/{path}")
        assert (head.status_code, head.data) == (200, b"")


def test_a_pledge_is_answered_with_the_same_promise_each_time(world: World) -> None:
    for pledge in (world.sealed, world.staged):
        answers = [
            world.client.post("/ledger/entries", data=pledge.to_bytes(), content_type=MEDIA_TYPE)
            for _ in range(2)
        ]
        assert answers[0].status_code == 200
        assert answers[0].headers["Content-Type"] == "application/vnd.headcount.promise"
        assert answers[0].data == answers[1].data
        promise = verify_promise(Promise.from_bytes(answers[0].data), world.ledger.verification_key)
        assert promise.leaf_hash == leaf_hash(pledge.to_bytes())


def test_a_pledge_whose_revision_key_is_none_is_taken_and_nobody_can_revise_it(world: World) -> None:
    data = with_revision_key(IDENTITY)
    answer = world.client.post("/ledger/entries", data=data, content_type=MEDIA_TYPE)
    nullifier = Pledge.from_bytes(data).nullifier
    assert Promise.from_bytes(answer.data).nullifier == nullifier
    # The equation holds for R = A = the identity and S = 0, whatever is signed.
    forged = Revision(TWO.scope_id, nullifier, 1, 2, NO_SEALED_HASH, IDENTITY + bytes(32))
    status, document = world.post(forged.to_bytes())
    assert (status, document["code"]) == (401, "bad-signature")


def test_a_notice_is_answered_with_its_leaf_hash_each_time(world: World) -> None:
    for notice in (
        manifests.manifest_notice(TWO),
        manifests.opening(TWO, 1),
        manifests.manifest_notice(UNSEALED),
    ):
        answer = world.client.post("/ledger/entries", data=notice.to_bytes(), content_type=MEDIA_TYPE)
        assert answer.status_code == 200
        assert json.loads(answer.data) == {"leaf_hash": leaf_hash(notice.to_bytes()).hex()}


def bundle(*entries: bytes) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def send_bundle(world: World, body: bytes, number: int) -> list[bytes | ProtocolError]:
    answer = world.client.post("/ledger/bundles", data=body, content_type=BUNDLE_TYPE)
    assert (answer.status_code, answer.content_type) == (200, ANSWERS_TYPE)
    return open_answers(answer.data, number)


def test_each_entry_of_a_bundle_is_answered_in_its_place(world: World) -> None:
    entries = [world.staged.to_bytes(), signed(fresh(), lambda i, m: good(0, m)), b"junk"]
    entries += [skipping(2), manifests.manifest_notice(TWO).to_bytes(), world.sealed.to_bytes()]
    answers = send_bundle(world, bundle(*entries), len(entries))
    codes = [answer.code if isinstance(answer, ProtocolError) else "" for answer in answers]
    assert codes == ["", "bad-signature", "malformed", "revision-conflict", "", ""]
    for entry, answer in ((world.staged, answers[0]), (world.sealed, answers[-1])):
        alone = world.client.post("/ledger/entries", data=entry.to_bytes(), content_type=MEDIA_TYPE)
        assert answer == alone.data
    assert isinstance(answers[4], bytes)
    assert "leaf_hash" in json.loads(answers[4])
    assert isinstance(answers[3], RevisionConflictError)
    assert answers[3].serial == 0


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", BUNDLE_TYPE, 400, "malformed"),
        (b"\0\5abc", BUNDLE_TYPE, 400, "malformed"),
        (bundle(b"") * 1001, BUNDLE_TYPE, 400, "malformed"),
        (bundle(b"junk"), MEDIA_TYPE, 415, "wrong-type"),
        (bytes(MAX_BUNDLE_BYTES + 1), BUNDLE_TYPE, 413, "too-large"),
    ],
)
def test_what_is_no_bundle_is_refused_as_a_whole(
    world: World, body: bytes, content_type: str, status: int, code: str
) -> None:
    answer = world.client.post("/ledger/bundles", data=body, content_type=content_type)
    assert (answer.status_code, json.loads(answer.data)["code"]) == (status, code)


def test_a_bundle_has_up_to_a_thousand_entries(world: World) -> None:
    answers = send_bundle(world, bundle(b"") * 1000, 1000)
    assert {type(answer) for answer in answers} == {MalformedError}


@given(st.binary(max_size=100))
def test_a_bundle_is_opened_or_malformed(data: bytes) -> None:
    try:
        assert bundle(*open_bundle(data)) == data
    except MalformedError:
        return


def test_the_day_is_the_clocks(world: World) -> None:
    world.clock.set_day(TWO.closes + 1)
    try:
        status, document = world.post(fresh(11).to_bytes())
        assert (status, document["code"]) == (403, "closed-scope")
        status, document = world.post(skipping(1))
        assert (status, document["code"]) == (403, "closed-scope")
        world.clock.set_day(TWO.freezes + 1)
        status, document = world.post(skipping(1))
        assert (status, document["code"]) == (403, "closed-scope")
    finally:
        world.clock.set_day(DAY)


def test_the_whole_ledger_is_sound_at_the_end(world: World) -> None:
    world.ledger.seal(DAY)
    report = fakes.whole_audit(world.ledger)
    assert report.scopes[TWO.scope_id].gross == 4
