"""What a person does on the pages, by what they read there."""

from __future__ import annotations

import itertools
from typing import Any

from headcount_spec.scope import Manifest
from stage import Stage

_numbers = itertools.count()


def new_address() -> str:
    return f"quillfeather{next(_numbers)}@mail.example"


def choose(page: Any, choice: str = "I move on the action date") -> None:
    if choice:
        page.get_by_label(choice).check()
    page.get_by_role("button", name="Pledge", exact=True).click()


def ask_for_code(page: Any, address: str) -> None:
    page.get_by_label("Your e-mail address").fill(address)
    page.get_by_role("button", name="Send me a code").click()


def type_code(page: Any, code: str) -> None:
    page.get_by_label("The code from the mail").fill(code)
    page.get_by_role("button", name="Confirm").click()


def prove(page: Any, stage: Stage, address: str) -> None:
    ask_for_code(page, address)
    type_code(page, stage.code(address))


def send(page: Any, when: str = "Send it now") -> None:
    page.get_by_label(when).check()
    page.get_by_role("button", name="Go on").click()


def is_promised(page: Any) -> None:
    page.get_by_role("heading", name="You are counted from the next batch on").wait_for()


def is_signed(page: Any) -> None:
    page.get_by_role("heading", name="Your pledge is signed").wait_for()


def is_started(page: Any) -> None:
    page.get_by_text("You have begun").wait_for()


def pledge(page: Any, stage: Stage, manifest: Manifest, address: str = "") -> None:
    """The whole way by mail."""
    page.goto(stage.sign(manifest))
    choose(page)
    prove(page, stage, address or new_address())
    is_signed(page)
    send(page)
    is_promised(page)
