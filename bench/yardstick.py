"""Signing and verifying in one thread, against ``openssl speed`` on the same core.

The machine is noisy, and its noise lasts for seconds: short rounds of ours and of the yardstick alternate on
one core, each of the yardstick's is compared with the mean of ours before and after it, and every figure is
the median.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import factory  # noqa: F401 - finds the packages of this tree

import keys
import ledgers
import manifests
from headcount_engine import rsa
from headcount_ledger.audit import audit

ROUNDS = 11
ROUND_S = 1  # of the yardstick, for each operation; it takes whole seconds
OURS_S = 0.4
PLEDGES = 2000  # in the ledger that is audited


def rate(work: Callable[[], object], seconds: float = OURS_S) -> float:
    """Calls a CPU-second of one thread."""
    calls = 0
    started, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - started < seconds:
        for _ in range(50):
            work()
        calls += 50
    return calls / (time.process_time() - cpu)


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core, with the processes that are started meanwhile, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def openssl_speed(processes: int = 1) -> tuple[float, float]:
    """RSA-2048 signatures and verifications a second by ``openssl speed``, in so many processes."""
    many = ["-multi", str(processes)] if processes > 1 else []
    done = subprocess.run(
        ["openssl", "speed", "-seconds", str(ROUND_S), *many, "rsa2048"],
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+([0-9.]+)\s+([0-9.]+)", done.stdout)
    if match is None:
        raise SystemExit("openssl speed prints what this program does not understand")
    return float(match[1]), float(match[2])


def pledged_ledger() -> ledgers.Ledger:
    """A valid ledger with PLEDGES really signed pledges in one batch."""
    scope = ledgers.campaign()
    opening = manifests.opening(scope)
    terms = [manifests.manifest_notice(scope), *manifests.text_notices(scope), opening]
    pledges = [manifests.pledge(scope, number) for number in range(PLEDGES)]
    issued = manifests.issuance(scope, ledgers.OPENS + 1, -(-PLEDGES // 16) * 16, opening)
    return ledgers.build(
        (
            ledgers.Batch(ledgers.OPENS - 1, ledgers.raw(*terms)),
            ledgers.Batch(ledgers.OPENS, ledgers.raw(*pledges)),
            ledgers.Batch(ledgers.OPENS + 1, ledgers.raw(issued)),
        )
    )


def engines() -> dict[str, float]:
    """``issue.*``, ``audit.*`` and their yardstick."""
    if not shutil.which("openssl"):
        raise SystemExit("bench: the openssl command is missing; it is the yardstick")
    private, token_key = rsa.load_private_key(keys.token_key_der(0)), keys.token_key(0)
    public = rsa.load_public_key(keys.token_spki(0))
    blinded_msg = (3**1200).to_bytes(256, "big")
    authenticator = keys.sign_pss(token_key, b"message")

    def ours() -> tuple[float, float]:
        return (
            rate(lambda: rsa.blind_sign(private, blinded_msg)),
            rate(lambda: rsa.verify(public, b"message", authenticator)),
        )

    rounds: dict[str, list[float]] = {}
    with one_core():
        before = ours()
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
            sign, verify = openssl_speed()
            after = ours()
            ours_sign, ours_verify = ((a + b) / 2 for a, b in zip(before, after, strict=True))
            before = after
            for name, value in (
                ("openssl.rsa2048_sign_per_s", sign),
                ("openssl.rsa2048_verify_per_s", verify),
                ("issue.blind_sign_per_s", ours_sign),
                ("issue.blind_sign_over_openssl", ours_sign / sign),
                ("audit.verify_per_s", ours_verify),
                ("audit.verify_over_openssl", ours_verify / verify),
            ):
                rounds.setdefault(name, []).append(value)
    results = {name: statistics.median(values) for name, values in rounds.items()}
    print(f"signing {PLEDGES} pledges", file=sys.stderr)
    ledger = pledged_ledger()
    cpu = time.process_time()
    report = audit(ledger.fetch, ledger.policy)
    if not report.ok:
        raise SystemExit("bench: the audited ledger is not sound")
    results["audit.pledges_per_cpu_s"] = PLEDGES / (time.process_time() - cpu)
    results["audit.rate_over_openssl_one_core"] = (
        results["audit.pledges_per_cpu_s"] / results["openssl.rsa2048_verify_per_s"]
    )
    return results
