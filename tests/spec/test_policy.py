from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headcount_spec.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign
from headcount_spec.errors import MalformedError, SignatureError, UnknownKeyError
from headcount_spec.merkle import RootHash
from headcount_spec.note import MLDSA44, NoteSignature, SigningKey, VerificationKey
from headcount_spec.policy import Group, Log, Policy, Witness

LOG = SigningKey("ledger.example", b"\0" * 32)
NEW_LOG = SigningKey("ledger.example", b"\1" * 32)
WITNESSES = [SigningKey(f"w{i}.example", bytes([16 + i]) * 32) for i in range(6)]
CHECKPOINT = Checkpoint("ledger.example", 5, RootHash(b"\7" * 32))
LOG_LINE = f"log {LOG.verification_key.to_text()}\n"
WITNESS_LINES = "".join(f"witness W{i} {w.cosigner_key.to_text()}\n" for i, w in enumerate(WITNESSES))
EXAMPLE = (
    f"# an example\n\n{LOG_LINE}{WITNESS_LINES}"
    "group X 2 W0 W1 W2\n"
    "group Y any W3 W4 W5\n"
    "group X-and-Y all X Y\n"
    "quorum X-and-Y\n"
).encode()


def policy(text: str) -> Policy:
    return Policy.from_bytes(text.encode())


def cosigned(*witnesses: int) -> bytes:
    note = parse_checkpoint(sign_checkpoint(CHECKPOINT, LOG)).note
    return note.with_signatures(cosign(CHECKPOINT, WITNESSES[i], 1000 + i) for i in witnesses).to_bytes()


def test_the_example_of_the_specification_is_read() -> None:
    read = Policy.from_bytes(EXAMPLE)
    assert read.logs == (Log(LOG.verification_key),)
    assert read.witnesses == tuple(Witness(f"W{i}", w.cosigner_key) for i, w in enumerate(WITNESSES))
    assert read.groups == (
        Group("X", 2, ("W0", "W1", "W2")),
        Group("Y", 1, ("W3", "W4", "W5")),
        Group("X-and-Y", 2, ("X", "Y")),
    )
    assert read.quorum == "X-and-Y"
    assert Policy.from_bytes(read.to_bytes()) == read


@pytest.mark.parametrize(
    ("witnesses", "enough"),
    [
        ((), False),
        ((0, 1), False),
        ((3, 4, 5), False),
        ((0, 3), False),
        ((0, 1, 3), True),
        ((1, 2, 5), True),
        ((0, 1, 2, 3, 4, 5), True),
    ],
)
def test_the_example_quorum(witnesses: tuple[int, ...], enough: bool) -> None:
    read = Policy.from_bytes(EXAMPLE)
    if enough:
        verified = read.verify_checkpoint(cosigned(*witnesses))
        assert verified.signed.checkpoint == CHECKPOINT
        assert verified.cosignatures == tuple((f"W{i}", 1000 + i) for i in witnesses)
    else:
        with pytest.raises(UnknownKeyError, match="quorum"):
            read.verify_checkpoint(cosigned(*witnesses))


def test_no_quorum_needs_the_log_alone() -> None:
    read = policy(LOG_LINE + "quorum none\n")
    assert read.verify_checkpoint(cosigned()).cosignatures == ()
    assert read.verify_checkpoint(cosigned(1, 2)).cosignatures == ()


def test_one_witness_can_be_the_quorum() -> None:
    read = policy(LOG_LINE + WITNESS_LINES + "quorum W2\n")
    assert read.verify_checkpoint(cosigned(2)).cosignatures == (("W2", 1002),)
    with pytest.raises(UnknownKeyError):
        read.verify_checkpoint(cosigned(1))


def test_a_policy_without_logs_judges_cosignatures_alone() -> None:
    read = policy(WITNESS_LINES + "group all-six all W0 W1 W2 W3 W4 W5\nquorum all-six\n")
    signed = parse_checkpoint(cosigned(*range(6)))
    assert len(read.verify_cosignatures(signed)) == 6
    with pytest.raises(UnknownKeyError):
        read.verify_cosignatures(parse_checkpoint(cosigned(*range(5))))
    with pytest.raises(UnknownKeyError, match="not in the policy"):
        read.verify_checkpoint(cosigned(*range(6)))


def test_a_log_may_change_its_key() -> None:
    read = policy(f"{LOG_LINE}log {NEW_LOG.verification_key.to_text()}\nquorum none\n")
    for key in (LOG, NEW_LOG):
        assert read.verify_checkpoint(sign_checkpoint(CHECKPOINT, key)).signed.checkpoint == CHECKPOINT
    assert read.log_key("ledger.example") == LOG.verification_key
    assert len(read.log_keys("ledger.example")) == 2
    with pytest.raises(UnknownKeyError):
        read.log_key("other.example")
    with pytest.raises(UnknownKeyError):
        read.verify_checkpoint(sign_checkpoint(CHECKPOINT, SigningKey("ledger.example", b"\2" * 32)))


def test_a_wrong_cosignature_of_a_known_witness_spoils_the_checkpoint() -> None:
    read = Policy.from_bytes(EXAMPLE)
    key = WITNESSES[5].cosigner_key
    wrong = NoteSignature(key.name, key.key_id, bytes(72))
    note = parse_checkpoint(cosigned(0, 1, 3)).note.with_signatures([wrong])
    with pytest.raises(SignatureError):
        read.verify_checkpoint(note.to_bytes())
    twice = parse_checkpoint(cosigned(0, 1, 3, 3))
    with pytest.raises(SignatureError, match="two"):
        read.verify_cosignatures(twice)


