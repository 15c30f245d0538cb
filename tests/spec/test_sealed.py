from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keys
import reference_hpke
from headcount_engine.hpke import seal_box
from headcount_spec import hpke, sealed, seed
from headcount_spec.contact import EMAIL, NONE, Contact
from headcount_spec.errors import MalformedError, OpeningError
from headcount_spec.sealed import Blob

PRIVATE = {i: keys.seed(f"trustee scope {i}") for i in range(1, 6)}
PUBLIC = [hpke.public_key(private) for private in PRIVATE.values()]
ORGANISER = keys.seed("organiser's contacts")
CTX = sealed.context(keys.seed("scope"), keys.seed("revision key"))
ADA = Contact(EMAIL, "ada@example.org")


def seal(contact: Contact = ADA, ctx: bytes = CTX, t: int = 3, client: str = "client") -> bytes:
    public = hpke.public_key(ORGANISER)
    return sealed.seal(contact, ctx, public, PUBLIC, t, keys.seed(client), seal_box)


def read(data: bytes, subset: tuple[int, ...] = (1, 2, 3), ctx: bytes = CTX, t: int = 3) -> Contact:
    blob = Blob.from_bytes(data, t, 5)
    return sealed.open_inner(sealed.open_outer(blob, ctx, PRIVATE, [subset]), ctx, ORGANISER)


def test_every_t_of_n_trustees_and_the_organiser_read_the_contact() -> None:
    for t in range(1, 6):
        data = seal(t=t)
        assert len(data) == sealed.blob_bytes(5) == 355 + 81 * 5
        for subset in itertools.combinations(PRIVATE, t):
            assert read(data, subset, t=t) == ADA


def test_fewer_trustees_with_the_organisers_key_open_nothing() -> None:
    blob = Blob.from_bytes(seal(), 3, 5)
    for subset in itertools.combinations(PRIVATE, 2):
        with pytest.raises(OpeningError):
            sealed.open_outer(blob, CTX, PRIVATE, [subset])
        # A third share that is made up leads to another key, whatever it is.
        shares = {i: sealed.open_share(blob, CTX, i, PRIVATE[i]) for i in subset}
        third = next(i for i in PRIVATE if i not in subset)
        with pytest.raises(OpeningError):
            sealed.open_body(blob, CTX, {**shares, third: bytes(32)})


def test_all_trustees_without_the_organiser_read_no_contact() -> None:
    inner = sealed.open_outer(Blob.from_bytes(seal(), 3, 5), CTX, PRIVATE, [(1, 2, 3)])
    assert b"ada" not in inner
    for key in PRIVATE.values():
        with pytest.raises(OpeningError):
            sealed.open_inner(inner, CTX, key)


def test_the_organiser_alone_opens_nothing() -> None:
    blob = Blob.from_bytes(seal(), 3, 5)
    with pytest.raises(OpeningError):
        sealed.open_share(blob, CTX, 1, ORGANISER)
    with pytest.raises(OpeningError):
        sealed.open_inner(blob.body[:304], CTX, ORGANISER)


def test_a_blob_says_nothing_about_length_or_type() -> None:
    long = Contact(EMAIL, "a" * 60 + "@" + "b" * 60 + "." + "c" * 60 + ".example")
    blobs = [seal(contact) for contact in (ADA, long, Contact(NONE, ""))]
    assert len({len(blob) for blob in blobs}) == 1
    assert len({blob[:3] for blob in blobs}) == 1
    assert all(b"@" not in blob[3:10] and b"example" not in blob for blob in blobs)


def test_every_flipped_bit_is_refused() -> None:
    data = seal()
    for at in range(len(data)):
        # The last two trustees' boxes are not needed by the first three, but by others.
        subset = (1, 2, 3) if at < sealed.HEAD_BYTES + 3 * sealed.BOX_BYTES else (3, 4, 5)
        changed = data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]
        with pytest.raises((OpeningError, MalformedError)):
            read(changed, subset)


