"""Publishing a scope: the organisers sign its terms and its texts, and the ledger takes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headcount import draft, private_file
from headcount.notice import post
from headcount_ledger.reader.transport import Transport
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.jcs import JSON, canonicalise
from headcount_spec.lint import ERROR, Finding, lint
from headcount_spec.merkle import leaf_hash
from headcount_spec.notice import Notice, sign_statement, verify_notice
from headcount_spec.scope import Manifest
from headcount_spec.statement import NO_PREVIOUS, Statement


@dataclass(frozen=True, slots=True)
class Published:
    """A scope whose terms the ledger has taken."""

    manifest: Manifest
    findings: tuple[Finding, ...]  # the linter's warnings


def check(
    manifest: dict[str, JSON], siblings: Iterable[Manifest] = (), today: int | None = None
) -> tuple[Finding, ...]:
    """What the linter finds in a manifest or a draft of one, errors first."""
    return lint(manifest, siblings, today)


def notices(manifest: Manifest, texts: Iterable[tuple[str, str]], seeds: Sequence[bytes]) -> list[Notice]:
    """The organisers' first notices: the terms, then each (language, text), signed by these seeds.

    Signatures are deterministic, so the same draft and keys give the same notices again.

    Raises:
        UnknownKeyError: a key is not an organiser's in the manifest, or they are too few.
        MalformedError: a text is not the one of which the manifest has the hash, or is too long.
    """
    bodies: list[tuple[str, dict[str, JSON]]] = [("manifest", {"manifest": manifest.json})]
    for language, text in texts:
        bodies.append(("text", {"language": language, "text": text}))
    signed: list[Notice] = []
    previous: tuple[int, bytes] | None = None
    for seq, (type, body) in enumerate(bodies):
        prev = NO_PREVIOUS if previous is None else previous[1]
        notice = sign_statement(Statement("organiser", manifest.scope_id, seq, prev, type, body), seeds)
        verify_notice(notice, manifest, previous)
        signed.append(notice)
        previous = (seq, leaf_hash(notice.to_bytes()))
    return signed


def publish(
    folder: Path,
    seeds: Sequence[bytes],
    ledger: str,
    *,
    transport: Transport,
    day: int,
    siblings: Iterable[Manifest] = (),
) -> Published:
    """Publish the draft in a folder under the organisers' keys, and keep its terms in ``scope.json``.

    Again with the same draft it does the same again, which changes nothing.

    Raises:
        ConfigurationError: the draft cannot be read, or was published with other terms before.
        MalformedError: the linter finds errors (see check), or a text is too long for an entry.
        UnknownKeyError: a key is not an organiser's in the manifest, or they are too few.
        RefusedError, UnavailableError: what the ledger answers, or nothing.
    """
    found = draft.read(folder)
    findings = check(found.manifest, siblings, day)
    errors = [finding for finding in findings if finding.severity == ERROR]
    if errors:
        raise MalformedError(f"the terms are not ready: {errors[0].path}: {errors[0].message}")
    manifest = Manifest.from_bytes(canonicalise(found.manifest))
    kept = folder / draft.PUBLISHED
    if kept.exists() and private_file.read(kept) != manifest.raw:
        raise ConfigurationError(f"the draft was changed after it was published (see {kept.name})")
    first, *texts = notices(manifest, sorted(found.texts.items()), seeds)
    post(first, ledger, transport)
    # From here on the terms stand in the ledger: another version of the draft would be another scope.
    _keep(kept, manifest.raw)
    for notice in texts:
        post(notice, ledger, transport)
    return Published(manifest, findings)


def _keep(path: Path, data: bytes) -> None:
    if not path.exists():
        private_file.write(path, data)
        path.chmod(0o644)  # the terms are public
