"""The tree in an S3-compatible bucket, written on conditions so that nobody writes over another.

Objects that never change are created with If-None-Match, the checkpoint is replaced with If-Match on
the ETag of the bytes that were compared. A request is repeated after an error; a repetition that finds
its own work done compares the bytes and goes on.
"""

from __future__ import annotations

import configparser
import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from headcount_ledger.config import BucketConfig
from headcount_ledger.published import kind
from headcount_ledger.storage import PARTIAL_SUFFIX
from headcount_spec.errors import ConfigurationError, CorruptionError, NotFoundError, UnavailableError

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
    from obstore.store import S3Store
except ModuleNotFoundError as exc:
    raise ConfigurationError("an S3 bucket needs: pip install 'headcount[scale]'") from exc

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import S3Config

UPLOADS = 16  # requests at once: a batch of 100,000 pledges is 800 objects
CONNECT_S = 10
RETRIES = 3


class BucketStorage:
    """The tree below a prefix of a bucket, which may serve it to the public itself."""

    def __init__(self, config: BucketConfig) -> None:
        self._store = _open(config)

    def read(self, path: str) -> bytes:
        """The bytes of an object."""
        return self._read(path)[0]

    def create(self, objects: Iterable[tuple[str, bytes]]) -> None:
        """Write objects that never change, several at once."""
        waiting: deque[Future[None]] = deque()
        with ThreadPoolExecutor(UPLOADS, "ledger-bucket") as pool:
            try:
                for path, data in objects:
                    if len(waiting) == 2 * UPLOADS:  # no more than these are in memory
                        waiting.popleft().result()
                    waiting.append(pool.submit(self._create, path, data))
                while waiting:
                    waiting.popleft().result()
            finally:
                for upload in waiting:
                    upload.cancel()

    def swap(self, path: str, data: bytes, previous: bytes | None) -> None:
        """Replace an object; the server compares its ETag with that of the bytes compared here."""
        try:
            current, e_tag = self._read(path)
        except NotFoundError:
            current, e_tag = None, None
        if current == data:
            return
        if current != previous:
            raise CorruptionError(f"{path} was changed by somebody else")
        try:
            self._put(path, data, "create" if current is None else {"e_tag": e_tag})
        except (AlreadyExistsError, PreconditionError) as exc:
            # Another was faster, or an answer was lost and the repetition found its own work.
            if self.read(path) != data:
                raise CorruptionError(f"{path} was changed by somebody else") from exc

    def put(self, path: str, data: bytes) -> None:
        """Write an object over whatever is there."""
        self._put(path, data, "overwrite")

    def collect(self, path: str) -> None:
        """Remove the partial objects beside a full one."""
        try:
            with _asking(FileNotFoundError):
                obstore.head(self._store, path)
        except FileNotFoundError as exc:
            raise CorruptionError(f"{path} should be there in full") from exc
        with _asking():
            for found in obstore.list(self._store, prefix=f"{path}{PARTIAL_SUFFIX}"):
                obstore.delete(self._store, [item["path"] for item in found])

    def _create(self, path: str, data: bytes) -> None:
        try:
            self._put(path, data, "create")
        except (AlreadyExistsError, PreconditionError) as exc:
            if self.read(path) != data:
                raise CorruptionError(f"{path} exists with other bytes than those to be written") from exc

    def _put(self, path: str, data: bytes, mode: PutMode) -> None:
        content_type, caching = kind(path)
        attributes = {"Content-Type": content_type, "Cache-Control": caching}
        with _asking(AlreadyExistsError, PreconditionError):
            obstore.put(self._store, path, data, attributes=attributes, mode=mode, use_multipart=False)

    def _read(self, path: str) -> tuple[bytes, str | None]:
        """Bytes and ETag, of one answer."""
        try:
            with _asking(FileNotFoundError):
                answer = obstore.get(self._store, path)
                return bytes(answer.bytes()), answer.meta["e_tag"]
        except FileNotFoundError as exc:
            raise NotFoundError(f"no {path} in the ledger") from exc


def _open(config: BucketConfig) -> S3Store:
    secrets: S3Config = {} if config.credentials is None else read_credentials(config.credentials)
    settings: S3Config = {"region": config.region, **secrets}
    if config.endpoint is not None:
        settings["endpoint"] = config.endpoint
    limit = timedelta(seconds=config.timeout_s)
    try:
        return S3Store(
            config.bucket,
            prefix=config.prefix or None,
            config=settings,
            client_options={
                "timeout": limit,
                "connect_timeout": timedelta(seconds=min(CONNECT_S, config.timeout_s)),
                "allow_http": config.endpoint is not None and config.endpoint.startswith("http://"),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": limit},
        )
    except BaseError as exc:
        raise ConfigurationError("ledger.storage or ledger.s3 names no bucket") from exc


def read_credentials(path: Path) -> S3Config:
    """The profile [default] of a file of AWS credentials.

    Raises:
        ConfigurationError: the file cannot be read, or lacks one of the two keys.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
        profile = parser["default"]
        found: S3Config = {
            "access_key_id": profile["aws_access_key_id"],
            "secret_access_key": profile["aws_secret_access_key"],
        }
        if "aws_session_token" in profile:
            found["session_token"] = profile["aws_session_token"]
    except (OSError, UnicodeDecodeError, configparser.Error, KeyError) as exc:
        raise ConfigurationError(f"{path} has no AWS credentials in a profile [default]") from exc
    return found


@contextlib.contextmanager
def _asking(*expected: type[Exception]) -> Iterator[None]:
    """Turn what a request raises into an error of ours, but for what the caller expects.

    Raises:
        UnavailableError: the bucket does not answer, or does not let us.
    """
    try:
        yield
    except expected:
        raise
    except (BaseError, OSError) as exc:
        # Not the library's text: it has addresses and parts of answers in it.
        raise UnavailableError(f"the ledger's bucket does not do it now ({type(exc).__name__})") from exc
