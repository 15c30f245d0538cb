"""Vectors of sealed contacts: sealed with fixed ephemeral keys, opened by shares and the organiser's key."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keys
import manifests
import reference_hpke
from headcount_spec import hpke, sealed, shamir
from headcount_spec.contact import EMAIL, MATRIX, NONE, PHONE, Contact
from headcount_spec.errors import MalformedError, OpeningError, ProtocolError
from headcount_spec.sealed import Blob

from . import Case, fails, ok, same

FILE = "sealed.json"

_SCOPE, _REVISION_KEY = keys.seed("contact scope"), keys.seed("revision key")
_CTX = sealed.context(_SCOPE, _REVISION_KEY)
_SEED = keys.seed("client 0")
_PRIVATE = [manifests.agreement_private(i) for i in range(5)]
_PUBLIC = [hpke.public_key(private) for private in _PRIVATE]
_EMAIL = Contact(EMAIL, "ada@example.org")


def make() -> dict[str, Any]:
    """Blobs of each type of contact, and one failure at a time."""
    return {
        "about": "Sealed contacts (sealed/1): blob is opened in the context scope_id || revision_key by the "
        "private_keys of t of n trustees (numbered from 1), and then by organiser_private_key. Whoever seals "
        "gets other blobs, since HPKE draws its keys; K and the coefficients follow from seed and the inner "
        "layer.",
        "source": "Made by makers/sealed.py with tests/reference_hpke.py.",
        "cases": [*_good(), *_cannot_open(), *_malformed()],
    }


def _blob(contact: Contact = _EMAIL, t: int = 3, n: int = 5, ctx: bytes = _CTX) -> bytes:
    seal_box = reference_hpke.sealer(_SEED)
    return sealed.seal(contact, ctx, manifests.CONTACT_KEY, _PUBLIC[:n], t, _SEED, seal_box)


def _inputs(blob: bytes, t: int, n: int, subset: tuple[int, ...], **changes: Any) -> dict[str, Any]:
    return {
        "scope_id": _SCOPE.hex(),
        "revision_key": _REVISION_KEY.hex(),
        "t": t,
        "n": n,
        "blob": blob.hex(),
        "private_keys": {str(i): _PRIVATE[i - 1].hex() for i in subset},
        "organiser_private_key": manifests.CONTACT_PRIVATE.hex(),
        **changes,
    }


def _opened(name: str, contact: Contact, t: int, n: int, subset: tuple[int, ...]) -> Case:
    inputs = _inputs(_blob(contact, t, n), t, n, subset)
    found = _open(inputs)
    return ok(name, **inputs, seed=_SEED.hex(), **found)


def _good() -> list[Case]:
    return [
        _opened("email", _EMAIL, 3, 5, (1, 2, 3)),
        _opened("email-by-other-trustees", _EMAIL, 3, 5, (5, 1, 4)),
        _opened("email-in-unicode", Contact(EMAIL, "zoë@köln.example"), 3, 5, (1, 2, 3)),
        _opened("longest-contact", Contact(EMAIL, _longest()), 3, 5, (1, 2, 3)),
        _opened("matrix", Contact(MATRIX, "@ada:example.org"), 2, 3, (2, 3)),
        _opened("phone", Contact(PHONE, "+4915112345678"), 1, 1, (1,)),
        _opened("none", Contact(NONE, ""), 5, 5, (1, 2, 3, 4, 5)),
    ]


def _longest() -> str:
    domain = "b" * 63 + "." + "c" * 63 + "." + "d" * 53 + ".example"
    return "a" * 64 + "@" + domain  # 254 bytes


def _cannot_open() -> list[Case]:
    blob = _blob()
    right = (1, 2, 3)
    other_scope = keys.seed("another scope").hex()

    def wrong(name: str, data: bytes = blob, subset: tuple[int, ...] = right, **changes: Any) -> Case:
        return fails(name, OpeningError, **_inputs(data, 3, 5, subset, **changes))

    def flipped(at: int) -> bytes:
        return blob[:at] + bytes((blob[at] ^ 1,)) + blob[at + 1 :]

    swapped = {"1": _PRIVATE[1].hex(), "2": _PRIVATE[0].hex(), "3": _PRIVATE[2].hex()}
    head = sealed.HEAD_BYTES
    second = blob[head + sealed.BOX_BYTES : head + 2 * sealed.BOX_BYTES]
    return [
        wrong("of-another-scope", scope_id=other_scope),
        wrong("of-another-revision-key", revision_key=other_scope),
        wrong("too-few-trustees", subset=(1, 2)),
        wrong("too-many-trustees", subset=(1, 2, 3, 4)),
        wrong("keys-of-two-trustees-swapped", private_keys=swapped),
        wrong("key-of-nobody", private_keys={**swapped, "1": _PRIVATE[0].hex(), "2": _PRIVATE[4].hex()}),
        wrong("another-organiser", organiser_private_key=_PRIVATE[0].hex()),
        wrong("bit-flipped-in-commit", flipped(3)),
        wrong("bit-flipped-in-body", flipped(35)),
        wrong("bit-flipped-in-tag-of-body", flipped(head - 1)),
        wrong("bit-flipped-in-box", flipped(head + 40)),
        wrong("bit-flipped-in-encapsulated-key", flipped(head)),
        wrong("boxes-of-two-trustees-swapped", _swap_boxes(blob)),
        wrong("one-box-twice", blob[:head] + second + blob[head + sealed.BOX_BYTES :]),
        wrong("share-of-another-secret", _crafted(_foreign_share)),
        wrong("share-at-another-place", _crafted(_misplaced_share)),
        wrong("share-too-long", _crafted(_long_share)),
        wrong("uncommitted-key", _uncommitted()),
    ]


def _swap_boxes(blob: bytes) -> bytes:
    cut = [sealed.HEAD_BYTES + i * sealed.BOX_BYTES for i in range(3)]
    return blob[: cut[0]] + blob[cut[1] : cut[2]] + blob[cut[0] : cut[1]] + blob[cut[2] :]


def _foreign_share(share: bytes, i: int) -> bytes:
    return keys.seed("foreign share") + bytes((i,)) if i == 1 else share + bytes((i,))


def _misplaced_share(share: bytes, i: int) -> bytes:
    return share + bytes((i % 5 + 1,))


def _long_share(share: bytes, i: int) -> bytes:
    return share + bytes((i,)) if i > 1 else share[:31] + bytes((i,))


def _crafted(content: Callable[[bytes, int], bytes]) -> bytes:
    """A blob by somebody malicious who puts something else into the boxes, in their own context."""
    seal_box = reference_hpke.sealer(_SEED)
    blob = Blob.from_bytes(_blob(), 3, 5)
    boxes = []
    for i, private in enumerate(_PRIVATE, 1):
        share = sealed.open_share(blob, _CTX, i, private)
        box = seal_box(_PUBLIC[i - 1], blob.share_info(_CTX, i), content(share, i))
        boxes.append(box.ljust(sealed.BOX_BYTES, b"\x00"))
    return Blob(3, blob.commit, blob.body, tuple(boxes)).to_bytes()


def _uncommitted() -> bytes:
    """Boxes that lead to another key than the commitment's, all of them alike."""
    seal_box = reference_hpke.sealer(_SEED)
    blob = Blob.from_bytes(_blob(), 3, 5)
    shares = shamir.split(keys.seed("another key"), [keys.seed("a"), keys.seed("b")], 5)
    boxes = tuple(
        seal_box(_PUBLIC[i - 1], blob.share_info(_CTX, i), share + bytes((i,)))
        for i, share in enumerate(shares, 1)
    )
    return Blob(3, blob.commit, blob.body, boxes).to_bytes()


