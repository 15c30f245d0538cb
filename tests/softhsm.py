"""A PKCS #11 token of one's own, by SoftHSM."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import parts

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")
LABEL = "headcount"
PIN = "87654321"


def module() -> Path:
    return next((Path(path) for path in MODULES if Path(path).exists()), Path(MODULES[0]))


@dataclass(frozen=True)
class Token:
    """An initialised token below a folder."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Token:
        installed = shutil.which("softhsm2-util") and module().exists() and importlib.util.find_spec("pkcs11")
        parts.require(installed, "softhsm2 from apt, or python-pkcs11 from pip")
        token = cls(folder / "softhsm")
        (token.folder / "tokens").mkdir(parents=True)
        settings = token.folder / "softhsm2.conf"
        settings.write_text(f"directories.tokendir = {token.folder}/tokens\nobjectstore.backend = file\n")
        monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
        command = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN]
        subprocess.run([*command, "--so-pin", "12345678"], check=True, capture_output=True)
        return token

    def remove(self) -> None:
        (self.folder / "tokens").rename(self.folder / "drawer")
        (self.folder / "tokens").mkdir()

    def put_back(self) -> None:
        (self.folder / "tokens").rmdir()
        (self.folder / "drawer").rename(self.folder / "tokens")
