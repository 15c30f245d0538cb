"""The pages in Chromium: what they weigh, and how long a person waits for them on a slow telephone.

The processor is slowed down four times by the browser's own debugger. What is timed is what the pages
take, by their own clock, from each click to the frame that answers it: not the reading and typing, the mail
or the delay that is chosen. Asking for the mail has a figure of its own, and one of the two sums holds it.
"""

from __future__ import annotations

import gzip
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from factory import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from stopwatch import Stopwatch

import chromium
import signer
import stage as stages
from headcount_node.site.assets import Assets
from headcount_spec.scope import Manifest
from stage import Stage

ROUNDS = 7
SLOWER = 4
READING_MS = 2000  # between the choice and the click; a person reads for longer
TYPING_MS = 120  # a key, on a telephone


def pages() -> dict[str, float]:
    """The figures; medians of some rounds."""
    stages.require()
    with (
        tempfile.TemporaryDirectory() as name,
        stages.raised(Path(name)) as stage,
        chromium.browser() as browser,
    ):
        campaign = stage.publish()
        rounds = [_round(browser, stage, campaign) for _ in range(ROUNDS + 1)][1:]  # the first warms up
        found = {name: statistics.median(item[name] for item in rounds) for name in rounds[0]}
        found |= {
            "web.sign_script_kb": _weight(browser, stage.sign(campaign)),
            "web.audit_script_kb": _weight(browser, f"{stage.url}/audit/en"),
            "web.counter_script_kb": _gzipped("headcount-counter.js"),
        }
        return found


def _round(browser: Any, stage: Stage, campaign: Manifest) -> dict[str, float]:
    context = browser.new_context(locale="en-GB", viewport={"width": 420, "height": 820})
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    session.send("Performance.enable")
    watch = Stopwatch(
        page,
        session,
        {
            "address": ("#address", ""),
            "code": ("#code", ""),
            "moment": ("input[name=when]", ""),
            "promise": ("#app", "You are counted from the next batch on"),
        },
    )
    button = "#app button.main-action"
    began = time.perf_counter()
    page.goto(stage.sign(campaign))
    page.wait_for_selector(button, timeout=20_000)
    ready = (time.perf_counter() - began) * 1000
    cpu = {item["name"]: item["value"] for item in session.send("Performance.getMetrics")["metrics"]}
    page.get_by_label("I move on the action date").check()
    page.wait_for_timeout(READING_MS)
    clicked = watch.until("address", page.locator(button).click)
    address = signer.new_address()
    page.locator("#address").press_sequentially(address, delay=TYPING_MS)
    asked = watch.until("code", page.locator(button).click)
    page.locator("#code").fill(stage.code(address))
    signed = watch.until("moment", page.locator(button).click)
    page.get_by_label("Send it now").check()
    promised = watch.until("promise", page.locator(button).click)
    context.close()
    return {
        "web.sign_ready_ms_4x": ready,
        "web.sign_ready_cpu_ms_4x": cpu["TaskDuration"] * 1000,
        "web.click_to_check_ms_4x": clicked,
        "web.ask_for_code_ms_4x": asked,
        "web.code_to_signed_ms_4x": signed,
        "web.send_to_promise_ms_4x": promised,
        "web.click_to_promise_ms_4x": clicked + signed + promised,
        "web.click_to_promise_with_asking_ms_4x": clicked + asked + signed + promised,
    }


def _weight(browser: Any, url: str) -> float:
    """All scripts that a page loads, in kB of gzip."""
    page = browser.new_page()
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url))
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.close()
    names = {url.partition("/web/")[2] for url in loaded if url.endswith(".js")}
    return sum(_gzipped(name) for name in names)


def _gzipped(name: str) -> float:
    return len(gzip.compress((Assets().folder / name).read_bytes(), 9)) / 1024
