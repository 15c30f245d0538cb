from __future__ import annotations

import io
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

import manifests
from headcount import terminal
from headcount.question import Kind, Question


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=80)
    monkeypatch.setattr(terminal, "Console", lambda stderr: console)
    return written


def test_no_bar_is_drawn_before_something_is_read(screen: io.StringIO) -> None:
    with terminal.progress("reading"):
        pass
    assert "reading" not in screen.getvalue()


def test_the_bar_is_gone_before_a_question_is_asked(screen: io.StringIO) -> None:
    with terminal.progress("reading") as show:
        assert show is not None
        show(1, 2)
        show(2, 2)
        drawn = screen.getvalue()
        assert "reading" in drawn
        assert drawn.rstrip().endswith(("\x1b[?25h", "\x1b[2K"))  # cursor shown again, line erased


def test_what_steers_a_terminal_is_shown_instead(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.say("a\x1b[2Jb\x9b2Jc\u202ed\nيَدٌ‎")
    terminal.error("E\x1b]0;title\x07")
    terminal.hint("h\r")
    printed = capsys.readouterr()
    assert printed.out == "a\\u001b[2Jb\\u009b2Jc\\u202ed\nيَدٌ‎\n"
    assert printed.err == "headcount: error: e\\u001b]0;title\\u0007\nheadcount: hint: h\\u000d\n"


def asked(question: Question, typed: str) -> tuple[str, str]:
    """The answer to a question, and what stood on the terminal."""
    answers = []

    @click.command()
    def command() -> None:
        answers.append(terminal.asker(None)(question))

    done = CliRunner().invoke(command, input=typed, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == ""
    return answers[0], done.stderr


def question(kind: Kind, **more: Any) -> Question:
    manifest = manifests.manifest()
    return Question(kind, manifest.issuers[0], manifest, **more)


def test_a_page_to_open_is_shown_and_its_code_asked_for() -> None:
    page = "https://issuer0.example/prove/x\x1b[2J"
    answer, screen = asked(question("page-code", page=page), "1234 5678\n")
    assert answer == "1234 5678"
    assert "issuer0.example/prove/x\\u001b[2J" in screen
    again, screen = asked(question("page-code", page=page, attempt=2), "1\n")
    assert again == "1"
    assert "refused" in screen
    assert "/prove/" not in screen


def test_of_several_kinds_of_evidence_one_is_chosen() -> None:
    answer, screen = asked(question("evidence", choices=("email", "oidc")), "palm\noidc\n")
    assert answer == "oidc"
    assert "an e-mail address" in screen
    assert "a log-in" in screen
