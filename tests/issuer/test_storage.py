from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from authenticator import cose
from credentials import VCT, Government, Wallet
from headcount_issuer.attester import Proof
from headcount_issuer.attesters.device import DeviceConfig
from headcount_issuer.attesters.eid import EidConfig, TrustedIssuer
from headcount_issuer.attesters.in_person import format_code
from headcount_issuer.attesters.passkey import PasskeyConfig
from headcount_issuer.person import key_proof
from passkeys import ISSUER, Browser, begin, by_page, remember
from spellings import spellings

N = 12
DAY_S = 86400


def test_nothing_that_identifies_anybody_is_left(world, person, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    secrets: list[bytes] = []
    mail, paper = world.open(0), world.open(1, level="in-person")
    _, codes = world.issuer.make_codes(paper.scope_id, N)
    for i in range(N):
        address = f"Canary.{i}+tag@canary{i}.example.org"
        answer = world.begin(mail, address)
        bearer = answer.get_json()["session"]
        code = world.outbox.code()
        assert world.post("/sessions/evidence", {"code": "00000000"}, bearer).status_code == 403
        assert world.post("/sessions/evidence", {"code": code}, bearer).status_code == 200
        someone = person(mail, f"mail {i}")
        assert world.sign(bearer, someone.request).status_code == 200
        assert world.sign(bearer, person(mail, f"other {i}").request).status_code == 409
        assert world.sign(bearer, b"nonsense").status_code == 400
        secrets += [address.encode(), f"canary.{i}@canary{i}.example.org".encode(), b"canary", code.encode()]
        secrets += [bearer.encode(), someone.blinded_msg, someone.blinded_msg[:32], someone.blinded_msg[-32:]]
    for i, slip in enumerate(codes):
        question = {
            "scope": paper.scope_id.hex(),
            "attester": "in-person",
            "evidence": {"code": format_code(slip)},
        }
        bearer = world.post("/sessions", question).get_json()["session"]
        someone = person(paper, f"paper {i}", key=1)
        assert world.sign(bearer, someone.request).status_code == 200
        secrets += [slip, format_code(slip).encode(), format_code(slip).replace("-", "").encode()]
        secrets += [bearer.encode(), someone.blinded_msg]
    world.issuer.publish_issuance(now=True)

    def left() -> dict[str, bytes]:
        files = {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        output = capfd.readouterr()
        inventory = world.issuer.inventory()
        return files | {
            "inventory": "\n".join([*inventory.lines(), str(inventory.to_json())]).encode(),
            "log": caplog.text.encode(),
            "stdout": output.out.encode(),
            "stderr": output.err.encode(),
        }

    running = left()
    world.restart()
    restarted = left()
    world.clock.now = (mail.closes + 1) * DAY_S
    for scope in (mail, paper):
        world.issuer.close_scope(scope.scope_id)
    for place, data in [*running.items(), *restarted.items(), *left().items()]:
        for secret in secrets:
            # The digest of the blinded message is what is kept on purpose.
            kept = {hashlib.sha256(secret).digest()} if len(secret) == 256 else set()
            for spelling in spellings(secret) - kept:
                assert spelling not in data, place
    database = running[str(world.config.database)]
    assert hashlib.sha256(person(mail, "mail 0").blinded_msg).digest() in database


def test_no_column_is_a_time_or_a_text(world):
    world.open()
    with world.issuer._store.reading() as connection:
        rows = connection.exec_driver_sql(
            "SELECT t.name, c.name, c.type FROM sqlite_master t, pragma_table_info(t.name) c "
            "WHERE t.type = 'table'"
        ).all()
    assert {kind for _, _, kind in rows} == {"INTEGER", "BLOB"}
    assert not any(
        word in name for _, name, _ in rows for word in ("time", "date", "day", "_at", "address", "mail")
    )


@pytest.mark.parametrize("secret", [b"canary@example.org", b"12345678"])
def test_the_search_finds_what_a_careless_issuer_would_leave(secret):
    careless = [
        b"x" + base64.b64encode(b"ab" + secret + b"cd"),
        secret.hex().encode(),
        hashlib.sha256(secret).hexdigest().encode(),
        b"{'address': %r}" % secret.decode(),
    ]
    assert all(any(spelling in data for spelling in spellings(secret)) for data in careless)


def test_nothing_of_wallets_devices_and_accounts_is_left(world, config, person, tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, "sd_jwt")  # the wallet's, not ours
    state = Government("https://pid.example")
    (tmp_path / "pid.json").write_bytes(state.jwks)
    eid = EidConfig((VCT,), ("issuing_country", "number"), {state.name: TrustedIssuer(state.key_set, ())})
    more = {"device": DeviceConfig(), "passkey": PasskeyConfig(), "eid": eid}
    object.__setattr__(config, "attesters", {**config.attesters, **more})
    world.restart()
    mail, again = (
        world.open(0, terms={"returning": ["passkey"]}),
        world.open(1, terms={"returning": ["passkey"]}),
    )
    device, wallet = world.open(2, level="device"), world.open(3, level="eid")
    secrets: list[bytes] = []
    for i in range(N):
        address = f"canary.{i}@canary{i}.example.org"
        one = Browser(world, sign_count=i)
        proved = world.prove(mail, address)
        remember(world, proved, one)
        assert world.sign(proved, person(mail, f"mail {i}").request).status_code == 200
        one.device.sign_count += i
        back = by_page(world, again, one, "passkey")
        assert world.sign(back, person(again, f"back {i}", key=1).request).status_code == 200
        other = Browser(world)
        assert world.sign(
            by_page(world, device, other, "device"), person(device, f"device {i}", key=2).request
        )
        secrets += [address.encode(), b"canary", one.device.user_handle]
        for passkey in (one.device, other.device):
            secrets += [passkey.credential_id, cose(passkey.key), cose(passkey.key)[-32:]]
        secrets += [proved.encode(), back.encode()]
    for i in range(3):
        number = f"77-canary-{i}"
        secrets += [number.encode(), *_show(world, wallet, state, number)]

    def left() -> dict[str, bytes]:
        names = (path for path in tmp_path.rglob("*") if path.is_file() and path.name != "pid.json")
        output = capfd.readouterr()
        return {str(path): path.read_bytes() for path in names} | {
            "log": caplog.text.encode(),
            "stdout": output.out.encode(),
            "stderr": output.err.encode(),
        }

    running = left()
    world.restart()
    for place, data in [*running.items(), *left().items()]:
        for secret in secrets:
            for spelling in spellings(secret):
                assert spelling not in data, place
    assert world.issuer.accounts.count() == N


def _show(world, scope, state, number):
    """Prove oneself by a wallet; what was secret in it."""
    holder, now = Wallet(), world.clock.now
    claims = {"issuing_country": "Canaryland", "number": number, "exp": now + 1000, "iat": now}
    holder.receive(state.issue(claims, holder))
    _, page = begin(world, scope, "eid")
    form = {"content_type": "application/x-www-form-urlencoded"}
    away = world.http.post(page.removeprefix(ISSUER), data="", **form).text
    asked = parse_qs(urlsplit(re.findall(r'href="(openid4vp:[^"]+)"', away)[0].replace("&amp;", "&")).query)
    nonce, audience, token = (asked[name][0] for name in ("nonce", "client_id", "state"))
    shown = holder.present("issuing_country", "number", nonce=nonce, audience=audience, at=now)
    posted = {"vp_token": json.dumps({"person": [shown]}), "state": token}
    told = world.http.post("/prove/wallet", data=posted)
    assert told.status_code == 200, told.text
    code = told.get_json()["redirect_uri"].rpartition("=")[2]
    done = world.http.post(f"/prove/{token}", data={"response_code": code})
    assert done.status_code == 200
    return [b"Canaryland", nonce.encode(), code.encode(), token.encode(), shown.rpartition("~")[2].encode()]


def test_the_account_holds_what_it_says_while_its_passkey_is_shown(world, config):
    object.__setattr__(config, "attesters", {**config.attesters, "passkey": PasskeyConfig()})
    world.restart()
    scope = world.open(0, terms={"returning": ["passkey"]})
    ada = Browser(world)
    remember(world, world.prove(scope, "ada@example.org"), ada)
    account = world.issuer.accounts.find(ada.device.user_handle, ada.device.credential_id)
    assert account.passkey.public_key == cose(ada.device.key)
    key = (config.keys / "account.key").read_bytes()
    proof = Proof("email", (b"email\0ada@example.org",))
    assert account.proof.inputs == key_proof(key, proof).inputs
