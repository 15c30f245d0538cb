"""The applications of a node's two origins, and its ledger; made in the process that serves them."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from headcount_issuer.app import create_app as issuer_app
from headcount_issuer.issuer import Issuer
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.gate import Gate
from headcount_ledger.ledger import Ledger
from headcount_ledger.reader.fetch import http_fetch
from headcount_ledger.reader.transport import HttpTransport, origin_of
from headcount_ledger.refusals import Refusals
from headcount_ledger.ticker import Ticker
from headcount_node.bridge import Bridge
from headcount_node.config import CONFIG_VARIABLE, NodeConfig
from headcount_node.hot import AsgiApp, HotRoutes
from headcount_node.hot_issuer import HotIssuer
from headcount_node.site.assets import Assets
from headcount_node.site.check import CheckSite, asked, check_blueprint, dress
from headcount_node.site.counted import Counts
from headcount_node.site.pages import Site, pages_blueprint, refusal
from headcount_node.site.theme import theme_blueprint
from headcount_spec.errors import ConfigurationError, NotFoundError
from headcount_spec.scope import Manifest, ScopeId
from headcount_verifier import LinkPages, Redeemer, VerifierConfig, teller
from headcount_verifier import create_app as verifier_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

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
        assets = Assets()
        pages = LinkPages(site="", refuse=lambda error: refusal(error, assets, "/in/"))
        root = verifier_app(config.verifier, redeemer, pages=pages)
        root.register_blueprint(assets.blueprint())
        root.register_blueprint(pages_blueprint(_site(config.verifier, ledger, redeemer, assets)))
        root.register_blueprint(theme_blueprint(config.hue))
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
        cold = Bridge(check_routes(issuer, config.hue), config.threads, tells_peer=True)
        hot = HotIssuer(issuer, cold)
        try:
            yield hot
        finally:
            hot.close()
            cold.close()


def check_routes(issuer: Issuer, hue: int | None = None) -> WSGIApplication:
    """The issuer's app with its page for people."""
    app = issuer_app(issuer)

    def manifest(scope_id: ScopeId) -> Manifest:
        for row in issuer.scopes():
            if row.opened and row.manifest.scope_id == scope_id:
                return row.manifest
        raise NotFoundError("this issuer has not opened the scope")

    assets = Assets()
    app.register_blueprint(assets.blueprint())
    site = CheckSite(issuer.config.name, manifest, assets)
    app.register_blueprint(check_blueprint(site))
    dress(app, site)
    app.register_blueprint(theme_blueprint(hue))
    return asked(app, origin_of(issuer.config.url))


def _site(verifier: VerifierConfig, ledger: Ledger | None, redeemer: Redeemer, assets: Assets) -> Site:
    if ledger is not None:
        return Site(redeemer, Counts(ledger.storage.read), assets, LEDGER_PREFIX)
    fetch = http_fetch(verifier.ledger, HttpTransport())
    return Site(redeemer, Counts(fetch), assets, verifier.ledger)


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
        gc.collect()
        gc.freeze()  # as in headcount_node.public
        with Ticker(ledger):
            server.serve()


def run_webhooks() -> None:
    """Tell whom the verifier's table names how the counts move, until SIGTERM."""
    _log_to_stderr()
    config = read_config()
    if config.verifier is None:
        raise ConfigurationError("the node has no table [verifier]")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    teller.run(config.verifier, stop)


def _log_to_stderr() -> None:
    # No time in a line: with a time, the order of what people do could be read from a log.
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    for name in ("httpx", "uvicorn"):  # one logs every request, the other every start
        logging.getLogger(name).setLevel(logging.WARNING)
