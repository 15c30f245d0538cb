from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import softhsm
from headcount_engine import rsa
from headcount_engine.hsm import Hsm, HsmSigningKey
from headcount_spec import blind_rsa, spki
from headcount_spec.errors import (
    ConfigurationError,
    CorruptionError,
    MalformedError,
    ProtocolError,
    UnavailableError,
    UnknownKeyError,
)
from headcount_spec.spki import token_key_id

MESSAGE = (5**800).to_bytes(256, "big")


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> softhsm.Token:
    return softhsm.Token.create(tmp_path, monkeypatch)


@pytest.fixture
def hsm(token: softhsm.Token) -> Iterator[Hsm]:
    made = Hsm(softhsm.module(), softhsm.LABEL, softhsm.PIN.encode())
    yield made
    made.close()


def new_key(hsm: Hsm) -> HsmSigningKey:
    return hsm.signing_key(token_key_id(hsm.generate()))


def test_a_key_made_in_the_token_signs_what_the_public_half_verifies(hsm: Hsm) -> None:
    encoded = hsm.generate()
    public = spki.decode_token_key(encoded)
    key = hsm.signing_key(token_key_id(encoded))
    assert key.public == public
    message, salt = b"a pledge", bytes(range(48))
    blinded, inverse = blind_rsa.blind(public, message, salt, 3**1000)
    authenticator = blind_rsa.finalize(public, message, rsa.blind_sign(key, blinded), inverse)
    rsa.verify(rsa.load_public_key(encoded), message, authenticator)
    with pytest.raises(MalformedError):
        rsa.blind_sign(key, bytes(256))


def test_the_private_half_cannot_be_read_out(hsm: Hsm, token: softhsm.Token) -> None:
    import pkcs11

    key_id = token_key_id(hsm.generate())
    hsm.close()
    session = (
        pkcs11.lib(str(softhsm.module())).get_token(token_label=softhsm.LABEL).open(user_pin=softhsm.PIN)
    )
    with session:
        private = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, id=key_id)
        assert (private[pkcs11.Attribute.SENSITIVE], private[pkcs11.Attribute.EXTRACTABLE]) == (True, False)
        with pytest.raises(pkcs11.exceptions.PKCS11Error):
            _ = private[pkcs11.Attribute.PRIVATE_EXPONENT]


def test_many_threads_share_the_sessions(hsm: Hsm) -> None:
    key = new_key(hsm)
    expected = rsa.blind_sign(key, MESSAGE)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: rsa.blind_sign(key, MESSAGE), range(200)))
    assert set(answers) == {expected}


def test_a_token_removed_in_the_middle_is_told_and_found_again(hsm: Hsm, token: softhsm.Token) -> None:
    key = new_key(hsm)
    expected = rsa.blind_sign(key, MESSAGE)
    token.remove()
    for _ in range(5):
        with pytest.raises(UnavailableError) as raised:
            rsa.blind_sign(key, MESSAGE)
        assert softhsm.PIN not in str(raised.value)
    token.put_back()
    assert rsa.blind_sign(key, MESSAGE) == expected


def test_a_worker_that_dies_is_replaced(hsm: Hsm) -> None:
    key = new_key(hsm)
    expected = rsa.blind_sign(key, MESSAGE)
    worker = hsm._workers._idle[-1]
    assert worker is not None
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    with pytest.raises(UnavailableError):
        rsa.blind_sign(key, MESSAGE)
    assert rsa.blind_sign(key, MESSAGE) == expected


def test_a_worker_that_hangs_is_ended(hsm: Hsm, monkeypatch: pytest.MonkeyPatch) -> None:
    key = new_key(hsm)
    worker = hsm._workers._idle[-1]
    assert worker is not None
    os.kill(worker._process.pid, signal.SIGSTOP)
    monkeypatch.setattr("headcount_engine.worker._TIMEOUT_S", 0.2)
    monkeypatch.setattr("headcount_engine.worker._END_S", 0.2)
    with pytest.raises(UnavailableError):
        rsa.blind_sign(key, MESSAGE)
    assert worker._process.poll() is not None


def test_a_worker_is_started_by_a_process_with_very_many_connections(hsm: Hsm) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(4096, hard)), hard))
    with contextlib.ExitStack() as connections:
        for _ in range(1100):
            connections.enter_context(open(os.devnull))
        assert spki.decode_token_key(hsm.generate())


def test_a_wrong_signature_of_the_token_does_not_leave(hsm: Hsm) -> None:
    key, other = new_key(hsm), new_key(hsm)
    liar = HsmSigningKey(hsm, other._key_id, key.public)
    with pytest.raises(CorruptionError):
        rsa.blind_sign(liar, MESSAGE)


def test_a_destroyed_key_is_gone(hsm: Hsm) -> None:
    key = new_key(hsm)
    assert hsm.destroy(key._key_id)
    assert not hsm.destroy(key._key_id)
    for use in (lambda: rsa.blind_sign(key, MESSAGE), lambda: hsm.signing_key(key._key_id)):
        with pytest.raises(UnknownKeyError):
            use()


def test_a_wrong_pin_is_tried_once(token: softhsm.Token) -> None:
    hsm = Hsm(softhsm.module(), softhsm.LABEL, b"0000")
    for _ in range(20):  # more than any token forgives
        with pytest.raises(ConfigurationError, match="PinIncorrect"):
            hsm.generate()
    hsm.close()
    again = Hsm(softhsm.module(), softhsm.LABEL, softhsm.PIN.encode())
    assert again.generate()
    again.close()


@pytest.mark.parametrize(("module", "label"), [("/nowhere.so", softhsm.LABEL), ("", "another")])
def test_no_module_and_no_token_are_told(token: softhsm.Token, module: str, label: str) -> None:
    hsm = Hsm(Path(module) if module else softhsm.module(), label, softhsm.PIN.encode())
    with pytest.raises(ProtocolError, match="key token does not answer"):
        hsm.generate()
    hsm.close()


def test_a_closed_one_answers_nobody(hsm: Hsm) -> None:
    key = new_key(hsm)
    hsm.close()
    with pytest.raises(UnavailableError):
        rsa.blind_sign(key, MESSAGE)


def test_the_pin_is_in_no_argument(hsm: Hsm) -> None:
    new_key(hsm)
    worker = hsm._workers._idle[-1]
    assert worker is not None
    folder = Path(f"/proc/{worker._process.pid}")
    for name in ("cmdline", "environ"):
        assert softhsm.PIN.encode() not in (folder / name).read_bytes()
