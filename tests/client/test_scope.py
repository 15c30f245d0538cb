from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import keys
import manifests
from headcount import Answer, draft, find_scope, notice, open_ledger, organiser, scope
from headcount_ledger.reader.fetch import open_fetch
from headcount_spec import jcs, signature
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    MisbehaviourError,
    NoticeConflictError,
    ProtocolError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.merkle import leaf_hash
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest

LEDGER = "http://localhost:8000/ledger"
SEEDS = manifests.ORGANISER_SEEDS[:1]


def publish(world: Any, folder: Path, transport: Any = None, seeds: Any = SEEDS) -> scope.Published:
    return scope.publish(folder, seeds, LEDGER, transport=transport or world.http, day=world.clock.day)


def view_of(world: Any) -> Any:
    return open_ledger(open_fetch(LEDGER, world.http), Policy.from_bytes(world.policy))


def test_publishing_twice_changes_nothing(world: Any, recorder: Any) -> None:
    folder = world.draft()
    transport = recorder(world.http)
    first = publish(world, folder, transport)
    assert publish(world, folder, transport) == first
    assert transport.sent[:3] == transport.sent[3:]
    world.seal()
    assert publish(world, folder, transport) == first
    assert Manifest.from_bytes((folder / "scope.json").read_bytes()) == first.manifest
    assert (folder / "scope.json").stat().st_mode & 0o777 == 0o644
    found = find_scope(view_of(world), first.manifest.scope_id, need_openings=False)
    assert found.texts == manifests.TEXTS
    assert [item.statement.seq for item in found.notices] == [0, 1, 2]


@pytest.mark.parametrize("at", range(3))
@pytest.mark.parametrize("when", ["fail_before", "fail_after"])
def test_a_crash_while_publishing_is_mended_by_publishing_again(
    world: Any, recorder: Any, crash: type[BaseException], at: int, when: str
) -> None:
    folder = world.draft()
    transport = recorder(world.http)
    setattr(transport, when, at)
    with pytest.raises(crash):
        publish(world, folder, transport)
    published = publish(world, folder)
    world.seal()
    found = find_scope(view_of(world), published.manifest.scope_id, need_openings=False)
    assert found.texts == manifests.TEXTS


def test_a_draft_that_changed_after_publishing_is_not_published_as_a_second_scope(
    world: Any, recorder: Any
) -> None:
    folder = world.draft()
    publish(world, folder)
    (folder / "texts" / "en.txt").write_text("We move apart.\n")
    transport = recorder(world.http)
    with pytest.raises(ConfigurationError, match="changed after"):
        publish(world, folder, transport)
    assert transport.sent == []


def test_terms_with_errors_are_not_sent(world: Any, recorder: Any) -> None:
    folder = world.draft(closes="2026-01-01")
    transport = recorder(world.http)
    with pytest.raises(MalformedError, match="not ready"):
        publish(world, folder, transport)
    assert transport.sent == []
    assert not (folder / "scope.json").exists()


def test_a_missing_text_is_an_error(world: Any) -> None:
    folder = world.draft()
    (folder / "texts" / "fr.txt").unlink()
    with pytest.raises(MalformedError, match="fr"):
        publish(world, folder)
    (folder / "texts" / "fr.txt").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        publish(world, folder)


@pytest.mark.parametrize("seeds", [[], [keys.seed("stranger")], [*SEEDS, keys.seed("stranger")]])
def test_a_stranger_cannot_publish(world: Any, recorder: Any, seeds: list[bytes]) -> None:
    folder = world.draft()
    transport = recorder(world.http)
    with pytest.raises((UnknownKeyError, MalformedError)):
        publish(world, folder, transport, seeds)
    assert transport.sent == []


def test_a_quorum_of_organisers_must_sign(world: Any) -> None:
    organisers = {"keys": [manifests.b64_key(seed) for seed in manifests.ORGANISER_SEEDS], "quorum": 2}
    folder = world.draft(organisers=organisers)
    with pytest.raises(UnknownKeyError, match="quorum"):
        publish(world, folder)
    assert publish(world, folder, seeds=manifests.ORGANISER_SEEDS[1:]).manifest.organisers.quorum == 2


def test_a_ledger_that_confirms_another_entry_is_accused(world: Any, recorder: Any) -> None:
    folder = world.draft()
    transport = recorder(world.http)
    lie = jcs.canonicalise({"leaf_hash": bytes(32).hex()})
    transport.bend = lambda url, answer: Answer(200, lie, answer.headers)
    with pytest.raises(MisbehaviourError):
        publish(world, folder, transport)
    transport.bend = lambda url, answer: Answer(200, lie, {"content-type": "text/html"})
    with pytest.raises(UnavailableError):
        publish(world, folder, transport)


