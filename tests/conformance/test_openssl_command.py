from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

import keys
import manifests
import parts
from headcount_engine import rsa
from headcount_spec.errors import SignatureError

MANIFEST = manifests.manifest()
PLEDGE = manifests.pledge(MANIFEST, 1)
MSG = MANIFEST.token_inputs(PLEDGE.nullifier)[0]
SIG = PLEDGE.authenticators[0]
SALTS = {size: keys.sign_pss(keys.token_key(0), MSG, bytes(size)) for size in (0, 32, 47, 49)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    parts.require(shutil.which("openssl"), "the openssl command")
    pem = b"-----BEGIN PUBLIC KEY-----\n%s-----END PUBLIC KEY-----\n"
    (tmp_path / "key.pem").write_bytes(pem % base64.encodebytes(keys.token_spki(0)))
    return tmp_path


def openssl_verifies(folder: Path, msg: bytes, sig: bytes) -> bool:
    (folder / "msg").write_bytes(msg)
    (folder / "sig").write_bytes(sig)
    options = ("rsa_padding_mode:pss", "rsa_pss_saltlen:48", "rsa_mgf1_md:sha384")
    command = ["openssl", "dgst", "-sha384", *(part for option in options for part in ("-sigopt", option))]
    command += ["-verify", "key.pem", "-signature", "sig", "msg"]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=30).returncode == 0


def we_verify(msg: bytes, sig: bytes) -> bool:
    try:
        rsa.verify(rsa.load_public_key(keys.token_spki(0)), msg, sig)
    except SignatureError:
        return False
    return True


@pytest.mark.parametrize(
    ("msg", "sig", "expected"),
    [
        (MSG, SIG, True),
        (MSG[:-1], SIG, False),
        (MSG, SIG[:-1] + bytes([SIG[-1] ^ 1]), False),
        (MSG, keys.sign_pss(keys.token_key(1), MSG), False),
        *((MSG, sig, False) for sig in SALTS.values()),
    ],
    ids=["good", "other-message", "bit-flipped", "other-key", *(f"salt-{size}" for size in SALTS)],
)
def test_openssl_and_we_agree_on_the_authenticator_of_a_pledge(
    folder: Path, msg: bytes, sig: bytes, expected: bool
) -> None:
    assert openssl_verifies(folder, msg, sig) == we_verify(msg, sig) == expected
