from __future__ import annotations

import base64
import hashlib
import logging
import urllib.parse

import pytest

from headcount_issuer.attesters.in_person import format_code

N = 12
DAY_S = 86400


def spellings(value: bytes) -> set[bytes]:
    """The value in clear and in every encoding in which a program might leave it."""
    found = {value, value[::-1], urllib.parse.quote(value).encode()}
    for data in (
        value,
        hashlib.sha256(value).digest(),
        hashlib.sha1(value, usedforsecurity=False).digest(),
        hashlib.md5(value, usedforsecurity=False).digest(),
    ):
        found |= {data, data.hex().encode(), data.hex().upper().encode(), repr(data).encode()}
        for start in range(3):  # base64 inside longer base64 has one of three alignments
            part = data[start:]
            part = part[: len(part) - len(part) % 3]
            found |= {base64.b64encode(part), base64.urlsafe_b64encode(part), base64.b32encode(data)}
    text = value.decode("latin-1")
    found |= {
        text.encode("utf-16-le"),
        text.encode("utf-16-be"),
        text.upper().encode(),
        text.lower().encode(),
    }
    return {item for item in found if len(item) >= 6}


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
