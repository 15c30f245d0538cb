"""``headcount receipt FILE`` and ``headcount receipt verify``."""

from __future__ import annotations

from pathlib import Path

import click

from headcount import private_file
from headcount import receipt as receipts
from headcount.pledge_file import PledgeStore
from headcount.receipt import Receipt
from headcount.signer_commands import today
from headcount.terminal import FILE, POLICY, hint, progress, read_policy, say
from headcount.transport import HttpTransport
from headcount_spec.errors import ConfigurationError, MalformedError, ProtocolError
from headcount_spec.policy import Policy
from headcount_spec.text import format_day
from headcount_spec.tlog_proof import TlogProof


class _FetchByDefault(click.Group):
    """``receipt FILE`` is ``receipt fetch FILE``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the subcommand in front where there is none."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["fetch", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_FetchByDefault, short_help="Prove that your pledge stands in the ledger.")
def receipt() -> None:
    """Prove that your pledge stands in the ledger: headcount receipt FILE.

    The receipt is written beside the pledge file; others can check it without the ledger.
    """


@receipt.command()
@click.argument("file", type=FILE)
def fetch(file: Path) -> None:
    """Find the pledge of FILE in the ledger, and write its receipt beside it."""
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        found = receipts.fetch(file, transport=transport, progress=bar)
    overdue = False
    for item in found:
        _report(item)
        overdue = overdue or item.is_overdue(today())
    if overdue:
        hint(f"the promised day has passed; keep {file.name}, it holds the ledger's signed promise")
        raise SystemExit(ProtocolError.exit_code)


@receipt.command()
@click.argument("proof", type=FILE)
@POLICY
@click.option("--pledge", "pledge_file", type=FILE, help="The pledge file that the receipt must be for.")
def verify(proof: Path, policy: Path, pledge_file: Path | None) -> None:
    """Check the receipt in PROOF without the ledger."""
    try:
        parsed = TlogProof.from_bytes(private_file.read(proof))
    except MalformedError as exc:
        raise ConfigurationError(f"{proof.name}: {exc}") from exc
    entry = PledgeStore(pledge_file).load().pledge().to_bytes() if pledge_file else None
    included = receipts.verify(parsed, Policy.from_bytes(read_policy(policy)), entry)
    checkpoint = included.checkpoint
    names = ", ".join(name for name, _ in included.cosigners) or "nobody"
    say(f"valid: entry {included.index} of {checkpoint.size} in {checkpoint.origin}, witnessed by {names}")


def _report(item: Receipt) -> None:
    what = "pledge" if item.serial == 0 else f"change {item.serial}"
    if item.proof is None or item.path is None:
        say(f"accepted: {what}, promised by {format_day(item.promise.deadline)} and not published yet")
        return
    origin = item.proof.checkpoint.decode().partition("\n")[0]
    watched = "seen by your policy's witnesses" if item.state == "witnessed" else "no witness is demanded"
    say(f"{item.state}: {what} is entry {item.index} of {origin}, {watched}")
    say(f"  The receipt is {item.path.name}: it shows that the pledge counts, not who made it.")
