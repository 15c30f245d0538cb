from __future__ import annotations

import gc

import pytest

from headcount_engine.meter import Meter, network

NETWORKS = {
    ("192.0.2.7", None): "192.0.2.0/24",
    ("192.0.2.200", None): "192.0.2.0/24",
    ("2001:db8:1:2::3", None): "2001:db8:1::/48",
    ("::ffff:192.0.2.7", None): "192.0.2.0/24",
    ("127.0.0.1", None): None,
    ("::1", None): None,
    ("127.0.0.1", "203.0.113.9"): "203.0.113.0/24",
    ("127.0.0.1", "198.51.100.1, 203.0.113.9"): "203.0.113.0/24",
    ("127.0.0.1", "[2001:db8:1::9]"): "2001:db8:1::/48",
    ("192.0.2.7", "unknown"): None,
    ("10.0.0.5", "203.0.113.9:5678"): "203.0.113.0/24",
    ("10.0.0.5", "[2001:db8:1::9]:5678"): "2001:db8:1::/48",
    (None, None): None,
    ("a path", None): None,
}


@pytest.mark.parametrize(("given", "wanted"), NETWORKS.items(), ids=str)
def test_networks(given: tuple[str | None, str | None], wanted: str | None) -> None:
    assert network(*given) == wanted


def test_a_stretch_has_its_number_for_each() -> None:
    meter = Meter(2, 60)
    assert meter.is_empty
    assert [meter.take("a", 0) for _ in range(3)] == [True, True, False]
    assert meter.is_used_up("a", 59)
    assert not meter.is_used_up("b", 59)
    assert meter.take("b", 59)
    assert meter.left_s(59) == 1
    assert not meter.is_used_up("a", 60)


def test_a_clock_that_goes_back_begins_anew() -> None:
    meter = Meter(1, 60)
    assert meter.take("a", 1000)
    assert meter.take("a", 900)
    assert not meter.take("a", 901)


def test_the_memory_does_not_hold_what_was_counted() -> None:
    meter = Meter(1, 60)
    meter.take("203.0.113.0/24", 0)
    gc.collect()
    held = [repr(vars(meter))]
    assert "203.0.113" not in held[0]


def test_two_processes_count_under_other_keys() -> None:
    one, other = Meter(1, 60), Meter(1, 60)
    one.take("a", 0)
    other.take("a", 0)
    assert set(one._counts) != set(other._counts)
