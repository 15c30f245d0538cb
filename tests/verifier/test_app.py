from __future__ import annotations

import dataclasses
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.serving import make_server

import fakes
import keys
import manifests
from headcount_ledger.app import create_app as ledger_app
from headcount_ledger.ledger import Ledger
from headcount_spec.authorization import parse_www_authenticate
from headcount_spec.errors import RateLimitedError, UnavailableError
from headcount_spec.problem import from_problem
from headcount_spec.promise import Promise
from headcount_spec.scope import Manifest
from headcount_verifier import LedgerClient, Redeemer, VerifierConfig, create_app, verifier_blueprint

ENTRY = "application/vnd.headcount.entry"
ROOT = Path(__file__).parents[2]
PROMISE = "application/vnd.headcount.promise"


def post(site, data, path="/pledge/pledges", content_type=ENTRY, **headers):
    return site.post(path, data=data, content_type=content_type, headers=headers)


def assert_problem(answer, status: int, code: str) -> None:
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.json["code"] == code
    assert answer.json["status"] == status
    assert from_problem(status, answer.data).code == code


def test_a_pledge_is_answered_with_a_promise(site, manifest):
    answer = post(site, manifests.pledge(manifest, 1).to_bytes())
    assert answer.status_code == 200
    assert answer.content_type == PROMISE
    assert len(answer.data) == 137
    assert answer.headers["Cache-Control"] == "no-store"
    assert post(site, manifests.pledge(manifest, 1).to_bytes()).data == answer.data


def test_a_revision_is_answered_with_a_promise(site, manifest):
    pledge = manifests.pledge(manifest, 1)
    post(site, pledge.to_bytes())
    answer = post(site, manifests.revision(pledge, 1).to_bytes(), "/pledge/revisions")
    assert Promise.from_bytes(answer.data).serial == 1
    other = manifests.revision(pledge, 1, serial=5)
    refused = post(site, other.to_bytes(), "/pledge/revisions")
    assert_problem(refused, 409, "revision-conflict")
    assert refused.json["serial"] == 1


def test_a_manifest_is_served_byte_for_byte(site, manifest, three_issuers):
    answer = site.get(f"/pledge/scopes/{manifest.scope_id.hex()}")
    assert answer.data == manifest.raw
    assert answer.content_type == "application/json"
    ids = sorted([manifest.scope_id.hex(), three_issuers.scope_id.hex()])
    assert site.get("/pledge/scopes").json == {"scopes": ids}


@pytest.mark.parametrize("name", ["0" * 63, "0" * 65, "A" * 64, "zz", "0" * 62 + "%0A"])
def test_a_scope_id_has_one_spelling(site, name):
    assert_problem(site.get(f"/pledge/scopes/{name}"), 400, "malformed")


def test_an_unknown_scope_is_not_found(site):
    assert_problem(site.get(f"/pledge/scopes/{'0' * 64}"), 404, "not-found")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/octet-stream",
        "application/json",
        ENTRY + "2",
        ENTRY + "; charset=utf-8",
        "text/plain",
    ],
)
@pytest.mark.parametrize("path", ["/pledge/pledges", "/pledge/revisions"])
def test_another_content_type_is_refused(site, ledger, manifest, content_type, path):
    answer = post(site, manifests.pledge(manifest, 1).to_bytes(), path, content_type)
    assert_problem(answer, 415, "wrong-type")
    assert ledger.submitted == []


def test_an_encoded_body_is_refused(site, manifest):
    answer = post(site, manifests.pledge(manifest, 1).to_bytes(), **{"Content-Encoding": "gzip"})
    assert_problem(answer, 415, "wrong-type")


@pytest.mark.parametrize(("path", "size"), [("/pledge/pledges", 2150), ("/pledge/revisions", 169)])
def test_a_longer_body_is_too_large(site, ledger, path, size):
    assert_problem(post(site, bytes(size), path), 413, "too-large")
    assert_problem(post(site, bytes(size - 1), path), 400, "malformed")
    chunked = site.post(
        path,
        input_stream=io.BytesIO(bytes(10**6)),
        content_type=ENTRY,
        environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
    )
    assert_problem(chunked, 413, "too-large")
    assert ledger.submitted == []


def test_an_empty_body_is_malformed(site):
    assert_problem(post(site, b""), 400, "malformed")


