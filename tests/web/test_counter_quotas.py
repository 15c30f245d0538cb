from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import headcount
import ledgers
import quota_ledgers
from ledgers import Ledger
from stage import Traffic, shot

WEB = Path(headcount.__file__).with_name("web")
SCOPE = quota_ledgers.campaign().scope_id.hex()
PAGE = """<!doctype html><html lang="{language}"><meta charset="utf-8"><title>A site</title>
<script type="module" src="/web/headcount-counter.js"></script>
<headcount-counter href="/sign/{scope}">a link</headcount-counter></html>"""


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class Site:
    """A folder with a counter and, where it looks for it, a ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "web").symlink_to(WEB)
        (folder / "ledger").mkdir()
        for language in ("en", "ar"):
            (folder / f"{language}.html").write_text(PAGE.format(language=language, scope=SCOPE), "utf-8")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def publish(self, ledger: Ledger) -> None:
        ledger.write(self.folder / "ledger")


@pytest.fixture
def site(tmp_path: Path, traffic: Traffic) -> Iterator[Site]:
    made = Site(tmp_path)
    traffic.partner = urlsplit(made.url).netloc
    yield made
    made.server.shutdown()
    made.server.server_close()


def said(page: Any, site: Site, ledger: Ledger, state: str = "verified", language: str = "en") -> str:
    site.publish(ledger)
    page.goto(f"{site.url}/{language}.html")
    counter = page.locator(f"headcount-counter[data-state={state}]")
    counter.wait_for()
    return str(counter.locator("[role=status]").inner_text())


def test_the_counter_says_reached_only_when_the_quotas_are_met(page: Any, site: Site) -> None:
    whole = quota_ledgers.story()
    short = said(page, site, ledgers.build(whole[:2]))  # four of four, three of them in one country
    assert "of 4 needed" in short
    assert "Options with at least 2: 1. Needed: 2." in short
    assert "Threshold reached" not in short
    shot(page, "counter-quotas")
    met = said(page, site, ledgers.build(whole[:4]))
    assert "Options with at least 2: 2. Needed: 2." in met
    assert "Threshold reached" in met
    assert "٢" in said(page, site, ledgers.build(whole[:4]), language="ar")


@pytest.mark.parametrize("name", ["altered", "surplus", "missing"])
def test_rows_that_do_not_come_to_the_count_show_no_number(page: Any, site: Site, name: str) -> None:
    ledger = ledgers.build(
        quota_ledgers.story()[:4],
        edit_totals=lambda number, rows: (
            quota_ledgers.WRONG_ROWS[name](rows) if number == quota_ledgers.REACHED_IN else rows
        ),
    )
    assert "could not be verified" in said(page, site, ledger, "failed")
