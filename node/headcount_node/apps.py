"""The applications of a node's two origins, and its ledger; made in the process that serves them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.issuer import Issuer
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.gate import Gate
from headcount_ledger.ledger import Ledger
from headcount_ledger.refusals import Refusals
from headcount_ledger.ticker import Ticker
from headcount_node.bridge import Bridge
from headcount_node.config import CONFIG_VARIABLE, NodeConfig
from headcount_node.front import front_blueprint
from headcount_node.hot import AsgiApp, HotRoutes
from headcount_node.hot_issuer import HotIssuer
from headcount_spec.errors import ConfigurationError
from headcount_spec.scope import ScopeId
from headcount_spec.totals import decode_totals, totals_path
from headcount_verifier import Redeemer
from headcount_verifier import create_app as verifier_app

LEDGER_PREFIX = "/ledger"


def read_config() -> NodeConfig:
    """The configuration that the supervisor named in the environment.

    Raises:
        ConfigurationError: it named none, or a wrong one.
    """
    path = os.environ.get(CONFIG_VARIABLE)
    if not path:
        raise ConfigurationError(f"{CONFIG_VARIABLE} names no file")
    return NodeConfig.from_file(Path(path))


def public() -> AsgiApp:
    """The public origin: the hot routes, and all else by the Flask apps."""
    _log_to_stderr()
    config = read_config()
    ledger = Ledger.open(config.ledger) if config.ledger is not None else None
    redeemer = Redeemer.from_settings(config.verifier) if config.verifier is not None else None
    cold = Bridge(cold_routes(config, ledger, redeemer), config.threads)
    if ledger is None:
        return cold
    return HotRoutes(Gate(ledger), redeemer, cold, LEDGER_PREFIX, Refusals(ledger.config))


def cold_routes(config: NodeConfig, ledger: Ledger | None, redeemer: Redeemer | None) -> DispatcherMiddleware:
    """The verifier at the root, the ledger below /ledger, each an app of its own."""
    root = Flask(__name__, static_folder=None)
    if config.verifier is not None and redeemer is not None:
        root = verifier_app(config.verifier, redeemer)
        root.register_blueprint(front_blueprint(redeemer, lambda batch: totals_at(ledger, batch)))
    if ledger is None:
        return DispatcherMiddleware(root)
    return DispatcherMiddleware(root, {LEDGER_PREFIX: ledger_app(ledger, prefix="")})


@contextlib.contextmanager
def personhood() -> Iterator[AsgiApp]:
    """The issuer's origin, in the one process that has its sessions."""
    _log_to_stderr()
    config = read_config()
    if config.issuer is None:
        raise ConfigurationError("the node has no table [issuer]")
    sys.setswitchinterval(0.0005)  # the signers need the GIL for a moment only, and the loop is always busy
    with Issuer.open(config.issuer) as issuer:
        issuer.start()
        cold = Bridge(issuer_app(issuer), config.threads, tells_peer=True)
        hot = HotIssuer(issuer, cold, max((os.cpu_count() or 1) + 1, config.issuer.custody.sessions))
        try:
            yield hot
        finally:
            hot.close()
            cold.close()


def run_ledger() -> None:
    """Own the ledger's database until SIGTERM: commit what the public origin accepts, and seal batches."""
    _log_to_stderr()
    config = read_config()
    if config.ledger is None:
        raise ConfigurationError("the node has no table [ledger]")
    sys.setswitchinterval(0.001)  # the writer answers many, and the sequencer is in no hurry
    with Ledger.open(config.ledger, checkpoints=False) as ledger:
        server = ledger.writer_server()
        signal.signal(signal.SIGTERM, lambda _signal, _frame: server.stop())
        with Ticker(ledger):
            server.serve()


def totals_at(ledger: Ledger | None, batch: int | None) -> Mapping[ScopeId, tuple[int, int]]:
    """(gross, live) by scope as published with a batch, None for the last; of none before it is published."""
    if ledger is None:
        return {}
    head = ledger.head()
    published = head.batches - (head.published is None)  # the last one may wait for its witnesses
    number = published - 1 if batch is None else batch
    return decode_totals(ledger.storage.read(totals_path(number))) if 0 <= number < published else {}


def _log_to_stderr() -> None:
    # No time in a line: with a time, the order of what people do could be read from a log.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("httpx", "uvicorn"):  # one logs every request, the other every start
        logging.getLogger(name).setLevel(logging.WARNING)
