from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import keys
import manifests
import softhsm
from headcount_issuer import sealed_key
from headcount_issuer.attesters.in_person import InPersonConfig
from headcount_issuer.cli import issuer
from headcount_issuer.config import IssuerConfig
from headcount_issuer.custody import CustodyConfig, Secret, encrypt_keys
from headcount_issuer.enrolment import Draft, Opened
from headcount_issuer.issuer import Issuer
from headcount_issuer.keys import Keys, write_private
from headcount_spec import jcs
from headcount_spec.errors import ConfigurationError, MalformedError, NotEligibleError, UnknownKeyError
from headcount_spec.scope import Manifest
from headcount_spec.spki import token_key_id

PASSPHRASE = b"a passphrase of thirty-two bytes"


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    path = tmp_path / "passphrase"
    write_private(path, PASSPHRASE + b"\n")
    return Secret(path)


def test_an_encrypted_key_is_read_by_openssl_and_by_nobody_without_the_passphrase(tmp_path, secret):
    folder = tmp_path / "keys"
    Keys.create(folder, CustodyConfig(secret))
    kept = Keys(folder, CustodyConfig(secret))
    key_id = token_key_id(kept.create_token_key())
    path = folder / f"{key_id.hex()}.pem"
    pem = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert sealed_key.is_sealed(pem)
    public = kept.signing_key(key_id).public
    command = ["openssl", "rsa", "-in", str(path), "-noout", "-modulus", "-passin", f"file:{secret.path}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert int(printed.strip().removeprefix("Modulus="), 16) == public.n
    for passphrase in (None, b"another passphrase of some length"):
        with pytest.raises((ValueError, TypeError)):
            load_pem_private_key(pem, passphrase)
    assert sealed_key.is_sealed((folder / "notice.pem").read_bytes())
    assert len(kept.notice_seed) == 32


def test_salt_and_initial_vector_are_drawn_anew(tmp_path, secret):
    Keys.create(tmp_path / "keys", CustodyConfig(secret))
    kept = Keys(tmp_path / "keys", CustodyConfig(secret))
    first, second = (
        tmp_path / "keys" / f"{token_key_id(kept.create_token_key()).hex()}.pem" for _ in range(2)
    )
    lines = [path.read_text().splitlines() for path in (first, second)]
    assert lines[0][1] != lines[1][1]


def test_a_passphrase_that_is_another_is_told(tmp_path, secret):
    Keys.create(tmp_path / "keys", CustodyConfig(secret))
    secret.path.write_bytes(b"another passphrase of some length")
    with pytest.raises(ConfigurationError, match="does not open with the passphrase"):
        _ = Keys(tmp_path / "keys", CustodyConfig(secret)).notice_seed


def test_plain_keys_are_refused_once_there_is_a_passphrase_and_encrypted_on_demand(tmp_path, secret):
    folder = tmp_path / "keys"
    Keys.create(folder)
    plain = Keys(folder)
    key_id = token_key_id(plain.create_token_key())
    seed, public = plain.notice_seed, plain.signing_key(key_id).public
    before = (folder / f"{key_id.hex()}.pem").read_bytes()
    kept = Keys(folder, CustodyConfig(secret))
    with pytest.raises(ConfigurationError, match="headcount issuer encrypt-keys"):
        _ = kept.notice_seed
    with pytest.raises(ConfigurationError, match="headcount issuer encrypt-keys"):
        kept.signing_key(key_id)
    assert secret is not None
    assert len(encrypt_keys(folder, secret)) == 2
    assert encrypt_keys(folder, secret) == []
    assert (kept.notice_seed, kept.signing_key(key_id).public) == (seed, public)
    assert not [path for path in folder.iterdir() if before[40:200] in path.read_bytes()]
    assert len(list(folder.iterdir())) == 2
    with pytest.raises(ConfigurationError, match="names no passphrase"):
        _ = Keys(folder).notice_seed


def test_an_encryption_that_was_stopped_goes_on(tmp_path, secret):
    folder = tmp_path / "keys"
    Keys.create(folder)
    seed = Keys(folder).notice_seed
    (folder / ".notice.pem.old").hardlink_to(folder / "notice.pem")  # as it is before the replacement
    encrypt_keys(folder, secret)
    assert [path.name for path in folder.iterdir()] == ["notice.pem"]
    assert Keys(folder, CustodyConfig(secret)).notice_seed == seed


def test_a_credential_of_systemd(tmp_path, monkeypatch):
    secret = Secret(None, "headcount-passphrase")
    with pytest.raises(ConfigurationError, match="systemd did not load it"):
        secret.read()
    write_private(tmp_path / "headcount-passphrase", PASSPHRASE)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret.read() == PASSPHRASE


def test_a_secret_is_its_owners_and_long_enough(tmp_path, secret):
    secret.path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="open to others"):
        secret.read()
    secret.path.chmod(0o600)
    secret.path.write_bytes(b"short\n")
    with pytest.raises(ConfigurationError, match="too short"):
        Keys.create(tmp_path / "keys", CustodyConfig(secret))


