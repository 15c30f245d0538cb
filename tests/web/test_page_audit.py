from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import ledgers
import quota_ledgers
import signer
from headcount_spec.scope import Manifest
from stage import Stage, Traffic, shot


@pytest.fixture(scope="module", autouse=True)
def pledged(stage: Stage, campaign: Manifest, browser: Any) -> None:
    context = browser.new_context()
    signer.pledge(context.new_page(), stage, campaign)
    context.close()


def saved_report(page: Any) -> Any:
    with page.expect_download() as download:
        page.get_by_role("button", name="Save the report").click()
    return json.loads(download.value.path().read_bytes())


def test_the_page_recounts_as_the_command_does(
    stage: Stage, page: Any, traffic: Traffic, tmp_path: Path
) -> None:
    page.goto(f"{stage.url}/audit/en")
    page.get_by_role("button", name="Recount", exact=True).click()
    page.get_by_text("Everything was recounted, and nothing is wrong").wait_for()
    shot(page, "audit")
    found = saved_report(page)
    command = [
        sys.executable,
        "-m",
        "headcount",
        "audit",
        f"{stage.url}/ledger",
        "--policy",
        stage.policy,
        "--json",
    ]
    told = json.loads(subprocess.run(command, capture_output=True, check=True, cwd=tmp_path).stdout)
    if told["size"] == found["size"]:  # no batch came between
        assert found["scopes"] == told["scopes"]
        assert found["root"] == told["root"]
    assert found["ok"] is told["ok"] is True
    page.reload()
    page.get_by_role("button", name=re.compile("Recount|Go on from entry")).click()
    page.get_by_text("Everything was recounted, and nothing is wrong").wait_for()
    assert traffic.errors == []
    assert not [r for r in traffic.requests if not r["url"].startswith((stage.url, "blob:"))]


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_folder_is_recounted_without_any_server(
    stage: Stage, page: Any, tmp_path: Path, is_changed: bool, traffic: Traffic
) -> None:
    folder = tmp_path / "mirror"
    shutil.copytree(stage.folder / "node" / "public", folder)
    if is_changed:
        path = max(
            (folder / "tile" / "entries").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
        )
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    page.add_init_script("delete window.showDirectoryPicker")
    page.goto(f"{stage.url}/audit/en")
    asked = len(traffic.requests)
    page.get_by_label("Choose a folder").set_input_files(folder)
    if is_changed:
        page.locator(".verdict.bad").wait_for()
        shot(page, "audit-faults")
        code = page.locator("td code").first.inner_text()
        assert code in ("changed-entry", "swapped-terms")  # whatever stood in the middle
    else:
        page.get_by_text("Everything was recounted, and nothing is wrong").wait_for()
    assert not [r for r in traffic.requests[asked:] if "/ledger/" in r["url"]]


