"""Opt-in accounts: a passkey that stands for a check which its holder has passed once.

    handle  = H(K_account, "headcount/handle/v1\\0" || name || A_1 || … )     the WebAuthn user handle
    mark    = H(K_account, "headcount/mark/v1\\0" || handle)
    account = name[32] | n u8 | A[4 × 32] | group[32] | limit u32 | sign_count u32 | size u16 | key[272]
    sealed  = AES-256-SIV(H512(K_account, "headcount/seal/v1\\0" || handle || credential id), account, mark)
    record  = mark[32] | sealed[491]

H is HMAC-SHA-256, H512 HMAC-SHA-512; name is that of the check ("email") and zeros, A the pseudonyms of the
proof (module person), group and limit its share, key the passkey's public key in COSE.

A person has one account a check, because the handle is made of who they are: opening one again, with another
passkey, ends the earlier one, which is how a lost passkey is revoked. What joins a person's scopes, A, can be
read only while the person shows the passkey, since its credential id is part of the key and kept nowhere. No
record has a time, and their order is that of the marks (shelf). KNOWN: where the authenticator counts, each
use rewrites the counter, so that two copies of the file tell which records were used in between.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from headcount_issuer.attester import Proof, Share
from headcount_issuer.passkey import MAX_PUBLIC_KEY_BYTES, Passkey, has_risen
from headcount_issuer.person import PSEUDONYM_BYTES
from headcount_issuer.schema import accounts
from headcount_issuer.shelf import MARK_BYTES, Shelf
from headcount_issuer.store import Store
from headcount_spec.errors import CorruptionError, MalformedError, NotEligibleError
from headcount_spec.wire import Reader

MAX_PSEUDONYMS = 4
CAPACITY = 31  # records of a blob
_NAME_BYTES = 32  # of an attester, as manifests allow
_GROUP_BYTES = 32
_ACCOUNT_BYTES = (
    _NAME_BYTES + 1 + MAX_PSEUDONYMS * PSEUDONYM_BYTES + _GROUP_BYTES + 4 + 4 + 2 + MAX_PUBLIC_KEY_BYTES
)
_SIV_BYTES = 16
RECORD_BYTES = MARK_BYTES + _SIV_BYTES + _ACCOUNT_BYTES


@dataclass(frozen=True, slots=True)
class Account:
    """What a passkey stands for."""

    proof: Proof  # keyed, and marked as remembered
    passkey: Passkey


class Accounts:
    """All accounts of an issuer; threads may share it."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._key = key

    def handle(self, proof: Proof) -> bytes:
        """The user handle of the account for a keyed proof, whether there is one or not: 32 bytes."""
        return self._hmac(b"headcount/handle/v1\0" + _name(proof) + b"".join(proof.inputs))

    def keep(self, proof: Proof, passkey: Passkey) -> None:
        """Open the account for a keyed proof, or give it another passkey.

        Raises:
            NotEligibleError: the proof does not last, has more inputs than an account holds, or is that of
                somebody who came back: who found a passkey must not replace it.
            UnavailableError: the database cannot be written now.
        """
        if proof.remembered or not proof.lasting or len(proof.inputs) > MAX_PSEUDONYMS:
            raise NotEligibleError("no account can be opened with this proof")
        record = self._seal(self.handle(proof), Account(replace(proof, remembered=True), passkey))
        with self._store.transaction() as connection:
            Shelf(connection, accounts, RECORD_BYTES, CAPACITY).put(record)

    def find(self, handle: bytes, credential_id: bytes) -> Account | None:
        """The account with this handle, if this is its passkey."""
        with self._store.reading() as connection:
            record = Shelf(connection, accounts, RECORD_BYTES, CAPACITY).find(self._mark(handle))
        return None if record is None else self._open(record, handle, credential_id)

    def use(self, handle: bytes, passkey: Passkey) -> None:
        """Keep the counter of a passkey that was recognised, if it has risen.

        Raises:
            NotEligibleError: it has not, or the account has another passkey meanwhile.
            UnavailableError: the database cannot be written now.
        """
        with self._store.transaction() as connection:
            shelf = Shelf(connection, accounts, RECORD_BYTES, CAPACITY)
            record = shelf.find(self._mark(handle))
            account = None if record is None else self._open(record, handle, passkey.credential_id)
            if account is None:
                raise NotEligibleError("this account has ended; prove yourself again")
            if not has_risen(account.passkey.sign_count, passkey.sign_count):
                raise NotEligibleError(
                    "the passkey's counter has not risen, so there may be a copy of it; prove yourself again"
                )
            if account.passkey.sign_count != passkey.sign_count:
                shelf.put(self._seal(handle, replace(account, passkey=passkey)))

    def remove(self, handle: bytes) -> bool:
        """End an account; whether there was one.

        Raises:
            UnavailableError: the database cannot be written now.
        """
        with self._store.transaction() as connection:
            return Shelf(connection, accounts, RECORD_BYTES, CAPACITY).remove(self._mark(handle))

    def count(self) -> int:
        """How many accounts there are."""
        with self._store.reading() as connection:
            return Shelf(connection, accounts, RECORD_BYTES, CAPACITY).count()

    def _seal(self, handle: bytes, account: Account) -> bytes:
        mark = self._mark(handle)
        cipher = self._cipher(handle, account.passkey.credential_id)
        return mark + cipher.encrypt(_encode(account), [mark])

    def _open(self, record: bytes, handle: bytes, credential_id: bytes) -> Account | None:
        mark, sealed = record[:MARK_BYTES], record[MARK_BYTES:]
        try:
            data = self._cipher(handle, credential_id).decrypt(sealed, [mark])
        except InvalidTag:
            return None
        try:
            return _decode(data, credential_id)
        except MalformedError as exc:
            raise CorruptionError("an account cannot be read") from exc

    def _cipher(self, handle: bytes, credential_id: bytes) -> AESSIV:
        label = b"headcount/seal/v1\0"
        return AESSIV(hmac.new(self._key, label + handle + credential_id, hashlib.sha512).digest())

    def _mark(self, handle: bytes) -> bytes:
        return self._hmac(b"headcount/mark/v1\0" + handle)

    def _hmac(self, value: bytes) -> bytes:
        return hmac.new(self._key, value, hashlib.sha256).digest()


