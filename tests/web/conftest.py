from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import chromium
import stage as stages
from headcount_spec.scope import Manifest
from stage import Stage, Traffic


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stages.require()
    with stages.raised(tmp_path_factory.mktemp("stage")) as raised:
        yield raised


@pytest.fixture(scope="session")
def campaign(stage: Stage) -> Manifest:
    return stage.publish()


@pytest.fixture(scope="session")
def slip_campaign(stage: Stage) -> Manifest:
    return stage.publish(title="Codes on slips", level="in-person", options=None)


@pytest.fixture(scope="module")  # while one runs, nothing else in the process may have an event loop
def browser() -> Iterator[Any]:
    stages.require()
    with chromium.browser() as opened:
        yield opened


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def page(browser: Any, traffic: Traffic) -> Iterator[Any]:
    """A page of a person who was never here."""
    context = browser.new_context(viewport={"width": 420, "height": 820}, locale="en-GB")
    context.set_default_timeout(10_000)
    traffic.watch(context)
    yield context.new_page()
    context.close()
    traffic.check()
