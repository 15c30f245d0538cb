"""The figures of docs/scaling.md: what a pledge costs in the database, its log and the tree, and how fast.

    python bench/scaling.py [--pledges 100000] [--present 0] [--engine sqlite|postgresql]

The pledges have random bytes for signatures: the database and the sequencer do not verify them again.
PostgreSQL is started as the tests start it, with its default settings; the tree is a directory.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
for folder in ("spec", "ledger", "tests"):
    sys.path.insert(0, str(ROOT / folder))

import manifests  # noqa: E402
import servers  # noqa: E402
from fakes import DAY, open_scopes  # noqa: E402
from headcount_ledger import schema, staged, taking  # noqa: E402
from headcount_ledger.config import LedgerConfig  # noqa: E402
from headcount_ledger.ledger import Ledger, create  # noqa: E402
from headcount_ledger.migration import migrate  # noqa: E402
from headcount_ledger.postgresql import copying  # noqa: E402
from headcount_ledger.sequencer import Sequencer  # noqa: E402
from headcount_spec.merkle import leaf_hash  # noqa: E402
from headcount_spec.pledge import Pledge  # noqa: E402

GROUP = 1000  # what the writer commits together at most
SCOPE = manifests.manifest(min_batch=1)
STEPS = ("select", "build", "check", "persist", "commit", "write_tiles", "publish", "clean_up")


def pledges(number: int) -> Iterator[Pledge]:
    for _ in range(number):
        yield Pledge(SCOPE.scope_id, 0, os.urandom(32), bytes(32), (os.urandom(256),))


def timed_sequencer(times: dict[str, float]) -> type[Sequencer]:
    def timed(name: str) -> object:
        step = getattr(Sequencer, name)

        def run(self: Sequencer, *args: object) -> object:
            started = time.monotonic()
            try:
                return step(self, *args)
            finally:
                times[name] = times.get(name, 0) + time.monotonic() - started

        return run

    return type("TimedSequencer", (Sequencer,), {name: timed(name) for name in STEPS})


def stage(ledger: Ledger, number: int) -> float:
    """Seconds to stage so many, in full groups, each durable."""
    made = [(pledge, pledge.nullifier, leaf_hash(pledge.to_bytes())) for pledge in pledges(number)]
    started = time.monotonic()
    for start in range(0, number, GROUP):
        with ledger.store.write() as tx:
            for row in made[start : start + GROUP]:
                assert staged.stage_pledge(tx, *row)
    return time.monotonic() - started


def prefill(ledger: Ledger, number: int) -> None:
    """Nullifiers of pledges that were never made."""
    rows = "decode(md5(i::text) || md5('x' || i::text), 'hex')"
    with ledger.store.write() as tx:
        tx.exec_driver_sql(
            f"INSERT INTO spent SELECT {rows}, sha256('s'), {rows}, {rows}, 0, 0, NULL"  # noqa: S608
            f" FROM generate_series(1, {number}) AS i ORDER BY 1"
        )
    servers.admin("CHECKPOINT")


def scalar(ledger: Ledger, statement: str) -> int:
    with ledger.store.read() as tx:
        return int(tx.exec_driver_sql(statement).scalar_one())


def spent_bytes(ledger: Ledger) -> int:
    return scalar(ledger, "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits")


def tree_bytes(config: LedgerConfig, folder: str) -> int:
    paths = [path for path in (config.public / folder).rglob("*") if path.is_file()]
    full = [path for path in paths if ".p" not in path.parent.name]
    return sum(path.stat().st_size for path in full)


def copy_instead(ledger: Ledger, number: int) -> tuple[float, float]:
    """Seconds to move staged rows to the spent set by one INSERT … SELECT, and through the client by COPY."""
    columns = "nullifier, scope, leaf_hash, revision_key, choice, 0 AS serial, NULL::bytea AS revision_hash"
    query = f"SELECT {columns} FROM staged_pledges ORDER BY nullifier"  # noqa: S608
    seconds = []
    for by_copy in (False, True):
        try:
            with ledger.store.write() as tx:
                started = time.monotonic()
                if by_copy:
                    rows = tx.exec_driver_sql(query).all()
                    with copying(tx, schema.spent) as copy:
                        for row in rows:
                            copy.write_row(tuple(row))
                else:
                    taking.plan(tx, 1, [SCOPE.scope_id])
                    started = time.monotonic()
                    assert taking.spend(tx, 1)[0] == number
                seconds.append(time.monotonic() - started)
                raise InterruptedError
        except InterruptedError:
            pass
    return seconds[0], seconds[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pledges", type=int, default=100_000)
    parser.add_argument("--present", type=int, default=0, help="nullifiers spent before (PostgreSQL)")
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="postgresql")
    given = parser.parse_args()
    servers.MEMORY = Path("/nowhere")  # a database that is measured stands on the disk
    number = given.pledges
    on_server = given.engine == "postgresql"
    with tempfile.TemporaryDirectory() as folder:
        url = servers.postgresql().format(servers.new_database()) if on_server else None
        config = LedgerConfig(Path(folder) / "ledger", postgresql=url)
        create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
        with Ledger.open(config) as ledger:
            open_scopes(ledger, SCOPE)
            if on_server and given.present:
                prefill(ledger, given.present)
                print(f"spent set: {spent_bytes(ledger) / given.present:.0f} bytes a pledge")
            wal = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
            before = scalar(ledger, wal) if on_server else 0
            seconds = stage(ledger, number)
            print(f"staging in groups of {GROUP}: {number / seconds:,.0f}/s")
            if on_server:
                after = scalar(ledger, wal)
                print(f"staging: {(after - before) / number:.0f} bytes of log a pledge")
                size = scalar(ledger, "SELECT pg_total_relation_size('staged_pledges')")
                print(f"staged: {size / number:.0f} bytes a pledge")
                insert, copy = copy_instead(ledger, number)
                print(f"staged to spent: {insert:.1f} s by INSERT … SELECT, {copy:.1f} s by COPY")
                before = scalar(ledger, wal)
            times: dict[str, float] = {}
            started = time.monotonic()
            with ledger.sequencer(timed_sequencer(times)) as sequencer:
                sequencer.seal(DAY)
            seconds = time.monotonic() - started
            print(
                f"sealing: {number / seconds:,.0f}/s; "
                + ", ".join(f"{k} {v:.1f} s" for k, v in times.items())
            )
            if on_server:
                print(f"sealing: {(scalar(ledger, wal) - before) / number:.0f} bytes of log a pledge")
                print(f"spent set: {spent_bytes(ledger) / (number + given.present):.0f} bytes a pledge")
            else:
                print(f"database: {config.database.stat().st_size / number:.0f} bytes a pledge")
                url = servers.postgresql().format(servers.new_database())
                started = time.monotonic()
                migrate(config, LedgerConfig(Path(folder) / "new", postgresql=url))
                seconds = time.monotonic() - started
                print(f"moving to PostgreSQL and another directory: {number / seconds:,.0f}/s")
            print(f"bundles: {tree_bytes(config, 'tile/entries') / number:.1f} bytes a pledge")
            everything = tree_bytes(config, "tile") - tree_bytes(config, "tile/entries")
            print(f"tiles: {everything / number:.1f} bytes a pledge")


if __name__ == "__main__":
    main()
