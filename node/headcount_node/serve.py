"""The servers of a node: one process a role, so that none can read another's memory by accident.

Each part is this program again with another name: ``ledger`` (owns the database, commits and seals),
``public`` (verifier and ledger's HTTP; several on one socket) and ``personhood`` (the issuer: one, its
sessions are in memory), both under uvicorn, and ``webhooks`` where partners are told. When one ends, all end:
a supervisor starts the whole again, and every role recovers from its own disk.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from headcount import cli
from headcount_ledger.lifeline import end_with_parent
from headcount_node import apps
from headcount_node.config import CONFIG_VARIABLE, NodeConfig
from headcount_node.public import listen
from headcount_node.public import serve as serve_public
from headcount_spec.errors import ConfigurationError, UnavailableError

COMMAND = "command"  # a headcount command that ends with the node
_STOP_S = 10.0


def parts(config: NodeConfig) -> list[str]:
    """The names of the processes that this node needs."""
    names = []
    if config.ledger is not None:
        names.append("ledger")
    if config.ledger is not None or config.verifier is not None:
        names += ["public"] * config.processes
    if config.issuer is not None:
        names.append("personhood")
    if config.verifier is not None and config.verifier.webhooks:
        names.append("webhooks")
    return names


def check_ports(config: NodeConfig) -> None:
    """Refuse to start beside another server, before anything is started.

    Raises:
        ConfigurationError: somebody listens on a port that this node needs.
    """
    needed = parts(config)
    for name, where in (("public", config.public), ("personhood", config.personhood)):
        if name in needed and not where.is_free():
            raise ConfigurationError(f"port {where.port} is in use; does this node run already?")


class Processes:
    """The running parts of a node."""

    def __init__(
        self, config_path: Path, log: Path | None = None, commands: Sequence[Sequence[str]] = ()
    ) -> None:
        """Start them, and headcount commands beside them; their output goes to the log, else to ours.

        Raises:
            UnavailableError: somebody else listens at the public address.
        """
        config = NodeConfig.from_file(config_path)
        check_ports(config)
        environment = {**os.environ, CONFIG_VARIABLE: str(config_path.resolve())}
        output = log.open("ab") if log else None
        names = parts(config)
        programs = [[name] for name in names] + [[COMMAND, *command] for command in commands]
        # Bound here: all its processes accept from one queue.
        listener = _listen(config) if "public" in names else None
        for program in programs:
            if listener is not None and program == ["public"]:
                program.append(str(listener.fileno()))
        self._children = [
            subprocess.Popen(
                [sys.executable, "-m", "headcount_node.serve", *program],
                env=environment,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()] if listener is not None and program[0] == "public" else [],
                start_new_session=True,  # a terminal's Ctrl-C reaches us alone, and we stop them in order
            )
            for program in programs
        ]
        # The ledger answers those that serve, so it is the last to be stopped.
        self._stages = [self._children[1:], self._children[:1]] if "ledger" in names else [self._children]
        if output is not None:
            output.close()
        if listener is not None:
            listener.close()

    def ended(self) -> bool:
        """Whether a part has ended."""
        return any(child.poll() is not None for child in self._children)

    def stop(self) -> int:
        """Ask all to finish their requests and end; the worst exit status.

        Takes twelve seconds at most. A second Ctrl-C does not cut it short, which would leave orphans.
        """
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        deadline = time.monotonic() + _STOP_S
        for stage in self._stages:
            for child in stage:
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
            for child in stage:
                try:
                    child.wait(max(1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    child.kill()
                    child.wait()
        # One that was still starting ends by the signal itself.
        codes = [int(child.returncode) for child in self._children]
        return max(0 if code == -signal.SIGTERM else abs(code) for code in codes)


def serve(config_path: Path) -> int:
    """Run the node until it is told to stop (0) or a part ends by itself (its status)."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    processes = Processes(config_path)
    while not stopping and not processes.ended():
        time.sleep(0.2)
    status = processes.stop()
    return 0 if stopping else status or 1


def _listen(config: NodeConfig) -> socket.socket:
    try:
        return listen(config.public)
    except OSError as exc:
        address = f"{config.public.host}:{config.public.port}"
        raise UnavailableError(f"cannot listen on {address}: {exc.strerror}") from exc


def main(part: str, *arguments: str) -> None:
    """Run one part, the public origin on the listening socket of this number; the supervisor calls this."""
    end_with_parent()
    if part == COMMAND:
        raise SystemExit(cli.run(arguments))
    config = apps.read_config()
    if part == "public":
        serve_public(apps.public(), socket.socket(fileno=int(arguments[0])))
    elif part == "personhood":
        with apps.personhood() as app:
            serve_public(app, listen(config.personhood))
    elif part == "ledger":
        apps.run_ledger()
    elif part == "webhooks":
        apps.run_webhooks()
    else:
        raise SystemExit(f"no part of a node is called {part}")


if __name__ == "__main__":
    main(*sys.argv[1:])
