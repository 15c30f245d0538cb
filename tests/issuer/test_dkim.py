from __future__ import annotations

import email
import email.policy
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import manifests
import mta
import parts
import ports
from headcount_issuer.address import parse_address
from headcount_issuer.attester import Asking
from headcount_issuer.attesters.email import EmailAttester, EmailConfig
from headcount_issuer.dkim_key import DkimConfig, DkimKey, create_key, dns_record
from headcount_issuer.keys import write_private
from headcount_issuer.letter import compose
from headcount_issuer.mail import Mailer, SmtpConfig
from headcount_spec.errors import ConfigurationError
from headcount_spec.members import Members

SENDER = "codes@issuer.example"


def write(path: Path, key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> Path:
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.fixture(params=["rsa", "ed25519"])
def config(request, tmp_path) -> DkimConfig:
    path = tmp_path / "dkim.pem"
    if request.param == "rsa":
        create_key(path)
    else:
        write(path, ed25519.Ed25519PrivateKey.generate())
    return DkimConfig("s2026", path)


def verifies(message: bytes, config: DkimConfig) -> bool:
    def dns(name: bytes, timeout: int = 5) -> bytes | None:
        assert name == b"s2026._domainkey.issuer.example."
        return dns_record(config.key_file).encode()

    return dkim.verify(message, dnsfunc=dns)


def letter(to: str) -> bytes:
    asking = Asking(manifests.manifest(), "https://campaign.example", 1_000_000)
    return compose(SENDER, parse_address(to), "12345678", asking, "fr").as_bytes()


@pytest.mark.parametrize("to", ["ada@example.org", "用户@example.org", "o'brien@example.org"])
def test_a_signed_mail_verifies_as_every_receiver_verifies_it(config, to):
    signed = DkimKey(config, "issuer.example").sign(letter(to))
    assert verifies(signed, config)
    assert b"12345678" in signed
    head = signed.partition(b"\r\n\r\n")[0]
    assert b"d=issuer.example" in head
    assert b"c=relaxed/relaxed" in head


@pytest.mark.parametrize(
    "change",
    [
        (b"12345678", b"12345679"),
        (b"Subject: ", b"Subject: Re: "),
        (b"Auto-Submitted: auto-generated", b"Auto-Submitted: no"),
        (b"From: codes@issuer.example", b"From: eve@eve.example\r\nFrom: codes@issuer.example"),
        (b"To: ada@example.org", b"To: bob@example.org"),
    ],
)
def test_a_changed_mail_does_not(config, change):
    signed = DkimKey(config, "issuer.example").sign(letter("ada@example.org"))
    assert change[0] in signed
    assert not verifies(signed.replace(*change, 1), config)


def test_the_signature_says_nothing_of_when_or_whom(config):
    signed = DkimKey(config, "issuer.example").sign(letter("ada@example.org"))
    header = signed.partition(b"\r\nFrom:")[0]
    assert header.startswith(b"DKIM-Signature:")
    assert b"ada" not in header


def test_a_key_that_cannot_serve_is_a_configuration_error(tmp_path):
    missing = DkimConfig("s", tmp_path / "missing.pem")
    short = DkimConfig("s", write(tmp_path / "short.pem", rsa.generate_private_key(65537, 1024)))  # noqa: S505
    opened = DkimConfig("s", write(tmp_path / "open.pem", ed25519.Ed25519PrivateKey.generate()))
    opened.key_file.chmod(0o644)
    write_private(tmp_path / "none.pem", b"hello")
    for config in (missing, short, opened, DkimConfig("s", tmp_path / "none.pem")):
        with pytest.raises(ConfigurationError):
            DkimKey(config, "issuer.example")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    parts.require(mta.IS_USABLE, "Postfix, and root to run it")
    with mta.postfix(tmp_path_factory.mktemp("postfix"), ports.free_ports(0)[0]) as running:
        yield running


def test_a_real_mail_server_takes_delivers_and_verifies_it(server, config):
    settings = EmailConfig(SENDER, SmtpConfig("127.0.0.1", server.port, timeout_s=10), config, work=0)
    attester = EmailAttester(
        settings, Mailer(settings.smtp, DkimKey(config, "issuer.example")), lambda: "24681357"
    )
    asking = Asking(manifests.manifest(), "https://campaign.example", 1_000_000)
    before = len(list((server._folder / "mail").glob("*/new/*")))
    try:
        for address in ("ada@people.example", "ada+tag@nowhere.example", "用户@people.example"):
            step = attester.begin(asking, Members({"address": address}, "evidence"))
        assert attester.finish(step, asking, Members({"code": "2468 1357"}, "evidence")).proves == "email"
        for person in ("ada", "user"):
            delivered = server.mails(person, before // 2 + 1)[-1]
            # Postfix delivers with LF and trace headers in front; the signature covers neither.
            message = email.message_from_bytes(delivered, policy=email.policy.SMTPUTF8)
            assert message["Auto-Submitted"] == "auto-generated"
            assert "24681357" in message.get_content()
            assert verifies(delivered.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), config)
    finally:
        attester.close()


def test_a_real_mail_server_that_refuses_is_told_nobody(server, caplog):
    mailer = Mailer(SmtpConfig("127.0.0.1", server.port, timeout_s=10, workers=1))
    asking = Asking(manifests.manifest(), "https://campaign.example", 1_000_000)
    for address in ("nobody@people.example", "ada@people.example"):
        mailer.send(compose(SENDER, parse_address(address), "11112222", asking))
    while not any(b"11112222" in mail for mail in server.mails("ada")):
        pass
    mailer.close()
    assert "recipient refused, reply [550]" in caplog.text
    assert "people.example" not in caplog.text
    assert server.log().count("nobody@people.example") >= 1