class AnyFileServer(SimpleHTTPRequestHandler):
    """What any web server does with a folder."""

    allowed: str | None = None
    heard: dict[str, set[str]]  # name of a header → values

    def end_headers(self) -> None:
        for name, value in self.headers.items():
            self.heard.setdefault(name.lower(), set()).add(value)
        if self.allowed is not None:
            self.send_header("Access-Control-Allow-Origin", self.allowed)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing to say."""


@contextmanager
def served(folder: Path, allowed: str | None) -> Iterator[tuple[str, dict[str, set[str]]]]:
    heard: dict[str, set[str]] = {}
    kind = type("Server", (AnyFileServer,), {"allowed": allowed, "heard": heard})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(kind, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def mirror(stage: Stage, pledged: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mirror") / "copy"
    command = [sys.executable, "-m", "headcount", "ledger", "mirror", f"{stage.url}/ledger", str(folder)]
    subprocess.run([*command, "--policy", stage.policy], capture_output=True, check=True)
    return folder


def test_a_mirror_on_a_third_origin_is_recounted_without_the_ledger(
    stage: Stage, page: Any, mirror: Path, traffic: Traffic
) -> None:
    with served(mirror, "*") as (url, heard):
        page.goto(f"{stage.url}/audit/en")
        asked = len(traffic.requests)
        page.get_by_label("Address of the ledger").fill(url)
        page.get_by_role("button", name="Recount", exact=True).click()
        page.get_by_text("Everything was recounted, and nothing is wrong").wait_for()
        shot(page, "audit-mirror")
        found = saved_report(page)
    assert found["ok"] is True
    assert sum(scope["gross"] for scope in found["scopes"].values()) >= 1
    sent = traffic.requests[asked:]
    assert not [request for request in sent if request["url"].startswith(f"{stage.url}/ledger/")]
    assert traffic.to(url)
    assert not {"referer", "cookie"} & set(heard)
    assert heard["origin"] == {stage.url}  # a browser says so to whoever is asked across origins
    assert traffic.errors == []


def test_a_mirror_that_lets_no_page_read_it_is_said(
    stage: Stage, page: Any, mirror: Path, traffic: Traffic
) -> None:
    with served(mirror, None) as (url, _):
        page.goto(f"{stage.url}/audit/en")
        page.get_by_label("Address of the ledger").fill(url)
        page.get_by_role("button", name="Recount", exact=True).click()
        page.get_by_text("That did not work").wait_for()
        page.get_by_text("does not answer just now").wait_for()
        assert page.get_by_label("Address of the ledger").input_value() == url  # to be mended
        shot(page, "audit-mirror-closed")


def test_a_rollback_is_told_every_time_and_leaves_evidence(
    stage: Stage, campaign: Manifest, page: Any, browser: Any, tmp_path: Path
) -> None:
    before, after, shown = (tmp_path / name for name in ("before", "after", "shown"))
    shutil.copytree(stage.folder / "node" / "public", before)
    context = browser.new_context()
    signer.pledge(context.new_page(), stage, campaign)
    context.close()

    def head(folder: Path) -> str:
        return (folder / "checkpoint").read_text("utf-8")

    deadline = time.monotonic() + 20
    while head(stage.folder / "node" / "public") == head(before):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    shutil.copytree(stage.folder / "node" / "public", after)

    def recount(url: str) -> None:
        page.goto(f"{stage.url}/audit/en")
        page.get_by_label("Address of the ledger").fill(url)
        page.get_by_role("button", name=re.compile("^Recount$|Go on from")).click()

    shown.symlink_to(after)
    with served(shown, "*") as (url, _):
        recount(url)
        page.get_by_text("Everything was recounted, and nothing is wrong").wait_for()
        shown.unlink()
        shown.symlink_to(before)
        for _ in range(2):
            recount(url)
            page.get_by_text("rolled-back-ledger").wait_for()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save both signed checkpoints").click()
        found = json.loads(download.value.path().read_bytes())
        assert [item["text"] for item in found["evidence"]] == [head(after), head(before)]


def test_what_is_no_ledger_is_said(stage: Stage, page: Any) -> None:
    page.goto(f"{stage.url}/audit/en")
    page.get_by_label("Address of the ledger").fill(f"{stage.url}/nothing")
    page.get_by_role("button", name="Recount", exact=True).click()
    page.get_by_text("That did not work").wait_for()


def test_the_page_says_how_quotas_stand(stage: Stage, page: Any, tmp_path: Path) -> None:
    ledger = ledgers.build(quota_ledgers.story()[:2])
    (tmp_path / "mirror").mkdir()
    page.add_init_script("delete window.showDirectoryPicker")
    page.goto(f"{stage.url}/audit/en")
    page.locator("details:has(#policy-text) summary").click()
    page.locator("#policy-text").fill(ledger.policy.to_bytes().decode())
    page.get_by_label("Choose a folder").set_input_files(ledger.write(tmp_path / "mirror"))
    page.get_by_text("Everything was recounted, and nothing is wrong").wait_for()
    row = page.locator("tr", has_text="We move together").first.inner_text()
    assert "4, not reached" in row
    assert "Options with at least 2: 1. Needed: 2." in row
    page.get_by_text("to which option somebody belongs is only what they say themselves").wait_for()
    shot(page, "audit-quotas")