def config_of(tmp_path: Path, custody: str) -> IssuerConfig:
    path = tmp_path / "headcount.toml"
    path.write_text(
        '[issuer]\nname = "issuer.example"\nurl = "http://localhost:8001"\ndirectory = "issuer"\n'
        f'ledger = "http://localhost:8000/ledger"\n\n[issuer.attesters.in-person]\n\n[issuer.custody]\n{custody}\n'
    )
    return IssuerConfig.from_file(path)


def test_the_table_of_the_custody(tmp_path):
    assert config_of(tmp_path, 'passphrase_file = "p"').custody == CustodyConfig(Secret(tmp_path / "p"))
    custody = config_of(
        tmp_path, 'pkcs11 = "/m.so"\ntoken = "t"\npin_credential = "pin"\nsessions = 3\npassphrase_file = "p"'
    ).custody
    assert custody == CustodyConfig(Secret(tmp_path / "p"), Path("/m.so"), "t", Secret(None, "pin"), 3)


@pytest.mark.parametrize(
    "custody",
    [
        'passphrase = "in the file"',
        'passphrase_file = "a"\npassphrase_credential = "b"',
        'passphrase_credential = "../b"',
        'pkcs11 = "/m.so"\ntoken = "t"',
        'pkcs11 = "/m.so"\npin_file = "p"',
        'pkcs11 = "/m.so"\ntoken = "t"\npin_file = "p"\nsessions = 0',
        'pkcs11 = "/m.so"\ntoken = "t"\npin = "1234"',
        'pin_file = "p"',
    ],
)
def test_a_custody_that_makes_no_sense(tmp_path, custody):
    with pytest.raises(ConfigurationError):
        config_of(tmp_path, custody)


def test_a_new_issuer_has_encrypted_keys(tmp_path):
    made = CliRunner().invoke(
        issuer, ["init", str(tmp_path), "--attester", "in-person"], catch_exceptions=False
    )
    assert made.exit_code == 0
    passphrase = tmp_path / "issuer.passphrase"
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert len(passphrase.read_bytes()) > 40
    assert sealed_key.is_sealed((tmp_path / "issuer" / "keys" / "notice.pem").read_bytes())
    run = ["--config", str(tmp_path / "headcount.toml")]
    again = CliRunner().invoke(issuer, [*run, "encrypt-keys"], catch_exceptions=False)
    assert again.output.startswith("0 keys encrypted")
    listed = CliRunner().invoke(issuer, [*run, "inventory"], catch_exceptions=False)
    assert "encrypted under a passphrase" in listed.output


def test_a_second_key_for_a_scope_is_refused(world):
    scope = world.open(0)
    other = token_key_id(keys.token_spki(1))
    with pytest.raises(NotEligibleError, match="another key needs a new scope"):
        world.issuer._store.enrol(scope, other)
    # Another key in the terms is another scope; and a notice for it in this one is refused by everybody.
    changed = world.manifest(1, title=scope.json["title"])
    assert changed.scope_id != scope.scope_id
    body = {"issuer": world.config.name, "token_key_id": other.hex()}
    with pytest.raises(MalformedError):
        world.ledger(
            manifests.notice(
                scope, "issuer", "opening", body, world.ledger.taken[scope.scope_id][-1]
            ).to_bytes()
        )


