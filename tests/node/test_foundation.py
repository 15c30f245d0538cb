from __future__ import annotations

import stat
from pathlib import Path

import pytest

from headcount.cli import run
from headcount_issuer.issuer import Issuer
from headcount_ledger.ledger import Ledger
from headcount_node.config import Listen, NodeConfig
from headcount_node.foundation import CONFIG, POLICY, Foundation, Mail
from headcount_spec.errors import ConfigurationError
from headcount_spec.policy import Policy

MAIL = Mail("127.0.0.1", 25, "codes@localhost")


def foundation(
    public: str = "http://localhost:8000", personhood: str = "http://localhost:8001"
) -> Foundation:
    return Foundation(public, personhood, ("email", "in-person"), MAIL, 60)


def test_every_role_of_a_new_node_opens(tmp_path: Path) -> None:
    config = foundation("http://localhost:9000", "http://localhost:9001").create(tmp_path / "node")
    assert config == NodeConfig.from_file(tmp_path / "node" / CONFIG)
    assert (config.public, config.personhood) == (Listen("127.0.0.1", 9000), Listen("127.0.0.1", 9001))
    assert config.ledger is not None
    assert config.issuer is not None
    assert config.verifier is not None
    assert config.verifier.folder is not None
    assert config.verifier.folder.is_dir()
    with Ledger.open(config.ledger) as ledger, Issuer.open(config.issuer) as issuer:
        assert ledger.origin == "localhost:9000/ledger"
        assert issuer.config.name == "localhost:9001"
        policy = Policy.from_bytes((tmp_path / "node" / POLICY).read_bytes())
        assert [(log.key, log.url) for log in policy.logs] == [
            (ledger.verification_key, "http://localhost:9000/ledger")
        ]


def test_in_the_world_the_servers_listen_behind_a_web_server(tmp_path: Path) -> None:
    config = foundation("https://example.org", "https://people.example.org").create(tmp_path / "node")
    assert (config.public, config.personhood) == (Listen("127.0.0.1", 8000), Listen("127.0.0.1", 8001))
    assert config.issuer is not None
    assert (config.issuer.name, config.issuer.url) == ("people.example.org", "https://people.example.org")
    assert config.issuer.ledger == "https://example.org/ledger"


def test_without_the_mail_attester_no_mail_server_is_named(tmp_path: Path) -> None:
    config = Foundation("https://a.example", "https://b.example", ("in-person",), MAIL, 60).create(tmp_path)
    assert config.issuer is not None
    assert list(config.issuer.attesters) == ["in-person"]


@pytest.mark.parametrize(
    ("public", "personhood"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("localhost:8000", "http://localhost:8001"),
        ("http://localhost:8000/here", "http://localhost:8001"),
        ("http://localhost:x", "http://localhost:8001"),
        ("ftp://localhost", "http://localhost:8001"),
        ('http://localhost"\n', "http://localhost:8001"),
    ],
)
def test_addresses_are_two_origins(tmp_path: Path, public: str, personhood: str) -> None:
    with pytest.raises(ConfigurationError):
        foundation(public, personhood).create(tmp_path / "node")
    assert not (tmp_path / "node").exists()


def test_a_wrong_value_leaves_nothing_behind(tmp_path: Path) -> None:
    wrong = Foundation("http://localhost:1", "http://localhost:2", ("email",), Mail("no host", 25, "x"), 60)
    with pytest.raises(ConfigurationError, match="sender"):
        wrong.create(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_where_everything_is_and_never_overwrites(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "node"
    assert run(["init", str(folder)]) == 0
    assert f"Next: headcount serve {folder / CONFIG}" in capsys.readouterr().out
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run(["init", str(folder)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_what_is_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    foundation().create(tmp_path)
    for name in ("key", "ledger.sqlite", "issuer/issuer.sqlite", "issuer/keys/notice.pem"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600, name