def test_white_space_comments_and_foreign_octets_are_allowed() -> None:
    name = b"\xe9t\xe9"
    key = WITNESSES[0].cosigner_key.to_text().encode()
    data = (
        b"\t # \xff comment\n \t\n witness\t"
        + name
        + b"  "
        + key
        + b" https://\xe9.example/ \nquorum "
        + name
        + b"\n"
    )
    read = Policy.from_bytes(data)
    assert read.witnesses[0].name.encode("utf-8", "surrogateescape") == name
    assert Policy.from_bytes(read.to_bytes()) == read
    assert read.verify_cosignatures(parse_checkpoint(cosigned(0)))[0][1] == 1000


def test_no_break_spaces_do_not_separate() -> None:
    assert policy("\u00a0".join(("quorum none\n#", "")) + "\n").quorum == "none"
    with pytest.raises(MalformedError, match="unknown keyword"):
        policy("quorum\u00a0none\n")


def test_mldsa_witnesses_and_urls_are_read() -> None:
    key = VerificationKey("pq.example", MLDSA44, bytes(1312))
    lines = [
        f"log {LOG.verification_key.to_text()} https://ledger.example/",
        f"witness pq {key.to_text()} https://w/",
        "quorum none",
    ]
    text = "\n".join([*lines, ""])
    read = policy(text)
    assert read.logs[0].url == "https://ledger.example/"
    assert read.witnesses == (Witness("pq", key, "https://w/"),)
    assert read.to_bytes() == text.encode()


def test_a_hundred_of_each_are_read() -> None:
    lines = []
    for i in range(100):
        key = SigningKey(f"k{i}", i.to_bytes(32, "big"))
        lines += [f"log {key.verification_key.to_text()}", f"witness w{i} {key.cosigner_key.to_text()}"]
        lines.append(f"group g{i} any w{i}" + (f" g{i - 1}" if i else ""))
    read = policy("\n".join([*lines, "quorum g99", ""]))
    read.check_quorum(["w0"])
    assert (len(read.logs), len(read.witnesses), len(read.groups)) == (100, 100, 100)


KEY0, KEY1 = (w.cosigner_key.to_text() for w in WITNESSES[:2])
TWO = f"witness a {KEY0}\nwitness b {KEY1}\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "without a quorum"),
        ("# nothing\n", "without a quorum"),
        (LOG_LINE, "without a quorum"),
        ("quorum none", "no newline"),
        ("quorum none\nquorum none\n", "second quorum"),
        ("quorum\n", "quorum <name>"),
        ("quorum none none\n", "quorum <name>"),
        ("quorum none # a comment\n", "quorum <name>"),
        ("quorum a\n" + TWO, "not defined above"),
        ("Quorum none\n", "unknown keyword"),
        ("trust everybody\nquorum none\n", "unknown keyword"),
        ("quorum none\r\n", "control character"),
        ("quorum none\n\0\n", "control character"),
        ("quorum none\n\x7f\n", "control character"),
        ("log\nquorum none\n", "log <vkey>"),
        (LOG_LINE.replace("\n", " a b\n") + "quorum none\n", "log <vkey>"),
        ("log x\nquorum none\n", "not a vkey"),
        (f"log {KEY0}\nquorum none\n", "another signature type"),
        (f"witness a {LOG.verification_key.to_text()}\nquorum none\n", "another signature type"),
        (LOG_LINE + LOG_LINE + "quorum none\n", "duplicate"),
        (
            f"{LOG_LINE}log {SigningKey('renamed', LOG.seed).verification_key.to_text()}\nquorum none\n",
            "duplicate",
        ),
        (f"witness a {KEY0}\nwitness b {KEY0}\nquorum none\n", "duplicate"),
        ("witness a\nquorum none\n", "witness <name>"),
        (f"witness a {KEY0} url more\nquorum none\n", "witness <name>"),
        (f"witness none {KEY0}\nquorum none\n", "defined already"),
        (f"witness a {KEY0}\nwitness a {KEY1}\nquorum none\n", "defined already"),
        (TWO + "group a any b\nquorum none\n", "defined already"),
        (TWO + "group none any b\nquorum none\n", "defined already"),
        (TWO + "group g any\nquorum none\n", "group <name>"),
        (TWO + "group g any c\nquorum none\n", "not defined"),
        (TWO + "group g any g\nquorum none\n", "not defined"),
        (TWO + "group g any none\nquorum none\n", "not defined"),
        (TWO + "group g any a a\nquorum none\n", "twice"),
        (TWO + "group g any a\ngroup h any a b\nquorum none\n", "twice"),
        (TWO + "group g 0 a b\nquorum none\n", "out of range"),
        (TWO + "group g 3 a b\nquorum none\n", "out of range"),
        (TWO + "group g 01 a b\nquorum none\n", "decimal"),
        (TWO + "group g some a b\nquorum none\n", "decimal"),
    ],
)
def test_other_policies_are_refused(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        policy(text)


def test_a_policy_of_megabytes_is_refused() -> None:
    with pytest.raises(MalformedError, match="longer"):
        policy("quorum none\n" + "#" * (1 << 20) + "\n")


words = st.sampled_from(
    [
        "log",
        "witness",
        "group",
        "quorum",
        "none",
        "any",
        "all",
        "2",
        "a",
        "b",
        "\t",
        "\n",
        "#",
        KEY0,
        KEY1,
        LOG_LINE,
    ]
)


@given(st.lists(words | st.binary(max_size=3), max_size=30))
@example([TWO, "group g any a b\nquorum g\n"])
def test_any_policy_is_read_or_refused(parts: list[str | bytes]) -> None:
    data = b" ".join(p.encode() if isinstance(p, str) else p for p in parts) + b"\n"
    for some in (data, data + b"quorum none\n"):
        try:
            read = Policy.from_bytes(some)
        except MalformedError:
            continue
        assert Policy.from_bytes(read.to_bytes()) == read
