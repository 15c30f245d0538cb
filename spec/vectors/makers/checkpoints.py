"""Vectors of signed checkpoints and their cosignatures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from headcount_spec import merkle
from headcount_spec.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint, sign_checkpoint
from headcount_spec.cosignature import cosign, verify_cosignature
from headcount_spec.errors import MalformedError, ProtocolError, SignatureError, UnknownKeyError
from headcount_spec.note import NoteSignature, SigningKey, VerificationKey, sign_note

from . import Case, fails, octets, ok, text

FILE = "checkpoints.json"

LOG = SigningKey("pledge.example/demo", bytes(32))
WITNESS = SigningKey("witness.example/w1", b"\1" * 32)
TIME = 1_700_000_000  # seconds since 1970
LEAVES = [merkle.leaf_hash(b"pledge-%d" % i) for i in range(5)]
CHECKPOINT = Checkpoint(LOG.name, 5, merkle.root(LEAVES))


def cosigned(*lines: NoteSignature) -> bytes:
    """The checkpoint, signed by the log, with further signature lines."""
    note = parse_checkpoint(sign_checkpoint(CHECKPOINT, LOG)).note
    return note.with_signatures(lines).to_bytes()


def mldsa44() -> tuple[VerificationKey, NoteSignature]:
    """A witness whose seed is 32 times 02; its signature is kept, since signing draws randomness."""
    vkey, line = (Path(__file__).parent / "mldsa44-cosignature.txt").read_text().splitlines()
    return VerificationKey.from_text(vkey), NoteSignature.from_line(line + "\n")


def make() -> dict[str, Any]:
    """Checkpoints and cosignatures, right, malformed and forged."""
    return {
        "about": "Checkpoints (c2sp.org/tlog-checkpoint) and cosignatures (c2sp.org/tlog-cosignature).",
        "source": "Made by makers/checkpoints.py; signed and cosigned agree with another implementation.",
        "cases": [*_opened(), *_malformed(), *_cosigned()],
    }


def _open(raw: bytes, key: VerificationKey = LOG.verification_key, **found: Any) -> dict[str, Any]:
    return {"operation": "open", **text("checkpoint", raw), "log_key": key.to_text(), **found}


def _found(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _opened() -> list[Case]:
    raw = sign_checkpoint(CHECKPOINT, LOG)
    empty = Checkpoint(LOG.name, 0, merkle.EMPTY_ROOT)
    successor = SigningKey(LOG.name, b"\1" * 32)
    other = Checkpoint("other.example", 5, CHECKPOINT.root)
    return [
        ok("signed", **_open(raw, **_found(CHECKPOINT))),
        ok("signed-empty-tree", **_open(sign_checkpoint(empty, LOG), **_found(empty))),
        ok("signed-and-cosigned", **_open(cosigned(cosign(CHECKPOINT, WITNESS, TIME)), **_found(CHECKPOINT))),
        fails("other-size", SignatureError, **_open(raw.replace(b"\n5\n", b"\n6\n"))),
        fails("other-root", SignatureError, **_open(raw.replace(b"\nsmK0", b"\nsmK1"))),
        fails("other-key", UnknownKeyError, **_open(raw, successor.verification_key)),
        fails("other-origin", UnknownKeyError, **_open(sign_note(other.to_text(), [LOG]).to_bytes())),
    ]


def _malformed() -> list[Case]:
    right = CHECKPOINT.to_text()
    root = right.split("\n")[2]
    wrong = {
        "extension-line": right + "extension\n",
        "empty-extension-line": right + "\n",
        "no-root": "\n".join([*right.split("\n")[:2], ""]),
        "no-size": right.replace("\n5\n", "\n"),
        "empty-size": right.replace("\n5\n", "\n\n"),
        "leading-zero": right.replace("\n5\n", "\n05\n"),
        "plus-sign": right.replace("\n5\n", "\n+5\n"),
        "negative-size": right.replace("\n5\n", "\n-5\n"),
        "space-before-the-size": right.replace("\n5\n", "\n 5\n"),
        "underscore-in-the-size": right.replace("\n5\n", "\n1_0\n"),
        "arabic-digit": right.replace("\n5\n", "\n\u0665\n"),
        "hexadecimal-size": right.replace("\n5\n", "\n0x5\n"),
        "size-2-to-the-63": right.replace("\n5\n", "\n9223372036854775808\n"),
        "noncanonical-base64": right.replace("71A=", "71B="),
        "unpadded-root": right.replace("71A=", "71A"),
        "base64url-root": right.replace("P+s", "P-s"),
        "root-of-31-bytes": right.replace(root, root[:40] + "7w=="),
        "root-of-33-bytes": right.replace(root, root[:-1] + "A"),
        "hex-root": right.replace(root, CHECKPOINT.root.hex()),
        "empty-origin": right.replace(LOG.name, ""),
    }
    cases = []
    for name, changed in wrong.items():
        raw = sign_note(changed, [LOG]).to_bytes()
        cases.append(fails(f"malformed-{name}", MalformedError, **_open(raw)))
    return [*cases, fails("malformed-no-signature", MalformedError, **_open(right.encode()))]


def _cosignature(line: NoteSignature, key: VerificationKey, **found: Any) -> dict[str, Any]:
    return {
        "operation": "cosignature",
        "checkpoint": cosigned(line).decode(),
        "witness_key": key.to_text(),
        **found,
    }


def _cosigned() -> list[Case]:
    key = WITNESS.cosigner_key
    line = cosign(CHECKPOINT, WITNESS, TIME)
    body = line.signature
    other_size = cosign(dataclasses.replace(CHECKPOINT, size=6), WITNESS, TIME)
    pq, pq_line = mldsa44()
    pq_body = pq_line.signature
    zero, later, huge = (time.to_bytes(8, "big") for time in (0, TIME + 1, 2**63))
    changes = {
        "time-zero": zero + body[8:],
        "time-changed": later + body[8:],
        "time-2-to-the-63": huge + body[8:],
        "without-a-time": body[8:],
        "trailing-byte": body + b"\0",
        "bit-flipped": body[:-1] + bytes([body[-1] ^ 1]),
        "plain-signature": body[:8] + WITNESS.sign(CHECKPOINT.to_text().encode()),
        "other-checkpoint": other_size.signature,
    }
    pq_changes = {
        "time-changed": later + pq_body[8:],
        "truncated": pq_body[:-1],
        "bit-flipped": pq_body[:8] + bytes([pq_body[8] ^ 1]) + pq_body[9:],
    }
    stranger = SigningKey(WITNESS.name, b"\3" * 32).cosigner_key
    return [
        ok("cosigned", **_cosignature(line, key, time=TIME)),
        ok("cosigned-in-1970", **_cosignature(cosign(CHECKPOINT, WITNESS, 1), key, time=1)),
        ok("cosigned-by-mldsa44", **_cosignature(pq_line, pq, time=TIME)),
        *(
            fails(f"cosignature-{n}", SignatureError, **_cosignature(_with(line, body), key))
            for n, body in changes.items()
        ),
        *(
            fails(f"mldsa44-{n}", SignatureError, **_cosignature(_with(pq_line, body), pq))
            for n, body in pq_changes.items()
        ),
        fails("cosignature-of-another-key", SignatureError, **_cosignature(line, stranger)),
    ]


def _with(line: NoteSignature, body: bytes) -> NoteSignature:
    return dataclasses.replace(line, signature=body)


def check(case: Case) -> None:
    """Open a checkpoint with the log's key, or verify its last line under a witness's key."""
    raw = octets(case, "checkpoint")
    if case["operation"] == "open":
        opened = open_checkpoint(raw, VerificationKey.from_text(case["log_key"]))
        found = _found(opened.checkpoint)
        if found != {name: case[name] for name in found}:
            raise ProtocolError("another checkpoint")
    else:
        signed = parse_checkpoint(raw)
        key = VerificationKey.from_text(case["witness_key"])
        if verify_cosignature(signed.checkpoint, signed.note.signatures[-1], key) != case["time"]:
            raise ProtocolError("another time")
