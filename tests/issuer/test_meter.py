from __future__ import annotations

import pytest

from headcount_issuer.meter import Budget, NetworkConfig, Networks
from headcount_spec.errors import RateLimitedError


def test_a_budget_is_everybodys():
    budget = Budget(2)
    budget.take(10)
    budget.take(11)
    with pytest.raises(RateLimitedError) as refused:
        budget.check(12)
    assert refused.value.retry_after_s == 3598
    with pytest.raises(RateLimitedError):
        budget.take(3609)
    budget.take(3610)


def test_one_network_asks_so_often_and_others_go_on():
    networks = Networks(NetworkConfig(2))
    for _ in range(2):
        networks.take("192.0.2.1", None, 0)
    with pytest.raises(RateLimitedError) as refused:
        networks.take("192.0.2.77", None, 5)
    assert "192" not in str(refused.value)
    networks.take("192.0.3.1", None, 5)
    networks.take("192.0.2.1", None, 3600)


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", None, "", "unix:"])
def test_who_comes_from_this_machine_cannot_be_told_apart(peer):
    networks = Networks(NetworkConfig(1))
    for _ in range(5):
        networks.take(peer, None, 0)


def test_what_a_proxy_tells_is_believed_in_its_last_word():
    networks = Networks(NetworkConfig(1, "X-Forwarded-For"))
    networks.take("127.0.0.1", "203.0.113.5, 192.0.2.1", 0)
    with pytest.raises(RateLimitedError):
        networks.take("127.0.0.1", "198.51.100.9, 192.0.2.1", 0)
    networks.take("127.0.0.1", "203.0.113.5", 0)
    networks.take("127.0.0.1", "nonsense", 0)


def test_over_http_the_answer_says_when_to_come_back(world, problem_of):
    world.issuer.networks = Networks(NetworkConfig(1))
    scope = world.open()
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    question = {
        "scope": scope.scope_id.hex(),
        "attester": "email",
        "evidence": {"address": "ada@example.org"},
    }
    assert world.http.post("/sessions", json=question, environ_base=elsewhere).status_code == 201
    refused = world.http.post("/sessions", json=question, environ_base=elsewhere)
    assert problem_of(refused) == (429, "rate-limited")
    assert int(refused.headers["Retry-After"]) == 3600
    spoofed = {"X-Forwarded-For": "203.0.113.5"}
    again = world.http.post("/sessions", json=question, environ_base=elsewhere, headers=spoofed)
    assert again.status_code == 429
