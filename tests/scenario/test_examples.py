from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import manifests
from ports import free_ports
from stage import wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("example", ["partner_flask", "partner_wsgi"])
def test_an_example_serves_its_site_and_the_verifier(example: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(ROOT / "examples" / example, site)
    (site / "scopes").mkdir(exist_ok=True)
    manifest = manifests.manifest()
    scope = manifest.scope_id.hex()
    (site / "scopes" / f"{scope}.json").write_bytes(manifest.raw)
    (port,) = free_ports(0)
    module = {"partner_flask": "app:app", "partner_wsgi": "wsgi:application"}[example]
    command = ["-m", "granian", "--interface", "wsgi", "--port", str(port), "--host", "127.0.0.1", module]
    process = subprocess.Popen(
        [sys.executable, *command], cwd=site, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/")
        assert httpx.get(f"{url}/pledge/scopes", trust_env=False).json() == {"scopes": [scope]}
        front = httpx.get(f"{url}/", trust_env=False)
        assert "Our own page" in front.text
        if example == "partner_flask":
            assert f'<headcount-counter href="http://localhost:8000/sign/{scope}">' in front.text
            assert "<iframe" not in front.text
            assert "unsafe" not in front.headers["content-security-policy"]
    finally:
        process.terminate()
        process.wait(10)
