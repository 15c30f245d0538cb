"""``python -m headcount``: the command, where it is not installed."""

from __future__ import annotations

from headcount.cli import main

main()
