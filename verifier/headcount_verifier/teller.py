"""Telling partners by webhook how the counts move: looks at the ledger, puts what is new into outboxes.

An event is in the outbox of each receiver before it is noted as told, so a crash between repeats it under the
same id. Each receiver has a thread of its own: one that does not answer holds up nobody else.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headcount_ledger.durable import PRIVATE_MODE, make_directory, replace_file
from headcount_ledger.lock import FileLock
from headcount_ledger.reader.fetch import cached, http_fetch
from headcount_ledger.reader.outbox import Outbox, read_signers
from headcount_ledger.reader.transport import HttpTransport
from headcount_ledger.reader.view import LedgerView, open_ledger
from headcount_spec.errors import ConfigurationError, MalformedError, MisbehaviourError, ProtocolError
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import day_of
from headcount_spec.tile import Fetch
from headcount_verifier.config import VerifierConfig
from headcount_verifier.manifests import load_manifests, policy_of
from headcount_verifier.news import Told, read_told, tell, write_told

LOOK_S = 10.0  # between two looks at the ledger's checkpoint
_DELIVER_S = 2.0  # between two looks into an outbox
_TIMEOUT_S = 10.0  # of a receiver
_STATE = "told.json"
_MAX_STATE_BYTES = 1 << 24

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told some events."""

    events: tuple[str, ...]
    outbox: Outbox


class Teller:
    """Looks and puts. Belongs to one thread; the outboxes belong to their own."""

    def __init__(
        self,
        scopes: Mapping[ScopeId, Manifest],
        fetch: Fetch,
        receivers: tuple[Receiver, ...],
        state: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """state is a file that remembers what was told.

        Raises:
            ConfigurationError: it is there, and something else.
        """
        self._scopes = scopes
        self._fetch = fetch
        self.receivers = receivers
        self._path = state
        self._clock = clock
        self._checkpoints, self._told = _read(state)
        self._seen: tuple[bytes, int, int] | None = (
            None  # checkpoint, day and number of scopes of the last look
        )
        self._trouble = ""  # of the last look, so that it is said once

    def look(self) -> int:
        """Put what is new into the outboxes; how many events there were.

        Raises:
            UnavailableError: a file cannot be written.
        """
        today = day_of(int(self._clock()))
        manifests = [item for item in (self._scopes[id] for id in self._scopes) if item.kind != "contact"]
        try:
            raw = self._fetch("checkpoint")
        except ProtocolError as error:
            self._complain(error)
            return 0
        if self._seen == (raw, today, len(manifests)):
            return 0
        fetch = cached(lambda path: raw if path == "checkpoint" else self._fetch(path))
        views: dict[bytes, LedgerView] = {}
        trouble: ProtocolError | None = None
        number = 0
        for manifest in manifests:
            try:
                number += self._look_at(manifest, fetch, views, today)
            except ProtocolError as error:
                trouble = error
        if views or trouble is None:
            replace_file(self._path, write_told(self._checkpoints, self._told), PRIVATE_MODE)
        if trouble is None:
            self._seen, self._trouble = (raw, today, len(manifests)), ""
        else:
            self._complain(trouble)
        return number

    def _look_at(self, manifest: Manifest, fetch: Fetch, views: dict[bytes, LedgerView], today: int) -> int:
        policy = policy_of(manifest)
        view = self._view(policy, fetch, views)
        scope = manifest.scope_id.hex()
        news, told = tell(manifest, view, today, self._told.get(scope, Told()))
        for item in news:
            for receiver in self.receivers:
                if item.type in receiver.events:
                    receiver.outbox.put(item.id, item.order, item.body)
        self._told[scope] = told
        return len(news)

    def _view(self, policy: Policy, fetch: Fetch, views: dict[bytes, LedgerView]) -> LedgerView:
        """The ledger under a policy, which continues what was seen under it before."""
        key = policy.to_bytes()
        if key not in views:
            name = hashlib.sha256(key).hexdigest()
            before = self._checkpoints.get(name)
            views[key] = open_ledger(fetch, policy, () if before is None else (before,))
            self._checkpoints[name] = views[key].raw
        return views[key]

    def _complain(self, error: ProtocolError) -> None:
        if str(error) != self._trouble:
            self._trouble = str(error)
            level = logging.ERROR if isinstance(error, MisbehaviourError) else logging.WARNING
            _log.log(level, "webhooks: nothing is told: %s: %s", error.code, error)


def open_teller(config: VerifierConfig, transport: HttpTransport) -> tuple[Teller, FileLock]:
    """The teller of a configuration, and the lock of its outbox.

    Raises:
        ConfigurationError: no webhooks are configured, or a file is missing or wrong.
        UnavailableError: another one runs on this outbox.
    """
    if config.outbox is None:
        raise ConfigurationError("the verifier has no webhooks")
    receivers = []
    for webhook in config.webhooks:
        folder = config.outbox / hashlib.sha256(webhook.url.encode()).hexdigest()[:16]
        outbox = Outbox(folder, webhook.url, read_signers(webhook.secret), transport)
        receivers.append(Receiver(webhook.events, outbox))
    make_directory(config.outbox)
    lock = FileLock(config.outbox / "lock", "sender of webhooks")
    fetch = http_fetch(config.ledger, transport)
    return Teller(load_manifests(config), fetch, tuple(receivers), config.outbox / _STATE), lock


def run(config: VerifierConfig, stop: threading.Event) -> None:
    """Look and tell until stopped.

    Raises:
        ConfigurationError, UnavailableError: as open_teller.
    """
    with HttpTransport(timeout_s=_TIMEOUT_S) as transport:
        teller, lock = open_teller(config, transport)
        try:
            for receiver in teller.receivers:
                # A daemon: an answer that is waited for must not hold up the end; what was sent has its id.
                threading.Thread(target=_deliver, args=(receiver.outbox, stop), daemon=True).start()
            while True:
                _patiently(teller.look)
                if stop.wait(LOOK_S):
                    return
        finally:
            lock.close()


def _deliver(outbox: Outbox, stop: threading.Event) -> None:
    try:
        while not stop.wait(_DELIVER_S):
            _patiently(lambda: outbox.deliver(time.time()))
    finally:
        stop.set()  # a thread that ends by itself ends all: a silent sender helps nobody


def _patiently(work: Callable[[], object]) -> None:
    """A disk that is full for a while must not end the telling."""
    try:
        work()
    except ProtocolError as error:
        _log.error("webhooks: %s: %s", error.code, error)


def _read(path: Path) -> tuple[dict[str, bytes], dict[str, Told]]:
    try:
        with path.open("rb") as file:
            return read_told(file.read(_MAX_STATE_BYTES + 1))
    except FileNotFoundError:
        return {}, {}
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    except MalformedError as exc:
        # Without it everything would be told again, and a ledger that went back would not be noticed.
        raise ConfigurationError(f"{path.name} is not what this verifier has told") from exc
