"""The opened contacts, in a file that only the organiser's contact key opens.

    "headcount/list/v1\\0" || nonce[12] || AES-256-GCM(key, JSON {scope, contacts: [[channel, value], …]})

The key is derived from the contact key, so that there is no list in clear on any disk. It has no nullifiers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headcount import private_file
from headcount_spec.contact import Contact
from headcount_spec.errors import ConfigurationError, MalformedError
from headcount_spec.jcs import canonicalise, parse_json
from headcount_spec.members import Members
from headcount_spec.scope import ScopeId

MAX_BYTES = 2**30  # three million contacts
_MAGIC = b"headcount/list/v1\x00"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class ContactList:
    """Who can be reached, in the order of the file."""

    scope_id: ScopeId
    contacts: tuple[Contact, ...]


def derive(contact_key: bytes, label: bytes, size_bytes: int = 32) -> bytes:
    """A key for one use of the opened contacts, from the organiser's contact key."""
    info = b"headcount/list/v1/" + label
    return HKDF(hashes.SHA256(), size_bytes, salt=None, info=info).derive(contact_key)


def write(
    path: Path,
    scope_id: ScopeId,
    contacts: Sequence[Contact],
    contact_key: bytes,
    draw: Callable[[int], bytes] = secrets.token_bytes,
) -> None:
    """Write the list, encrypted.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    value = {
        "contacts": [[contact.channel, contact.value] for contact in contacts],
        "scope": scope_id.hex(),
    }
    nonce = draw(_NONCE_BYTES)
    box = AESGCM(derive(contact_key, b"list")).encrypt(nonce, canonicalise(value), _MAGIC)
    private_file.write(path, _MAGIC + nonce + box)


def read(path: Path, contact_key: bytes) -> ContactList:
    """The contacts of a list.

    Raises:
        ConfigurationError: it cannot be read, or is the list of another key.
    """
    data = private_file.read(path, MAX_BYTES)
    head = len(_MAGIC) + _NONCE_BYTES
    if not data.startswith(_MAGIC) or len(data) < head + 16:
        raise ConfigurationError(f"{path.name} is not a list of contacts")
    try:
        text = AESGCM(derive(contact_key, b"list")).decrypt(data[len(_MAGIC) : head], data[head:], _MAGIC)
        members = Members(parse_json(text, MAX_BYTES), "list")
        scope_id = ScopeId(members.hex32("scope"))
        pairs = members.take("contacts")
        members.finish()
        if not isinstance(pairs, list):
            raise MalformedError("list.contacts: not a list")
        return ContactList(scope_id, tuple(_contact(pair) for pair in pairs))
    except InvalidTag as exc:
        raise ConfigurationError(f"{path.name} is of another contact key") from exc
    except MalformedError as exc:
        raise ConfigurationError(f"{path.name}: {exc}") from exc


def _contact(pair: object) -> Contact:
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise MalformedError("list.contacts: not pairs of texts")
    return Contact.of(pair[0], pair[1])
