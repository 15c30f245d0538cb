"""The WSGI applications of a node's two origins, and its sequencer; made in the process that serves them."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.issuer import Issuer
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.ledger import Ledger
from headcount_ledger.ticker import Ticker
from headcount_node.config import CONFIG_VARIABLE, NodeConfig
from headcount_node.front import front_blueprint
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


def public() -> DispatcherMiddleware:
    """The public origin: the verifier at its root, the ledger below /ledger, each an app of its own."""
    _log_to_stderr()
    config = read_config()
    ledger = Ledger.open(config.ledger) if config.ledger is not None else None
    root = Flask(__name__, static_folder=None)
    if config.verifier is not None:
        redeemer = Redeemer.from_settings(config.verifier)
        root = verifier_app(config.verifier, redeemer)
        root.register_blueprint(front_blueprint(redeemer, lambda: last_totals(ledger)))
    if ledger is None:
        return DispatcherMiddleware(root)
    return DispatcherMiddleware(root, {LEDGER_PREFIX: ledger_app(ledger, prefix="")})


def personhood() -> Flask:
    """The issuer's origin."""
    _log_to_stderr()
    config = read_config()
    if config.issuer is None:
        raise ConfigurationError("the node has no table [issuer]")
    issuer = Issuer.open(config.issuer)
    issuer.start()
    return issuer_app(issuer)


def run_sequencer() -> None:
    """Seal the ledger's batches until SIGTERM."""
    _log_to_stderr()
    config = read_config()
    if config.ledger is None:
        raise ConfigurationError("the node has no table [ledger]")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    with Ledger.open(config.ledger) as ledger, Ticker(ledger):
        stop.wait()


def last_totals(ledger: Ledger | None) -> Mapping[ScopeId, tuple[int, int]]:
    """(gross, live) by scope as published with the last batch."""
    if ledger is None:
        return {}
    head = ledger.head()
    published = head.batches - (head.published is None)  # the last one may wait for its witnesses
    return decode_totals(ledger.storage.read(totals_path(published - 1))) if published else {}


def _log_to_stderr() -> None:
    # No time in a line: with a time, the order of what people do could be read from a log.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
