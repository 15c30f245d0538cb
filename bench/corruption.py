"""Every attack at random places of a large ledger: is it found, and is it named?

    .venv/bin/python bench/corruption.py [--pledges 100000] [--places 10] [--write docs/corruption.md]

Prints one row for each attack and each way to do it. Exits with 1 if one was missed. The places come from a
seed, so that a row can be run again with --only.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import factory  # finds the packages of this tree

import attacks
import bulk
from headcount_ledger.audit import audit
from headcount_ledger.reader.fetch import directory_fetch

_base: bulk.Base | None = None


@dataclass(frozen=True)
class Outcome:
    """One attack at one place."""

    attack: str
    style: str
    seed: int
    is_found: bool
    is_named: bool  # by its own code
    is_placed: bool  # in its batch, where it has one
    others: tuple[str, ...]
    corrupt_s: float
    audit_s: float


def main() -> int:
    """Run the matrix."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pledges", type=int, default=100_000)
    parser.add_argument("--places", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="codes")
    parser.add_argument("--work", type=Path, help="a folder with room; the temporary one otherwise")
    parser.add_argument("--write", type=Path, help="put the table into this file as well")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headcount-corruption-", dir=options.work))
    try:
        made = list(factory.read_pledges(options.pledges + bulk.SPARE))
        base = bulk.build(folder / "base", options.pledges, made)
        report = audit(directory_fetch(base.folder), bulk.policy())
        size = base.checkpoint.size
        if not report.ok:
            print("the ledger is not valid before it is corrupted", file=sys.stderr)
            return 1
        cases = [case for case in attacks.CASES if not options.only or case[0] in options.only]
        tasks = [(*case, seed, str(folder)) for seed in range(options.places) for case in cases]
        with ProcessPoolExecutor(options.jobs, initializer=_open, initargs=(base,)) as pool:
            outcomes = []
            for outcome in pool.map(_run, tasks):
                outcomes.append(outcome)
                if options.write is not None:  # as far as it has come, should it be stopped
                    options.write.write_text(table(outcomes, size, options), "utf-8")
                if not (outcome.is_named and outcome.is_placed):
                    print(f"MISSED {outcome}", file=sys.stderr, flush=True)
                print(f"\r{len(outcomes)} of {len(tasks)}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = table(outcomes, size, options)
    print(text)
    return 0 if all(o.is_named and o.is_placed for o in outcomes) else 1


def _open(base: bulk.Base) -> None:
    global _base
    _base = base


def _run(task: tuple[str, str, int, str]) -> Outcome:
    attack, style, seed, folder = task
    assert _base is not None
    place = Path(folder) / f"{attack}-{style}-{seed}"
    started = time.monotonic()
    case = attacks.corrupt(_base, place, attack, style, random.Random(f"{attack} {style} {seed}"))
    corrupted = time.monotonic()
    report = audit(
        directory_fetch(case.folder), case.policy, remembered=case.remembered, receipts=case.receipts
    )
    done = time.monotonic()
    shutil.rmtree(place)
    named = [fault for fault in report.faults if fault.code == attack]
    return Outcome(
        attack,
        style,
        seed,
        not report.ok,
        bool(named),
        bool(named) and (case.batches is None or named[0].batch in case.batches),
        tuple(sorted({fault.code for fault in report.faults} - {attack})),
        corrupted - started,
        done - corrupted,
    )


def table(outcomes: list[Outcome], size: int, options: argparse.Namespace) -> str:
    """The table in Markdown."""
    places = f"{options.places} random places"
    lines = [
        "# Every attack, at random places of a large ledger",
        "",
        f"Made by `bench/corruption.py`: a valid ledger of {options.pledges:,} really signed pledges,",
        f"{size:,} entries, in {bulk.BATCHES + 1} batches with two scopes; each attack at {places},",
        "each way that it can be done (`tests/attacks.py`), then a whole audit. *Found*: the verdict is not",
        "proven. *Named*: by its own code. *Placed*: in its batch, where it has one.",
        "",
        "| attack | by | found | named | placed | what else is said, how often | corrupting | audit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for attack, style in attacks.CASES:
        group = [o for o in outcomes if (o.attack, o.style) == (attack, style)]
        if group:
            lines.append(_row(attack, style, group))
    named = sum(o.is_named and o.is_placed for o in outcomes)
    lines += ["", f"{named} of {len(outcomes)} were found, named and placed.", ""]
    return "\n".join(lines)


def _row(attack: str, style: str, group: list[Outcome]) -> str:
    number = len(group)
    others = Counter(code for o in group for code in o.others)
    said = ", ".join(f"`{code}` {times}" for code, times in sorted(others.items()))
    ratings = zip(*((o.is_found, o.is_named, o.is_placed) for o in group), strict=True)
    corrupt_s = sum(o.corrupt_s for o in group) / number
    audit_s = sum(o.audit_s for o in group) / number
    cells = [f"`{attack}`", style, *(f"{sum(values)}/{number}" for values in ratings), said]
    cells += [f"{corrupt_s:.2f} s", f"{audit_s:.1f} s"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
