"""A real S3 server for tests: versitygw on loopback, a temporary folder behind it, credentials of its own.

Never: a secret in an argument of a process; the end of a process that was not started here.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import msgspec
import psutil
from pyarrow import fs

from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.processes import end, server_environment, start_detached, wait_until_ready
from cluster.local.secret_files import write_private
from ray_fraud.stores.connections import LakeLocation

BUCKET = "lake"
REGION = "us-east-1"
START_TIMEOUT = timedelta(seconds=30)
STOP_PATIENCE = timedelta(seconds=10)


class S3Server(msgspec.Struct, frozen=True):
    """One that runs, with an empty bucket."""

    port: int
    credentials_file: Path

    def lake(self, prefix: str, port: int | None = None) -> LakeLocation:
        """A lake in the bucket; `port`: that of a proxy in front of the server."""
        options = {"endpoint": f"{LOOPBACK}:{port or self.port}", "scheme": "http", "region": REGION}
        return LakeLocation(f"s3://{BUCKET}/{prefix}", options, self.credentials_file)


@contextmanager
def running_s3_server(program: Path) -> Iterator[S3Server]:
    """Starts it, and ends exactly this process."""
    with tempfile.TemporaryDirectory(prefix="ray-fraud-s3-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        paths = StackPaths(folder / "ports")
        paths.prepare()
        port = Ports(paths).claim("s3")
        objects, log = folder / "objects", folder / "versitygw.log"
        objects.mkdir()
        access_key, secret_key = secrets.token_hex(10), secrets.token_hex(20)
        pid = start_detached(
            [program, "posix", *_where_metadata_goes(folder), objects],
            log=log,
            cwd=folder,
            environment=server_environment(
                {
                    "ROOT_ACCESS_KEY": access_key,
                    "ROOT_SECRET_KEY": secret_key,
                    "VGW_PORT": f"{LOOPBACK}:{port}",
                    "VGW_REGION": REGION,
                    "VGW_QUIET": "true",
                }
            ),
        )
        process = psutil.Process(pid)
        try:
            wait_until_ready("s3", pid, lambda: _answers(port), timeout=START_TIMEOUT, log=log)
            credentials = folder / "credentials.json"
            content = {"access_key_id": access_key, "secret_access_key": secret_key}
            write_private(credentials, json.dumps(content))
            _make_bucket(port, access_key, secret_key)
            yield S3Server(port, credentials)
        finally:
            end([process], patience=STOP_PATIENCE)


def _where_metadata_goes(folder: Path) -> list[str | Path]:
    """With the objects, else, where the file system has no attributes, in a folder of its own."""
    try:
        os.setxattr(folder, "user.ray-fraud", b"1")
    except OSError:
        metadata = folder / "metadata"
        metadata.mkdir()
        return ["--sidecar", metadata]
    return []


def _answers(port: int) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=2)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


def _make_bucket(port: int, access_key: str, secret_key: str) -> None:
    filesystem = fs.S3FileSystem(
        access_key=access_key,
        secret_key=secret_key,
        endpoint_override=f"{LOOPBACK}:{port}",
        scheme="http",
        region=REGION,
        allow_bucket_creation=True,
    )
    filesystem.create_dir(BUCKET)
