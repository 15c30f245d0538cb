"""The command ``headcount``: its own subcommands, and those that other packages bring.

Subcommands of the roles are found through the entry-point group ``headcount.commands`` and loaded
when they are called, so that this package imports none of them.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from pathlib import Path

import click

from headcount import terminal
from headcount.misbehaviour import save_evidence
from headcount_spec.errors import (
    AlreadyIssuedError,
    ConfigurationError,
    MisbehaviourError,
    ProtocolError,
    RateLimitedError,
    ScopeClosedError,
    UnavailableError,
    UnknownKeyError,
)

GROUP = "headcount.commands"
_OWN = {
    "audit": "headcount.audit_command:audit_command",
    "certificate": "headcount.opening_commands:certificate",
    "contact": "headcount.contact_commands:contact",
    "monitor": "headcount.monitor_command:monitor",
    "organiser": "headcount.link_commands:organiser",
    "pack": "headcount.pack_commands:pack",
    "pages": "headcount.pages_commands:pages",
    "pledge": "headcount.signer_commands:pledge",
    "prove": "headcount.signer_commands:prove",
    "reaffirm": "headcount.signer_commands:reaffirm",
    "receipt": "headcount.receipt_commands:receipt",
    "revise": "headcount.signer_commands:revise",
    "scope": "headcount.feed_commands:scope",
    "trustee": "headcount.trustee_commands:trustee",
    "withdraw": "headcount.signer_commands:withdraw",
}
# The commands that this distribution brings, said here so that a look at the help loads none of them.
_SUMMARIES = {
    "contacts": "The store of sealed contacts, which opens for nobody here.",
    "demo": "Run a whole campaign on this machine.",
    "init": "Make a node: its settings, a ledger, an issuer.",
    "issuer": "Check that people are people, and sign one pledge of each blindly.",
    "ledger": "Create and run a ledger.",
    "personhood": "Say what it proves to be a person here, and what a fake costs.",
    "serve": "Run the roles that CONFIG (a TOML file) names, until stopped.",
    "webhooks": "Tell other sites how the counts move, signed and until they have taken it.",
    "witness": "Watch over other people's ledgers: cosign what only grows.",
}
_HINTS: dict[type[ProtocolError], str] = {
    AlreadyIssuedError: "the pledge file of your first attempt holds the token; one person counts once",
    ScopeClosedError: "headcount scope show prints the days of a scope",
    UnknownKeyError: "the trust policy says whose signatures you accept; get it from somebody you trust",
    UnavailableError: "nothing is lost; run the same command again later",
}


class _Commands(click.Group):
    """Own subcommands by name, the others by entry point."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, without loading anything."""
        return sorted({*_OWN, *_plugins()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name in _OWN:
            module, _, attribute = _OWN[cmd_name].partition(":")
            command: object = getattr(import_module(module), attribute)
        elif (entry_point := _plugins().get(cmd_name)) is not None:
            command = _load(entry_point)
        else:
            return None
        if not isinstance(command, click.Command):
            raise ConfigurationError(f"{cmd_name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own subcommands with their first sentence, unknown ones with the package that brings them."""
        own = [(name, self._summary(ctx, name)) for name in sorted(_OWN)]
        others = [
            (name, _SUMMARIES.get(name, f"From {entry_point.module.partition('.')[0]}."))
            for name, entry_point in sorted(_plugins().items())
            if name not in _OWN
        ]
        with formatter.section("Commands"):
            formatter.write_dl(own)
        if others:
            with formatter.section("Commands of the servers"):
                formatter.write_dl(others)

    def _summary(self, ctx: click.Context, name: str) -> str:
        command = self.get_command(ctx, name)
        return "" if command is None else command.get_short_help_str(limit=70)


def _plugins() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}


def _load(entry_point: EntryPoint) -> object:
    try:
        return entry_point.load()
    except ModuleNotFoundError as exc:
        package = entry_point.module.partition(".")[0].removeprefix("headcount_")
        raise ConfigurationError(
            f"{entry_point.name} needs {exc.name}, of {package}, which is missing"
        ) from exc


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        try:
            click.echo(f"headcount {version('headcount')}")
        except PackageNotFoundError:
            click.echo("headcount (not installed)")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def headcount() -> None:
    """Count the people, name no one.

    A signer proves to be a person, pledges once and keeps a receipt; anybody recounts the number.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command line, without the program's name; the exit code."""
    try:
        code = headcount.main(args=arguments, prog_name="headcount", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message(), err=True)
        return exc.exit_code
    except click.ClickException as exc:
        terminal.error(exc.format_message())
        if isinstance(exc, click.UsageError) and exc.ctx is not None:
            terminal.hint(f"{exc.ctx.command_path} --help shows how it is called")
        return exc.exit_code
    except click.Abort:
        terminal.error("stopped")
        return 130  # as a shell reports SIGINT
    except ProtocolError as exc:
        return _fail(exc)
    except OSError as exc:  # of the output, or of a file that nobody expected to be unusable
        what = f"{Path(exc.filename).name}: " if isinstance(exc.filename, str) else ""
        terminal.error(f"{what}{exc.strerror or type(exc).__name__}")
        return ConfigurationError.exit_code
    return code if isinstance(code, int) else 0


def _fail(exc: ProtocolError) -> int:
    terminal.error(str(exc))
    if isinstance(exc, MisbehaviourError):
        try:
            path = save_evidence(exc, Path.cwd())
        except ConfigurationError as unsaved:
            terminal.hint(f"the evidence could not be saved: {unsaved}")
        else:
            if path is not None:
                terminal.hint(f"the evidence is in {path.name}; show it to others before you go on")
    elif isinstance(exc, RateLimitedError):
        terminal.hint(f"try again in {exc.retry_after_s} seconds")
    for kind, text in _HINTS.items():
        if isinstance(exc, kind):
            terminal.hint(text)
    return exc.exit_code


def main() -> None:
    """The entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # titles are in every script, terminals are not
    code = run()
    try:
        sys.stdout.flush()
    except OSError:  # said already; the interpreter must not try once more and complain itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or ConfigurationError.exit_code
    sys.exit(code)
