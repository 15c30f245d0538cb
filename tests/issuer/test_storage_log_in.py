from __future__ import annotations

import html
import logging
import re
from pathlib import Path

import httpx
import pytest

from forger import CLIENT, NOW, PROVIDER, Forger
from headcount_issuer.attesters.oidc import OidcConfig
from headcount_issuer.meter import NetworkConfig, Networks
from headcount_spec.altcha import WorkChallenge
from headcount_spec.members import Members
from spellings import spellings

N = 6
DAYS = {"opens": "2027-01-10", "freezes": "2027-01-20", "closes": "2027-01-20", "action": None}


@pytest.fixture
def config(config, tmp_path):
    object.__setattr__(config.attesters["email"], "work", 50)
    (tmp_path / "secret").write_text("client secret")
    (tmp_path / "secret").chmod(0o600)
    oidc = OidcConfig(PROVIDER, CLIENT, "Example", tmp_path / "secret")
    object.__setattr__(config, "attesters", {**config.attesters, "oidc": oidc})
    return config


def log_in(world, forger: Forger, scope, i: int, peer: str) -> tuple[str, list[str]]:
    """A bearer that is proved, and all that was said on the way."""
    forger.claims |= {"sub": f"canary-subject-{i}"}
    question = {"scope": scope.scope_id.hex(), "attester": "oidc", "evidence": {}}
    begun = world.http.post("/sessions", json=question, environ_base={"REMOTE_ADDR": peer}).get_json()
    page = begun["page"].removeprefix(world.config.url)
    world.http.get(page)
    away = world.http.post(page, data={"go": "1"}, environ_base={"REMOTE_ADDR": peer})
    query = dict(httpx.URL(html.unescape(re.findall(r'href="([^"]+)"', away.text)[0])).params)
    forger.nonce = query["nonce"]
    back = {"state": query["state"], "code": f"canary-grant-{i}"}
    assert world.http.get("/prove/return", query_string=back).status_code == 200
    done = world.http.post(f"/prove/{query['state']}", data={"code": f"canary-grant-{i}"})
    code = re.findall(r"\b\d{8}\b", done.text)[0]
    assert world.post("/sessions/evidence", {"code": code}, begun["session"]).status_code == 200
    said = [f"canary-subject-{i}", f"{PROVIDER}|canary-subject-{i}", f"canary-grant-{i}", code]
    said += [begun["session"], page.rpartition("/")[2], query["state"], query["nonce"]]
    return begun["session"], [*said, forger.form["code_verifier"]]


def test_nothing_of_a_log_in_a_proof_of_work_or_a_network_is_left(
    world, person, tmp_path: Path, caplog, capfd
):
    caplog.set_level(logging.DEBUG)
    world.clock.now = NOW
    world.issuer.networks = Networks(NetworkConfig(N))
    forger = Forger()
    provider = world.issuer._attesters["oidc"]._provider
    provider._http = httpx.Client(transport=httpx.WSGITransport(forger.app()), base_url=PROVIDER)
    account, mail = world.open(0, level="oidc", **DAYS), world.open(1, level="email", **DAYS)
    secrets: list[str] = []
    for i in range(N):
        peer = f"203.0.113.{17 + i}"
        bearer, said = log_in(world, forger, account, i, peer)
        assert world.sign(bearer, person(account, f"account {i}").request).status_code == 200
        secrets += [*said, peer]
        challenge = {"scope": mail.scope_id.hex(), "attester": "email"}
        work = world.post("/sessions/challenge", challenge).get_json()["work"]
        solution = WorkChallenge.read(Members(work, "work")).solve()
        evidence = {"address": f"canary{i}@canary.example.org", "work": solution.to_text()}
        question = {"scope": mail.scope_id.hex(), "attester": "email", "evidence": evidence}
        assert world.post("/sessions", question).status_code == 201
        secrets += [work["salt"][:32], work["challenge"], work["signature"], solution.to_text()[:60]]
        secrets += [f"canary{i}@canary.example.org", world.outbox.code()]
    # Refusals say no more than grants.
    refused = world.http.post("/sessions", json=question, environ_base={"REMOTE_ADDR": "203.0.113.99"})
    assert refused.status_code == 429
    forger.claims = {"aud": "another"}
    world.issuer.networks = Networks(NetworkConfig())
    with pytest.raises(IndexError):
        log_in(world, forger, account, 99, "203.0.113.98")
    secrets += ["203.0.113.99", "203.0.113.0/24", "203.0.113.98", "canary-subject-99", "canary"]
    world.issuer.publish_issuance(now=True)

    def left() -> dict[str, bytes]:
        files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        output = capfd.readouterr()
        logs = {"log": caplog.text, "stdout": output.out, "stderr": output.err}
        return files | {name: text.encode() for name, text in logs.items()}

    running = left()
    assert b"token" not in running["log"]  # not even that somebody has logged in just now
    world.restart()
    assert world.config.database.name in {Path(place).name for place in running}
    for place, data in [*running.items(), *left().items()]:
        for secret in secrets:
            for spelling in spellings(secret.encode()):
                assert spelling not in data, (place, secret)