def test_a_spoilt_box_hides_nothing_from_other_subsets() -> None:
    blob = Blob.from_bytes(seal(), 3, 5)
    boxes = list(blob.boxes)
    boxes[0] = bytes(sealed.BOX_BYTES)
    boxes[2] = seal_box(PUBLIC[2], blob.share_info(CTX, 3), b"false share".ljust(32) + b"\x03")
    spoilt = Blob(3, blob.commit, blob.body, tuple(boxes))
    inner = sealed.open_outer(spoilt, CTX, PRIVATE, itertools.combinations(PRIVATE, 3))
    assert sealed.open_inner(inner, CTX, ORGANISER) == ADA
    with pytest.raises(OpeningError):
        sealed.open_outer(spoilt, CTX, PRIVATE, [(1, 2, 3), (2, 3, 4)])
    with pytest.raises(OpeningError):
        sealed.open_outer(spoilt, CTX, PRIVATE, [])


def test_one_key_never_covers_two_contacts() -> None:
    # HPKE's own key pair differs, hence the inner layer, hence K: the fixed IV is used once a K.
    blobs = [Blob.from_bytes(seal(), 3, 5) for _ in range(3)]
    blobs.append(Blob.from_bytes(seal(Contact(EMAIL, "bob@example.org")), 3, 5))
    assert len({blob.commit for blob in blobs}) == len({blob.body[:16] for blob in blobs}) == 4


def test_the_key_and_the_shares_are_derived_from_the_seed() -> None:
    key, coefficients = seed.sealing(bytes(32), b"info", 3)
    assert [len(value) for value in (key, *coefficients)] == [32, 32, 32]
    assert seed.sealing(bytes(32), b"info", 1) == (key, [])
    others = [seed.sealing(bytes(32), b"other", 3), seed.sealing(b"\x01" * 32, b"info", 3)]
    assert len({key, *coefficients, *(k for k, _ in others), *(c for _, cs in others for c in cs)}) == 9


def test_keys_with_which_nothing_can_be_sealed_are_refused() -> None:
    for bad in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32, b"short"):
        with pytest.raises(MalformedError):
            seal_box(bad, b"", b"")


def test_boxes_of_the_library_and_of_the_reference_open_each_other() -> None:
    private, public = PRIVATE[1], PUBLIC[0]
    assert reference_hpke.open_(private, b"info", seal_box(public, b"info", b"text")) == b"text"
    box = reference_hpke.seal(keys.seed("ephemeral"), public, b"info", b"text")
    assert hpke.open_box(private, b"info", box) == b"text"
    for changed in (box[:-1], box + b"\x00", b"", bytes(32) + box[32:], box[:31]):
        with pytest.raises(OpeningError):
            hpke.open_box(private, b"info", changed)


@given(st.binary(max_size=800))
def test_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        blob = Blob.from_bytes(data, 3, 5)
    except MalformedError:
        return
    assert blob.to_bytes() == data


@settings(max_examples=30)
@given(st.integers(0, 759), st.binary(min_size=1, max_size=40))
def test_a_damaged_blob_opens_to_the_same_or_not_at_all(at: int, noise: bytes) -> None:
    damaged = (DATA[:at] + noise + DATA[at + len(noise) :])[: len(DATA)]
    found = set()
    for subset in itertools.combinations(PRIVATE, 3):
        with contextlib.suppress(OpeningError, MalformedError):
            found.add(read(damaged, subset).value)
    assert found <= {ADA.value}


DATA = seal()


def test_a_body_that_the_committed_key_does_not_open_is_refused() -> None:
    # Whoever seals may box true shares beside a body of something else.
    blob = Blob.from_bytes(seal(), 3, 5)
    other = Blob(3, blob.commit, bytes(sealed.BODY_BYTES), ())
    shares = {i: sealed.open_share(blob, CTX, i, key) for i, key in PRIVATE.items()}
    boxes = tuple(
        seal_box(PUBLIC[i - 1], other.share_info(CTX, i), share + bytes((i,))) for i, share in shares.items()
    )
    with pytest.raises(OpeningError, match="body"):
        sealed.open_outer(Blob(3, blob.commit, other.body, boxes), CTX, PRIVATE, [(1, 2, 3)])
