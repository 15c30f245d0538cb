"""A process that ends when its parent has ended, however that ended.

A server whose supervisor was killed would keep its port (Granian shares ports between processes) and
go on answering beside its successor, from a state of its own.
"""

from __future__ import annotations

import os
import signal
import threading
import time

_LOOK_S = 1.0
_STOP_S = 10.0


def end_with_parent() -> None:
    """Watch the parent from a thread; when it is gone, ask this process to end, then end it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_STOP_S)
        os._exit(1)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
