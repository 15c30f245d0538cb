from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import click
import pytest

import manifests
from headcount import HttpTransport, cli, receipt_commands, scope_commands, signer_commands
from headcount_spec import jcs
from headcount_spec.errors import (
    AlreadyIssuedError,
    ConfigurationError,
    MisbehaviourError,
    ProtocolError,
    RateLimitedError,
    SignatureError,
    UnavailableError,
)
from parts import require

LEDGER = "http://localhost:8000/ledger"
MODULES = (signer_commands, receipt_commands, scope_commands)


class Keyboard(io.StringIO):
    """Somebody who types, one line a question."""

    def __init__(self, lines: list[Callable[[], str]]) -> None:
        super().__init__()
        self.lines = lines

    def readline(self, size: int | None = -1) -> str:
        return self.lines.pop(0)() + "\n" if self.lines else ""


@pytest.fixture
def desk(world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command line in a folder, on the world's network and clock."""
    for module in MODULES:
        monkeypatch.setattr(module, "HttpTransport", lambda: HttpTransport(world.router))
        monkeypatch.setattr(module, "today", lambda: world.clock.day)
    folder = tmp_path / "desk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "policy").write_bytes(world.policy)
    return world


def run(*arguments: object) -> int:
    try:
        return cli.run([str(argument) for argument in arguments])
    except SystemExit as exc:
        return int(exc.code or 0)


def prove(desk: Any, manifest: Any, name: str, *more: object) -> int:
    arguments = ["prove", LEDGER, manifest.scope_id.hex(), "--policy", "policy", "--out", name, *more]
    return run(*arguments)


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str | Callable[[], str]) -> None:
    made = [line if callable(line) else (lambda text=line: text) for line in lines]
    monkeypatch.setattr(sys, "stdin", Keyboard(made))


# A signer.


