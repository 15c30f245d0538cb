from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

import signer
from headcount_node.site.assets import Assets
from headcount_spec.scope import Manifest
from headcount_spec.totals import decode_totals, encode_totals
from stage import SHOTS, Stage, Traffic, shot

PAGE = """<!doctype html><html lang="{language}"><meta charset="utf-8"><title>A newspaper</title>
<script type="module" src="{node}/web/headcount-counter.js" integrity="{integrity}" crossorigin="anonymous">
</script><body><h1>A newspaper</h1><headcount-counter href="{node}/sign/{scope}"{more}>
<a href="{node}/sign/{scope}">Read and pledge</a></headcount-counter></body></html>"""


class Newspaper:
    """A partner's site on a third origin: one page, one tag, a policy that allows nothing else."""

    def __init__(self, stage: Stage, manifest: Manifest) -> None:
        self.stage = stage
        self.scope = manifest.scope_id.hex()
        self.change: Callable[[str, bytes], bytes] = lambda path, data: data
        newspaper = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                newspaper.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/ledger/"):
            answer = httpx.get(self.stage.url + request.path, trust_env=False)
            status, body, kind = (
                answer.status_code,
                self.change(request.path[8:], answer.content),
                "text/plain",
            )
        elif request.path.startswith("/page/"):
            _, _, language, where = request.path.split("/")
            asset = Assets().entry("headcount-counter.js")
            assert asset
            more = f' ledger="{self.url}/ledger"' if where == "mirror" else ""
            body = PAGE.format(
                node=self.stage.url, scope=self.scope, integrity=asset.integrity, language=language, more=more
            ).encode()
            status, kind = 200, "text/html"
        elif request.path == "/badges":
            pictures = (
                f'<p><img src="{self.stage.url}/badge/{self.scope}/{tag}.svg">' for tag in ("en", "ru", "ar")
            )
            status, body, kind = 200, "".join(pictures).encode(), "text/html"
        else:
            status, body, kind = 204, b"", "text/plain"
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src {self.stage.url}; connect-src 'self' {self.stage.url}; "
            f"img-src {self.stage.url}",
        )
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture(autouse=True)
def partner(newspaper: Newspaper, traffic: Traffic) -> None:
    traffic.partner = urlsplit(newspaper.url).netloc


@pytest.fixture(scope="module")
def newspaper(stage: Stage, campaign: Manifest, browser: Any) -> Iterator[Newspaper]:
    context = browser.new_context()
    signer.pledge(context.new_page(), stage, campaign)
    context.close()
    paper = Newspaper(stage, campaign)
    deadline = time.monotonic() + 20
    while count(stage, campaign) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield paper
    paper.server.shutdown()
    paper.server.server_close()


def count(stage: Stage, manifest: Manifest) -> int:
    """Pledges published so far, as the front page says."""
    answer = httpx.get(f"{stage.url}/badge/{manifest.scope_id.hex()}/en.svg", trust_env=False).text
    return int(answer.split("</title>")[0].rpartition(": ")[2].split()[0].replace(",", "").replace("—", "0"))


def test_one_tag_on_a_third_origin_shows_the_verified_count(
    newspaper: Newspaper, stage: Stage, campaign: Manifest, page: Any, traffic: Traffic
) -> None:
    before = count(stage, campaign)
    page.goto(f"{newspaper.url}/page/en/direct")
    counter = page.locator("headcount-counter[data-state=verified]")
    counter.wait_for()
    # A batch may be published meanwhile.
    assert before <= int(counter.locator("strong").inner_text()) <= count(stage, campaign)
    assert "of 40 needed" in counter.locator("[role=status]").inner_text()
    shot(page, "counter")
    page.goto(f"{newspaper.url}/page/ar/direct")
    counter.wait_for()
    assert "٤٠" in counter.locator("[role=status]").inner_text()
    shot(page, "counter-ar")
    assert {"/".join(r["url"].split("/", 3)[:3]) for r in traffic.requests} == {newspaper.url, stage.url}
    assert all(r["method"] == "GET" and not r["headers"].get("cookie") for r in traffic.requests)
    assert traffic.errors == []


def edit_checkpoint(path: str, data: bytes) -> bytes:
    lines = data.split(b"\n")
    if path == "checkpoint":
        lines[2] = b"A" * 43 + b"="
    return b"\n".join(lines)


def edit_count(path: str, data: bytes) -> bytes:
    if not path.startswith("totals/"):
        return data
    return encode_totals(
        {scope: (gross + 9000, live + 9000) for scope, (gross, live) in decode_totals(data).items()}
    )


def drop_signature(path: str, data: bytes) -> bytes:
    return data.split("—".encode())[0] if path == "checkpoint" else data


@pytest.mark.parametrize("change", [edit_checkpoint, edit_count, drop_signature])
def test_a_forgery_is_said_instead_of_a_number(
    newspaper: Newspaper, page: Any, change: Callable[[str, bytes], bytes]
) -> None:
    newspaper.change = lambda path, data: data
    page.goto(f"{newspaper.url}/page/en/mirror")
    page.locator("headcount-counter[data-state=verified]").wait_for()
    newspaper.change = change
    page.goto(f"{newspaper.url}/page/en/mirror")
    counter = page.locator("headcount-counter[data-state=failed]")
    counter.wait_for()
    assert "The count could not be verified" in counter.locator("[role=status]").inner_text()
    assert counter.locator("strong").count() == 0
    shot(page, "counter-forged")


def test_without_the_arithmetic_it_says_that_it_cannot_verify(newspaper: Newspaper, page: Any) -> None:
    page.add_init_script(
        "const before = crypto.subtle.importKey.bind(crypto.subtle);"
        "SubtleCrypto.prototype.importKey = (form, key, name, ...rest) =>"
        " name === 'Ed25519' ? Promise.reject(new Error('unknown')) : before(form, key, name, ...rest);"
    )
    page.goto(f"{newspaper.url}/page/en/direct")
    counter = page.locator("headcount-counter[data-state=unsupported]")
    counter.wait_for()
    assert "cannot verify" in counter.locator("[role=status]").inner_text()
    assert counter.locator("strong").count() == 0


def test_in_a_browser_that_cannot_make_the_counter_the_link_stands(
    newspaper: Newspaper, page: Any, traffic: Traffic
) -> None:
    page.add_init_script("window.CSSStyleSheet = undefined")  # as Safari before 16.4
    page.goto(f"{newspaper.url}/page/en/direct")
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("link", name="Read and pledge").is_visible()
    traffic.errors.clear()


def test_without_script_the_link_stands(newspaper: Newspaper, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{newspaper.url}/page/en/direct")
    assert page.get_by_role("link", name="Read and pledge").is_visible()
    context.close()


def test_badges_are_pictures_of_the_published_count(
    newspaper: Newspaper, stage: Stage, campaign: Manifest, page: Any
) -> None:
    scope = campaign.scope_id.hex()
    answer = httpx.get(f"{stage.url}/badge/{scope}.png", trust_env=False)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(answer.content)).size == (880, 336)
    SHOTS.mkdir(exist_ok=True)
    (SHOTS / "badge.png").write_bytes(answer.content)
    page.goto(f"{newspaper.url}/badges")
    page.wait_for_function(
        "[...document.images].every((image) => image.complete && image.naturalWidth === 440)"
    )
    shot(page, "badges")


def test_the_counter_weighs_at_most_eight_kilobytes() -> None:
    data = (Assets().folder / "headcount-counter.js").read_bytes()
    assert len(gzip.compress(data, 9)) <= 8 * 1024
