"""Signing and verifying in one thread, against ``openssl speed`` on the same core.

The machine is noisy, and its noise lasts from milliseconds to minutes. So ``openssl speed`` runs, and every
twentieth of a second it is stopped for as long, while ours runs: whatever else the machine has to do falls on
both alike. Each counts the processor time that it had, and a figure is the median of several such rounds.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
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
ROUND_S = 2  # of the clock, for each operation: half of it is the yardstick's; it takes whole seconds
SLICE_S = 0.05
PLEDGES = 2000  # in the ledger that is audited


class Rate:
    """Calls a CPU-second of one thread."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._calls = 0
        self._cpu_s = 0.0

    def run(self, seconds: float) -> None:
        """Call it for so long."""
        work, calls = self._work, 0
        started, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - started < seconds:
            for _ in range(10):
                work()
            calls += 10
        self._calls += calls
        self._cpu_s += time.process_time() - cpu

    def per_s(self) -> float:
        """What all runs came to."""
        return self._calls / self._cpu_s


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
    command = ["openssl", "speed", "-seconds", "1", *many, "rsa2048"]
    return _printed(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def beside_openssl(sign: Rate, verify: Rate) -> tuple[float, float]:
    """openssl_speed of one process, in turns with ours: the same operation at the same time."""
    command = ["openssl", "speed", "-seconds", str(ROUND_S), "rsa2048"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as speed:
        assert speed.stdout is not None
        assert speed.stderr is not None
        os.set_blocking(speed.stderr.fileno(), False)
        said = b""
        while speed.poll() is None:
            said += speed.stderr.read() or b""
            ours = verify if b" public rsa" in said else sign if b" private rsa" in said else None
            if ours is not None:
                speed.send_signal(signal.SIGSTOP)
                try:
                    ours.run(SLICE_S)
                finally:
                    speed.send_signal(signal.SIGCONT)
            time.sleep(SLICE_S)
        return _printed(speed.stdout.read().decode())


def _printed(text: str) -> tuple[float, float]:
    match = re.search(r"rsa\s+2048 bits\s+\S+\s+\S+\s+([0-9.]+)\s+([0-9.]+)", text)
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

    rounds: dict[str, list[float]] = {}
    with one_core():
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
            ours_sign = Rate(lambda: rsa.blind_sign(private, blinded_msg))
            ours_verify = Rate(lambda: rsa.verify(public, b"message", authenticator))
            sign, verify = beside_openssl(ours_sign, ours_verify)
            for name, value in (
                ("openssl.rsa2048_sign_per_s", sign),
                ("openssl.rsa2048_verify_per_s", verify),
                ("issue.blind_sign_per_s", ours_sign.per_s()),
                ("issue.blind_sign_over_openssl", ours_sign.per_s() / sign),
                ("audit.verify_per_s", ours_verify.per_s()),
                ("audit.verify_over_openssl", ours_verify.per_s() / verify),
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
