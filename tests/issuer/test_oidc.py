from __future__ import annotations

import base64
import html
import json
import re
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jws
from joserfc.jwk import Key, OctKey

from forger import CLIENT, EC, GOOD, KEYS, NONCE, NOW, OLD, PROVIDER, RSA, SECRET_KEY, Forger, signed
from headcount_issuer.attester import Means
from headcount_issuer.attesters.oidc import OidcConfig
from headcount_issuer.id_token import ALGORITHMS, LEEWAY_S, MAX_AGE_S, verify_id_token
from headcount_issuer.oidc_provider import AGAIN_S, KEPT_S
from headcount_spec.errors import CodeRefusedError, ConfigurationError, MalformedError
from headcount_spec.members import Members


def key_of(key_id: str | None, algorithm: str) -> Key:
    if key_id is None or key_id not in KEYS:
        raise CodeRefusedError("no such key")
    return KEYS[key_id]


def subject(token: str, algorithms: tuple[str, ...] = ("RS256", "ES256")) -> str:
    return verify_id_token(
        token, key_of, algorithms=algorithms, issuer=PROVIDER, client_id=CLIENT, nonce=NONCE, now=NOW
    )


def refused(token: str, algorithms: tuple[str, ...] = ("RS256", "ES256")) -> None:
    with pytest.raises(CodeRefusedError) as error:
        subject(token, algorithms)
    assert "s-17" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"aud": [CLIENT]},
        {"azp": CLIENT},
        {"iat": NOW + LEEWAY_S, "nbf": NOW + LEEWAY_S},
        {"iat": NOW - 300, "exp": NOW - LEEWAY_S + 1},
        {"auth_time": NOW - 10_000, "acr": "0", "email": "ada@example.org"},
    ],
)
def test_a_good_token_names_its_subject(change):
    assert subject(signed(GOOD | change)) == "s-17"
    assert subject(signed(GOOD | change, EC, "ES256")) == "s-17"


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "another-client"},
        {"aud": [CLIENT, "another-client"]},
        {"aud": [CLIENT, "another-client"], "azp": CLIENT},
        {"aud": []},
        {"aud": {"is": CLIENT}},
        {"aud": None},
        {"azp": "another-client"},
        {"azp": 7},
        {"iss": "https://log-in.example/other-tenant"},
        {"iss": PROVIDER + "/"},
        {"iss": PROVIDER.upper()},
        {"iss": [PROVIDER]},
        {"nonce": "another"},
        {"nonce": NONCE + " "},
        {"nonce": None},
        {"nonce": [NONCE]},
        {"sub": ""},
        {"sub": 17},
        {"sub": "s" * 256},
        {"sub": "s\n17"},
        {"sub": "s-é"},
        {"exp": NOW - LEEWAY_S},
        {"exp": "2999"},
        {"exp": True},
        {"iat": NOW + LEEWAY_S + 1},
        {"iat": NOW - MAX_AGE_S - LEEWAY_S - 1, "exp": NOW + 300},
        {"iat": 1.5},
        {"nbf": NOW + LEEWAY_S + 1},
    ],
)
def test_a_token_for_somebody_else_or_another_time_is_refused(change):
    refused(signed(GOOD | change))


@pytest.mark.parametrize("name", sorted(GOOD))
def test_every_claim_must_be_there(name):
    refused(signed({key: value for key, value in GOOD.items() if key != name}))


def test_a_token_that_nobody_signed_is_refused():
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    for algorithm in ("none", "None", "NONE", "", None, ["none"], {"a": 1}):
        head = part({"alg": algorithm, "kid": "rsa"})
        refused(f"{head}.{part(GOOD)}.")
        refused(f"{head}.{part(GOOD)}.AAAA", ALGORITHMS)
    refused(f"{part({'kid': 'rsa'})}.{part(GOOD)}.")
    assert "none" not in ALGORITHMS


def test_the_public_key_is_no_secret_for_an_hmac():
    for secret in (RSA.as_pem(private=False), RSA.as_der(private=False)):
        token = jws.serialize_compact(
            {"alg": "HS256", "kid": "rsa"},
            json.dumps(GOOD),
            OctKey.import_key(base64.urlsafe_b64encode(secret)),
            algorithms=["HS256"],
        )
        refused(token)
        refused(token, ALGORITHMS)
    assert not any(algorithm.startswith("HS") for algorithm in ALGORITHMS)


def test_a_key_signs_by_its_own_algorithm_only():
    refused(signed(GOOD, RSA, "RS512"))
    refused(signed(GOOD, RSA, "RS256", kid="ec"))
    refused(signed(GOOD, EC, "ES256", kid="rsa"))
    refused(signed(GOOD, RSA, "PS256"))


