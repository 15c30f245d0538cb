"""Opening sealed contacts, both layers on all cores, against the bare HPKE and AES operations."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headcount import opening
from headcount_engine.hpke import seal_box
from headcount_spec import hpke, sealed
from headcount_spec.contact import Contact
from headcount_spec.pledge import Nullifier
from headcount_spec.scope import ScopeId

T, N = 3, 5
BLOBS = 20_000
LARGE = 100_000
ROUNDS = 3
_BLOCK = 500
_SCOPE = ScopeId(hashlib.sha256(b"bench scope").digest())
_ORGANISER = hashlib.sha256(b"bench organiser").digest()
_TRUSTEES = {i: hashlib.sha256(b"bench trustee %d" % i).digest() for i in range(1, N + 1)}

Job = tuple[Nullifier, opening.Standing, bytes]


def open_contacts(large: bool) -> dict[str, float]:
    """``open.blobs_per_s``, and ``open.over_raw``: against t + 1 HPKE openings and one of AES-GCM alone."""
    number = LARGE if large else BLOBS
    keys = opening.Keys(_SCOPE, T, N, {i: _TRUSTEES[i] for i in range(1, T + 1)}, _ORGANISER)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        starts = range(0, number, _BLOCK)
        jobs = [job for block in pool.map(_seal, starts) for job in block]
        entries = {nullifier: standing for nullifier, standing, _ in jobs}
        blobs = [(nullifier, blob) for nullifier, _, blob in jobs]
        ours, raw = [], []
        for _ in range(ROUNDS):
            ours.append(number / _timed(lambda: _open(entries, blobs, keys, pool)))
            raw.append(number / _timed(lambda: sum(pool.map(_raw, [_BLOCK] * len(starts)))))
    rate = statistics.median(ours)
    return {
        "open.blobs": float(number),
        "open.blobs_per_s": rate,
        "open.over_raw": statistics.median(a / b for a, b in zip(ours, raw, strict=True)),
    }


def _open(
    entries: dict[Nullifier, opening.Standing],
    blobs: list[tuple[Nullifier, bytes]],
    keys: opening.Keys,
    pool: Executor,
) -> None:
    opened = opening.open_all(entries, blobs, keys, pool)
    if opened.failures or len(opened.contacts) != len(entries):
        raise SystemExit("open: not every contact was opened")


def _seal(start: int) -> list[Job]:
    public = [hpke.public_key(private) for private in _TRUSTEES.values()]
    organiser = hpke.public_key(_ORGANISER)
    jobs = []
    for number in range(start, start + _BLOCK):
        revision_key = hashlib.sha256(b"bench revision key %d" % number).digest()
        contact = Contact.of("email", f"person{number}@example.org")
        ctx = sealed.context(_SCOPE, revision_key)
        blob = sealed.seal(contact, ctx, organiser, public, T, revision_key, seal_box)
        standing = opening.Standing(revision_key, hashlib.sha256(blob).digest())
        jobs.append((Nullifier(hashlib.sha256(revision_key).digest()), standing, blob))
    return jobs


def _raw(times: int) -> int:
    """The cryptography of so many openings and nothing else."""
    private = X25519PrivateKey.from_private_bytes(_ORGANISER)
    share = hpke.SUITE.encrypt(bytes(33), private.public_key(), bytes(115))
    inner = hpke.SUITE.encrypt(bytes(256), private.public_key(), bytes(79))
    key = bytes(32)
    body = AESGCM(key).encrypt(bytes(12), inner, bytes(110))
    for _ in range(times):
        for _ in range(T):
            hpke.SUITE.decrypt(share, private, bytes(115))
        AESGCM(key).decrypt(bytes(12), body, bytes(110))
        hpke.SUITE.decrypt(inner, private, bytes(79))
    return times


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
