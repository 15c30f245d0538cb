"""A node with a campaign, and a browser that writes down what it sends: the stage of the pages' tests."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from joserfc.jwk import RSAKey

import manifests
import nodejs
import parts
from headcount import HttpTransport, draft, notice, organiser, scope
from headcount.catalogue import LANGUAGES
from headcount.scope_view import find_scope
from headcount_issuer.issuer import Issuer
from headcount_ledger.reader.fetch import http_fetch
from headcount_ledger.reader.view import open_ledger
from headcount_node.config import NodeConfig
from headcount_node.foundation import Foundation, Mail
from headcount_node.mailbox import Mailbox
from headcount_spec import jcs, signature
from headcount_spec.policy import Policy
from headcount_spec.scope import Manifest
from headcount_spec.text import day_of, encode_base64
from ports import free_ports

CHROMIUM = "/usr/bin/chromium"
SECRET = "a secret of the provider and this issuer alone"
SHOTS = Path(__file__).resolve().parents[1] / ".screenshots"  # kept, ignored by git
TEXTS = Path(__file__).resolve().parents[1] / "node" / "headcount_node" / "campaign" / "texts"
MADE_UP = {"it": "Ci spostiamo insieme.\n", "nl": "Wij verhuizen samen.\n", "ru": "Мы уходим вместе.\n"}


@functools.cache
def require() -> None:
    """The built pages, Playwright and a Chromium."""
    nodejs.require()
    if not nodejs.pages().is_built():
        nodejs.pages().build()
    import importlib.util

    parts.require(importlib.util.find_spec("playwright"), "playwright, from pip")
    parts.require(Path(CHROMIUM).exists(), "Chromium")


@dataclass
class Stage:
    """A node that serves, its post office, and what it was started from."""

    folder: Path
    url: str
    issuer_url: str
    mailbox: Mailbox
    process: subprocess.Popen[bytes]
    provider_url: str  # where somebody logs in, if it runs

    @property
    def policy(self) -> Path:
        return self.folder / "node" / "policy"

    @property
    def config(self) -> Path:
        return self.folder / "node" / "headcount.toml"

    def code(self, address: str) -> str:
        """The code in the oldest unread mail."""
        found = re.search(r"\b\d{8}\b", self.mailbox.take(address))
        assert found
        return found[0]

    def publish(self, **changes: Any) -> Manifest:
        """A campaign that is open today, in all languages."""
        key = self.folder / "organiser.key"
        if not key.exists():
            organiser.create_key(key)
        seed = organiser.read_key(key)
        folder = self.folder / f"campaign-{changes.get('title', 'first')}"
        today = day_of(int(time.time()))
        policy = Policy.from_bytes(self.policy.read_bytes())
        value = draft.template(
            LANGUAGES, today=today, policy=policy, organisers=[signature.public_key(seed)], sites=[self.url]
        )
        words = json.loads((TEXTS.parent / "terms.json").read_text("utf-8"))

        def said(labels: dict[str, str]) -> dict[str, str]:
            return {tag: labels.get(tag, labels["en"]) for tag in LANGUAGES}

        value |= {
            "title": said({"en": changes.pop("title")} if "title" in changes else words["title"]),
            "addressee": said(words["addressee"]),
            "data_use": said(words["data_use"]),
            "end_of_life": said(words["end_of_life"]),
            "options": [
                {"number": i, "label": said(words["options"][name])}
                for i, name in enumerate(("move", "help"), 1)
            ],
            "opens": value["opens"],
            "min_batch": 1,
            "threshold": 40,
            **changes,
        }
        value["opens"] = time.strftime("%Y-%m-%d", time.gmtime())
        texts = {
            tag: (TEXTS / f"{tag}.txt").read_text("utf-8")
            if (TEXTS / f"{tag}.txt").exists()
            else MADE_UP[tag]
            for tag in LANGUAGES
        }
        draft.create(folder, {name: item for name, item in value.items() if item is not None})
        for tag, text in texts.items():
            (folder / "texts" / f"{tag}.txt").write_text(text, "utf-8")
        with Issuer.open(NodeConfig.from_file(self.config).issuer) as issuer:  # type: ignore[arg-type]
            answer = issuer.enrol(jcs.canonicalise(draft.read(folder).manifest))
            (folder / "manifest.json").write_text(json.dumps(answer.value), "utf-8")  # type: ignore[union-attr]
            with HttpTransport() as transport:
                found = scope.publish(
                    folder, [seed], f"{self.url}/ledger", transport=transport, day=today
                ).manifest
                issuer.enrol(found.raw)
                issuer.send_notices()
                self._await(transport, policy, lambda size: self._is_open(found))
        (self.folder / "node" / "scopes" / f"{found.scope_id.hex()}.json").write_bytes(found.raw)
        return found

    def publish_contacts(self, campaign: Manifest, enrolled: int = 3, **changes: Any) -> Manifest:
        """A contact scope of a campaign: named by its organisers, signed by so many of its three trustees."""
        purpose = dict.fromkeys(LANGUAGES, "To say when everybody moves")
        found = self.publish(
            **{
                "title": f"How we reach you ({enrolled})",
                "kind": "contact",
                "parent": campaign.scope_id.hex(),
                "eligible": "parent-token-holders",
                "options": None,
                "threshold": campaign.threshold,
                "trustees": manifests.trustees(2, 3),
                "contacts": manifests.contacts()
                | {"channels": ["email", "none"], "purposes": [{"name": "moving", "text": purpose}]},
                **changes,
            }
        )
        ledger = f"{self.url}/ledger"
        policy = Policy.from_bytes(self.policy.read_bytes())
        seed = organiser.read_key(self.folder / "organiser.key")
        with HttpTransport() as transport:
            view = open_ledger(http_fetch(ledger, transport), policy)
            body = {"scope": found.scope_id.hex()}
            parent = find_scope(view, campaign.scope_id)
            notice.post(notice.next_notice(parent, "child", body, [seed]), ledger, transport)
            assert found.trustees is not None
            for i, trustee in enumerate(found.trustees.members[:enrolled]):
                said = {"scope_key": encode_base64(trustee.scope_key)}
                signed = manifests.notice(
                    found, "trustee", "enrolment", said, seeds=(manifests.TRUSTEE_SEEDS[i],)
                )
                notice.post(signed, ledger, transport)

            def is_there(_: int) -> bool:
                view = open_ledger(http_fetch(ledger, transport), policy)
                said = find_scope(view, found.scope_id, need_openings=False).notices
                named = find_scope(view, campaign.scope_id).notices
                enrolments = [n for n in said if n.statement.type == "enrolment"]
                children = [n.statement.body["scope"] for n in named if n.statement.type == "child"]
                return len(enrolments) == enrolled and found.scope_id.hex() in children

            self._await(transport, policy, is_there)
        return found

    def slips(self, manifest: Manifest, number: int) -> list[str]:
        """Codes of a sheet."""
        from headcount_issuer.attesters.in_person import format_code

        with Issuer.open(NodeConfig.from_file(self.config).issuer) as issuer:  # type: ignore[arg-type]
            _, codes = issuer.make_codes(manifest.scope_id, number)
            issuer.send_notices()
        return [format_code(code) for code in codes]

    def sign(self, manifest: Manifest, language: str = "en") -> str:
        """Where the campaign is signed."""
        return f"{self.url}/sign/{manifest.scope_id.hex()}/{language}"

    def _is_open(self, manifest: Manifest) -> bool:
        answer = httpx.get(f"{self.url}/ledger/scopes/{manifest.scope_id.hex()}", trust_env=False)
        return answer.status_code == 200 and len(answer.text.split()) >= 2 + len(LANGUAGES)

    def _await(self, transport: HttpTransport, policy: Policy, done: Callable[[int], bool]) -> None:
        deadline = time.monotonic() + 20
        while not done(open_ledger(http_fetch(f"{self.url}/ledger", transport), policy).size):
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextmanager
def raised(folder: Path, tick_s: int = 1) -> Iterator[Stage]:
    """A node on two origins, which are two hosts for a browser."""
    port, issuer_port, smtp, provider_port = free_ports(0, 1, 2, 3)
    # Passkeys need a name, which an address is not.
    url, issuer_url = f"http://127.0.0.1:{port}", f"http://localhost:{issuer_port}"
    node = folder / "node"
    Foundation(
        url, issuer_url, ("email", "in-person"), Mail("127.0.0.1", smtp, "codes@localhost"), tick_s
    ).create(node)
    config = node / "headcount.toml"
    settings = config.read_text("utf-8")
    settings = re.sub(r'(?m)^public = ".*?"', f'public = "127.0.0.1:{port}"', settings)
    settings = re.sub(r'(?m)^personhood = ".*"', f'personhood = "127.0.0.1:{issuer_port}"', settings)
    provider_url = f"http://localhost:{provider_port}"
    settings += f"""