def _malformed() -> list[Case]:
    blob = _blob()

    def wrong(name: str, data: bytes) -> Case:
        return fails(name, MalformedError, **_inputs(data, 3, 5, (1, 2, 3)))

    def holding(name: str, inside: bytes) -> Case:
        return wrong(name, _sealing(inside))

    value = b"ada@example.org"
    padding = bytes(254 - len(value))
    return [
        wrong("empty", b""),
        wrong("truncated", blob[:-1]),
        wrong("trailing-byte", blob + b"\x00"),
        wrong("suite-two", b"\x02" + blob[1:]),
        wrong("another-t", blob[:1] + b"\x02" + blob[2:]),
        wrong("another-n", blob[:2] + b"\x04" + blob[3:]),
        wrong("blob-of-four-trustees", _blob(n=4)),
        holding("contact-of-unknown-type", b"\x04\x0f" + value + padding),
        holding("padding-not-zeros", b"\x01\x0f" + value + padding[:-1] + b"\x01"),
        holding("length-beyond-the-end", b"\x01\xff" + value + padding),
        holding("not-utf-8", b"\x01\x02\xff\xfe" + bytes(252)),
        holding("email-with-newline", _padded(1, b"a@example.org\nBcc: b@example.org")),
        holding("email-without-at", _padded(1, b"example.org")),
        holding("two-addresses", _padded(1, b"a@example.org,b@example.org")),
        holding("matrix-without-server", _padded(2, b"@ada")),
        holding("phone-with-spaces", _padded(3, b"+49 151 12345678")),
        holding("none-with-a-value", _padded(0, b"x")),
    ]