# A PKCS #11 token in the place of the files


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> softhsm.Token:
    return softhsm.Token.create(tmp_path, monkeypatch)


@pytest.fixture
def hsm_world(world: Any, token: softhsm.Token, tmp_path: Path) -> Iterator[Any]:
    write_private(tmp_path / "pin", softhsm.PIN.encode())
    custody = CustodyConfig(None, softhsm.module(), softhsm.LABEL, Secret(tmp_path / "pin"))
    world.config = dataclasses.replace(world.config, custody=custody)
    world.restart()
    return world


def open_in_token(world: Any) -> Manifest:
    draft = world.manifest(0).json
    del draft["issuers"][0]["token_key"]
    answer = world.issuer.enrol(jcs.canonicalise(draft))
    assert isinstance(answer, Draft)
    scope = Manifest.from_bytes(jcs.canonicalise(answer.value))
    world.ledger.manifests[scope.scope_id] = scope
    assert world.issuer.enrol(scope.raw) == Opened(scope.scope_id)
    return scope


def blinded(scope: Manifest, number: int = 0) -> bytes:
    from headcount_spec.token import TokenRequest

    return TokenRequest(
        scope.issuers[0].token_key_id[-1], (7 ** (700 + number)).to_bytes(256, "big")
    ).to_bytes()


def test_an_issuer_signs_with_a_key_in_the_token(hsm_world, config):
    scope = open_in_token(hsm_world)
    assert not (config.keys / f"{scope.issuers[0].token_key_id.hex()}.pem").exists()
    bearer = hsm_world.prove(scope, "ada@example.org")
    answer = hsm_world.sign(bearer, blinded(scope))
    assert answer.status_code == 200
    n, signature = int.from_bytes(scope.issuers[0].token_key[-261:-5], "big"), answer.get_data()
    assert pow(int.from_bytes(signature, "big"), 65537, n) == 7**700
    hsm_world.restart()
    bearer = hsm_world.prove(scope, "ada@example.org")
    assert hsm_world.sign(bearer, blinded(scope)).get_data() == signature
    assert hsm_world.sign(bearer, blinded(scope, 1)).status_code == 409


def test_a_removed_token_burns_no_quota(hsm_world, token, config):
    scope = open_in_token(hsm_world)
    bearer = hsm_world.prove(scope, "ada@example.org")
    token.remove()
    for _ in range(3):
        answer = hsm_world.sign(bearer, blinded(scope))
        assert answer.status_code == 503
        assert answer.get_json()["code"] == "unavailable"
    assert hsm_world.issuer._store.count_tags(1) == 0
    assert hsm_world.issuer.scopes()[0].issued == 0
    token.put_back()
    # Nothing was used up: not even the message is fixed.
    assert hsm_world.sign(bearer, blinded(scope, 1)).status_code == 200
    assert hsm_world.issuer.scopes()[0].issued == 1


def test_closing_destroys_the_key_in_the_token(hsm_world):
    scope = open_in_token(hsm_world)
    hsm_world.clock.now = (scope.closes + 1) * 86400
    assert "token" in hsm_world.issuer.close_scope(scope.scope_id).destroyed
    with pytest.raises(UnknownKeyError):
        hsm_world.issuer._keys.signing_key(scope.issuers[0].token_key_id)


def test_an_issuer_whose_token_has_another_key_does_not_open(hsm_world, person: Callable[..., Any]):
    with pytest.raises(UnknownKeyError):
        hsm_world.open(0)  # its key lies in a file, which is not looked at


def test_create_makes_the_notice_key_beside_the_token(tmp_path, token, secret):
    write_private(tmp_path / "pin", softhsm.PIN.encode())
    custody = CustodyConfig(secret, softhsm.module(), softhsm.LABEL, Secret(tmp_path / "pin"))
    config = IssuerConfig(
        "i.example",
        "http://localhost:1",
        tmp_path / "issuer",
        "http://localhost:2",
        {"in-person": InPersonConfig()},
    )
    config = dataclasses.replace(config, custody=custody)
    Issuer.create(config)
    with Issuer.open(config) as opened:
        assert opened.inventory().custody == "a PKCS #11 token"
    assert sealed_key.is_sealed((config.keys / "notice.pem").read_bytes())
