"""A draft of a scope: a folder with ``manifest.json`` and the full texts, ``texts/<language>.txt``.

The hashes of the texts are filled in when the draft is read, so that nobody types them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headcount import private_file
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.jcs import JSON, parse_json
from headcount_spec.members import LANGUAGE
from headcount_spec.policy import Policy
from headcount_spec.text import encode_base64, format_day

MANIFEST = "manifest.json"
TEXTS = "texts"
PUBLISHED = "scope.json"

_LEAD_DAYS, _OPEN_DAYS, _FREEZE_DAYS = 14, 90, 3


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it was read."""

    manifest: dict[str, JSON]  # with the hashes of the texts
    texts: Mapping[str, str]  # language → full text


def template(
    languages: Sequence[str],
    *,
    today: int,
    policy: Policy | None,
    organisers: Sequence[bytes],
    sites: Sequence[str] = (),
) -> dict[str, JSON]:
    """A manifest in which the words and the issuers are still to be filled in.

    organisers are public keys, sites the origins on which people may pledge. The ledger and the witnesses
    are taken from a policy with one log.
    """
    opens, closes = today + _LEAD_DAYS, today + _LEAD_DAYS + _OPEN_DAYS
    log = policy.logs[0] if policy is not None and len(policy.logs) == 1 else None
    quorum = "quorum none\n"
    if policy is not None:
        quorum = Policy((), policy.witnesses, policy.groups, policy.quorum).to_bytes().decode()
    return {
        "headcount": 1,
        "kind": "campaign",
        "eligible": "anyone",
        "language": languages[0],
        "title": _empty(languages),
        "addressee": _empty(languages),
        "opens": format_day(opens),
        "freezes": format_day(closes - _FREEZE_DAYS),
        "closes": format_day(closes),
        "threshold": 1000,
        "level": "email",
        "issuers": [],
        "organisers": {
            "keys": [encode_base64(key) for key in sorted(organisers)],
            "quorum": max(1, len(organisers)),
        },
        "ledger": {"origin": log.key.name if log else "", "key": log.key.to_text() if log else ""},
        "witnesses": quorum,
        "origins": list(sites),
        "min_batch": 10,
        "max_hold": 3,
        "data_use": _empty(languages),
        "end_of_life": _empty(languages),
    }


def _empty(languages: Sequence[str]) -> dict[str, JSON]:
    return dict.fromkeys(languages, "")


def create(folder: Path, manifest: dict[str, JSON]) -> None:
    """Write a new draft: the manifest, and an empty text for each language of its title.

    Raises:
        ConfigurationError: there is a manifest already, or the folder cannot be written.
    """
    title = manifest["title"]
    languages = sorted(title) if isinstance(title, dict) else []
    if not all(map(LANGUAGE.match, languages)):
        raise ConfigurationError("a language is a tag such as en or pt-br")
    try:
        (folder / TEXTS).mkdir(parents=True, exist_ok=True)
        with open(folder / MANIFEST, "x", encoding="utf-8") as file:
            file.write(json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
        for language in languages:
            (folder / TEXTS / f"{language}.txt").touch()
    except FileExistsError as exc:
        raise ConfigurationError(f"there is a {MANIFEST} in this folder already") from exc
    except OSError as exc:
        raise ConfigurationError(f"cannot write the draft: {exc.strerror}") from exc


def read(folder: Path) -> Draft:
    """Read a draft and fill in the hashes of its texts.

    Raises:
        ConfigurationError: a file is missing or unreadable, or is not JSON or UTF-8.
    """
    manifest = read_manifest(folder / MANIFEST)
    found = {path.stem: _read_text(path) for path in sorted((folder / TEXTS).glob("*.txt"))}
    texts = {tag: text for tag, text in found.items() if text}
    manifest["texts"] = {tag: hashlib.sha256(text.encode()).hexdigest() for tag, text in texts.items()}
    return Draft(manifest, texts)


def _read_text(path: Path) -> str:
    try:
        return private_file.read(path).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path.name} is not UTF-8") from exc


def read_manifest(path: Path) -> dict[str, JSON]:
    """A manifest or a draft of one, in any spelling of its JSON.

    Raises:
        ConfigurationError: unreadable, or not a JSON object.
    """
    try:
        value = parse_json(private_file.read(path))
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path.name} is not a JSON object")
    return value
