from __future__ import annotations

import json

import pytest

import keys
import manifests
from headcount_issuer.enrolment import Draft, Opened
from headcount_issuer.keys import write_private
from headcount_spec import jcs, spki
from headcount_spec.errors import (
    ConfigurationError,
    MalformedError,
    NotEligibleError,
    NotFoundError,
    UnknownKeyError,
)
from headcount_spec.scope import Manifest
from headcount_spec.text import decode_base64

OURS = {"name": "issuer.example", "url": "http://localhost:8001", "attesters": ["email"]}


def spelled(value: object) -> bytes:
    return json.dumps(value, indent=2).encode()


def test_a_draft_gets_our_keys_and_then_its_scope_is_opened(world, config):
    draft = manifests.draft(issuers=[OURS])
    answer = world.issuer.enrol(spelled(draft))
    assert isinstance(answer, Draft)
    entry = answer.value["issuers"][0]
    assert {name: entry[name] for name in OURS} == OURS
    token_key = decode_base64(entry["token_key"])
    spki.decode_token_key(token_key)
    private = config.keys / f"{spki.token_key_id(token_key).hex()}.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    scope = Manifest.from_bytes(jcs.canonicalise(answer.value))
    world.ledger.manifests[scope.scope_id] = scope
    assert world.issuer.enrol(spelled(answer.value)) == Opened(scope.scope_id)
    assert world.issuer.enrol(scope.raw) == Opened(scope.scope_id)


def test_a_draft_that_lists_no_issuer_yet_gets_us(world):
    answer = world.issuer.enrol(b'{"level": "in-person", "issuers": []}')
    assert isinstance(answer, Draft)
    (entry,) = answer.value["issuers"]
    assert entry["name"] == "issuer.example"
    assert entry["attesters"] == ["in-person"]


def test_each_draft_gets_a_key_of_its_own(world):
    answers = [world.issuer.enrol(spelled({"issuers": [OURS]})) for _ in range(2)]
    token_keys = {answer.value["issuers"][0]["token_key"] for answer in answers}
    assert len(token_keys) == 2


def test_a_key_that_opened_one_scope_opens_no_other(world):
    world.open(0)
    changed = world.manifest(0, threshold=6, title=manifests.both("Another", "Autre"))
    with pytest.raises(NotEligibleError):
        world.issuer.enrol(changed.raw)
    assert len(world.issuer.scopes()) == 1
    assert len(world.ledger.taken) == 1


def test_a_final_manifest_without_us_is_refused(world):
    with pytest.raises(NotFoundError):
        world.issuer.enrol(manifests.manifest().raw)


def refused(world, error: type[Exception], **changes: object) -> None:
    path = world.config.keys / f"{spki.token_key_id(keys.token_spki(0)).hex()}.pem"
    if not path.exists():
        write_private(path, (keys.DATA / "token-key-0.pem").read_bytes())
    value = world.manifest(0).json
    entry = value["issuers"][0]
    for name, change in changes.items():
        (entry if name in entry else value)[name] = change
    with pytest.raises(error):
        world.issuer.enrol(jcs.canonicalise(value))
    assert world.ledger.taken == {}


def test_what_is_not_ours_to_sign_is_refused(world):
    refused(world, NotEligibleError, url="http://localhost:9999")
    refused(world, NotEligibleError, attesters=["in-person"])
    refused(world, NotEligibleError, attesters=["email", "in-person"], level="in-person+email")
    refused(world, NotEligibleError, level="in-person")
    refused(world, NotEligibleError, closes="2026-01-09", freezes="2026-01-09", opens="2026-01-08")
    refused(world, NotEligibleError, origins=["http://unencrypted.example"])
    refused(world, NotEligibleError, eligible="parent-token-holders", parent="00" * 32)
    refused(world, UnknownKeyError, notice_key=manifests.b64_key(manifests.ISSUER_SEEDS[1]))
    refused(world, UnknownKeyError, token_key=manifests.issuer(5)["token_key"])
    refused(world, MalformedError, threshold=0)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"issuers": {}}', b'{"a":1,"a":2}', b"\xff"])
def test_what_is_no_draft_is_malformed(world, data):
    with pytest.raises(MalformedError):
        world.issuer.enrol(data)


def test_a_key_that_others_may_read_is_not_used(world, config):
    (config.keys / "notice.pem").chmod(0o644)
    with pytest.raises(ConfigurationError):
        world.open()


def test_a_key_file_with_another_key_is_not_used(world, config):
    path = config.keys / f"{spki.token_key_id(keys.token_spki(0)).hex()}.pem"
    write_private(path, (keys.DATA / "token-key-1.pem").read_bytes())
    with pytest.raises(ConfigurationError):
        world.open()
