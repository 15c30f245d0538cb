from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

import keys
from headcount_spec.blind_rsa import PrivateKey

# No deadlines: the machine is shared. CI repeats the same examples, so that a red run is ours.
settings.register_profile(
    "headcount",
    deadline=None,
    max_examples=100,
    derandomize=os.environ.get("CI") == "true",
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("headcount")


@pytest.fixture(scope="session")
def token_key() -> PrivateKey:
    return keys.token_key(0)


@pytest.fixture(scope="session")
def other_key() -> PrivateKey:
    return keys.token_key(1)