def test_a_signers_whole_way(
    desk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = desk.publish(options=manifests.options("Here", "There"))
    type_in(monkeypatch, "ada@example.org", desk.outbox.code)
    assert prove(desk, manifest, "me.pledge", "--choice", 1, "--state", "state") == 0
    printed = capsys.readouterr()
    assert "your choice: Here" in printed.out
    assert "only issuer: the count trusts it not to invent people" in printed.out
    assert "issuer0.example knows that you took part in this, and not what you pledge" in printed.out
    assert "e-mail address (for issuer0.example only)" in printed.err
    assert "anonymous" not in printed.out + printed.err
    assert Path("state").exists()

    assert run("pledge", "me.pledge") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("pledged: the ledger promises to publish it by 2026-03-05\n")
    assert "http://localhost:8000 knows the pledge, not who made it" in printed.out

    assert run("receipt", "me.pledge") == 0
    assert capsys.readouterr().out == "accepted: pledge, promised by 2026-03-05 and not published yet\n"
    for i in range(2):
        path = desk.folder / f"{i}.pledge"
        desk.prove(manifest, path, choice=2)
        assert run("pledge", path) == 0
    desk.seal()
    capsys.readouterr()
    assert run("receipt", "me.pledge") == 0
    assert capsys.readouterr().out.startswith("included: pledge is entry ")

    assert run("receipt", "verify", "me.tlog-proof", "--policy", "policy") == 0
    assert capsys.readouterr().out.startswith("valid: entry ")
    assert run("receipt", "verify", "me.tlog-proof", "--policy", "policy", "--pledge", "me.pledge") == 0
    capsys.readouterr()
    other = desk.folder / "0.pledge"
    assert run("receipt", "verify", "me.tlog-proof", "--policy", "policy", "--pledge", other) == 1
    assert capsys.readouterr().err.startswith("headcount: error: ")

    assert run("revise", "me.pledge", "--choice", "2") == 0
    assert capsys.readouterr().out.startswith("changed: your choice is now There\n")
    desk.seal()
    assert run("withdraw", "me.pledge") == 0
    assert capsys.readouterr().out.startswith("withdrawn: your pledge no longer counts\n")
    desk.seal()
    assert run("receipt", "me.pledge") == 0
    printed = capsys.readouterr()
    assert "change 2 is entry" in printed.out


def test_a_mistyped_code_is_asked_for_again(
    desk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = desk.publish()
    type_in(monkeypatch, "1", desk.outbox.code)
    assert prove(desk, manifest, "me.pledge", "--email", "ada@example.org") == 0
    assert "that code was refused, try again" in capsys.readouterr().err


def test_nobody_at_the_keyboard_stops_and_goes_on_later(
    desk: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = desk.publish()
    type_in(monkeypatch)
    assert prove(desk, manifest, "me.pledge") == 130
    assert capsys.readouterr().err.endswith("headcount: error: stopped\n")
    before = json.loads(Path("me.pledge").read_bytes())["seed"]
    type_in(monkeypatch, "ada@example.org", desk.outbox.code)
    assert prove(desk, manifest, "me.pledge") == 0
    assert json.loads(Path("me.pledge").read_bytes())["seed"] == before


def test_a_broken_promise_ends_with_a_hint(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = desk.publish()
    path = desk.pledge(manifest, 1)
    desk.clock.now += 365 * 86400
    assert run("receipt", path) == 1
    assert "headcount: hint: the promised day has passed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("pledge", "none"), 2, "cannot read none: No such file or directory"),
        (("receipt", "none"), 2, "cannot read none: No such file or directory"),
        (("withdraw", "none"), 2, "cannot read none: No such file or directory"),
        (("prove", "x", "y"), 2, "invalid value for 'LEDGER': neither an http(s) address nor a folder"),
        (("prove", ".", "y", "--policy", "p", "--out", "o"), 2, "invalid value for 'SCOPE'"),
        (("pledge",), 2, "missing argument 'FILE'"),
        (("nonsense",), 2, "no such command 'nonsense'"),
        (("--nonsense",), 2, "no such option"),
        (("prove", LEDGER, "00" * 32, "--policy", "none", "--out", "o"), 2, "cannot read none"),
        (("prove", LEDGER, "00" * 32, "--policy", "policy", "--out", "o"), 3, "the ledger has no scope"),
        (
            ("prove", "http://nobody.example", "00" * 32, "--policy", "policy", "--out", "o"),
            4,
            "http://nobody",
        ),
        (("scope", "notice", ".", "00" * 32), 2, "missing option"),
    ],
)
def test_errors_are_lower_case_and_end_without_a_full_stop(
    desk: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, error: str
) -> None:
    assert run(*arguments) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    first = printed.err.splitlines()[0]
    assert first.startswith(f"headcount: error: {error}")
    assert not first.endswith(".")
    assert all(line.startswith("headcount: hint: ") for line in printed.err.splitlines()[1:])


# Organisers.


def test_an_organisers_whole_way(
    desk: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("organiser", "init", "key") == 0
    public_key = capsys.readouterr().out.strip()
    assert run("organiser", "init", "key") == 2
    arguments = ["--language", "en", "--language", "fr", "--policy", "policy", "--key", "key"]
    arguments += ["--site", "https://pledge.example/"]
    assert run("scope", "draft", "campaign", *arguments) == 0
    assert run("scope", "draft", "campaign", *arguments) == 2
    capsys.readouterr()
    assert run("scope", "lint", "campaign") == 1
    found = capsys.readouterr().out
    assert "error: $.issuers: Nobody checks that the signers are people" in found
    assert "error: $.title: The campaign has no title." in found
    assert "$.origins" not in found

    value = manifests.draft(organisers={"keys": [public_key], "quorum": 1})
    Path("campaign/manifest.json").write_text(json.dumps(value))
    for language, text in manifests.TEXTS.items():
        Path(f"campaign/texts/{language}.txt").write_text(text)
    assert run("scope", "lint", "campaign") == 0
    assert capsys.readouterr().out.endswith("ready: the terms can be published\n")
    assert run("scope", "publish", "campaign", "--key", "key", "--ledger", LEDGER) == 0
    scope_id = capsys.readouterr().out.strip()
    assert len(scope_id) == 64
    assert run("scope", "lint", "campaign/scope.json") == 0
    desk.seal()
    capsys.readouterr()

    assert run("scope", "show", LEDGER, scope_id, "--policy", "policy", "--language", "fr", "--text") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Nous partons ensemble\n")
    assert f"scope    {scope_id}" in shown
    assert "issuer0.example (has not opened it yet)" in shown
    assert shown.endswith("Nous partons ensemble.\n\n")
    assert run("scope", "show", LEDGER, scope_id, "--policy", "policy", "--language", "de") == 2

    Path("update.json").write_bytes(jcs.canonicalise({"title": {"en": "News"}, "text": {"en": "Soon."}}))
    notice = ["scope", "notice", LEDGER, scope_id, "--policy", "policy", "--key", "key", "--type", "update"]
    capsys.readouterr()
    assert run(*notice, "--body", "update.json") == 0
    assert len(capsys.readouterr().out.strip()) == 64
    Path("update.json").write_bytes(jcs.canonicalise({"title": {"en": "News"}, "text": {"en": "Later."}}))
    assert run(*notice, "--body", "update.json") == 3
    assert "seq" in capsys.readouterr().err


def test_a_strangers_key_publishes_nothing(desk: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("organiser", "init", "key") == 0
    folder = desk.draft()
    assert run("scope", "publish", folder, "--key", "key", "--ledger", LEDGER) == 1
    assert not (folder / "scope.json").exists()


# The command as a whole.


def test_without_arguments_it_shows_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert "Usage: headcount" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("headcount ")


OWN = ("audit", "organiser", "pledge", "prove", "receipt", "revise", "scope", "withdraw")
COMMANDS = [
    *((name,) for name in OWN),
    ("organiser", "init"),
    *(("receipt", name) for name in ("accuse", "fetch", "judge")),
    ("receipt", "verify"),
    *(("scope", name) for name in ("draft", "lint", "notice", "publish", "show")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_says_what_it_does(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--help") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Usage: headcount {' '.join(command)} ")
    assert len(printed.out.splitlines()) >= 5
    assert printed.err == ""


def test_help_lists_every_command_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in OWN:
        assert any(line.startswith(f"  {name} ") for line in lines)


def test_no_role_is_loaded_until_its_command_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded: list[str] = []

    class Plugin(EntryPoint):
        def load(self) -> object:
            loaded.append(self.name)
            if self.name == "broken":
                raise ModuleNotFoundError("no", name="granian")
            if self.name == "strange":
                return object()
            return click.Command(self.name, callback=lambda: click.echo("ran"))

    names = ("serve", "broken", "strange", "prove")  # of other distributions, but for the first
    plugins = [Plugin(name, "headcount_node.cli:x", cli.GROUP) for name in names]
    monkeypatch.setattr(cli, "entry_points", lambda group: plugins if group == cli.GROUP else [])
    assert run("--help") == 0
    assert run("prove", "--help") == 0
    out = capsys.readouterr().out
    assert "  broken   From headcount_node." in out
    assert loaded == []
    assert run("serve") == 0
    assert capsys.readouterr().out == "ran\n"
    assert run("broken") == 2
    assert "broken needs granian" in capsys.readouterr().err
    assert run("strange") == 2


@pytest.mark.parametrize(
    ("error", "code", "hint"),
    [
        (ConfigurationError("a file is missing"), 2, None),
        (SignatureError("no"), 1, None),
        (AlreadyIssuedError("no"), 3, "one person counts once"),
        (RateLimitedError("slow", 30), 3, "try again in 30 seconds"),
        (UnavailableError("later"), 4, "nothing is lost"),
        (MisbehaviourError("two histories", (b"a", b"b")), 5, "the evidence is in headcount-evidence-"),
        (MisbehaviourError("nothing signed"), 5, None),
    ],
)
def test_exit_codes_are_those_of_the_error_tree(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    error: ProtocolError,
    code: int,
    hint: str | None,
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(cli._OWN, "prove", "headcount.cli:headcount")
    monkeypatch.setattr(cli._Commands, "get_command", lambda *_: click.Command("x", callback=fail))
    assert run("x") == code
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"headcount: error: {error}"
    assert (hint is None) == (len(lines) == 1)
    assert hint is None or hint in lines[1]
    assert bool(list(tmp_path.iterdir())) == (isinstance(error, MisbehaviourError) and bool(error.evidence))


def test_the_help_says_of_each_role_what_its_command_does() -> None:
    for name, summary in cli._SUMMARIES.items():
        command = cli.headcount.get_command(click.Context(cli.headcount), name)
        assert command is not None
        assert command.get_short_help_str(limit=100) == summary


def test_a_full_disk_under_the_output_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    require(Path("/dev/full").exists(), "/dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "headcount", "organiser", "init", tmp_path / "key"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
    assert done.returncode == 2
    assert done.stderr == "headcount: error: no space left on device\n"


def test_it_runs_as_a_module_into_a_pipe() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headcount", "--help"],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path), "LC_ALL": "C"},
    )
    assert done.stdout.startswith(b"Usage: headcount")
    assert done.stderr == b""