[issuer.attesters.device]
[issuer.attesters.passkey]
[issuer.attesters.oidc]
issuer = "{provider_url}"
client_id = "issuer"
label = "The town library"
secret_file = "provider.secret"
"""
    secret = node / "provider.secret"
    secret.write_text(SECRET + "\n", "utf-8")
    secret.chmod(0o600)
    config.write_text(settings, "utf-8")
    mailbox = Mailbox(smtp)
    mailbox.start()
    with (folder / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "headcount", "serve", str(config)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ},
        )
    try:
        for address in (
            f"{url}/ledger/checkpoint",
            f"{issuer_url}/.well-known/private-token-issuer-directory",
        ):
            wait_for(address)
        yield Stage(folder, url, issuer_url, mailbox, process, provider_url)
    finally:
        process.terminate()
        process.wait(20)
        mailbox.stop()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, url
        time.sleep(0.1)


@dataclass
class Traffic:
    """Everything that a browser sent."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    partner: str = "no partner"
    provider: str = "no provider"  # somebody else's log-in may do as it likes

    def watch(self, context: Any) -> None:
        context.on("request", self._note)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        context.on("console", self._say)

    def _note(self, request: Any) -> None:
        self.requests.append(
            {
                "method": request.method,
                "url": request.url,
                "headers": request.headers,
                "body": request.post_data_buffer or b"",
            }
        )

    def _say(self, message: Any) -> None:
        if message.type == "error" and "/sessions/challenge" not in str(message.location):
            self.errors.append(f"{message.text} {message.location.get('url', '')}")

    def check(self) -> None:
        """What holds of every story: no cookie, no identifier in an address, and no site hears of another."""
        for request in self.requests:
            parts = urlsplit(request["url"])
            assert parts.scheme in ("http", "blob", "data", "chrome"), request["url"]
            assert parts.scheme != "http" or parts.hostname in ("localhost", "127.0.0.1"), request["url"]
            own = urlsplit(request["headers"].get("referer") or request["url"]).netloc
            # A partner says where it is when it loads the script or a picture; the tag itself never does.
            is_tag = own == self.partner and parts.path.startswith(("/web/headcount-counter.js", "/badge/"))
            assert own == parts.netloc or is_tag, request["url"]
            is_cookie = "cookie" in request["headers"]
            assert not is_cookie or self.provider in request["url"], request["url"]
            assert not parts.query or self.provider in request["url"] or "/prove/return" in parts.path

    def to(self, origin: str) -> list[dict[str, Any]]:
        return [request for request in self.requests if request["url"].startswith(origin + "/")]


def shot(page: Any, name: str, full: bool = True) -> None:
    """Keep a picture of a page, to be looked at."""
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full)


@functools.cache
def _provider_key() -> RSAKey:
    # One for all: an issuer asks for keys that it does not know once a minute.
    return RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"}, private=True)


@contextmanager
def provider(stage: Stage) -> Iterator[None]:
    """The log-in service that the stage's issuer knows: npm's certified OpenID provider."""
    folder = Path(__file__).parent / "conformance" / "oidc"
    parts.require((folder / "node_modules").is_dir(), "the packages of tests/conformance/oidc")
    keys = json.dumps({"keys": [_provider_key().as_dict(private=True)]})
    port = stage.provider_url.rpartition(":")[2]
    arguments = [port, stage.provider_url, "issuer", SECRET, f"{stage.issuer_url}/prove/return", keys]
    process = subprocess.Popen(
        [nodejs.require() / "node", "provider.js", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
