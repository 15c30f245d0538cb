"""Vectors of trust policies."""

from __future__ import annotations

from typing import Any

from headcount_spec.cosignature import cosign
from headcount_spec.errors import MalformedError, ProtocolError, SignatureError, UnknownKeyError
from headcount_spec.note import SigningKey
from headcount_spec.policy import Policy

from . import Case, checkpoints, fails, octets, ok, text

FILE = "policies.json"

_WITNESSES = [SigningKey(f"w{i}.example", bytes([16 + i]) * 32) for i in range(6)]
_LOG = f"log {checkpoints.LOG.verification_key.to_text()}\n"
_VKEYS = [w.cosigner_key.to_text() for w in _WITNESSES]
_SIX = "".join(f"witness W{i} {vkey}\n" for i, vkey in enumerate(_VKEYS))
_TWO = f"witness a {_VKEYS[0]}\nwitness b {_VKEYS[1]}\n"
_EXAMPLE = f"{_LOG}{_SIX}group X 2 W0 W1 W2\ngroup Y any W3 W4 W5\ngroup X-and-Y all X Y\nquorum X-and-Y\n"


def make() -> dict[str, Any]:
    """Policies, the checkpoints that they accept, and files that are not policies."""
    return {
        "about": "Trust policies, c2sp.org/tlog-policy, and the checkpoints that they accept.",
        "source": "Made by makers/policies.py; the groups are those of the example in tlog-policy.",
        "cases": [*_judged(), *_malformed()],
    }


def _case(policy: str | bytes, *witnesses: int, raw: bytes | None = None, **found: Any) -> dict[str, Any]:
    data = policy.encode() if isinstance(policy, str) else policy
    lines = [cosign(checkpoints.CHECKPOINT, _WITNESSES[i], checkpoints.TIME + i) for i in witnesses]
    return {**text("policy", data), **text("checkpoint", raw or checkpoints.cosigned(*lines)), **found}


def _times(names: str, *witnesses: int) -> dict[str, int]:
    return {names.format(i): checkpoints.TIME + i for i in witnesses}


def _judged() -> list[Case]:
    latin_1 = f"{_LOG}# ".encode() + b"\xe9t\xe9\nquorum none\n"
    accented = f"{_LOG}witness \u00e9t\u00e9 {_VKEYS[0]}\nquorum \u00e9t\u00e9\n"
    commented = (
        f"# comment\n\n \t\n\t # comment\n{_LOG.rstrip()} \thttps://ledger.example/ \n"
        f"witness\tW0  {_VKEYS[0]} https://w0.example/\n\tquorum W0\n"
    )
    reordered = f"{_SIX}group X 2 W0 W1 W2\nquorum X\n{_LOG}"
    wrong = checkpoints.cosigned(
        cosign(checkpoints.CHECKPOINT, _WITNESSES[0], 1), cosign(checkpoints.CHECKPOINT, _WITNESSES[1], 1)
    ).replace(b"w1.example", b"w0.example")
    twice = checkpoints.cosigned(*(cosign(checkpoints.CHECKPOINT, _WITNESSES[0], t) for t in (1, 2)))
    body = checkpoints.cosigned(cosign(checkpoints.CHECKPOINT, _WITNESSES[0], 1)).rstrip(b"=\n")
    flipped = body[:-1] + (b"A" if body[-1:] != b"A" else b"Q") + b"==\n"
    pq, pq_line = checkpoints.mldsa44()
    pq_times = {"pq": checkpoints.TIME}
    pq_policy = f"{_LOG}witness pq {pq.to_text()}\nquorum pq\n"
    one = f"{_LOG}witness W0 {_VKEYS[0]}\nquorum W0\n"
    return [
        ok("no-quorum", **_case(_LOG + "quorum none\n", witnesses={})),
        ok("one-witness", **_case(one, 0, witnesses=_times("W{}", 0))),
        ok("example-two-and-one", **_case(_EXAMPLE, 0, 2, 4, witnesses=_times("W{}", 0, 2, 4))),
        ok("example-all-six", **_case(_EXAMPLE, *range(6), witnesses=_times("W{}", *range(6)))),
        ok("mldsa44-witness", **_case(pq_policy, raw=checkpoints.cosigned(pq_line), witnesses=pq_times)),
        ok("octets-that-are-not-utf-8", **_case(latin_1, witnesses={})),
        ok("name-of-two-octets-a-letter", **_case(accented, 0, witnesses=_times("\u00e9t\u00e9", 0))),
        ok("white-space-comments-and-urls", **_case(commented, 0, witnesses=_times("W{}", 0))),
        ok("log-after-the-quorum", **_case(reordered, 0, 1, witnesses=_times("W{}", 0, 1))),
        fails("example-no-y", UnknownKeyError, **_case(_EXAMPLE, 0, 1, 2)),
        fails("example-one-x", UnknownKeyError, **_case(_EXAMPLE, 0, 3, 4, 5)),
        fails("no-witness", UnknownKeyError, **_case(one)),
        fails("other-witness", UnknownKeyError, **_case(one, 1)),
        fails("no-log-in-the-policy", UnknownKeyError, **_case("quorum none\n")),
        fails("cosignature-bit-flipped", SignatureError, **_case(one, raw=flipped)),
        fails("cosigned-twice-by-one-key", SignatureError, **_case(one, raw=twice)),
        ok("key-of-another-name-ignored", **_case(one, raw=wrong, witnesses={"W0": 1})),
    ]


