"""The browser's audit and sealing: pledges a second in node and Chromium, and milliseconds a contact."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import factory
from factory import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from pages import pages

import keys
import ledgers
import manifests
import nodejs
from ledgers import Batch, raw

PLEDGES = 20_000
_DAY = 20_700
_MODULUS = keys.token_key(0).n
_CHROMIUM = "/usr/bin/chromium"

# In a page, without the bundler: the modules as the tests compile them, and a worker for each processor.
_PAGE = """<!doctype html><script type=module>
import { audit } from "/modules/audit/audit.js";
import { PoolScanner } from "/modules/audit/scanner.js";
import { httpFetch } from "/modules/reader/fetch.js";
import { httpTransport } from "/modules/reader/transport.js";
import { Policy } from "/modules/protocol/policy.js";
import { agreementKey } from "/modules/protocol/agreement.js";
import { makeContact } from "/modules/protocol/contact.js";
import { sealBox } from "/modules/protocol/hpke.js";
import { seal, sealingContext } from "/modules/protocol/sealed.js";
import { toBigInt } from "/modules/protocol/bytes.js";
import { blind } from "/modules/protocol/blind_rsa.js";
const draw = (size) => crypto.getRandomValues(new Uint8Array(size));
const keys = await Promise.all(Array.from({ length: 6 }, () => agreementKey(draw(32))));
const times = [];
for (let i = 0; i < 300; i++) {
  const [ctx, seed] = [sealingContext(draw(32), draw(32)), draw(32)];
  const boxer = (key, info, text) => sealBox(key, info, text, draw(32));
  const began = performance.now();
  await seal(makeContact("email", "ada@example.org"), ctx, keys[5], keys.slice(0, 5), 3, seed, boxer);
  times.push(performance.now() - began);
}
const n = BigInt("@@MODULUS@@");
const blinding = [];
for (let i = 0; i < 100; i++) {
  const [input, salt, r] = [draw(98), draw(48), toBigInt(draw(255))];
  const began = performance.now();
  await blind({ n, e: 65537n }, input, salt, r);
  blinding.push(performance.now() - began);
}
const [first_blind, blind_ms] = [blinding[0], blinding.toSorted((a, b) => a - b)[50]];
const [first, seal_ms] = [times[0], times.toSorted((a, b) => a - b)[150]];
const start = () => {
  const worker = new Worker("/modules/audit/worker.js", { type: "module" });
  return {
    postMessage: (message, transfer) => worker.postMessage(message, transfer),
    onSaid: (take) => (worker.onmessage = (event) => take(event.data)),
    terminate: () => worker.terminate(),
  };
};
const policy = await (await fetch("/ledger/policy")).text();
const scanner = new PoolScanner(Array.from({ length: navigator.hardwareConcurrency }, start));
const began = performance.now();
const files = httpFetch(location.origin + "/ledger", httpTransport);
const report = await audit(files, Policy.fromText(policy), { scanner });
const seconds = (performance.now() - began) / 1000;
const { ok } = report;
const figures = { ok, seconds, first, seal_ms, first_blind, blind_ms };
await fetch("/done", { method: "POST", body: JSON.stringify(figures) });
</script>"""


def web() -> dict[str, float]:
    """The figures; without Chromium those of node alone."""
    nodejs.require()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger = _ledger()
        ledger.write(folder)
        (folder / "policy").write_bytes(ledger.policy.to_bytes())
        found = {
            "web.audit_node_per_s": _node(folder, 0),
            "web.audit_node_two_workers_per_s": _node(folder, 2),
        }
        if Path(_CHROMIUM).exists():
            found |= _chromium(folder) | pages()
        return found


def _ledger() -> ledgers.Ledger:
    scope = factory.manifest()
    opening = manifests.opening(scope)
    terms = raw(manifests.manifest_notice(scope), *manifests.text_notices(scope), opening)
    entries = list(factory.read_pledges(PLEDGES))
    issued = raw(manifests.issuance(scope, _DAY + 2, PLEDGES, opening))
    halves = (entries[: PLEDGES // 2], entries[PLEDGES // 2 :])
    return ledgers.build(
        [Batch(_DAY, terms), *(Batch(_DAY + 1, half) for half in halves), Batch(_DAY + 2, issued)]
    )


def _node(folder: Path, workers: int) -> float:
    job = {"folder": str(folder), "policy": (folder / "policy").read_bytes().hex(), "workers": workers}
    done = nodejs.run([nodejs.COMPILED / "test" / "audit_folder.js"], input=json.dumps(job) + "\n")
    found = json.loads(done.stdout)
    assert found["report"]["ok"], found["report"]["faults"][:3]
    return PLEDGES / float(found["seconds"])


def _chromium(folder: Path) -> dict[str, float]:
    with (
        _served(folder) as (url, answers),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
    ):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        browser = subprocess.Popen([_CHROMIUM, *flags, url], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not answers and time.monotonic() < deadline:
            time.sleep(0.1)
        browser.terminate()
        browser.wait(20)
        found = answers[0]
        assert found["ok"]
        return {
            "web.audit_chromium_per_s": PLEDGES / float(found["seconds"]),
            "web.seal_chromium_ms": float(found["seal_ms"]),  # three of five trustees; the median
            "web.seal_first_chromium_ms": float(found["first"]),
            "web.blind_chromium_ms": float(found["blind_ms"]),  # one token, unthrottled; the median
            "web.blind_first_chromium_ms": float(found["first_blind"]),
        }


@contextmanager
def _served(folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    answers: list[dict[str, Any]] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # as nodes and web servers do; else small files wait for 40 ms

        def translate_path(self, path: str) -> str:
            root, _, rest = path.lstrip("/").partition("/")
            return str((nodejs.COMPILED / "src" if root == "modules" else folder) / rest)

        def guess_type(self, path: Any) -> str:
            return "text/javascript" if str(path).endswith(".js") else "application/octet-stream"

        def do_GET(self) -> None:
            if self.path != "/":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            page = _PAGE.replace("@@MODULUS@@", str(_MODULUS)).encode()
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def do_POST(self) -> None:
            answers.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}/", answers
    server.shutdown()
    server.server_close()
