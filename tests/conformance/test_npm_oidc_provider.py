from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import pytest
from joserfc.jwk import ECKey, Key, RSAKey

import manifests
import parts
import ports
from headcount_issuer.attester import Asking, Means, PageStep, Proof, Redirect
from headcount_issuer.attesters.oidc import OidcAttester, OidcConfig
from headcount_issuer.oidc_provider import AGAIN_S, PAUSE_S
from headcount_spec.errors import CodeRefusedError, UnavailableError
from headcount_spec.members import Members

HERE = Path(__file__).parent / "oidc"
URL = "http://localhost:8001"
SECRET = "a secret: of/the+client%"
MANIFEST = manifests.manifest()


def asking() -> Asking:
    return Asking(MANIFEST, "http://localhost:8000", int(time.time()))


def key(name: str, algorithm: str = "RS256") -> Key:
    options = {"kid": name, "use": "sig", "alg": algorithm}
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", options, private=True)
    return RSAKey.generate_key(2048, options, private=True)


class Certified:
    """The provider of npm, as a process."""

    def __init__(self, port: int, keys: list[Key]) -> None:
        self.issuer = f"http://localhost:{port}"
        jwks = json.dumps({"keys": [key.as_dict(private=True) for key in keys]})
        self._process = subprocess.Popen(
            ["node", "provider.js", str(port), self.issuer, "issuer", SECRET, f"{URL}/prove/return", jwks],
            cwd=HERE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module", autouse=True)
def counterpart() -> None:
    parts.require(shutil.which("node"), "node")
    parts.require((HERE / "node_modules").is_dir(), "the packages of tests/conformance/oidc")


@pytest.fixture(scope="module")
def port() -> int:
    return ports.free_ports(0)[0]


@pytest.fixture(scope="module")
def provider(port: int) -> Iterator[Certified]:
    running = Certified(port, [key("first")])
    yield running
    running.stop()


@pytest.fixture
def attester(provider: Certified, tmp_path: Path) -> Iterator[OidcAttester]:
    made = connect(provider, tmp_path)
    yield made
    made.close()


def connect(provider: Certified, folder: Path, **changes: object) -> OidcAttester:
    secret = folder / "secret"
    secret.write_text(SECRET + "\n")
    secret.chmod(0o600)
    settings = {"issuer": provider.issuer, "client_id": "issuer", "label": "Example", "secret_file": secret}
    config = OidcConfig(**{**settings, **changes})
    return config.make(means())


def means(clock=lambda: int(time.time())) -> Means:
    fields = {"name": "issuer.example", "url": URL, "clock": clock}
    others = dict.fromkeys(set(Means.__dataclass_fields__) - set(fields) - {"draw"})
    return Means(**fields, **others)


def begin(attester: OidcAttester) -> PageStep:
    step = attester.begin(asking(), Members({}, "evidence"))
    assert isinstance(step, PageStep)
    return step


def log_in(url: str, name: str, browser: httpx.Client | None = None) -> dict[str, str]:
    """What a person does at the provider: the query with which the browser comes back."""
    with browser or httpx.Client(trust_env=False) as client:
        for _ in range(12):
            answer = client.get(url)
            if answer.status_code in (302, 303):
                url = urljoin(url, answer.headers["Location"])
                if url.startswith(URL):
                    return dict(httpx.URL(url).params)
                continue
            assert answer.status_code == 200, answer.text
            found = re.search(r'action="([^"]+)"', answer.text)
            assert found, answer.text
            fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', answer.text))
            if 'name="login"' in answer.text:
                fields |= {"login": name, "password": "any"}
            sent = client.post(urljoin(url, html.unescape(found[1])), data=fields)
            assert sent.status_code in (302, 303), sent.text
            url = urljoin(url, sent.headers["Location"])
            if url.startswith(URL):
                return dict(httpx.URL(url).params)
    raise AssertionError("the log-in does not end")


def prove(attester: OidcAttester, name: str) -> Proof:
    step = begin(attester)
    away = attester.act(step, asking(), {}, "the-state")
    assert isinstance(away, Redirect)
    query = log_in(away.url, name)
    assert query.pop("state") == "the-state"
    view = attester.show(step, asking(), query)
    found = attester.act(step, asking(), view.values["fields"], "next")
    assert isinstance(found, Proof)
    return found


def test_a_person_is_the_same_each_time_and_others_are_others(attester: OidcAttester) -> None:
    ada, again, bob = prove(attester, "ada"), prove(attester, "ada"), prove(attester, "bob")
    assert ada.proves == "oidc"
    assert ada.inputs == again.inputs != bob.inputs
    assert b"ada" not in ada.inputs[0]  # pairwise


def test_nothing_but_openid_is_asked_for(attester: OidcAttester) -> None:
    away = attester.act(begin(attester), asking(), {}, "the-state")
    assert isinstance(away, Redirect)
    query = dict(httpx.URL(away.url).params)
    assert query.pop("scope") == "openid"
    assert query.pop("code_challenge_method") == "S256"
    assert len(query.pop("code_challenge")) == 43
    assert len(query.pop("nonce")) == 43
    assert query == {
        "response_type": "code",
        "client_id": "issuer",
        "redirect_uri": f"{URL}/prove/return",
        "state": "the-state",
    }


def test_a_code_works_once_and_only_in_its_own_session(attester: OidcAttester) -> None:
    step, other = begin(attester), begin(attester)
    away = attester.act(step, asking(), {}, "s1")
    attester.act(other, asking(), {}, "s2")
    assert isinstance(away, Redirect)
    query = log_in(away.url, "ada")
    with pytest.raises(CodeRefusedError):  # another verifier
        attester.act(other, asking(), {"code": query["code"]}, "s3")
    away = attester.act(step, asking(), {}, "s4")
    assert isinstance(away, Redirect)
    query = log_in(away.url, "ada")
    form = {"code": query["code"], "iss": query["iss"]}
    assert isinstance(attester.act(step, asking(), form, "s5"), Proof)
    with pytest.raises(CodeRefusedError):
        attester.act(step, asking(), form, "s6")


def test_a_response_of_another_provider_is_refused_before_it_is_asked(attester: OidcAttester) -> None:
    step = begin(attester)
    away = attester.act(step, asking(), {}, "s1")
    assert isinstance(away, Redirect)
    query = log_in(away.url, "ada")
    with pytest.raises(CodeRefusedError):
        attester.act(step, asking(), {"code": query["code"], "iss": "https://evil.example"}, "s2")


def test_a_wrong_secret_proves_nothing(provider: Certified, tmp_path: Path) -> None:
    attester = connect(provider, tmp_path, client_id="issuer", secret_file=None)
    step = begin(attester)
    away = attester.act(step, asking(), {}, "s1")
    assert isinstance(away, Redirect)
    with pytest.raises(CodeRefusedError):
        attester.act(step, asking(), {"code": log_in(away.url, "ada")["code"]}, "s2")
    attester.close()


def test_new_keys_are_fetched_and_old_ones_end(tmp_path: Path, port: int) -> None:
    shift = [0]
    fields = ports.free_ports(0)[0]
    running = Certified(fields, [key("old")])
    attester = connect(running, tmp_path)
    attester._provider._clock = lambda: int(time.time()) + shift[0]
    try:
        ada = prove(attester, "ada")
        running.stop()
        running = Certified(fields, [key("new", "RS256"), key("old")])
        with pytest.raises(CodeRefusedError):  # asked a moment ago
            prove(attester, "ada")
        shift[0] = AGAIN_S
        assert prove(attester, "ada") == ada
        running.stop()
        running = Certified(fields, [key("ellipse", "ES256"), key("rsa")])
        shift[0] = 3 * AGAIN_S
        assert prove(attester, "ada") == ada
    finally:
        running.stop()
        attester.close()


def test_a_provider_that_is_gone_is_said_so_and_asked_again(tmp_path: Path) -> None:
    fields = ports.free_ports(0)[0]
    gone = Certified(fields, [key("a")])
    attester = connect(gone, tmp_path)
    gone.stop()
    with pytest.raises(UnavailableError):
        attester.act(begin(attester), asking(), {}, "s")
    back = Certified(fields, [key("a")])
    try:
        with pytest.raises(UnavailableError):  # not at once
            attester.act(begin(attester), asking(), {}, "s")
        attester._provider._clock = lambda: int(time.time()) + PAUSE_S
        assert prove(attester, "ada").proves == "oidc"
    finally:
        back.stop()
        attester.close()


def test_the_url_leads_to_the_provider(attester: OidcAttester, provider: Certified) -> None:
    away = attester.act(begin(attester), asking(), {}, "s")
    assert isinstance(away, Redirect)
    assert urlsplit(away.url).netloc == urlsplit(provider.issuer).netloc
