"""An issuer put together: the parts of this package over one folder."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import cast

from headcount_engine import rsa
from headcount_issuer.accounts import Accounts
from headcount_issuer.attester import Means, RememberingAttester
from headcount_issuer.closing import Closed, Closing
from headcount_issuer.config import IssuerConfig
from headcount_issuer.directory import directory
from headcount_issuer.enrolment import Draft, Enrolment, Opened
from headcount_issuer.inventory import Inventory, take_inventory
from headcount_issuer.issuance import RETURNING, Issuance
from headcount_issuer.keys import Keys, make_tag
from headcount_issuer.meter import Networks
from headcount_issuer.notices import LedgerIntake, Notices, Send
from headcount_issuer.person import create_account_key, load_account_key
from headcount_issuer.session import Sessions
from headcount_issuer.sheets import Sheets
from headcount_issuer.store import ScopeRow, Store
from headcount_spec.errors import ProtocolError
from headcount_spec.scope import Manifest, ScopeId
from headcount_spec.text import day_of

_ROUND_S = 60  # how often the running issuer looks whether a day has begun

_log = logging.getLogger(__name__)


def wall_clock() -> int:
    """Seconds since 1970."""
    return int(time.time())


class Issuer:
    """One issuer, open; to be used with ``with``."""

    def __init__(
        self,
        config: IssuerConfig,
        store: Store,
        keys: Keys,
        clock: Callable[[], int] = wall_clock,
        send: Send | None = None,
    ) -> None:
        self.config = config
        self._store = store
        self._keys = keys
        self._clock = clock
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        account_key = load_account_key(config.keys)
        self.accounts = Accounts(store, account_key)
        means = Means(config.name, config.url, clock, self._is_on_sheet, self.accounts)
        self._attesters = {name: table.make(means) for name, table in config.attesters.items()}
        self._notices = Notices(store, lambda: keys.notice_seed, send or LedgerIntake(config.ledger))
        self.sheets = Sheets(config.name, store, keys, account_key, self._notices)
        self.networks = Networks(config.networks)
        self._sessions = Sessions(clock, config.session_s, config.max_sessions)
        self._closing = Closing(config.name, store, keys, self._notices)
        self._enrolment = Enrolment(config, store, keys, self._notices)
        self.issuance = Issuance(config, store, keys, account_key, self._attesters, self._sessions, clock)

    @classmethod
    def create(cls, config: IssuerConfig) -> None:
        """Make the folder of a new issuer: notice key and database; and the passphrase, if that is a file.

        Raises:
            ConfigurationError: there is one already, or the folder cannot be written.
        """
        if config.custody.passphrase is not None:
            config.custody.passphrase.draw()
        Keys.create(config.keys, config.custody)
        create_account_key(config.keys)
        config.directory.chmod(0o700)
        Store.create(config.database).close()

    @classmethod
    def open(
        cls, config: IssuerConfig, clock: Callable[[], int] = wall_clock, send: Send | None = None
    ) -> Issuer:
        """Open the folder that create made. send stands for the ledger's intake, over HTTP by default.

        Raises:
            ConfigurationError: a part is missing, or a key is open to others.
        """
        keys = Keys(config.keys, config.custody)
        _ = keys.notice_seed
        return cls(config, Store.open(config.database), keys, clock, send)

    def __enter__(self) -> Issuer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begin what a running issuer does unasked: publish the counts once a day, forget old sessions."""
        _log.info("issuer %s: %s", self.config.name, rsa.engine_name())
        _log.info("token keys: %s", self._keys.custody)
        if self.config.custody.passphrase is None:
            _log.warning("the issuer's keys lie in plain: name a passphrase in [issuer.custody]")
        self._thread = threading.Thread(target=self._rounds, name="issuer-rounds", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the threads and close the database."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for attester in self._attesters.values():
            attester.close()
        self._store.close()
        self._keys.close()

    def enrol(self, data: bytes) -> Draft | Opened:
        """Answer a draft or open a manifest: see Enrolment.enrol."""
        return self._enrolment.enrol(data, self.today)

    def publish_issuance(self, now: bool = False) -> None:
        """Publish how many tokens were issued in each scope, once a day; with now, whenever it has grown.

        Raises:
            ProtocolError: what the ledger answers; the other scopes are tried first.
        """
        failed: ProtocolError | None = None
        for row in self._store.scopes():
            try:
                self._notices.issue(row, self.today, now)
            except ProtocolError as exc:
                failed = exc
        if failed is not None:
            raise failed

    def make_codes(self, scope_id: ScopeId, number: int) -> tuple[Manifest, list[bytes]]:
        """A new sheet of codes for a scope: see Sheets.make."""
        return self.sheets.make(scope_id, number)

    def send_notices(self) -> None:
        """Send what the ledger has not taken yet.

        Raises:
            ProtocolError: what the ledger answers; nothing is lost.
        """
        for row in self._store.scopes():
            if row.opened:
                self._notices.flush(row)

    def close_scope(self, scope_id: ScopeId) -> Closed:
        """Destroy what is not needed any more of a scope that has closed: see Closing.close."""
        return self._closing.close(scope_id, self.today)

    def inventory(self) -> Inventory:
        """What this issuer holds: see inventory."""
        return take_inventory(self.config, self._store, self._keys, self.today)

    def directory(self) -> bytes:
        """The issuer directory, RFC 9578, Section 4."""
        manifests = [row.manifest for row in self._store.scopes() if row.opened]
        return directory(self.config.name, self.config.url, manifests)

    def scopes(self) -> list[ScopeRow]:
        """All scopes that this issuer has begun to open."""
        return self._store.scopes()

    @property
    def recogniser(self) -> RememberingAttester | None:
        """The attester that recognises who comes back, if there is one."""
        return cast(RememberingAttester | None, self._attesters.get(RETURNING))

    def unsent_notices(self) -> int:
        """How many notices the ledger has not taken yet."""
        return self._notices.unsent()

    @property
    def now(self) -> int:
        """Seconds since 1970."""
        return self._clock()

    @property
    def today(self) -> int:
        """The UTC day."""
        return day_of(self._clock())

    def _is_on_sheet(self, scope_id: ScopeId, value: bytes) -> bool:
        row = self._store.scope(scope_id)
        # Who may take part with the parent's token shows the parent's slip again.
        while row is not None and row.manifest.eligible == "parent-token-holders":
            parent = row.manifest.parent
            row = None if parent is None else self._store.scope(parent)
        return row is not None and self._store.has_code(
            row.number, make_tag(self._keys.tag_key(row.manifest.scope_id), value)
        )

    def _rounds(self) -> None:
        while not self._stop.wait(_ROUND_S):
            self._sessions.purge()
            self.issuance.forget_closed(self.today)
            try:
                self.publish_issuance()
            except ProtocolError as exc:
                _log.warning("issuance is not published: %s", exc)