def test_old_and_foreign_keys_are_refused():
    refused(signed(GOOD, OLD))
    refused(signed(GOOD, RSA, kid="gone"))
    jwk = RSA.as_dict(private=False)
    refused(signed(GOOD, OLD, jwk=jwk))


def test_extensions_that_must_be_understood_are_refused():
    def part(value: object) -> bytes:
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode())

    def by_hand(**header: object) -> str:
        head = {"alg": "RS256", "kid": "rsa", **header}
        start = b".".join(part(value).rstrip(b"=") for value in (head, GOOD))
        signature = SECRET_KEY.sign(start, PKCS1v15(), SHA256())
        return (start + b"." + part(signature).rstrip(b"=")).decode()

    assert subject(by_hand()) == "s-17"
    refused(by_hand(crit=["exp"], exp=1))
    refused(by_hand(crit=[]))
    refused(by_hand(kid=7))


def test_a_changed_token_is_refused():
    head, payload, signature = signed(GOOD).split(".")
    other = signed(GOOD | {"sub": "s-18"}).split(".")[1]
    for token in (
        f"{head}.{other}.{signature}",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        f"{head}.{payload}",
        f"{head}.{payload}.{signature}.",
        "",
        "...",
        "\ud800",
        "a" * 20_000,
        "é.é.é",
    ):
        refused(token)


# The same over HTTP.


@pytest.fixture
def forger() -> Forger:
    return Forger()


@pytest.fixture
def config(config, tmp_path):
    (tmp_path / "secret").write_text("client secret")
    (tmp_path / "secret").chmod(0o600)
    oidc = OidcConfig(PROVIDER, CLIENT, "Example & Co", tmp_path / "secret")
    object.__setattr__(config, "attesters", {**config.attesters, "oidc": oidc})
    return config


@pytest.fixture
def scope(world, forger):
    world.clock.now = NOW
    provider = world.issuer._attesters["oidc"]._provider
    provider._http = httpx.Client(transport=httpx.WSGITransport(forger.app()), base_url=PROVIDER)
    return world.open(
        level="oidc", opens="2027-01-10", freezes="2027-01-20", closes="2027-01-20", action=None
    )


def begin(world, scope) -> tuple[str, str]:
    question = {"scope": scope.scope_id.hex(), "attester": "oidc", "evidence": {}}
    begun = world.post("/sessions", question).get_json()
    return begun["session"], begun["page"].removeprefix(world.config.url)


def leave(world, forger, page) -> str:
    """The state with which the browser goes to the provider."""
    away = world.http.post(page)
    assert away.status_code == 400
    away = world.http.post(page, data={"go": "1"})
    assert away.status_code == 200, away.text
    found = re.search(r'href="([^"]+)"', away.text)
    assert found
    query = dict(httpx.URL(html.unescape(found[1])).params)
    forger.nonce = query["nonce"]
    return query["state"]


def come_back(world, state: str, **query: str) -> Any:
    back = world.http.get("/prove/return", query_string={"state": state, **query})
    if back.status_code != 200:
        return back
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', back.text))
    action = re.search(r'action="([^"]+)"', back.text)
    assert action
    return world.http.post(action[1], data=fields)


def test_the_whole_way_through_the_pages(world, forger, scope, person):
    bearer, page = begin(world, scope)
    first = world.http.get(page).text
    assert "Example &amp; Co" in first
    assert scope.title_text in first
    done = come_back(world, leave(world, forger, page), code="the code", iss=PROVIDER)
    assert done.status_code == 200, done.text
    assert "s-17" not in done.text
    code = re.search(r"\b\d{8}\b", done.text)
    assert code
    assert forger.form["code"] == "the code"
    assert forger.form["redirect_uri"] == f"{world.config.url}/prove/return"
    assert "client_id" not in forger.form
    proved = world.post("/sessions/evidence", {"code": code[0]}, bearer)
    assert proved.get_json() == {"state": "proved"}
    assert world.sign(bearer, person(scope, "ada").request).status_code == 200


