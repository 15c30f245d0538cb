from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import corrupter
import ledgers
import nodejs
from headcount_ledger.audit import AuditReport, audit
from ledgers import Ledger

TYPES = {".js": "text/javascript", ".html": "text/html"}
PACKAGES = ("@noble/curves", "@noble/hashes", "@noble/post-quantum")
PAGE = (
    "<!doctype html><title>audit</title><script type=importmap>"
    + json.dumps({"imports": {f"{name}/": f"/packages/{name}/" for name in PACKAGES}})
    + "</script>"
)

# In the page: the modules as the tests compile them, workers and storage as a page has them.
RUN = """async ({ledger, policy, remembered, stopAt, folder}) => {
  const {audit} = await import("/modules/audit/audit.js");
  const {openKeeper} = await import("/modules/audit/keep.js");
  const {PoolScanner} = await import("/modules/audit/scanner.js");
  const {httpFetch} = await import("/modules/reader/fetch.js");
  const {httpTransport} = await import("/modules/reader/transport.js");
  const {Policy} = await import("/modules/protocol/policy.js");
  const {parseCheckpointText} = await import("/modules/protocol/checkpoint.js");
  await import("/modules/protocol/fallbacks.js");
  const start = () => {
    const worker = new Worker("/modules/audit/worker.js", {type: "module"});
    return {
      postMessage: (message, transfer) => worker.postMessage(message, transfer),
      onSaid: (take) => (worker.onmessage = (event) => take(event.data)),
      terminate: () => worker.terminate(),
    };
  };
  const keeper = await openKeeper();
  const scanner = new PoolScanner([start(), start()]);
  const abort = new AbortController();
  const reads = [];
  const {directoryFetch} = await import("/modules/reader/fetch.js");
  let fetch = httpFetch(location.origin + ledger, httpTransport);
  if (folder) {
    // The browser's private folder is a handle as that of a folder which a person picks.
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("ledger", {create: true});
    for (const path of folder) {
      const parts = path.split("/");
      const name = parts.pop();
      let place = root;
      for (const part of parts) place = await place.getDirectoryHandle(part, {create: true});
      const file = await (await place.getFileHandle(name, {create: true})).createWritable();
      await file.write(await fetch(path));
      await file.close();
    }
    fetch = directoryFetch(root);
  }
  const counted = (path) => { reads.push(path); return fetch(path); };
  try {
    const began = performance.now();
    const report = await audit(counted, Policy.fromText(policy), {
      scanner,
      remembered: remembered.map(parseCheckpointText),
      resume: await keeper.load(ledger.split("/")[1]),
      keep: (snapshot) => keeper.save(ledger.split("/")[1], snapshot),
      progress: (done) => { if (stopAt && done >= stopAt) abort.abort(); },
      signal: abort.signal,
    });
    const seconds = (performance.now() - began) / 1000;
    const {resumedAt} = report;
    return {report: JSON.parse(JSON.stringify(report)), resumedAt, reads: reads.length, seconds};
  } catch (error) {
    return {error: error.name};
  } finally {
    scanner.close();
  }
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    nodejs.require()
    folder = tmp_path_factory.mktemp("served")

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def translate_path(self, path: str) -> str:
            root, _, rest = path.lstrip("/").partition("/")
            if root == "modules":
                return str(nodejs.COMPILED / "src" / rest)
            if root == "packages":
                return str(nodejs.WEB / "node_modules" / rest)
            return str(folder / root / rest)

        def guess_type(self, path: Any) -> str:
            return TYPES.get(Path(path).suffix, "application/octet-stream")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    (folder / "index").mkdir()
    (folder / "index" / "page.html").write_text(PAGE)
    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


Run = Callable[..., dict[str, Any]]


# As in a browser of the year 2022.
WITHOUT_ED25519 = """
const importKey = SubtleCrypto.prototype.importKey;
SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {
  const name = algorithm.name ?? algorithm;
  if (name === "Ed25519") return Promise.reject(new DOMException("unknown", "NotSupportedError"));
  return importKey.call(this, format, key, algorithm, ...rest);
};
"""


@pytest.fixture(params=["new", "old"])
def recount(request: pytest.FixtureRequest, browser: Any, served: tuple[str, Path]) -> Iterator[Run]:
    """Audits a ledger in a page of Chromium, with two workers."""
    url, folder = served
    context = browser.new_context()
    if request.param == "old":
        context.add_init_script(WITHOUT_ED25519)
    page = context.new_page()
    page.goto(f"{url}/index/page.html")

    def run(name: str, ledger: Ledger, **more: Any) -> dict[str, Any]:
        for path, data in ledger.files.items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        asked = {"ledger": f"/{name}", "policy": ledger.policy.to_bytes().decode(), "remembered": []}
        found: dict[str, Any] = page.evaluate(RUN, asked | more)
        return found

    yield run
    context.close()


def plain(report: dict[str, Any] | AuditReport) -> dict[str, Any]:
    value = json.loads(json.dumps(report.to_json())) if isinstance(report, AuditReport) else report
    return {**value, "faults": [{**fault, "detail": ""} for fault in value["faults"]]}


def test_chromium_says_what_the_command_line_says(recount: Run) -> None:
    cases = [("good", corrupter.Case(ledgers.sample(witnessed=True)))]
    # All of them are tried in node.
    cases += [(attack, corrupter.corrupt(attack, "host")) for attack in corrupter.ATTACKS[::3]]
    for name, case in cases:
        theirs = audit(case.ledger.fetch, case.ledger.policy, remembered=case.remembered)
        remembered = [checkpoint.to_text() for checkpoint in case.remembered]
        assert plain(recount(name, case.ledger, remembered=remembered)["report"]) == plain(theirs), name


def test_a_page_goes_on_after_it_was_closed(recount: Run) -> None:
    ledger = ledgers.long(600)
    theirs = plain(audit(ledger.fetch, ledger.policy))
    assert recount("closed", ledger, stopAt=512) == {"error": "AbortError"}
    again = recount("closed", ledger)
    assert plain(again["report"]) == theirs
    third = recount("closed", ledger)
    assert third["resumedAt"] == 512
    assert third["reads"] < 20 < again["reads"]
    assert plain(third["report"]) == theirs


def test_a_folder_on_this_device_is_recounted(recount: Run) -> None:
    ledger = ledgers.long(300)
    theirs = plain(audit(ledger.fetch, ledger.policy))
    assert plain(recount("folder", ledger, folder=sorted(ledger.files))["report"]) == theirs
