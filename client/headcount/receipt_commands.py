"""``headcount receipt FILE``, ``receipt verify``, and accusations where a promise was broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from headcount import accusation as accusations
from headcount import private_file
from headcount import receipt as receipts
from headcount.pledge_file import PledgeStore
from headcount.receipt import Receipt
from headcount.signer_commands import today
from headcount.terminal import FILE, POLICY, hint, progress, read_policy, say
from headcount_ledger.reader.transport import HttpTransport
from headcount_spec.accusation import MAX_ACCUSATION_BYTES, Accusation, VerifiedAccusation
from headcount_spec.errors import ConfigurationError, MalformedError, ProtocolError
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
        hint("the promised day has passed")
        hint(f"headcount receipt accuse {file.name} writes what shows it to others; keep {file.name} as well")
        raise SystemExit(ProtocolError.exit_code)


@receipt.command()
@click.argument("proof", type=FILE)
@POLICY
@click.option("--pledge", "pledge_file", type=FILE, help="The pledge file that the receipt must be for.")
def verify(proof: Path, policy: Path, pledge_file: Path | None) -> None:
    """Check the receipt in PROOF without the ledger."""
    parsed = _read_receipt(proof)
    entry = PledgeStore(pledge_file).load().pledge().to_bytes() if pledge_file else None
    included = receipts.verify(parsed, read_policy(policy), entry)
    checkpoint = included.checkpoint
    names = ", ".join(name for name, _ in included.cosigners) or "nobody"
    say(f"valid: entry {included.index} of {checkpoint.size} in {checkpoint.origin}, witnessed by {names}")


@receipt.command("accuse")
@click.argument("file", type=FILE)
def accuse_command(file: Path) -> None:
    """Show others that the ledger has broken its promise to the pledge of FILE.

    Writes an accusation beside FILE. It has the promise, the pledge's nullifier and the entries around its
    place, and does not say who made the pledge.
    """
    with HttpTransport() as transport, progress("reading the ledger") as bar:
        found = accusations.accuse(file, transport=transport, day=today(), progress=bar)
    for item in found:
        for line in _sentences(item.verified):
            say(line)
        say(f"  The accusation is {item.path.name}; anybody can check it without the ledger.")


@receipt.command("judge")
@click.argument("accusation", type=FILE)
@POLICY
@click.option("--refute", "refuting", type=FILE, help="A receipt of the promised entry, which refutes it.")
def judge_command(accusation: Path, policy: Path, refuting: Path | None) -> None:
    """Check the ACCUSATION of a ledger, without the ledger.

    Exits with 0 if it stands, with 1 if it proves nothing or is refuted.
    """
    try:
        parsed = Accusation.from_bytes(private_file.read(accusation, MAX_ACCUSATION_BYTES))
    except MalformedError as exc:
        raise ConfigurationError(f"{accusation.name}: {exc}") from exc
    proof = None if refuting is None else _read_receipt(refuting)
    verified, found = accusations.judge(parsed, read_policy(policy), proof)
    if found is None:
        for line in _sentences(verified):
            say(line)
        return
    say(f"refuted: what was promised is entry {found.index} of {found.checkpoint.origin}")
    say("  That the accusation holds as well shows another fault: the ledger does not keep the order of its")
    say("  batches, or has signed two histories. headcount audit names it.")
    raise SystemExit(ProtocolError.exit_code)


def _sentences(verified: VerifiedAccusation) -> Iterator[str]:
    promise, absence = verified.promise, verified.absence
    what = "a pledge" if promise.serial == 0 else f"change {promise.serial} of a pledge"
    yield (
        f"broken: {verified.checkpoint.origin} promised to publish {what} for "
        f"{absence.manifest.title_text} by {format_day(promise.deadline)}"
    )
    where = f"batch {absence.first_batch}"
    if absence.last_batch > absence.first_batch:
        where = f"batches {absence.first_batch} to {absence.last_batch}"
    end = "which closed the scope" if absence.is_closing else "the first after that day"
    yield f"  It is not in {where}; the last, {end}, is of {format_day(absence.last_day)}."
    if absence.is_replaced:
        yield "  Another entry stands in its place."
    names = ", ".join(name for name, _ in verified.cosigners) or "nobody"
    yield f"  Shown under a checkpoint of {verified.checkpoint.size} entries, witnessed by {names}."


def _read_receipt(path: Path) -> TlogProof:
    try:
        return TlogProof.from_bytes(private_file.read(path))
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def _report(item: Receipt) -> None:
    what = "pledge" if item.serial == 0 else f"change {item.serial}"
    if item.proof is None or item.path is None:
        say(f"accepted: {what}, promised by {format_day(item.promise.deadline)} and not published yet")
        return
    origin = item.proof.checkpoint.decode().partition("\n")[0]
    watched = "seen by your policy's witnesses" if item.state == "witnessed" else "no witness is demanded"
    say(f"{item.state}: {what} is entry {item.index} of {origin}, {watched}")
    say(f"  The receipt is {item.path.name}: it shows that the pledge counts, not who made it.")
