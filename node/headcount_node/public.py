"""The public origin under uvicorn: several processes on one listening socket, each with an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Iterator

import uvicorn
import uvloop

from headcount_node.config import Listen
from headcount_node.hot import AsgiApp
from headcount_node.protocol import KEEP_ALIVE_S, BoundedProtocol, sweep

BACKLOG = 1024
GRACE_S = 8  # for the requests that are under way when told to stop


def listen(where: Listen) -> socket.socket:
    """The socket on which all processes of the public origin accept.

    Raises:
        OSError: somebody else listens there.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((where.host, where.port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Server(uvicorn.Server):
    """uvicorn's server, which SIGTERM stops without a traceback or a signal's exit status."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let both signals end ``serve``."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def serve(app: AsgiApp, listener: socket.socket) -> None:
    """Answer on the listener until SIGTERM, and finish what is under way."""
    # What the app is made of lives as long as the process: no collection needs to look at it again.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(answer(new_server(app), listener))


def new_server(app: AsgiApp) -> Server:
    """A server with our bounds."""
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,  # no addresses, no times
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config)


async def answer(server: Server, listener: socket.socket) -> None:
    """Serve, in the main thread, until SIGTERM or until ``should_exit`` is set."""
    sweeper = asyncio.create_task(sweep(server.server_state.connections))
    try:
        await server.serve([listener])
    finally:
        sweeper.cancel()
