"""What a monitor remembers of one ledger between two looks, in one file that is never half written."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headcount import private_file
from headcount.finding import Finding
from headcount_spec import jcs
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.policy import Policy

_MAX_BYTES = 2**24


@dataclass(frozen=True, slots=True)
class Standing:
    """A finding that has been told and still holds."""

    finding: Finding
    since: int  # seconds since 1970


@dataclass(frozen=True, slots=True)
class LedgerState:
    """One ledger as it was at the last look."""

    checkpoint: bytes = b""  # the last whose audit found nothing, signed
    seen: bytes = b""  # the last that was served
    changed: int = 0  # when that one was served first, seconds since 1970
    recounted: int = 0  # when every entry was read last, seconds since 1970
    failures: int = 0  # looks in a row at which the ledger could not be read
    cosigned: bytes = b""  # the last checkpoint that this monitor has cosigned
    standing: Mapping[str, Standing] = field(default_factory=dict)  # by key
    waiting: Mapping[str, int] = field(default_factory=dict)  # promised entry → deadline day
    unjudged: Mapping[str, int] = field(default_factory=dict)  # issuer and scope → day of a first pledge
    campaigns: Mapping[str, tuple[int, int]] | None = None  # scope → first and last day; None: not yet read


class StateFile:
    """The file of one ledger in the monitor's folder."""

    def __init__(self, folder: Path, target: str) -> None:
        self.target = target
        self.path = folder / f"ledger-{hashlib.sha256(target.encode()).hexdigest()[:16]}.json"

    def audit_path(self, policy: Policy) -> Path:
        """Where the state of the last good audit is: it is of one ledger and one policy."""
        digest = hashlib.sha256(policy.to_bytes()).hexdigest()[:16]
        return self.path.with_name(f"{self.path.stem.replace('ledger', 'audit')}-{digest}")

    def load(self) -> LedgerState:
        """What was saved; the first time nothing.

        Raises:
            ConfigurationError: the file cannot be read or is another's.
        """
        return _read(self.path, self.target) if self.path.exists() else LedgerState()

    def elsewhere(self) -> list[bytes]:
        """The checkpoints that were accepted or cosigned at the other targets of this folder.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        found = []
        for path in sorted(self.path.parent.glob("ledger-*.json")):
            if path != self.path:
                state = _read(path, None)
                found += [raw for raw in (state.checkpoint, state.cosigned) if raw]
        return found

    def save(self, state: LedgerState) -> None:
        """Durable on return.

        Raises:
            ConfigurationError: the file cannot be written.
        """
        value = {
            "headcount_monitor": 1,
            "target": self.target,
            "checkpoint": state.checkpoint.decode(),
            "seen": state.seen.decode("utf-8", "replace"),
            "changed": state.changed,
            "recounted": state.recounted,
            "failures": state.failures,
            "cosigned": state.cosigned.decode(),
            "standing": {
                key: {"finding": item.finding.to_json(), "since": item.since}
                for key, item in state.standing.items()
            },
            "waiting": dict(state.waiting),
            "unjudged": dict(state.unjudged),
            "campaigns": None if state.campaigns is None else _days(state.campaigns),
        }
        private_file.write(self.path, jcs.canonicalise(value))


def _read(path: Path, target: str | None) -> LedgerState:
    """The state in a file, of this target or of any."""
    try:
        value: Any = jcs.parse_json(private_file.read(path, _MAX_BYTES), _MAX_BYTES)
        if value["headcount_monitor"] != 1 or target not in (None, value["target"]):
            raise ValueError
        return LedgerState(
            checkpoint=value["checkpoint"].encode(),
            seen=value["seen"].encode(),
            changed=int(value["changed"]),
            recounted=int(value["recounted"]),
            failures=int(value["failures"]),
            cosigned=value["cosigned"].encode(),
            standing={
                key: Standing(Finding.from_json(item["finding"]), int(item["since"]))
                for key, item in value["standing"].items()
            },
            waiting={str(name): int(day) for name, day in value["waiting"].items()},
            unjudged={str(name): int(day) for name, day in value["unjudged"].items()},
            campaigns=_campaigns(value.get("campaigns")),  # a state of an older monitor has none
        )
    except (MalformedError, KeyError, TypeError, ValueError, AttributeError) as exc:
        # Without it a ledger that went back would not be caught, and a witness could sign twice.
        raise ConfigurationError(f"{path.name} is not the state of this ledger") from exc


def _campaigns(value: Any) -> dict[str, tuple[int, int]] | None:
    if value is None:
        return None
    return {str(scope): (int(opens), int(closes)) for scope, (opens, closes) in value.items()}


def _days(campaigns: Mapping[str, tuple[int, int]]) -> dict[str, list[int]]:
    return {scope: list(days) for scope, days in campaigns.items()}
