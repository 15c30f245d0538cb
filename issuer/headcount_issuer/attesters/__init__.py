"""The attesters: one module each, with the dataclass of its table in the node's TOML file.

A module is imported when the file has its table: what it needs besides need not be installed otherwise.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from headcount_issuer.attester import AttesterConfig
from headcount_spec.errors import ConfigurationError
from headcount_spec.members import Members

# Name, in files, manifests and levels → module, and its dataclass with ``read(members, folder)``.
ATTESTERS = {
    "email": ("headcount_issuer.attesters.email", "EmailConfig"),
    "oidc": ("headcount_issuer.attesters.oidc", "OidcConfig"),
    "device": ("headcount_issuer.attesters.device", "DeviceConfig"),
    "passkey": ("headcount_issuer.attesters.passkey", "PasskeyConfig"),
    "eid": ("headcount_issuer.attesters.eid", "EidConfig"),
    "in-person": ("headcount_issuer.attesters.in_person", "InPersonConfig"),
}


def read_config(name: str, members: Members, folder: Path) -> AttesterConfig:
    """Read the table of an attester; paths in it are relative to folder.

    Raises:
        MalformedError: a value is missing, unknown or out of its range.
        ConfigurationError: there is no such attester, or what it needs is not installed.
    """
    if name not in ATTESTERS:
        raise ConfigurationError(f"there is no attester {name}; there are {', '.join(ATTESTERS)}")
    module, dataclass = ATTESTERS[name]
    try:
        reader = getattr(importlib.import_module(module), dataclass)
    except ModuleNotFoundError as exc:
        raise ConfigurationError(f"the attester {name} needs {exc.name}: install headcount[issuer]") from exc
    config: AttesterConfig = reader.read(members, folder)
    return config