def test_a_401_carries_the_challenges_of_the_scope(site, three_issuers):
    pledge = manifests.pledge(three_issuers, 1, choice=1)
    answer = post(site, dataclasses.replace(pledge, choice=2).to_bytes())
    assert_problem(answer, 401, "bad-signature")
    challenges = parse_www_authenticate(answer.headers["WWW-Authenticate"])
    assert [c.challenge for c in challenges] == [three_issuers.challenge(i).to_bytes() for i in range(3)]
    assert [c.token_key for c in challenges] == [keys.token_spki(i) for i in range(3)]


def test_a_wrong_scope_is_not_eligible(site):
    stranger = manifests.manifest(title=manifests.both("Another", "Une autre"))
    assert_problem(post(site, manifests.pledge(stranger, 1).to_bytes()), 403, "not-eligible")


def test_a_closed_scope_is_closed(site, clock, manifest):
    clock.day = manifests.OPENS - 1
    assert_problem(post(site, manifests.pledge(manifest, 1).to_bytes()), 403, "closed-scope")


def test_the_pages_of_other_origins_are_refused(site, ledger, manifest):
    data = manifests.pledge(manifest, 1).to_bytes()
    for origin in ("https://phishing.example", "null", "http://localhost:8001"):
        assert_problem(post(site, data, Origin=origin), 403, "not-eligible")
    assert ledger.submitted == []
    assert post(site, data, Origin="http://localhost:8000").status_code == 200


def test_a_wrong_promise_is_answered_502(site, ledger, manifest, caplog):
    pledge = manifests.pledge(manifest, 1)
    ledger.tamper = lambda promise: dataclasses.replace(promise, signature=bytes(64))
    with caplog.at_level(logging.DEBUG):
        assert_problem(post(site, pledge.to_bytes()), 502, "misbehaviour")
    assert "misbehaviour" in caplog.text
    assert pledge.nullifier.hex() not in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnavailableError("later", 7), 503, "unavailable"),
        (RateLimitedError("slower", 7), 429, "rate-limited"),
    ],
)
def test_what_is_to_be_tried_again_says_when(site, ledger, manifest, error, status, code):
    ledger.fault = error
    answer = post(site, manifests.pledge(manifest, 1).to_bytes())
    assert_problem(answer, status, code)
    assert answer.headers["Retry-After"] == "7"


def every_answer(site, manifest):
    pledge = manifests.pledge(manifest, 1)
    yield post(site, pledge.to_bytes(), Cookie="session=1", **{"User-Agent": "canary-agent"})
    yield post(site, b"junk")
    yield post(site, b"junk", content_type="text/plain")
    yield post(site, dataclasses.replace(pledge, revision_key=bytes(32)).to_bytes())
    yield post(site, dataclasses.replace(pledge, authenticators=(bytes(256),)).to_bytes())
    yield site.get("/pledge/scopes")
    yield site.get(f"/pledge/scopes/{manifest.scope_id.hex()}")
    yield site.get(f"/pledge/scopes/{'0' * 64}")


def test_no_answer_sets_a_cookie_or_lets_a_browser_tell_where_it_was(site, manifest):
    for answer in every_answer(site, manifest):
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_nothing_about_a_request_is_logged(site, manifest, caplog, capfd):
    with caplog.at_level(logging.DEBUG):
        list(every_answer(site, manifest))
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


@given(st.binary(max_size=400) | st.binary(max_size=2200).map(lambda tail: b"\x01\x01" + tail))
def test_any_body_is_answered_with_a_problem_document(data):
    redeemer = Redeemer({}, UnreachableLedger(), lambda: manifests.OPENS)
    app = Flask("partner")
    app.register_blueprint(verifier_blueprint(redeemer))
    for path in ("/pledges", "/revisions"):
        answer = app.test_client().post(path, data=data, content_type=ENTRY)
        assert answer.status_code in (400, 403, 413)
        assert answer.content_type == "application/problem+json"


class UnreachableLedger:
    def submit(self, data: bytes) -> bytes:
        raise AssertionError("nothing malformed reaches the ledger")


@pytest.fixture
def app(redeemer):
    return create_app(VerifierConfig("http://localhost:8000/ledger"), redeemer)


def test_the_app_answers_unknown_paths_and_methods_itself(app):
    client = app.test_client()
    assert_problem(client.get("/nothing"), 404, "not-found")
    assert_problem(client.get(f"/scopes//{'0' * 64}"), 404, "not-found")
    refused = client.get("/pledges")
    assert_problem(refused, 405, "method-refused")
    assert refused.headers["Allow"] == "OPTIONS, POST"
    assert_problem(client.delete("/scopes"), 405, "method-refused")


