"""The yardstick of ``accept``: a bare Flask view under Granian that answers every POST with a constant."""

from __future__ import annotations

import sys

from flask import Flask, Response
from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

app = Flask(__name__, static_folder=None)


@app.post("/pledges")
def pledges() -> Response:
    """As long as a promise."""
    return Response(bytes(137), content_type="application/vnd.headcount.promise")


if __name__ == "__main__":
    Granian(
        "constant:app",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=int(sys.argv[2]),
        blocking_threads=int(sys.argv[3]),
        log_level=LogLevels.error,
        log_access=False,
        websockets=False,
    ).serve()
