from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fakes
import manifests
from asgi import hot_client
from headcount_ledger import staged
from headcount_ledger.app import create_app
from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_ledger.notices import Admission, take_notice
from headcount_ledger.refusals import Refusals, Sender
from headcount_spec.entry import MEDIA_TYPE
from headcount_spec.errors import (
    ConfigurationError,
    NotEligibleError,
    RateLimitedError,
    ScopeClosedError,
    SignatureError,
    UnavailableError,
)

SCOPE = manifests.manifest(options=manifests.options("Yes", "No"))
BAD = dataclasses.replace(manifests.pledge(SCOPE, 0, choice=1), choice=2).to_bytes()
LIMIT = 3


@pytest.fixture(params=["flask", "hot"])
def client(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    with fakes.new_ledger(tmp_path) as made:
        fakes.open_scopes(made, SCOPE)
        config = dataclasses.replace(made.config, refusals_per_minute=LIMIT, proxy_header="X-Forwarded-For")
    with Ledger.open(config) as ledger:
        clock = fakes.FakeClock()
        if request.param == "flask":
            yield create_app(ledger, clock).test_client()
        else:
            with hot_client(ledger, clock) as hot:
                yield hot


def post(client: Any, data: bytes, peer: str, forwarded: str | None = None) -> Any:
    return client.post(
        "/ledger/entries",
        data=data,
        content_type=MEDIA_TYPE,
        headers={"X-Forwarded-For": forwarded} if forwarded else {},
        environ_overrides={"REMOTE_ADDR": peer},
    )


def test_a_network_that_sends_many_bad_entries_waits_and_others_do_not(client: Any) -> None:
    good = manifests.pledge(SCOPE, 1, choice=1).to_bytes()
    for host in range(LIMIT):
        assert post(client, BAD, f"203.0.113.{host}").status_code == 401
    answer = post(client, good, "203.0.113.77")
    assert answer.status_code == 429
    assert json.loads(answer.data)["code"] == "rate-limited"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert post(client, good, "198.51.100.1").status_code == 200
    assert post(client, good, "127.0.0.1").status_code == 200


def test_behind_a_proxy_its_word_counts(client: Any) -> None:
    for _ in range(LIMIT):
        assert post(client, BAD, "127.0.0.1", "10.0.0.1, 203.0.113.5").status_code == 401
    assert post(client, BAD, "127.0.0.1", "10.0.0.1, 203.0.113.6").status_code == 429
    assert post(client, BAD, "127.0.0.1", "203.0.113.5, 198.51.100.1").status_code == 401


def test_what_is_accepted_is_not_counted(client: Any) -> None:
    for i in range(LIMIT + 3):
        good = manifests.pledge(SCOPE, i, choice=1).to_bytes()
        assert post(client, good, "203.0.113.1").status_code == 200


def test_only_the_senders_own_errors_are_counted() -> None:
    refusals = Refusals(LedgerConfig(Path(), refusals_per_minute=1))
    sender = Sender("203.0.113.1", None)
    for innocent in (ScopeClosedError("closed"), UnavailableError("full"), None, b"accepted"):
        refusals.count(sender, 0, BAD, innocent)
    refusals.check(sender, 0, BAD)
    refusals.count(sender, 0, BAD, SignatureError("bad"))
    with pytest.raises(RateLimitedError):
        refusals.check(sender, 1, BAD)
    refusals.check(sender, 60, BAD)


def test_terms_of_strangers_are_refused_where_organisers_are_listed(tmp_path: Path) -> None:
    notice = manifests.manifest_notice(SCOPE).to_bytes()
    known = frozenset(SCOPE.organisers.keys)
    with fakes.new_ledger(tmp_path) as ledger, ledger.store.write() as tx:
        for keys in (frozenset({bytes(32)}), frozenset()):
            with pytest.raises(NotEligibleError, match="organisers"):
                take_notice(tx, notice, fakes.DAY, Admission(None, keys))
        assert staged.count_notices(tx) == 0
        take_notice(tx, notice, fakes.DAY, Admission(None, known))
        assert staged.count_notices(tx) == 1


def test_as_many_notices_wait_as_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headcount_ledger.notices.MAX_NOTICES", 2)
    notices = [manifests.manifest_notice(SCOPE), *manifests.text_notices(SCOPE)]
    with fakes.new_ledger(tmp_path) as ledger:
        for notice in notices[:2]:
            ledger.accept(notice.to_bytes(), fakes.DAY)
        with pytest.raises(UnavailableError, match="too many notices"):
            ledger.accept(notices[2].to_bytes(), fakes.DAY)
        ledger.accept(notices[1].to_bytes(), fakes.DAY)  # the same again is the same answer
        ledger.seal(fakes.DAY)
        ledger.accept(notices[2].to_bytes(), fakes.DAY)


def test_the_configuration_of_both(tmp_path: Path) -> None:
    key = manifests.b64_key(manifests.ORGANISER_SEEDS[0])
    table = {"directory": "l", "organisers": [key], "refusals_per_minute": 5, "proxy_header": "X-Real-IP"}
    config = LedgerConfig.from_table(table, tmp_path)
    assert config.organisers is not None
    assert len(config.organisers) == 1
    assert (config.refusals_per_minute, config.proxy_header) == (5, "X-Real-IP")
    for wrong in ([], "key", ["AAAA"], [key + " "], [1]):
        with pytest.raises(ConfigurationError, match="organisers"):
            LedgerConfig.from_table({"directory": "l", "organisers": wrong}, tmp_path)
    with pytest.raises(ConfigurationError, match="refusals"):
        LedgerConfig.from_table({"directory": "l", "refusals_per_minute": 0}, tmp_path)


def test_revisions_shut_nobody_out_who_pledges(client: Any) -> None:
    junk = manifests.revision(manifests.pledge(SCOPE, 90, choice=1), 90).to_bytes()
    for _ in range(LIMIT):
        assert post(client, junk, "203.0.113.1").status_code == 404
    assert post(client, junk, "203.0.113.1").status_code == 429
    good = manifests.pledge(SCOPE, 1, choice=1).to_bytes()
    assert post(client, good, "203.0.113.1").status_code == 200
