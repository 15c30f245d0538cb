"""Sequencers that crash at a step, before or after it took effect."""

from __future__ import annotations

import contextlib

import pytest

from headcount_ledger.config import LedgerConfig
from headcount_ledger.ledger import Ledger
from headcount_ledger.sequencer import Sequencer

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
    with (
        Ledger.open(config) as ledger,
        pytest.raises(CrashError) if is_reached else contextlib.suppress(CrashError),
        ledger.sequencer(kind) as sequencer,
    ):
        sequencer.seal(day)
