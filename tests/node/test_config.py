from __future__ import annotations

from pathlib import Path

import pytest

from headcount_node.config import Listen, NodeConfig
from headcount_node.serve import parts
from headcount_spec.errors import ConfigurationError, MalformedError

LEDGER = '[ledger]\ndirectory = "ledger"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "headcount.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_role_without_a_table_does_not_run(tmp_path: Path) -> None:
    config = NodeConfig.from_file(write(tmp_path, LEDGER))
    assert config.issuer is None
    assert config.verifier is None
    assert parts(config) == ["ledger", "public", "public"]


def test_places_are_relative_to_the_file(tmp_path: Path) -> None:
    config = NodeConfig.from_file(write(tmp_path, LEDGER))
    assert config.ledger is not None
    assert config.ledger.directory == tmp_path / "ledger"


def test_the_two_origins_have_ports_of_their_own(tmp_path: Path) -> None:
    text = '[node]\npublic = "127.0.0.1:9000"\npersonhood = "127.0.0.1:9001"\n'
    config = NodeConfig.from_file(write(tmp_path, text))
    assert (config.public, config.personhood) == (Listen("127.0.0.1", 9000), Listen("127.0.0.1", 9001))


@pytest.mark.parametrize(
    "text",
    [
        "[node",
        "[nobody]\n",
        "[node]\nunknown = 1\n",
        '[node]\npublic = "example.org:80"\n',
        "[node]\nthreads = 0\n",
        "[ledger]\n",
        "\xff",
    ],
)
def test_what_is_wrong_in_the_file_is_an_error_of_ours(tmp_path: Path, text: str) -> None:
    path = tmp_path / "headcount.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError):
        NodeConfig.from_file(path)


def test_a_file_that_is_missing_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        NodeConfig.from_file(tmp_path / "nothing.toml")


@pytest.mark.parametrize("text", ["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", ":80", "127.0.0.1:080"])
def test_an_address_has_a_host_and_a_port(text: str) -> None:
    with pytest.raises(MalformedError):
        Listen.from_text(text)