# Later notices.

UPDATE = {"title": {"en": "News"}, "text": {"en": "Soon."}}


def test_updates_are_chained_to_what_the_ledger_shows(world: Any) -> None:
    manifest = world.publish()
    for seq in (3, 4):
        found = find_scope(view_of(world), manifest.scope_id)
        signed = notice.next_notice(found, "update", dict(UPDATE), SEEDS)
        assert notice.post(signed, LEDGER, world.http) == leaf_hash(signed.to_bytes())
        assert signed.statement.seq == seq
        stale = notice.next_notice(found, "update", {**UPDATE, "text": {"en": "Later."}}, SEEDS)
        with pytest.raises(NoticeConflictError):
            notice.post(stale, LEDGER, world.http)
        world.seal()


@pytest.mark.parametrize(
    ("type", "body", "seeds", "error"),
    [
        ("update", {"title": {"en": "x"}}, SEEDS, MalformedError),
        ("mailing", {"template": "x", "number": 1, "purpose": "p"}, SEEDS, MalformedError),
        ("closing", {"day": 1}, SEEDS, MalformedError),
        ("update", UPDATE, [keys.seed("stranger")], UnknownKeyError),
    ],
)
def test_a_notice_that_would_be_refused_is_not_sent(
    world: Any, type: str, body: dict[str, Any], seeds: list[bytes], error: type[ProtocolError]
) -> None:
    manifest = world.publish()
    found = find_scope(view_of(world), manifest.scope_id)
    with pytest.raises(error):
        notice.next_notice(found, type, body, seeds)


# Keys and drafts.


def test_an_organisers_key_is_made_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "key"
    public_key = organiser.create_key(path)
    assert signature.public_key(organiser.read_key(path)) == public_key
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="exists"):
        organiser.create_key(path)
    assert organiser.create_key(tmp_path / "other") != public_key


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"headcount-organiser-key-1 AAAA\n", b"headcount-organiser-key-1\n", b"\xff", b"# only\n"],
)
def test_another_kind_of_file_is_no_organisers_key(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "key").write_bytes(data)
    with pytest.raises(ConfigurationError, match="organiser"):
        organiser.read_key(tmp_path / "key")


def test_a_fresh_draft_lacks_only_what_a_person_must_say(tmp_path: Path) -> None:
    policy = Policy.from_bytes(
        f"log {manifests.LEDGER_KEY.verification_key.to_text()}\nquorum none\n".encode()
    )
    public_keys = [signature.public_key(seed) for seed in SEEDS]
    made = draft.template(["en", "fr"], today=manifests.OPENS, policy=policy, organisers=public_keys)
    draft.create(tmp_path / "d", made)
    found = draft.read(tmp_path / "d")
    errors = {item.code for item in scope.check(found.manifest) if item.severity == "error"}
    assert "no-issuer" in errors
    assert not errors & {"no-ledger", "no-organiser", "no-closing-day", "incomplete"}
    for name in ("title", "addressee", "data_use", "end_of_life"):
        made[name] = {"en": f"{name} in English", "fr": f"{name} en français"}
    made |= {"issuers": [manifests.issuer(0)], "origins": ["http://localhost:8000"]}
    (tmp_path / "d" / "manifest.json").write_text(json.dumps(made))
    for language, text in manifests.TEXTS.items():
        (tmp_path / "d" / "texts" / f"{language}.txt").write_text(text)
    found = draft.read(tmp_path / "d")
    assert [item for item in scope.check(found.manifest) if item.severity == "error"] == []
    assert Manifest.from_bytes(jcs.canonicalise(found.manifest)).ledger.origin == manifests.ORIGIN


def test_a_draft_is_not_begun_twice_nor_with_a_language_that_leads_elsewhere(tmp_path: Path) -> None:
    made = draft.template(["en"], today=0, policy=None, organisers=[])
    draft.create(tmp_path, made)
    with pytest.raises(ConfigurationError, match="already"):
        draft.create(tmp_path, made)
    with pytest.raises(ConfigurationError, match="language"):
        draft.create(tmp_path / "x", draft.template(["../en"], today=0, policy=None, organisers=[]))


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a":1,"a":2}', b"\xff"])
def test_a_manifest_that_is_no_object_is_a_configuration_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"manifest\.json"):
        draft.read(tmp_path)
