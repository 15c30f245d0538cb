from __future__ import annotations

import io

import pytest
from rich.console import Console

from headcount import terminal


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
