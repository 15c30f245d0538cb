"""RSA keys that live in a PKCS #11 token and never leave it.

Each session with the token is a process of its own (hsm_worker): a fault in the module's C code takes a
worker down and not the issuer, and python-pkcs11 with two threads on one SoftHSM corrupts the heap. The
workers take turns. One that fails is ended and the next request starts another; the request
itself is not repeated here, because its caller can, and knows whether it still wants to.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

from headcount_engine import hsm_worker
from headcount_spec.blind_rsa import PublicKey
from headcount_spec.errors import ConfigurationError, CorruptionError, UnavailableError, UnknownKeyError
from headcount_spec.spki import EXPONENT, MODULUS_BITS, TokenKeyId, encode_token_key, token_key_id

MODULUS_BYTES = MODULUS_BITS // 8
_TIMEOUT_S = 60.0  # generating a key in a slow token; a signature takes a millisecond
_END_S = 5.0


class Hsm:
    """One PKCS #11 token and the sessions with it; threads share it."""

    def __init__(self, module: Path, token: str, pin: bytes, sessions: int = 2) -> None:
        """module is the PKCS #11 library's file, token the token's label. Nothing is started yet."""
        self._open = {"module": str(module), "token": token, "pin": pin.decode("utf-8", "replace")}
        self._refused: ConfigurationError | None = None  # a wrong PIN is tried once: a third time locks it
        self._lock = threading.Lock()
        self._closed = False
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(sessions):
            self._idle.put(None)

    def generate(self) -> bytes:
        """Make a token key; its SPKI, as manifests carry it.

        Raises:
            ConfigurationError, UnavailableError: as _ask.
        """
        return encode_token_key(_public(self._ask(hsm_worker.GENERATE, b"")))

    def signing_key(self, key_id: TokenKeyId) -> HsmSigningKey:
        """The handle of a key, after a signature of it was checked.

        Raises:
            UnknownKeyError: the token has no such key.
            CorruptionError: it is another key than its name says, or signs wrongly.
            ConfigurationError, UnavailableError: as _ask.
        """
        key = HsmSigningKey(self, key_id, _public(self._ask(hsm_worker.PUBLIC, key_id)))
        if token_key_id(encode_token_key(key.public)) != key_id:
            raise CorruptionError("the key token holds another key under this id")
        probe = (3**1200).to_bytes(MODULUS_BYTES, "big")  # below any modulus of 2048 bits
        if key.public_op(key.private_op(probe)) != probe:
            raise CorruptionError("the key token signs wrongly")
        return key

    def sign(self, key_id: TokenKeyId, m: bytes) -> bytes:
        """m^d mod n, by the token.

        Raises:
            UnknownKeyError: the token has no such key any more.
            ConfigurationError, UnavailableError: as _ask.
        """
        return self._ask(hsm_worker.SIGN, key_id + m)

    def destroy(self, key_id: TokenKeyId) -> bool:
        """Destroy both halves of a key in the token; whether it was there.

        Raises:
            ConfigurationError, UnavailableError: as _ask.
        """
        try:
            self._ask(hsm_worker.DESTROY, key_id)
        except UnknownKeyError:
            return False
        return True

    def close(self) -> None:
        """End the workers; those that are busy end after their answer."""
        with self._lock:
            self._closed = True
        drained = 0
        with contextlib.suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                drained += 1
                if worker is not None:
                    worker.end()
        for _ in range(drained):  # who asks now is refused and does not wait
            self._idle.put(None)

    def _ask(self, operation: bytes, data: bytes) -> bytes:
        """One question to whichever worker is free.

        Raises:
            UnknownKeyError: the token has no such key.
            UnavailableError: the token does not answer; the next question finds out whether it does again.
            ConfigurationError: it refuses the PIN, or there is no such module; it is not asked again.
        """
        worker = self._idle.get()
        try:
            if self._closed:
                raise UnavailableError("the issuer is stopping")
            if self._refused is not None:
                raise self._refused
            if worker is None:
                worker = _Worker(self._open)
            try:
                return worker.ask(operation, data)
            except UnavailableError:
                worker.end()
                worker = None
                raise
        except ConfigurationError as exc:
            self._refused = exc
            raise
        finally:
            with self._lock:
                closed = self._closed
            if closed and worker is not None:
                worker.end()
                worker = None
            self._idle.put(worker)


class HsmSigningKey:
    """A key in the token, as engine.SigningKey."""

    def __init__(self, hsm: Hsm, key_id: TokenKeyId, public: PublicKey) -> None:
        self.public = public
        self._hsm = hsm
        self._key_id = key_id

    def private_op(self, m: bytes) -> bytes:
        """RSASP1 without padding, by CKM_RSA_X_509."""
        return self._hsm.sign(self._key_id, m)

    def is_coprime(self, m: bytes) -> bool:
        """Whether gcd(m, n) = 1."""
        return math.gcd(int.from_bytes(m, "big"), self.public.n) == 1

    def public_op(self, s: bytes) -> bytes:
        """RSAVP1, here: the token does not judge itself."""
        n = self.public.n
        return pow(int.from_bytes(s, "big"), self.public.e, n).to_bytes(MODULUS_BYTES, "big")


class _Worker:
    """One process with one session."""

    def __init__(self, opening: dict[str, str]) -> None:
        # Found where this process found it. The PIN goes through the pipe, because arguments are public.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", hsm_worker.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the issuer, which ends its workers after the last request
        )
        try:
            self.ask(hsm_worker.OPEN, json.dumps(opening).encode())
        except BaseException:
            self.end()
            raise

    def ask(self, operation: bytes, data: bytes) -> bytes:
        question = operation + data
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - both are pipes
        assert stdout is not None  # noqa: S101
        try:
            stdin.write(struct.pack(">I", len(question)) + question)
            stdin.flush()
            deadline = time.monotonic() + _TIMEOUT_S
            (size,) = struct.unpack(">I", _read(stdout.fileno(), 4, deadline))
            answer = _read(stdout.fileno(), size, deadline)
        except (OSError, EOFError) as exc:
            raise UnavailableError("the key token does not answer") from exc
        status, rest = answer[:1], answer[1:]
        if status == hsm_worker.DONE:
            return rest
        if status == hsm_worker.NO_KEY:
            raise UnknownKeyError("the private half of this token key is not in the key token")
        reason = rest.decode("ascii", "replace")
        if status == hsm_worker.REFUSED:
            raise ConfigurationError(f"the key token cannot be used: {reason}")
        raise UnavailableError(f"the key token does not answer: {reason}")

    def end(self) -> None:
        """End the process; it keeps nothing."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what was not flushed is of no use any more
                    pipe.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _read(descriptor: int, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        chunk = os.read(descriptor, size - len(data)) if ready else b""
        if not chunk:
            raise EOFError
        data += chunk
    return data


def _public(modulus: bytes) -> PublicKey:
    return PublicKey(int.from_bytes(modulus, "big"), EXPONENT)
