"""Manifest files: each is the scope that its name says, or it is not used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.policy import Policy
from headcount_spec.scope import MAX_MANIFEST_BYTES, Manifest, ScopeId
from headcount_spec.text import decode_hex
from headcount_verifier.config import VerifierConfig

_SUFFIX = ".json"


class ManifestFolder(Mapping[ScopeId, Manifest]):
    """The manifests of a folder, files named ``<scope id in hex>.json``, by scope id.

    A file may be added while the verifier runs; it is found when its scope is first asked for.

    Raises:
        ConfigurationError: a file is unreadable, malformed, or another scope than its name says.
    """

    def __init__(self, folder: Path) -> None:
        """Read the whole folder, so that a wrong file is found at the start."""
        self._folder = folder
        self._read: dict[ScopeId, Manifest] = {}
        if not folder.is_dir():
            raise ConfigurationError("verifier.scopes is no folder")
        for scope_id in self:
            self[scope_id]

    def __getitem__(self, scope_id: ScopeId) -> Manifest:
        found = self._read.get(scope_id)
        if found is None:
            path = self._folder / (scope_id.hex() + _SUFFIX)
            if not path.is_file():
                raise KeyError(scope_id)
            found = self._read[scope_id] = read_manifest(path, scope_id)
        return found

    def __iter__(self) -> Iterator[ScopeId]:
        return iter(sorted(_scope_ids(self._folder)))

    def __len__(self) -> int:
        return len(_scope_ids(self._folder))


def read_manifest(path: Path, scope_id: ScopeId) -> Manifest:
    """The manifest in a file, which must be the one with this scope id.

    Raises:
        ConfigurationError: unreadable, malformed, or another scope.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path.name}: {exc.strerror}") from exc
    try:
        manifest = Manifest.from_bytes(data)
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc
    if manifest.scope_id != scope_id:
        raise ConfigurationError(f"{path.name}: another scope than the one that is pinned")
    return manifest


def load_manifests(config: VerifierConfig) -> Mapping[ScopeId, Manifest]:
    """The scopes of a configuration.

    Raises:
        ConfigurationError: as read_manifest, or nothing is configured.
    """
    if config.files is not None:
        return {scope_id: read_manifest(path, scope_id) for scope_id, path in config.files.items()}
    if config.folder is None:
        raise ConfigurationError("verifier.scopes is missing")
    return ManifestFolder(config.folder)


def policy_of(manifest: Manifest) -> Policy:
    """The trust policy that the terms themselves demand: the ledger's key and the terms' witnesses."""
    return Policy.from_bytes(f"log {manifest.ledger.key.to_text()}\n{manifest.witnesses}".encode())


def _scope_ids(folder: Path) -> list[ScopeId]:
    ids = []
    for path in folder.glob("*" + _SUFFIX):
        try:
            ids.append(ScopeId(decode_hex(path.name.removesuffix(_SUFFIX), 32)))
        except MalformedError as exc:
            raise ConfigurationError(f"{path.name}: not named after a scope id") from exc
    return ids
