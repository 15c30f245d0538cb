from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headcount_issuer.attesters.email import EmailConfig
from headcount_issuer.config import IssuerConfig
from headcount_spec.errors import ConfigurationError

GOOD = """
[issuer]
name = "issuer.example"
url = "https://issuer.example"
directory = "data"
ledger = "https://ledger.example/log"

[issuer.attesters.email]
sender = "campaign@issuer.example"
domain_quotas = { "example.edu" = 5000 }

[issuer.attesters.email.smtp]
host = "mail.example"
port = 587
tls = "starttls"
user = "campaign"
password_file = "smtp-password"

[issuer.attesters.in-person]
"""


def read(tmp_path: Path, text: str) -> IssuerConfig:
    path = tmp_path / "headcount.toml"
    path.write_text(text)
    return IssuerConfig.from_file(path)


def test_a_table_is_read_with_paths_relative_to_its_file(tmp_path):
    config = read(tmp_path, GOOD)
    assert config.database == tmp_path / "data" / "issuer.sqlite"
    assert config.keys == tmp_path / "data" / "keys"
    assert list(config.attesters) == ["email", "in-person"]
    email = config.attesters["email"]
    assert isinstance(email, EmailConfig)
    assert email.domain_quotas == {"example.edu": 5000}
    assert email.smtp.password_file == tmp_path / "smtp-password"
    assert config.session_s == 600


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "issuer.example"', ""),
        ('"issuer.example"', '"Issuer Example"'),
        ('"https://issuer.example"', '"issuer.example"'),
        ('"https://issuer.example"', '"https://issuer.example/"'),
        ("port = 587", "port = 0"),
        ("port = 587", 'port = "587"'),
        ('tls = "starttls"', 'tls = "maybe"'),
        ('sender = "campaign@issuer.example"', 'sender = "a\\nBcc: b@c.example"'),
        ('user = "campaign"', ""),
        ("[issuer.attesters.email]", "[issuer.attesters.E-Mail]"),
        ("[issuer.attesters.in-person]", "[issuer.attesters.palmistry]"),
        ("[issuer.attesters.in-person]", "[issuer.attesters.in-person]\nsurprise = 1"),
        ("5000", "0"),
        ('"example.edu"', '"*.edu"'),
        ("[issuer.attesters.email]", "surprise = 1\n[issuer.attesters.email]"),
        ("[issuer.attesters.email]", "[issuer.attesters.email]\nsurprise = 1"),
        ("[issuer.attesters.email.smtp]", "[issuer.attesters.email.mail]"),
        ("[issuer]", "[issuers]"),
        ("[issuer]", "[issuer"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new):
    assert old in GOOD
    with pytest.raises(ConfigurationError):
        read(tmp_path, GOOD.replace(old, new, 1))


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigurationError):
        IssuerConfig.from_file(tmp_path / "missing.toml")


values = (
    st.none()
    | st.integers()
    | st.text(max_size=9)
    | st.booleans()
    | st.floats()
    | st.lists(st.text(max_size=3))
)
names = st.sampled_from(["name", "url", "directory", "ledger", "attesters", "session_s", "max_sessions"])


@given(st.dictionaries(names, values | st.dictionaries(st.text(max_size=4), values, max_size=3)))
def test_any_table_is_read_or_refused(table):
    with contextlib.suppress(ConfigurationError):
        IssuerConfig.from_table(table, Path("/nowhere"))
