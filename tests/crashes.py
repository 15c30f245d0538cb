"""Sequencers that crash at a step, before or after it took effect."""

from __future__ import annotations

import contextlib

import pytest

import manifests
from headcount_ledger import schema
from headcount_ledger.config import LedgerConfig
from headcount_ledger.pending import Pending
from headcount_ledger.sequencer import Sequencer
from headcount_ledger.storage import DirectoryStorage
from headcount_ledger.store import Store

STEPS = (
    "recover",
    "select",
    "build",
    "check",
    "persist",
    "commit",
    "write_tiles",
    "cosign",
    "publish",
    "collect",
    "clean_up",
)


class CrashError(Exception):
    pass


def crashing_sequencer(step: str, persisted: bool) -> type[Sequencer]:
    def crash(self: Sequencer, *args: object) -> object:
        if persisted:
            getattr(Sequencer, step)(self, *args)
        raise CrashError

    return type("CrashingSequencer", (Sequencer,), {step: crash})


def run_and_crash(config: LedgerConfig, kind: type[Sequencer], day: int, *, is_reached: bool = True) -> None:
    """Seal until it crashes; is_reached says that it must."""
    store = Store(schema.open_engine(config.database))
    storage = DirectoryStorage(config.public)
    try:
        with (
            pytest.raises(CrashError) if is_reached else contextlib.suppress(CrashError),
            kind(store, storage, Pending(config.pending), manifests.LEDGER_KEY, config.lock) as sequencer,
        ):
            sequencer.seal(day)
    finally:
        store.close()