def _padded(type: int, value: bytes) -> bytes:
    return bytes((type, len(value))) + value.ljust(254, b"\x00")


def _sealing(inside: bytes) -> bytes:
    """What a malicious client seals in place of a contact."""
    seal_box = reference_hpke.sealer(_SEED)
    right = _EMAIL.to_bytes()

    def other_content(public_key: bytes, info: bytes, plaintext: bytes) -> bytes:
        box: bytes = seal_box(public_key, info, inside if plaintext == right else plaintext)
        return box

    return sealed.seal(_EMAIL, _CTX, manifests.CONTACT_KEY, _PUBLIC, 3, _SEED, other_content)


def _open(case: dict[str, Any]) -> dict[str, Any]:
    ctx = sealed.context(bytes.fromhex(case["scope_id"]), bytes.fromhex(case["revision_key"]))
    blob = Blob.from_bytes(bytes.fromhex(case["blob"]), case["t"], case["n"])
    private = {int(i): bytes.fromhex(key) for i, key in case["private_keys"].items()}
    shares = {i: sealed.open_share(blob, ctx, i, key) for i, key in private.items()}
    inner = sealed.open_body(blob, ctx, shares)
    contact = sealed.open_inner(inner, ctx, bytes.fromhex(case["organiser_private_key"]))
    return {
        "shares": {str(i): share.hex() for i, share in shares.items()},
        "key": shamir.combine(shares).hex(),
        "inner": inner.hex(),
        "channel": contact.channel,
        "contact": contact.value,
    }


def check(case: Case) -> None:
    """Open the blob; what was sealed by us, seal again."""
    found = _open(case)
    same(case, **found)
    again = _blob(Contact.of(case["channel"], case["contact"]), case["t"], case["n"])
    if again.hex() != case["blob"]:
        raise ValueError("sealed otherwise")
    _check_subsets(case, found)


def _check_subsets(case: Case, found: dict[str, Any]) -> None:
    """Every subset of t trustees reads the same."""
    ctx = sealed.context(bytes.fromhex(case["scope_id"]), bytes.fromhex(case["revision_key"]))
    blob = Blob.from_bytes(bytes.fromhex(case["blob"]), case["t"], case["n"])
    private = dict(enumerate(_PRIVATE[: case["n"]], 1))
    for subset in itertools.combinations(private, case["t"]):
        try:
            inner = sealed.open_outer(blob, ctx, private, [subset])
        except ProtocolError as exc:
            raise ValueError("a subset does not open it") from exc
        if inner.hex() != found["inner"]:
            raise ValueError("a subset reads something else")
