from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from werkzeug.middleware.dispatcher import DispatcherMiddleware

import fakes
import manifests
import parts
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.ledger import Ledger
from headcount_spec.promise import PROMISE_BYTES
from headcount_spec.scope import Manifest
from headcount_verifier import VerifierConfig, create_app, teller
from ports import free_ports
from serving import serving
from stage import wait_for

ROOT = Path(__file__).resolve().parents[2]
ENTRY = "application/vnd.headcount.entry"


@dataclass
class Campaign:
    """The campaign's own origin, as the READMEs call localhost:8000."""

    port: int
    ledger: Ledger
    manifest: Manifest


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[Campaign]:
    manifest = manifests.manifest(opens="2020-01-01", freezes="2119-01-01", closes="2120-01-01", action=None)
    folder = tmp_path / "campaign"
    (folder / "scopes").mkdir(parents=True)
    (folder / "scopes" / f"{manifest.scope_id.hex()}.json").write_bytes(manifest.raw)
    with fakes.new_ledger(folder) as ledger:
        fakes.open_scopes(ledger, manifest)
        (port,) = free_ports(0)
        config = VerifierConfig(f"http://localhost:{port}/ledger", folder / "scopes")
        app = DispatcherMiddleware(
            create_app(config), {"/ledger": ledger_app(ledger, fakes.FakeClock(), prefix="")}
        )
        with serving(app, port):
            yield Campaign(port, ledger, manifest)


