"""A ledger's published files in an S3-compatible bucket: ``s3://bucket/prefix?endpoint=URL&region=NAME``.

Reads without credentials, as the public does, unless the environment has an AWS_ACCESS_KEY_ID.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from headcount_ledger.reader.fetch import max_bytes_of
from headcount_spec.errors import ConfigurationError, NotFoundError, UnavailableError

if TYPE_CHECKING:
    from obstore.store import S3Store

TIMEOUT_S = 20
CONNECTIONS = 16  # objects that one process reads at a time
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Bucket:
    """Reads below a prefix of a bucket. May go to other processes and machines."""

    url: str

    def __call__(self, path: str) -> bytes:
        """The bytes of an object.

        Raises:
            NotFoundError: it is not there.
            UnavailableError: it cannot be read, or is longer than any such file may be.
            ConfigurationError: the address names no bucket.
        """
        cap = max_bytes_of(path)
        obstore, store = _open(self.url)
        try:
            answer = obstore.get(store, path)
            if answer.meta["size"] > cap:
                raise UnavailableError(f"{path} is longer than {cap} bytes")
            return bytes(answer.bytes())
        except FileNotFoundError as exc:
            raise NotFoundError(f"the ledger has no {path}") from exc
        except (obstore.exceptions.BaseError, OSError) as exc:
            # Not the library's text: it has addresses and parts of answers in it.
            raise UnavailableError(f"the bucket does not give {path} ({type(exc).__name__})") from exc

    def check(self) -> None:
        """Open it without asking anything.

        Raises:
            ConfigurationError: the address names no bucket, or obstore is not installed.
        """
        _open(self.url)

    @property
    def connections(self) -> int:
        """How many files it is well to read at a time."""
        return CONNECTIONS


def is_bucket(target: str) -> bool:
    """Whether a LEDGER argument names a bucket."""
    return target.startswith("s3://")


@cache
def _open(url: str) -> tuple[Any, S3Store]:
    try:
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ModuleNotFoundError as exc:
        raise ConfigurationError("an S3 bucket needs: pip install 'headcount[scale]'") from exc
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    endpoint, region = options.pop("endpoint", None), options.pop("region", "us-east-1")
    if options or parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.fragment:
        raise ConfigurationError("not a bucket: s3://bucket/prefix?endpoint=URL&region=NAME")
    settings: dict[str, Any] = {"region": region}
    is_plain = False
    if endpoint is not None:
        host = urlsplit(endpoint)
        is_plain = host.scheme == "http" and host.hostname in _LOOPBACK
        if host.scheme != "https" and not is_plain:
            raise ConfigurationError("the endpoint of a bucket is an https URL")
        settings["endpoint"] = endpoint
    if "AWS_ACCESS_KEY_ID" not in os.environ:
        settings["skip_signature"] = True
    limit = timedelta(seconds=TIMEOUT_S)
    try:
        store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            config=settings,  # type: ignore[arg-type]
            client_options={"timeout": limit, "connect_timeout": limit, "allow_http": is_plain},
            retry_config={"max_retries": 2, "retry_timeout": limit},
        )
    except BaseError as exc:
        raise ConfigurationError("not a bucket: s3://bucket/prefix?endpoint=URL&region=NAME") from exc
    return obstore, store
