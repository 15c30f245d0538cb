"""One ledger: its parts put together as its configuration says. Creating one is a command of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, Engine

from headcount_engine.acceptance import VerifiedPledge
from headcount_ledger import durable, taking
from headcount_ledger.building import Batch
from headcount_ledger.clock import wall_clock
from headcount_ledger.config import LedgerConfig
from headcount_ledger.head import Head, insert_head, load_head
from headcount_ledger.history import check_history
from headcount_ledger.intake import Acceptance, Accepted, Intake, Runner, run, run_all
from headcount_ledger.notices import Admission
from headcount_ledger.place import (
    check_tables,
    has_head,
    has_tables,
    open_database,
    open_pending,
    open_storage,
    read_key,
)
from headcount_ledger.sequencer import Cosign, Sequencer, no_witnesses
from headcount_ledger.storage import CHECKPOINT, find
from headcount_ledger.store import Store
from headcount_ledger.witnesses import Witnesses, read_policy
from headcount_ledger.writer import Writer, end_process
from headcount_ledger.writer_server import WriterServer
from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.errors import ConfigurationError, CorruptionError, MalformedError, ProtocolError
from headcount_spec.merkle import EMPTY_ROOT
from headcount_spec.note import SigningKey, VerificationKey
from headcount_spec.policy import Log, Policy
from headcount_spec.seal import GENESIS, chain_start


def create(config: LedgerConfig, origin: str, seed: bytes | None = None) -> VerificationKey:
    """Make an empty ledger in a directory that has none, with a fresh key or that of a 32-byte seed.

    Raises:
        ConfigurationError: there is a ledger, or the remains of one, already.
        MalformedError: the origin line is no key name.
    """
    key = SigningKey(origin, secrets.token_bytes(32) if seed is None else seed)
    for path in (config.key, config.database, config.public, config.pending):
        if path.exists():
            raise ConfigurationError(f"{path} exists: a ledger is created once")
    storage = open_storage(config)
    if find(storage, CHECKPOINT) is not None:
        raise ConfigurationError(f"{config.place}: a ledger is published there already")
    checkpoint = sign_checkpoint(Checkpoint(origin, 0, EMPTY_ROOT), key)
    store = Store(_new_database(config))
    try:
        durable.create_files([(config.key, key.to_text().encode() + b"\n")], durable.PRIVATE_MODE)
        store.create_tables()
        with store.write() as tx:
            insert_head(
                tx,
                Head(
                    key=key.verification_key.to_text(),
                    batches=0,
                    size=0,
                    root=EMPTY_ROOT,
                    pledges=0,
                    day=0,
                    seal=GENESIS,
                    chain=chain_start(origin),
                    checkpoint=checkpoint,
                    published=GENESIS,
                ),
            )
        durable.sync_directory(config.directory)
    finally:
        store.close()
    storage.swap(CHECKPOINT, checkpoint, None)
    return key.verification_key


def _new_database(config: LedgerConfig) -> Engine:
    if config.postgresql is None:
        durable.make_directory(config.directory)
        os.close(os.open(config.database, os.O_RDWR | os.O_CREAT | os.O_EXCL, durable.PRIVATE_MODE))
    engine = open_database(config)
    if has_tables(engine):
        engine.dispose()
        raise ConfigurationError(f"{config.postgresql} has a ledger already, or the remains of one")
    return engine


class Ledger:
    """An open ledger: takes entries, and seals batches where the sequencer runs."""

    def __init__(
        self,
        config: LedgerConfig,
        key: SigningKey,
        store: Store,
        cosign: Cosign | None = None,
        halt: Callable[[str], object] = end_process,
        writer: Runner | None = None,
    ) -> None:
        """Entries are staged by the writer given, else by a thread of this process."""
        self.config = config
        self.verification_key = key.verification_key
        self.storage = open_storage(config)
        self._key = key
        self._store = store
        self._cosign = self._witnesses() if cosign is None else cosign
        witnesses = self._cosign.policy.witnesses if isinstance(self._cosign, Witnesses) else ()
        keys = None if cosign is not None else frozenset(witness.key for witness in witnesses)
        self._admission = Admission(keys, config.organisers)
        self._own_writer = Writer(store, config.max_waiting, halt, self._admission)
        self._writer: Runner = writer or self._own_writer
        self._intake = Intake(key)

    @classmethod
    def open(cls, config: LedgerConfig, cosign: Cosign | None = None, checkpoints: bool = True) -> Ledger:
        """A ledger that exists; without a cosign of the caller's, the configured witnesses are asked.

        Without checkpoints, a ``WriterServer`` copies the write-ahead log.

        Raises:
            ConfigurationError: there is none; `headcount ledger create` makes one. Or the witness
                policy cannot be used.
            CorruptionError: its database is not the one of what it has published.
        """
        if not config.key.is_file():
            raise ConfigurationError(f"no ledger in {config.directory}: `headcount ledger create` makes one")
        key = read_key(config.key)
        engine = open_database(config, checkpoints)
        if not has_head(engine):
            engine.dispose()
            raise ConfigurationError(f"no ledger in {config.place}: `headcount ledger create` makes one")
        check_tables(engine)
        ledger = cls(config, key, Store(engine), cosign)
        published = find(ledger.storage, CHECKPOINT)  # before the head: that one may only be newer
        head = ledger.head()
        if published is not None or head.batches:
            try:
                check_history(published, head, key.verification_key)
            except CorruptionError:
                ledger.close()
                raise
        return ledger

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish what was accepted and let go of the database."""
        self._own_writer.close()
        self._store.close()

    def _witnesses(self) -> Cosign:
        path = self.config.witness_policy
        if path is None:
            return no_witnesses
        policy = read_policy(path, self.verification_key)
        return Witnesses(policy, self.verification_key, lambda file: self.storage.read(file), wall_clock)

    @property
    def origin(self) -> str:
        """The origin line of its checkpoints."""
        return self._key.name

    @property
    def store(self) -> Store:
        """Its database."""
        return self._store

    def accept(self, entry: bytes, day: int) -> Accepted:
        """Take one entry; see ``Intake.accepting``."""
        return run(self.accepting(entry, day), self._store, self._writer)

    def accept_all(self, entries: Iterable[bytes], day: int) -> list[Accepted | ProtocolError]:
        """Take entries that came together; what came of each."""
        return run_all((self.accepting(entry, day) for entry in entries), self._store, self._writer)

    def accepting(self, entry: bytes | VerifiedPledge, day: int) -> Acceptance:
        """The acceptance of one entry, for an event loop to carry out; see ``Intake.accepting``."""
        return self._intake.accepting(entry, day)

    def look(self, read: Callable[[Connection], Any]) -> Any:
        """Read from the database in a transaction."""
        with self._store.read() as tx:
            return read(tx)

    def writer_server(self, halt: Callable[[str], object] = end_process) -> WriterServer:
        """The server through which other processes write; see ``WriterServer``."""
        return WriterServer(self._store, self.config.socket, halt, self._admission)

    @contextlib.contextmanager
    def sequencer(self, kind: type[Sequencer] = Sequencer) -> Iterator[Sequencer]:
        """The sequencer, while the block runs.

        Raises:
            UnavailableError: another one runs.
            ConfigurationError: there were witnesses, and now none is configured.
        """
        if self._cosign is no_witnesses and _is_cosigned(find(self.storage, CHECKPOINT)):
            # A command that does not know the node's file must not publish past the witnesses.
            raise ConfigurationError("the published checkpoint has cosignatures: name the witnesses' policy")
        with self._store.locked(self.config.lock) as store:
            yield kind(store, self.storage, open_pending(self.config, store), self._key, self._cosign)

    def seal(self, day: int) -> Batch | None:
        """One tick; see ``Sequencer.seal``."""
        with self.sequencer() as sequencer:
            return sequencer.seal(day)

    def head(self) -> Head:
        """The ledger after its last batch."""
        with self._store.read() as tx:
            return load_head(tx)

    def waiting(self) -> int:
        """How many pledges wait for a batch."""
        with self._store.read() as tx:
            return sum(taking.waiting(tx).values())

    def policy(self, url: str | None = None) -> Policy:
        """The trust policy with which clients read this ledger."""
        logs = (Log(self.verification_key, url),)
        if isinstance(self._cosign, Witnesses):
            return dataclasses.replace(self._cosign.policy, logs=logs)
        return Policy(logs=logs)


def _is_cosigned(published: bytes | None) -> bool:
    try:
        return published is not None and len(parse_checkpoint(published).note.signatures) > 1
    except MalformedError:
        return False  # the sequencer will say so
