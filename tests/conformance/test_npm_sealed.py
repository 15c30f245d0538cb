from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

import keys
from foreign import ForeignError, Node
from headcount_engine.hpke import seal_box
from headcount_spec import hpke, sealed, shamir
from headcount_spec.contact import EMAIL, Contact
from headcount_spec.errors import OpeningError
from headcount_spec.sealed import Blob

PRIVATE = {i: keys.seed(f"trustee {i}") for i in range(1, 6)}
PUBLIC = [hpke.public_key(private) for private in PRIVATE.values()]
ORGANISER = keys.seed("organiser")
CTX = sealed.context(keys.seed("scope"), keys.seed("revision"))
ADA = Contact(EMAIL, "ada@example.org")


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()


def test_they_combine_what_we_split(node: Node) -> None:
    secret = keys.seed("secret")
    shares = shamir.split(secret, [keys.seed("a"), keys.seed("b")], 5)
    for subset in itertools.combinations(range(5), 3):
        theirs = [(shares[i] + bytes((i + 1,))).hex() for i in subset]
        assert node.octets("shamir_combine", shares=theirs) == secret


def test_we_combine_what_they_split(node: Node) -> None:
    secret = keys.seed("secret")
    made = node("shamir_split", secret=secret, n=5, t=3)["shares"]
    shares = {bytes.fromhex(share)[-1]: bytes.fromhex(share)[:-1] for share in made}
    for subset in itertools.combinations(shares, 3):
        assert shamir.combine({x: shares[x] for x in subset}) == secret
    assert shamir.combine(dict(list(shares.items())[:2])) != secret


def test_boxes_open_on_both_sides(node: Node) -> None:
    private, public, info = PRIVATE[1], PUBLIC[0], b"an info"
    box = seal_box(public, info, b"a share")
    assert node.octets("hpke_open", private_key=private, info=info, box=box) == b"a share"
    theirs = node.octets("hpke_seal", public_key=public, info=info, plaintext=b"a share")
    assert hpke.open_box(private, info, theirs) == b"a share"


def test_both_refuse_another_info_key_or_byte(node: Node) -> None:
    box = node.octets("hpke_seal", public_key=PUBLIC[0], info=b"info", plaintext=b"a share")
    changed = box[:-1] + bytes((box[-1] ^ 1,))
    for private, info, data in (
        (PRIVATE[1], b"other", box),
        (PRIVATE[2], b"info", box),
        (PRIVATE[1], b"info", changed),
    ):
        with pytest.raises(OpeningError):
            hpke.open_box(private, info, data)
        with pytest.raises(ForeignError):
            node("hpke_open", private_key=private, info=info, box=data)


def test_they_open_a_whole_blob_of_ours_and_we_one_of_theirs(node: Node) -> None:
    organiser = hpke.public_key(ORGANISER)
    blob = sealed.seal(ADA, CTX, organiser, PUBLIC, 3, keys.seed("client"), seal_box)
    opened = node.octets(
        "open_blob",
        blob=blob,
        ctx=CTX,
        private_keys={str(i): PRIVATE[i].hex() for i in (2, 4, 5)},
        organiser_private_key=ORGANISER,
    )
    assert Contact.from_bytes(opened) == ADA
    theirs = node.octets(
        "seal_blob",
        contact=ADA.to_bytes(),
        ctx=CTX,
        organiser_key=organiser,
        trustee_keys=[key.hex() for key in PUBLIC],
        t=3,
        key=keys.seed("key"),
        coefficients=[keys.seed("a").hex(), keys.seed("b").hex()],
    )
    for subset in itertools.combinations(PRIVATE, 3):
        inner = sealed.open_outer(Blob.from_bytes(theirs, 3, 5), CTX, PRIVATE, [subset])
        assert sealed.open_inner(inner, CTX, ORGANISER) == ADA
