from __future__ import annotations

import statistics
import time

import disposable_email_domains
import pytest

from headcount_issuer.address import parse_address
from headcount_issuer.meter import Budget


@pytest.mark.parametrize(
    ("address", "disposable"),
    [
        ("ada@mailinator.com", True),
        ("ada@any.sub.mailinator.com", True),
        ("ada@MAILINATOR.COM", True),
        ("ada@mailinator.example.org", False),
        ("ada@gmail.com", False),
        ("ada@example.org", False),
    ],
)
def test_mailboxes_to_throw_away_are_known_by_their_domain(address, disposable):
    assert parse_address(address).is_disposable is disposable


def test_the_list_names_no_large_provider():
    for domain in ("gmail.com", "gmx.de", "outlook.com", "qq.com", "riseup.net", "proton.me"):
        assert domain not in disposable_email_domains.blocklist
        assert parse_address(f"ada@{domain}").is_large


def test_they_are_refused_whoever_asks_and_no_mail_is_sent(world, problem_of):
    scope = world.open()
    refused = world.begin(scope, "ada@mailinator.com")
    assert problem_of(refused) == (403, "not-eligible")
    assert "mailinator" not in refused.text
    assert world.outbox.mails.empty()


def test_an_operator_may_take_them_within_their_quota(world):
    object.__setattr__(world.config.attesters["email"], "disposable", True)
    assert world.begin(world.open(), "ada@mailinator.com").status_code == 201
    assert parse_address("ada@mailinator.com").is_large is False


def test_when_the_hours_budget_is_spent_everybody_hears_when_to_come_back(world, problem_of):
    attester = world.issuer._attesters["email"]
    attester._budget = Budget(3)
    scope = world.open()
    for i in range(3):
        assert world.begin(scope, f"a{i}@example.org").status_code == 201
    for address in ("a0@example.org", "new@example.org"):
        refused = world.begin(scope, address)
        assert problem_of(refused) == (429, "rate-limited")
        assert refused.headers["Retry-After"] == "3600"
        assert "example.org" not in refused.text
    assert world.outbox.mails.qsize() == 3
    world.clock.now += 3600
    assert world.begin(scope, "new@example.org").status_code == 201


def test_mails_that_are_not_sent_do_not_cost_the_budget(world):
    attester = world.issuer._attesters["email"]
    attester._budget = Budget(world.config.attesters["email"].mails_per_address + 1)
    scope = world.open()
    for _ in range(20):
        assert world.begin(scope, "ada@example.org").status_code == 201
    assert world.begin(scope, "bob@example.org").status_code == 201


def test_the_answer_to_who_has_a_token_takes_as_long_as_to_who_has_none(world, person):
    scope = world.open()
    bearer = world.prove(scope, "known@example.org")
    assert world.sign(bearer, person(scope, "known").request).status_code == 200
    object.__setattr__(world.config.attesters["email"], "mails_per_address", 10_000)
    world.issuer._attesters["email"]._mails._maximum = 10_000

    def took(address: str) -> float:
        began = time.perf_counter()
        assert world.begin(scope, address).status_code == 201
        return time.perf_counter() - began

    def compared(turn: str) -> float:
        known, unknown = [], []
        for i in range(150):
            known.append(took("known@example.org"))
            unknown.append(took(f"{turn}{i:03d}@example.org"))
        return statistics.median(known) / statistics.median(unknown)

    # A difference would show each time; what else the machine does shows once.
    ratios = (compared(turn) for turn in ("one", "two", "thr"))
    assert any(0.6 < ratio < 1.6 for ratio in ratios)


@pytest.mark.parametrize("path", ["/sessions", "/sessions/evidence", "/sessions/next", "/token-request"])
def test_nothing_is_begun_or_minted_by_get(world, path):
    scope = world.open()
    world.begin(scope, "ada@example.org")
    mail = world.outbox.mails.get(timeout=5)
    assert "http" not in mail.get_content()  # nothing that a scanner could open
    for method in ("get", "head"):
        answer = getattr(world.http, method)(path, query_string={"scope": scope.scope_id.hex()})
        assert answer.status_code == 405
    assert world.outbox.mails.empty()
    assert world.issuer.scopes()[0].issued == 0