def _encode(account: Account) -> bytes:
    proof, key = account.proof, account.passkey.public_key
    share = proof.share or Share(bytes(_GROUP_BYTES), 0)
    return b"".join(
        [
            _name(proof),
            bytes([len(proof.inputs)]),
            b"".join(proof.inputs).ljust(MAX_PSEUDONYMS * PSEUDONYM_BYTES, b"\0"),
            share.group,
            share.limit.to_bytes(4, "big"),
            account.passkey.sign_count.to_bytes(4, "big"),
            len(key).to_bytes(2, "big"),
            key.ljust(MAX_PUBLIC_KEY_BYTES, b"\0"),
        ]
    )


def _decode(data: bytes, credential_id: bytes) -> Account:
    reader = Reader(data)
    name, number = reader.take(_NAME_BYTES).rstrip(b"\0"), reader.u8()
    pseudonyms = [reader.take(PSEUDONYM_BYTES) for _ in range(MAX_PSEUDONYMS)]
    group, limit, sign_count = reader.take(_GROUP_BYTES), reader.u32(), reader.u32()
    key_bytes, key = reader.u16(), reader.take(MAX_PUBLIC_KEY_BYTES)
    reader.finish()
    if not 1 <= number <= MAX_PSEUDONYMS or key_bytes > MAX_PUBLIC_KEY_BYTES:
        raise MalformedError("account: a count out of range")
    share = Share(group, limit) if limit else None
    proof = Proof(name.decode("ascii"), tuple(pseudonyms[:number]), share, remembered=True)
    return Account(proof, Passkey(credential_id, key[:key_bytes], sign_count))


def _name(proof: Proof) -> bytes:
    return proof.proves.encode("ascii").ljust(_NAME_BYTES, b"\0")
