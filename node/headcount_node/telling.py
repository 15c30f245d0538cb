"""How the demo tells of sealed contacts: what each of those who take part sees, in the order of the story."""

from __future__ import annotations

from rich.console import Console

from headcount_node.demo import Demo, Done, Track
from headcount_node.failing import TRUSTEES as LEFT
from headcount_node.failing import Failing
from headcount_node.sealing import LOST, TRUSTEES, Sealing, T
from headcount_spec.errors import MisbehaviourError

ERASED = 1  # the signer who thinks again


def heading(console: Console, text: str) -> None:
    """The title of a chapter."""
    console.print(f"\n[bold]{text}[/bold]")


def tell_contacts(console: Console, demo: Demo, track: Track) -> None:
    """Everybody pledges; contacts stay closed below the threshold, open at it, and die without it.

    Raises:
        MisbehaviourError: something opened that must not, or did not that must.
    """
    sealing = Sealing(demo)
    enough, everybody = demo.threshold, demo.signers
    heading(console, f"Five trustees, of whom {T} open the contacts together")
    sealing.prepare()
    heading(console, f"{everybody} people")
    demo.prove_all(track)
    demo.pledge_some(range(enough - 1), track)
    sealing.leave(track)
    sealing.erase(ERASED)
    _say(console, f"signer {ERASED} has thought again: the sealed contact is gone from the store")

    heading(console, f"{enough - 1} of {enough}: no trustee opens anything")
    for i, name in enumerate(TRUSTEES, 1):
        _expect_refusal(console, name, sealing.release(i))

    heading(console, f"{everybody} of {enough}, and two trustees are lost")
    demo.pledge_some(range(enough - 1, everybody), track)
    demo.check_receipts(track)
    sealing.lose()
    for i, name in enumerate(TRUSTEES, 1):
        if i in LOST:
            _say(console, f"{name}: lost, with the key")
        else:
            lines = sealing.release(i).check().splitlines()
            _say(console, f"{name}: {lines[1].strip()}; {lines[-1]}")
    sealing.wait_for_releases()
    for step in (sealing.certify, sealing.verify, sealing.export, sealing.open, sealing.mail):
        for line in step().splitlines():
            _say(console, line)
    arrived, expected = sealing.arrived(ERASED), len(sealing.depositors) - 1
    if arrived != expected:
        raise MisbehaviourError("a confirmation is missing, or one came that must not")
    _say(console, f"{arrived} confirmations have arrived by SMTP, and none for signer {ERASED}")

    with Failing(sealing) as failing:
        heading(console, "A second campaign, on its last day")
        failing.tell()
        _expect_refusal(console, TRUSTEES[0], failing.destroy(1))
        failing.midnight()
        heading(console, "The day after: it has failed, and its contacts die")
        for i in LEFT:
            lines = failing.destroy(i).check().splitlines()
            _say(console, f"{TRUSTEES[i - 1]}: {lines[1].strip()}; {lines[-1]}")
        _say(console, f"{failing.stored()} sealed contacts are left, and no key opens them")


def _say(console: Console, text: str) -> None:
    console.print(f"  {text}", markup=False)


def _expect_refusal(console: Console, name: str, done: Done) -> None:
    if done.code == 0:
        raise MisbehaviourError("a trustee did what must be refused")
    reason = done.errors.strip().splitlines()[-1].removeprefix("headcount: ")
    _say(console, f"{name}: {reason.removeprefix('error: ')}")