def _malformed() -> list[Case]:
    log = checkpoints.LOG
    renamed = SigningKey("renamed.example", log.seed).verification_key.to_text()
    wrong: dict[str, str | bytes] = {
        "empty": b"",
        "no-quorum-line": _LOG,
        "no-final-newline": "quorum none",
        "two-quorum-lines": "quorum none\nquorum none\n",
        "quorum-without-a-name": "quorum\n",
        "quorum-undefined": "quorum a\n",
        "quorum-defined-later": "quorum a\n" + _TWO,
        "quorum-followed-by-a-comment": "quorum none # comment\n",
        "unknown-keyword": "trust all\nquorum none\n",
        "upper-case-keyword": "QUORUM none\n",
        "carriage-return": "quorum none\r\n",
        "nul-byte": "quorum none\n\0\n",
        "delete-byte": "quorum none\n#\x7f\n",
        "no-break-space": "quorum\u00a0none\n",
        "log-without-a-key": "log\nquorum none\n",
        "log-with-three-fields": _LOG.replace("\n", " a b\n") + "quorum none\n",
        "log-of-a-witness-type": f"log {_VKEYS[0]}\nquorum none\n",
        "log-twice": f"{_LOG}{_LOG}quorum none\n",
        "log-key-under-two-names": f"{_LOG}log {renamed}\nquorum none\n",
        "wrong-key-id": _LOG.replace("5e7290dd", "5e7290de") + "quorum none\n",
        "witness-without-a-key": "witness a\nquorum none\n",
        "witness-of-a-log-type": f"witness a {log.verification_key.to_text()}\nquorum none\n",
        "witness-key-twice": f"witness a {_VKEYS[0]}\nwitness b {_VKEYS[0]}\nquorum none\n",
        "witness-name-twice": f"witness a {_VKEYS[0]}\nwitness a {_VKEYS[1]}\nquorum none\n",
        "witness-named-none": f"witness none {_VKEYS[0]}\nquorum none\n",
        "group-named-as-a-witness": _TWO + "group a any b\nquorum none\n",
        "group-without-members": _TWO + "group g any\nquorum none\n",
        "group-member-undefined": _TWO + "group g any c\nquorum none\n",
        "group-member-itself": _TWO + "group g any g\nquorum none\n",
        "group-member-none": _TWO + "group g any none\nquorum none\n",
        "group-member-twice": _TWO + "group g any a a\nquorum none\n",
        "member-of-two-groups": _TWO + "group g any a\ngroup h any a b\nquorum none\n",
        "threshold-zero": _TWO + "group g 0 a b\nquorum none\n",
        "threshold-above-members": _TWO + "group g 3 a b\nquorum none\n",
        "threshold-with-leading-zero": _TWO + "group g 01 a b\nquorum none\n",
        "threshold-unknown-word": _TWO + "group g most a b\nquorum none\n",
    }
    return [fails(f"malformed-{name}", MalformedError, **_case(p)) for name, p in wrong.items()]


def check(case: Case) -> None:
    """Read a policy and judge a checkpoint by it."""
    policy = Policy.from_bytes(octets(case, "policy"))
    if Policy.from_bytes(policy.to_bytes()) != policy:
        raise ProtocolError("another policy after writing and reading")
    verified = policy.verify_checkpoint(octets(case, "checkpoint"))
    if dict(verified.cosignatures) != case["witnesses"]:
        raise ProtocolError("other witnesses")
