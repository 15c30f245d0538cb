from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

import keys
from headcount_spec.blind_rsa import PrivateKey

# No deadlines: the machine is shared. CI repeats the same examples, so that a red run is ours.
settings.register_profile(
    "headcount",
    deadline=None,
    max_examples=100,
    derandomize=bool(os.environ.get("HEADCOUNT_NO_SKIP")),  # set by .ci/run
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("headcount")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: the stories mostly wait for a ledger's tick."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
def token_key() -> PrivateKey:
    return keys.token_key(0)


@pytest.fixture(scope="session")
def other_key() -> PrivateKey:
    return keys.token_key(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long stories first, so that no process is left alone with one at the end.
    items.sort(key=lambda item: not {"scenario", "web"} & set(item.path.parts))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    # Where every part was installed, a test that skips itself has not looked: that is a failure.
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("HEADCOUNT_NO_SKIP") == "1":
        report.outcome = "failed"
        report.longrepr = f"skipped under HEADCOUNT_NO_SKIP=1: {report.longrepr}"
    return report
