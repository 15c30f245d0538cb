"""The ledger factory: pledges with real signatures, made once and kept, and ledgers that take them.

The scope is open whenever the benchmarks run; its keys are those of the tests.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).parents[1]
for _folder in ("spec", "ledger", "issuer", "verifier", "client", "node", "tests"):
    sys.path.insert(0, str(ROOT / _folder))

from nacl.bindings import crypto_sign_seed_keypair  # noqa: E402
from sqlalchemy import delete  # noqa: E402

import keys  # noqa: E402
import manifests  # noqa: E402
from headcount_engine import rsa  # noqa: E402
from headcount_ledger import staged  # noqa: E402
from headcount_ledger.config import LedgerConfig  # noqa: E402
from headcount_ledger.ledger import Ledger, create  # noqa: E402
from headcount_ledger.schema import staged_pledges  # noqa: E402
from headcount_ledger.work import StagePledge, run_group  # noqa: E402
from headcount_spec import blind_rsa  # noqa: E402
from headcount_spec.merkle import leaf_hash  # noqa: E402
from headcount_spec.pledge import PLAIN, Pledge  # noqa: E402
from headcount_spec.scope import NO_SEALED_HASH, Manifest  # noqa: E402

CACHE = ROOT / "bench" / "cache"
PLEDGE_BYTES = 357
_CHUNK = 2000
_TABLES = 3  # version of the ledger's tables: a kept ledger of other tables is of no use


@cache
def manifest() -> Manifest:
    """One issuer, no options, open for a century."""
    return manifests.manifest(
        title=manifests.both("For a hundred years", "Pour cent ans"),
        opens="2020-01-01",
        freezes="2119-01-01",
        closes="2120-01-01",
        action=None,
    )


def pledges(number: int) -> Path:
    """A file of at least so many distinct valid pledges of 357 bytes; what is missing is made and kept."""
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / f"pledges-{manifest().scope_id.hex()[:16]}"
    have = path.stat().st_size // PLEDGE_BYTES if path.exists() else 0
    if have < number:
        print(f"making {number - have} pledges with real signatures …", file=sys.stderr, flush=True)
        with path.open("ab") as file, ProcessPoolExecutor(os.cpu_count()) as pool:
            file.truncate(have * PLEDGE_BYTES)
            for chunk in pool.map(_chunk, range(have, number, _CHUNK)):
                file.write(chunk)
    return path


def read_pledges(number: int) -> Iterator[bytes]:
    """The first so many pledges."""
    with pledges(number).open("rb") as file:
        for _ in range(number):
            yield file.read(PLEDGE_BYTES)


def _chunk(first: int) -> bytes:
    return b"".join(_pledge(i) for i in range(first, first + _CHUNK))


def _pledge(i: int) -> bytes:
    revision_key, _ = crypto_sign_seed_keypair(hashlib.sha256(b"bench %d" % i).digest())
    scope = manifest()
    pledge = Pledge(scope.scope_id, PLAIN, revision_key, NO_SEALED_HASH, ())
    (message,) = scope.token_inputs(pledge.nullifier)
    key = _key()
    salt = hashlib.sha384(b"salt %d" % i).digest()
    signature = key.private_op(blind_rsa.encode(key.public, message, salt))
    return replace(pledge, authenticators=(signature,)).to_bytes()


@cache
def _key() -> rsa.SigningKey:
    return rsa.load_private_key(keys.token_key_der(0))


def new_ledger(folder: Path, day: int) -> LedgerConfig:
    """An empty ledger on the disk in which the scope is open."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = LedgerConfig(folder, tick_s=3600, max_waiting=4096)
    create(config, manifests.ORIGIN, manifests.LEDGER_SEED)
    scope = manifest()
    with Ledger.open(config) as ledger:
        for notice in (
            manifests.manifest_notice(scope),
            *manifests.text_notices(scope),
            *manifests.openings(scope),
        ):
            ledger.accept(notice.to_bytes(), day)
        ledger.seal(day)
    return config


def fill(config: LedgerConfig, entries: Iterator[bytes]) -> None:
    """Put pledges where acceptance leaves them, without verifying them again."""
    with Ledger.open(config) as ledger:
        while group := [work(entry) for entry in islice(entries, 5000)]:
            with ledger.store.write() as tx:
                run_group(tx, group)
        with ledger.store.locked(config.lock) as locked:
            locked.wipe()


def spent_ledger(number: int) -> LedgerConfig:
    """A ledger with so many rows in its spent set, made once and kept; ten million are 2 GB."""
    folder = CACHE / f"spent-{_TABLES}-{number}"
    if not folder.exists():
        print(f"spending {number} nullifiers …", file=sys.stderr, flush=True)
        made = Path(tempfile.mkdtemp(dir=CACHE))
        spend(new_ledger(made / "ledger", int(time.time()) // 86400), number)
        made.rename(folder)
    return LedgerConfig(folder / "ledger", tick_s=3600, max_waiting=4096)


def unstage(config: LedgerConfig) -> None:
    """Forget what was accepted, so that the same pledges can be sent again."""
    with Ledger.open(config) as ledger, ledger.store.locked(config.lock) as locked:
        with locked.write() as tx:
            staged.settle(tx)
            tx.execute(delete(staged_pledges))
        locked.wipe()


def spend(config: LedgerConfig, number: int) -> None:
    """Put so many rows into the spent set, as sealing leaves them: ascending nullifiers, no entries."""
    scope = manifest().scope_id
    with Ledger.open(config) as ledger, ledger.store.write() as tx:
        cursor = tx.connection.cursor()
        step = 2**256 // (number + 1)
        rows = (((i * step + step // 2).to_bytes(32, "big"), scope, scope, scope) for i in range(number))
        insert = "INSERT INTO spent (nullifier, scope, leaf_hash, revision_key, choice, serial)"
        cursor.executemany(f"{insert} VALUES (?, ?, ?, ?, 0, 0)", rows)


def work(entry: bytes) -> StagePledge:
    """What acceptance asks of the writer."""
    return StagePledge(Pledge.from_bytes(entry).nullifier, leaf_hash(entry), entry)