def test_the_same_account_gets_one_token(world, forger, scope, person, problem_of):
    def token(name: str, sub: str) -> Any:
        forger.claims = {"sub": sub}
        bearer, page = begin(world, scope)
        done = come_back(world, leave(world, forger, page), code="c")
        code = re.search(r"\b\d{8}\b", done.text)
        assert code
        world.post("/sessions/evidence", {"code": code[0]}, bearer)
        return world.sign(bearer, person(scope, name).request)

    assert token("ada", "s-17").status_code == 200
    assert problem_of(token("ada again", "s-17")) == (409, "already-issued")
    assert token("bob", "s-18").status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"nonce": "another"},
        {"exp": NOW - 3600},
        {"sub": None},
    ],
)
def test_a_forged_log_in_burns_nothing_and_can_be_begun_again(world, forger, scope, claims):
    forger.claims = claims
    bearer, page = begin(world, scope)
    done = come_back(world, leave(world, forger, page), code="c")
    assert done.status_code == 403
    assert not re.search(r"\b\d{8}\b", done.text)
    forger.claims = {}
    question = {"attester": "oidc", "evidence": {}}
    page = world.post("/sessions/next", question, bearer).get_json()["page"]
    page = page.removeprefix(world.config.url)
    assert come_back(world, leave(world, forger, page), code="c").status_code == 200


def test_a_state_of_another_log_in_or_none_is_refused(world, forger, scope):
    _, page = begin(world, scope)
    state = leave(world, forger, page)
    assert come_back(world, "invented", code="c").status_code == 403
    assert come_back(world, "", code="c").status_code == 403
    assert come_back(world, state, code="c").status_code == 200
    assert come_back(world, state, code="c").status_code == 403


def test_a_response_without_a_log_in_is_refused(world, forger, scope):
    _, page = begin(world, scope)
    assert world.http.post(page, data={"code": "c"}).status_code == 403
    assert "token" not in forger.asked
    _, page = begin(world, scope)
    broken = come_back(world, leave(world, forger, page), error="access_denied", error_description="x<b>")
    assert broken.status_code == 403
    assert "<b>" not in broken.text


def test_getting_the_way_back_asks_the_provider_nothing(world, forger, scope):
    _, page = begin(world, scope)
    state = leave(world, forger, page)
    for _ in range(3):
        world.http.get("/prove/return", query_string={"state": state, "code": "c"})
    assert "token" not in forger.asked
    assert come_back(world, state, code="c").status_code == 200


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": PROVIDER + "/"},
        {"token_endpoint": "http://log-in.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"subject_types_supported": ["public"]},
        {"response_types_supported": None},
        {"padding": "x" * 300_000},
    ],
)
def test_a_provider_that_is_another_is_not_used(world, forger, scope, metadata):
    forger.metadata = metadata
    _, page = begin(world, scope)
    assert world.http.post(page, data={"go": "1"}).status_code == 503


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_what_the_provider_refuses_is_not_proved(world, forger, scope, status):
    forger.status = status
    _, page = begin(world, scope)
    done = come_back(world, leave(world, forger, page), code="c")
    assert done.status_code == (403 if status in (400, 401) else 503)


def test_unknown_keys_are_asked_for_once_a_minute(world, forger, scope):
    forger.token = "x"
    for i in range(6):
        forger.token = signed(GOOD, RSA, kid=f"gone {i}")
        _, page = begin(world, scope)
        assert come_back(world, leave(world, forger, page), code="c").status_code == 403
    assert forger.asked.count("keys") == 1
    world.clock.now += AGAIN_S
    for _i in range(3):
        _, page = begin(world, scope)
        assert come_back(world, leave(world, forger, page), code="c").status_code == 403
    assert forger.asked.count("keys") == 2
    assert forger.asked.count("discovery") == 1
    world.clock.now += KEPT_S
    _, page = begin(world, scope)
    leave(world, forger, page)
    assert forger.asked.count("discovery") == 2


TABLE = {"issuer": PROVIDER, "client_id": "c", "label": "L"}


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "http://log-in.example"},
        {"issuer": "https://log-in.example?x"},
        {"issuer": "https://log|in.example"},
        {"algorithms": ["none"]},
        {"algorithms": ["HS256"]},
        {"algorithms": []},
        {"subjects": "both"},
        {"label": ""},
        {"scope": "openid email"},
    ],
)
def test_a_table_that_asks_for_more_is_refused(tmp_path, change):
    with pytest.raises(MalformedError):
        OidcConfig.read(Members({**TABLE, **change}, "oidc"), tmp_path)
    assert OidcConfig.read(Members(TABLE, "oidc"), tmp_path).algorithms == ("RS256", "ES256")


def test_a_secret_that_is_open_to_others_is_refused(tmp_path):
    (tmp_path / "open").write_text("x")
    config = OidcConfig(PROVIDER, CLIENT, "L", tmp_path / "open")
    with pytest.raises(ConfigurationError):
        config.make(Means(**dict.fromkeys(set(Means.__dataclass_fields__) - {"draw"}, "")))
