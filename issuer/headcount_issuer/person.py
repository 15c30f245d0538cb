"""Who a person is to an issuer: pseudonyms under the account key, tags under a scope's key.

    A   = HMAC-SHA-256(K_account, "headcount/person/v1\\0" || uniqueness input)    one an input
    tag = HMAC-SHA-256(K_scope, A)                                                what a scope keeps

Every way to prove oneself leads through A: who proves an address again, and who comes back by the passkey of
an account that was opened with that address, have the same tags, and one token. K_account lives as long as
the issuer; a tag cannot be computed without K_scope, which is destroyed with its scope.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import replace
from pathlib import Path

from headcount_issuer.attester import Proof, Share
from headcount_issuer.keys import read_private, write_private
from headcount_spec.errors import ConfigurationError

KEY_BYTES = 32
PSEUDONYM_BYTES = 32

_FILE = "account.key"
_PERSON = b"headcount/person/v1\0"
_GROUP = b"headcount/group/v1\0"


def create_account_key(folder: Path) -> None:
    """Draw K_account into a file of the folder of keys.

    Raises:
        ConfigurationError: there is one already, or it cannot be written.
    """
    write_private(folder / _FILE, secrets.token_bytes(KEY_BYTES))


def load_account_key(folder: Path) -> bytes:
    """K_account, 32 bytes.

    Raises:
        ConfigurationError: missing, open to others, or cut short.
    """
    key = read_private(folder / _FILE)
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{_FILE} has another length")
    return key


def key_proof(account_key: bytes, proof: Proof) -> Proof:
    """The same proof with A in the place of each input, ascending; that of who came back has them already."""
    if proof.remembered:
        return proof
    pseudonyms = {_hmac(account_key, _PERSON + value) for value in proof.inputs}
    share = proof.share
    if share is not None:
        share = Share(_hmac(account_key, _GROUP + share.group), share.limit)
    return replace(proof, inputs=tuple(sorted(pseudonyms)), share=share)


def _hmac(key: bytes, value: bytes) -> bytes:
    return hmac.new(key, value, hashlib.sha256).digest()
