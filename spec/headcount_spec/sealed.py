"""Sealed contacts, format sealed/1: t of n trustees open the outer layer, the organiser the inner one.

Design: protocol, Section 9. Every layer is bound to the scope and to the deposit's revision key, so a blob
opens in no other scope and for no other entry; the commitment to K makes what opens open alike for
everybody. Randomness comes in as arguments: the seal of HPKE, and K and the polynomial from a seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headcount_spec import hpke, seed, shamir
from headcount_spec.contact import CONTACT_BYTES, Contact
from headcount_spec.errors import MalformedError, OpeningError
from headcount_spec.hpke import HpkeSeal
from headcount_spec.wire import Reader, u8

SUITE = 1  # of all layers; 2 is kept for X-Wing, whose boxes have another length
KEY_BYTES = 32  # K
SHARE_BYTES = KEY_BYTES + 1  # y, then x: as the shares of others carry it
BOX_BYTES = SHARE_BYTES + hpke.OVERHEAD_BYTES  # 81
INNER_BYTES = CONTACT_BYTES + hpke.OVERHEAD_BYTES  # 304
BODY_BYTES = INNER_BYTES + 16  # 320
HEAD_BYTES = 3 + 32 + BODY_BYTES  # 355

_IV = bytes(12)  # K is used once


def blob_bytes(n: int) -> int:
    """The size of a blob for n trustees."""
    return HEAD_BYTES + BOX_BYTES * n


def context(scope_id: bytes, revision_key: bytes) -> bytes:
    """What every layer is bound to, 64 bytes."""
    return scope_id + revision_key


# struct {
#     uint8 suite = 1;
#     uint8 t;
#     uint8 n;
#     opaque commit[32];
#     opaque body[320];
#     opaque boxes[81 * n];
# } Blob;
@dataclass(frozen=True, slots=True)
class Blob:
    """A sealed contact as it lies in the contact store."""

    t: int
    commit: bytes  # 32 bytes
    body: bytes  # 320 bytes
    boxes: tuple[bytes, ...]  # n of 81 bytes, trustee i's at i - 1

    def to_bytes(self) -> bytes:
        """The 355 + 81 n bytes of which the ledger has the hash."""
        head = u8(SUITE) + u8(self.t) + u8(len(self.boxes))
        return head + self.commit + self.body + b"".join(self.boxes)

    @classmethod
    def from_bytes(cls, data: bytes, t: int, n: int) -> Blob:
        """Read a blob of a scope in which t of n trustees open.

        Raises:
            MalformedError: another suite, t or n, truncated, or trailing bytes.
        """
        reader = Reader(data)
        reader.expect(u8(SUITE), "suite")
        if (reader.u8(), reader.u8()) != (t, n):
            raise MalformedError("the numbers of trustees are not the scope's")
        blob = cls(
            t, reader.take(32), reader.take(BODY_BYTES), tuple(reader.take(BOX_BYTES) for _ in range(n))
        )
        reader.finish()
        return blob

    def share_info(self, ctx: bytes, i: int) -> bytes:
        """The HPKE info of trustee i's box, 1 <= i <= n."""
        return b"sealed/1/share\x00" + ctx + u8(i) + hashlib.sha256(self.commit + self.body).digest()


def seal(
    contact: Contact,
    ctx: bytes,
    organiser_key: bytes,
    trustee_keys: Sequence[bytes],
    t: int,
    client_seed: bytes,
    seal_box: HpkeSeal,
) -> bytes:
    """The blob of a contact for these X25519 keys, the trustees' in the manifest's order.

    K and the polynomial are derived from the client's seed and the inner layer, so that no K ever
    covers two of them.

    Raises:
        MalformedError: a key with which nothing can be sealed.
    """
    inner = seal_box(organiser_key, b"sealed/1/inner\x00" + ctx, contact.to_bytes())
    key, coefficients = seed.sealing(client_seed, ctx + hashlib.sha256(inner).digest(), t)
    commit = key_commitment(ctx, key)
    body = AESGCM(key).encrypt(_IV, inner, b"sealed/1/body\x00" + ctx + commit)
    shares = shamir.split(key, coefficients, len(trustee_keys))
    unboxed = Blob(t, commit, body, ())
    boxes = tuple(
        seal_box(public_key, unboxed.share_info(ctx, i), share + u8(i))
        for i, (public_key, share) in enumerate(zip(trustee_keys, shares, strict=True), 1)
    )
    return Blob(t, commit, body, boxes).to_bytes()


def key_commitment(ctx: bytes, key: bytes) -> bytes:
    """What binds a blob to one K; AES-GCM alone would not."""
    return hashlib.sha256(b"sealed/1/commit\x00" + ctx + key).digest()


def open_share(blob: Blob, ctx: bytes, i: int, private_key: bytes) -> bytes:
    """The share in the box of trustee i, 32 bytes.

    Raises:
        OpeningError: the box is not sealed to this key in this place, or holds no share at i.
    """
    share = hpke.open_box(private_key, blob.share_info(ctx, i), blob.boxes[i - 1])
    if len(share) != SHARE_BYTES or share[-1] != i:
        raise OpeningError("the box holds no share of this trustee")
    return share[:-1]


def open_body(blob: Blob, ctx: bytes, shares: Mapping[int, bytes]) -> bytes:
    """The inner layer, by exactly t shares; 304 bytes.

    Raises:
        OpeningError: the shares do not lead to the key that the blob is committed to.
    """
    if len(shares) != blob.t:
        raise OpeningError(f"{len(shares)} shares where {blob.t} open")
    key = shamir.combine(shares)
    if key_commitment(ctx, key) != blob.commit:
        raise OpeningError("the shares lead to another key than the blob is committed to")
    try:
        return AESGCM(key).decrypt(_IV, blob.body, b"sealed/1/body\x00" + ctx + blob.commit)
    except InvalidTag as exc:
        raise OpeningError("the body is of another context, or was changed") from exc


def open_outer(
    blob: Blob, ctx: bytes, private_keys: Mapping[int, bytes], subsets: Iterable[Sequence[int]]
) -> bytes:
    """The inner layer by the first of these subsets of trustees whose shares open it; 304 bytes.

    private_keys are the released ones by trustee. A false share in one box hides nothing as long as t
    true ones are among the subsets: whatever opens is what the commitment binds.

    Raises:
        OpeningError: none of the subsets opens it.
    """
    shares: dict[int, bytes] = {}
    spoilt: set[int] = set()
    problem = OpeningError("no subset of trustees was tried")
    for subset in subsets:
        try:
            for i in subset:
                if i not in shares and i not in spoilt:
                    try:
                        shares[i] = open_share(blob, ctx, i, private_keys[i])
                    except OpeningError:
                        spoilt.add(i)
                        raise
            if spoilt.isdisjoint(subset):
                return open_body(blob, ctx, {i: shares[i] for i in subset})
        except OpeningError as exc:
            problem = exc
    raise problem


def open_inner(inner: bytes, ctx: bytes, organiser_private_key: bytes) -> Contact:
    """The contact, by the organiser's key.

    Raises:
        OpeningError: sealed to another key or in another context, or changed.
        MalformedError: what was sealed is no contact.
    """
    return Contact.from_bytes(hpke.open_box(organiser_private_key, b"sealed/1/inner\x00" + ctx, inner))