@dataclass
class Partner:
    """A copy of an example, in which the commands of its README run on this test's ports."""

    folder: Path
    campaign: Campaign
    port: int
    django: bool = False

    def here(self, text: str) -> str:
        text = text.replace("localhost:8000", f"localhost:{self.campaign.port}")
        return text.replace("localhost:5000", f"localhost:{self.port}").replace(
            "--port 5000", f"--port {self.port}"
        )

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        more = {"DJANGO_SETTINGS_MODULE": "oursite.settings"} if self.django else {}
        scope = self.campaign.manifest.scope_id.hex()
        campaign = f"http://localhost:{self.campaign.port}"
        kept = {name: value for name, value in os.environ.items() if name.lower() != "http_proxy"}
        return {**kept, "PATH": path, "SCOPE": scope, "CAMPAIGN": campaign, **more}

    def run(self, command: str) -> None:
        if command.startswith("headcount "):
            command = f"{sys.executable} -c 'from headcount_verifier.cli import webhooks; webhooks()' " + (
                command.removeprefix("headcount webhooks ")
            )
        done = subprocess.run(
            ["sh", "-c", self.here(command)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)

    @contextmanager
    def serving(self, command: str) -> Iterator[str]:
        process = subprocess.Popen(
            ["sh", "-c", f"exec {self.here(command)}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(f"http://localhost:{self.port}/pledge/scopes")
            yield f"http://localhost:{self.port}"
        finally:
            process.terminate()
            process.wait(10)


def commands(example: str) -> list[str]:
    """The lines of the README that are to be typed, without the pledge, which needs a person."""
    text = (ROOT / "examples" / example / "README.md").read_text("utf-8")
    found = re.findall(r"^    (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    assert found[0] == "pip install ../..          # this repository" or found[0] == "pip install ../.."
    return [line for line in found[1:] if not line.startswith("headcount pledge")]


@pytest.fixture
def partner(tmp_path: Path, campaign: Campaign, request: pytest.FixtureRequest) -> Partner:
    parts.require(shutil.which("curl"), "curl")
    site = tmp_path / "site"
    shutil.copytree(
        ROOT / "examples" / request.param, site, ignore=shutil.ignore_patterns("__pycache__", "scopes")
    )
    settings = site / "verifier.toml"
    (port,) = free_ports(0)
    made = Partner(site, campaign, port)
    settings.write_text(made.here(settings.read_text("utf-8")), "utf-8")
    return made


def pledge(partner: Partner, url: str) -> None:
    manifest = partner.campaign.manifest
    assert httpx.get(f"{url}/pledge/scopes", trust_env=False).json() == {"scopes": [manifest.scope_id.hex()]}
    data = manifests.pledge(manifest, 1).to_bytes()
    answer = httpx.post(
        f"{url}/pledge/pledges", content=data, headers={"Content-Type": ENTRY}, trust_env=False
    )
    assert (answer.status_code, len(answer.content)) == (200, PROMISE_BYTES)
    assert partner.campaign.ledger.waiting() == 1


@pytest.mark.parametrize("partner", ["partner_flask"], indirect=True)
def test_the_flask_site_runs_as_its_readme_says_and_is_told(partner: Partner, tmp_path: Path) -> None:
    make, fetch, run, key = commands("partner_flask")
    partner.run(make)
    partner.run(fetch)
    partner.run(key)
    assert run == "flask --app app run"
    scope = partner.campaign.manifest.scope_id.hex()
    with partner.serving(f"{run} --port {partner.port}") as url:
        front = httpx.get(f"{url}/", trust_env=False)
        address = f"http://localhost:{partner.campaign.port}/sign/{scope}"
        assert f'<headcount-counter href="{address}">' in front.text
        assert "<iframe" not in front.text
        assert "unsafe" not in front.headers["content-security-policy"]
        assert httpx.post(f"{url}/hooks/headcount", content=b"{}", trust_env=False).status_code == 400
        pledge(partner, url)
        # The operator's side, with the settings of the README.
        text = (partner.folder / "README.md").read_text("utf-8")
        toml = partner.here(re.search(r"```toml\n(.*?)```", text, re.DOTALL)[1])  # type: ignore[index]
        operator = tmp_path / "campaign" / "verifier.toml"
        head = f'ledger = "http://localhost:{partner.campaign.port}/ledger"\nscopes = "scopes"\n'
        operator.write_text(toml.replace("[verifier]\n", "[verifier]\n" + head), "utf-8")
        shutil.copy(partner.folder / "webhook.key", operator.parent)
        for number in range(2, 5):
            partner.campaign.ledger.accept(
                manifests.pledge(partner.campaign.manifest, number).to_bytes(), fakes.DAY
            )
        partner.campaign.ledger.seal(fakes.DAY)
        stop = threading.Event()
        sender = threading.Thread(target=teller.run, args=(VerifierConfig.from_file(operator), stop))
        sender.start()
        try:
            end = time.monotonic() + 20
            while "scope.counted: 4" not in httpx.get(f"{url}/", trust_env=False).text:
                assert time.monotonic() < end
                time.sleep(0.2)
        finally:
            stop.set()
            sender.join()
    assert len((partner.folder / "news.txt").read_text("utf-8").splitlines()) == 1


@pytest.mark.parametrize("partner", ["partner_wsgi"], indirect=True)
@pytest.mark.parametrize("has_django", [False, True])
def test_the_wsgi_site_runs_as_its_readme_says(partner: Partner, has_django: bool) -> None:
    make, fetch, serve, start, export = commands("partner_wsgi")
    partner.run(make)
    partner.run(fetch)
    if has_django:
        parts.require(importlib.util.find_spec("django"), "django, from pip")
        partner.run(start)
        assert export == "export DJANGO_SETTINGS_MODULE=oursite.settings"
        partner.django = True
    with partner.serving(serve) as url:
        front = httpx.get(f"{url}/", trust_env=False)
        assert front.status_code == 200
        assert ("Django" if has_django else "Our own page") in front.text
        pledge(partner, url)


VIEW = """
import sys
sys.path[:0] = sys.argv[1:]
import django
from django.conf import settings
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
django.setup()
from django.test import Client
from headcount_spec import webhook
from headcount_verifier import WebhookReceiver
import time

open("k", "w").write("whsec_" + "A" * 32)
hooks = WebhookReceiver.from_files("k", "seen.sqlite")
note = print
{view}
urlpatterns = [path("hook", hook)]
body = b'{{"type":"scope.reached","timestamp":"t","data":{{}}}}'
head = webhook.sign([webhook.Secret(bytes(24))], "msg_1", int(time.time()), body).to_headers()
client = Client(enforce_csrf_checks=True)
for _ in range(2):
    print(client.post("/hook", body, content_type="application/json", headers=head).status_code)
"""


def test_a_django_view_takes_webhooks(tmp_path: Path) -> None:
    parts.require(importlib.util.find_spec("django"), "django, from pip")
    text = (ROOT / "examples" / "partner_wsgi" / "README.md").read_text("utf-8")
    view = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert view is not None
    roots = [str(ROOT / name) for name in ("spec", "ledger", "verifier")]
    ran = subprocess.run(
        [sys.executable, "-c", VIEW.format(view=view[1]), *roots],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("Event(id='msg_1', type='scope.reached'")
    assert lines[1:] == ["204", "204"]
