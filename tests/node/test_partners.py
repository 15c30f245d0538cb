from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server
from werkzeug.test import Client

import ledgers
import manifests
from headcount_node import apps
from headcount_node.config import CONFIG_VARIABLE, NodeConfig
from headcount_node.serve import parts
from headcount_spec.link import sign_link
from headcount_spec.scope import Manifest
from headcount_verifier import Redeemer
from receivers import SECRET, receiving


def settings(folder: Path, ledger: str, more: str, manifest: Manifest) -> Path:
    (folder / "scopes").mkdir()
    (folder / "scopes" / f"{manifest.scope_id.hex()}.json").write_bytes(manifest.raw)
    path = folder / "headcount.toml"
    path.write_text(f'[verifier]\nledger = "{ledger}"\nscopes = "scopes"\n{more}')
    return path


def test_a_node_tells_in_a_process_of_its_own(tmp_path: Path) -> None:
    public = ledgers.build(ledgers.sample_batches()[:4]).files
    site = Flask(__name__)

    @site.get("/<path:path>")
    def file(path: str) -> tuple[bytes, int]:
        return (public[path], 200) if path in public else (b"", 404)

    server = make_server("127.0.0.1", 0, site, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with receiving() as receiver:
            (tmp_path / "hook.key").write_text(SECRET)
            hook = f'outbox = "outbox"\n[[verifier.webhooks]]\nurl = "{receiver.url}"\nsecret = "hook.key"\n'
            url = f"http://127.0.0.1:{server.server_port}"
            path = settings(tmp_path, url, hook, ledgers.campaign())
            assert parts(NodeConfig.from_file(path)) == ["public", "public", "webhooks"]
            process = subprocess.Popen(
                [sys.executable, "-m", "headcount_node.serve", "webhooks"],
                env={**os.environ, CONFIG_VARIABLE: str(path)},
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                end = time.monotonic() + 30
                while len(receiver.ids) < 3 and time.monotonic() < end:
                    time.sleep(0.1)
            finally:
                process.send_signal(signal.SIGTERM)
                _, errors = process.communicate(timeout=10)
            assert (process.returncode, errors) == (0, "")
            assert len(receiver.ids) == 3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_node_opens_links_and_refuses_with_a_page(tmp_path: Path) -> None:
    manifest = manifests.manifest(opens="2020-01-01", freezes="2119-01-01", closes="2120-01-01", action=None)
    path = settings(tmp_path, "http://127.0.0.1:9", 'links = "links.sqlite"\n', manifest)
    config = NodeConfig.from_file(path)
    assert config.verifier is not None
    client = Client(apps.cold_routes(config, None, Redeemer.from_settings(config.verifier)))
    seed = manifests.ORGANISER_SEEDS[0]
    token = sign_link(manifest.scope_id, 0, seed, bytes(8), 1, manifest.closes).to_token()
    opened = client.get(f"/link/{token}")
    assert (opened.status_code, opened.headers["Location"]) == (303, f"/sign/{manifest.scope_id.hex()}")
    refused = client.get(f"/link/{token}", headers={"Accept-Language": "fr"})
    assert refused.status_code == 410
    assert refused.content_type == "text/html; charset=utf-8"
    assert "Ce lien a pris fin" in refused.text
    assert refused.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in refused.headers["Content-Security-Policy"]
    assert (tmp_path / "links.sqlite").exists()


@pytest.mark.parametrize("more", ['links = ""\n', "links = 1\n"])
def test_links_are_a_file(tmp_path: Path, more: str) -> None:
    from headcount_spec.errors import ConfigurationError

    with pytest.raises(ConfigurationError):
        NodeConfig.from_file(settings(tmp_path, "http://127.0.0.1:9", more, manifests.manifest()))
