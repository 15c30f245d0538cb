"""Every attack at random places of a large ledger: is it found, and is it named?

    .venv/bin/python bench/corruption.py [--pledges 100000] [--places 10] [--write docs/corruption.md]
    .venv/bin/python bench/corruption.py --keep FOLDER --minutes 8     again and again until it is through

Prints one row for each attack and each way to do it. Exits with 1 if one was missed, with 75 if there are
more to do. The places come from a seed, so that a row can be run again with --only. What --keep has kept is
of the audit as it was then: begin with an empty folder after a change to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
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

MORE_TO_DO = 75  # EX_TEMPFAIL: what the command exits with when its minutes are over

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
    parser.add_argument("--keep", type=Path, help="a folder in which to go on where the last run stopped")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing after so many")
    parser.add_argument("--write", type=Path, help="put the table into this file as well")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
        return _run_all(options, options.keep, deadline)
    folder = Path(tempfile.mkdtemp(prefix="headcount-corruption-", dir=options.work))
    try:
        return _run_all(options, folder, deadline)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_all(options: argparse.Namespace, folder: Path, deadline: float) -> int:
    base = _valid_ledger(folder / f"base-{options.pledges}", options.pledges)
    if base is None:
        print("the ledger is not valid before it is corrupted", file=sys.stderr)
        return 1
    kept = folder / f"outcomes-{options.pledges}.jsonl"
    outcomes = _read(kept)
    done = {(o.attack, o.style, o.seed) for o in outcomes}
    cases = [case for case in attacks.CASES if not options.only or case[0] in options.only]
    wanted = [(*case, seed) for seed in range(options.places) for case in cases]
    left = [(*task, str(folder), deadline) for task in wanted if task not in done]
    with (
        ProcessPoolExecutor(options.jobs, initializer=_open, initargs=(base,)) as pool,
        kept.open("a", encoding="utf-8") as file,
    ):
        for outcome in pool.map(_run, left):
            if outcome is None:  # no time was left for it
                continue
            outcomes.append(outcome)
            file.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            file.flush()
            if not (outcome.is_named and outcome.is_placed):
                print(f"MISSED {outcome}", file=sys.stderr, flush=True)
            print(f"\r{len(outcomes)} of {len(wanted)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    outcomes = [o for o in outcomes if (o.attack, o.style, o.seed) in set(wanted)]
    text = table(outcomes, base.checkpoint.size, options)
    print(text)
    if options.write is not None:
        options.write.write_text(text, "utf-8")
    if not all(o.is_named and o.is_placed for o in outcomes):
        return 1
    return 0 if len(outcomes) == len(wanted) else MORE_TO_DO


def _valid_ledger(place: Path, pledges: int) -> bulk.Base | None:
    """The ledger that an earlier run has left, or a new one; None unless it is valid."""
    made = list(factory.read_pledges(pledges + bulk.SPARE))
    if place.exists():
        base = bulk.Base(place, tuple(made[:pledges]), tuple(made[pledges:]))
    else:
        unfinished = place.with_name(f"{place.name}-unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        base = dataclasses.replace(bulk.build(unfinished, pledges, made), folder=place)
        unfinished.rename(place)
    return base if audit(directory_fetch(base.folder), bulk.policy()).ok else None


def _read(kept: Path) -> list[Outcome]:
    """What earlier runs have found; a line that one of them could not finish is done again."""
    if not kept.exists():
        return []
    lines = kept.read_text("utf-8").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    kept.write_text("".join(whole), "utf-8")
    found = [json.loads(line) for line in whole]
    return [Outcome(**{**item, "others": tuple(item["others"])}) for item in found]


def _open(base: bulk.Base) -> None:
    global _base
    _base = base


def _run(task: tuple[str, str, int, str, float]) -> Outcome | None:
    """One attack at one place; None if it would begin too late."""
    attack, style, seed, folder, deadline = task
    assert _base is not None
    started = time.monotonic()
    if started > deadline:
        return None
    place = Path(folder) / f"{attack}-{style}-{seed}"
    shutil.rmtree(place, ignore_errors=True)  # of a run that was stopped
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