def test_a_bug_is_answered_without_a_word_about_it(redeemer, ledger, manifest, caplog):
    app = create_app(VerifierConfig("http://localhost:8000/ledger"), redeemer)
    ledger.fault = RuntimeError("canary")
    answer = post(app.test_client(), manifests.pledge(manifest, 1).to_bytes(), "/pledges")
    assert_problem(answer, 503, "unavailable")
    assert b"canary" not in answer.data


# With the real ledger behind it.


@pytest.fixture(scope="module")
def today_open() -> Manifest:
    """Open whenever the tests run: the example reads the machine's clock."""
    return manifests.manifest(
        title=manifests.both("For a hundred years", "Pour cent ans"),
        opens="2020-01-01",
        freezes="2119-01-01",
        closes="2120-01-01",
        action=None,
        issuers=[manifests.issuer(0, token_key=1)],
    )


@dataclasses.dataclass
class Real:
    ledger: Ledger
    clock: fakes.FakeClock
    url: str
    client: FlaskClient


@pytest.fixture
def real(tmp_path: Path, manifest: Manifest, today_open: Manifest) -> Iterator[Real]:
    (tmp_path / "ledger").mkdir()
    clock = fakes.FakeClock()
    with fakes.new_ledger(tmp_path / "ledger") as ledger:
        fakes.open_scopes(ledger, manifest, today_open)
        server = make_server("127.0.0.1", 0, ledger_app(ledger, clock), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/ledger"
        with LedgerClient(url) as submitter:
            redeemer = Redeemer({manifest.scope_id: manifest}, submitter, lambda: clock() // 86400)
            app = Flask("partner")
            app.register_blueprint(verifier_blueprint(redeemer))
            yield Real(ledger, clock, url, app.test_client())
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_pledge_reaches_the_real_ledger_once(real, manifest):
    data = manifests.pledge(manifest, 1).to_bytes()
    app = real.client.application
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(app.test_client(), data, "/pledges").data, range(24)))
    assert len(set(answers)) == 1
    assert len(answers[0]) == 137
    assert real.ledger.waiting() == 1


def test_the_real_ledgers_refusals_come_through(real, manifest):
    pledge = manifests.pledge(manifest, 1)
    unknown = manifests.revision(pledge, 1).to_bytes()
    assert_problem(post(real.client, unknown, "/revisions"), 404, "not-found")
    first = post(real.client, pledge.to_bytes(), "/pledges").data
    skipped = manifests.revision(pledge, 1, serial=2).to_bytes()
    assert_problem(post(real.client, skipped, "/revisions"), 409, "revision-conflict")
    forged = dataclasses.replace(manifests.revision(pledge, 1), signature=bytes(64)).to_bytes()
    refused = post(real.client, forged, "/revisions")
    assert_problem(refused, 401, "bad-signature")
    assert len(parse_www_authenticate(refused.headers["WWW-Authenticate"])) == 1
    real.clock.set_day(manifests.CLOSES + 1)
    assert post(real.client, pledge.to_bytes(), "/pledges").data == first
    late = post(real.client, manifests.pledge(manifest, 2).to_bytes(), "/pledges")
    assert_problem(late, 403, "closed-scope")
    assert real.ledger.waiting() == 1


SCRIPT = """
import sys
sys.path[:0] = sys.argv[2:]
exec(compile(open(sys.argv[1]).read(), "app.py", "exec"))
client = app.test_client()
print(client.get("/").status_code, client.get("/pledge/scopes").json["scopes"])
pledge = open("pledge", "rb").read()
answer = client.post("/pledge/pledges", data=pledge, content_type="application/vnd.headcount.entry")
print(answer.status_code, len(answer.data))
print(sorted({"py_ecc", "webauthn", "headcount_issuer", "headcount"} & set(sys.modules)))
"""


def test_the_partners_example_accepts_a_pledge(real, today_open, tmp_path):
    example = ROOT / "examples" / "partner_flask"
    (tmp_path / "scopes").mkdir()
    (tmp_path / "scopes" / f"{today_open.scope_id.hex()}.json").write_bytes(today_open.raw)
    settings = (example / "verifier.toml").read_text()
    assert "http://localhost:8000/ledger" in settings
    (tmp_path / "verifier.toml").write_text(settings.replace("http://localhost:8000/ledger", real.url))
    (tmp_path / "pledge").write_bytes(manifests.pledge(today_open, 1).to_bytes())
    roots = [str(ROOT / name) for name in ("spec", "ledger", "verifier")]
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(example / "app.py"), *roots],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"200 ['{today_open.scope_id.hex()}']", "200 137", "[]"]
    assert real.ledger.waiting() == 1
