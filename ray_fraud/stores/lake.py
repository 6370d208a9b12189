"""The lake's file system from its location.

Never: secrets in an error message; a credentials file that others may read; a wait without an end.
"""

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyarrow import fs

from ray_fraud.stores.connections import LakeLocation, read_secret
from ray_fraud.stores.lake_limits import PATIENT, LakeLimits

_S3_OPTIONS = {
    "endpoint": "endpoint_override",
    "region": "region",
    "scheme": "scheme",
    "access_key_id": "access_key",
    "secret_access_key": "secret_key",
    "session_token": "session_token",
}


def lake_filesystem(location: LakeLocation, limits: LakeLimits = PATIENT) -> tuple[fs.FileSystem, str]:
    """(file system, root path on it) of `file:///folder` or `s3://bucket/prefix`.

    Options of S3: endpoint, region, scheme; in the credentials file: access_key_id,
    secret_access_key, session_token. Without credentials the machine's own are used.

    Raises:
        ValueError: another scheme, or an option that is not known.
        PermissionError: the credentials file may be read by others.
    """
    url = urlsplit(location.url)
    if url.scheme == "file":
        return local_folder(Path(unquote(url.path)))
    if url.scheme != "s3":
        raise ValueError(f"lake url {location.url}: must start with file:/// or s3://")
    options = dict(location.options)
    if location.credentials_file is not None:
        options |= json.loads(read_secret(location.credentials_file))
    unknown = sorted(set(options) - set(_S3_OPTIONS))
    if unknown:
        raise ValueError(f"lake options {unknown}: not known; known are {sorted(_S3_OPTIONS)}")
    arguments = {_S3_OPTIONS[name]: value for name, value in options.items()}
    filesystem = fs.S3FileSystem(
        **arguments,
        connect_timeout=limits.connect.total_seconds(),
        # Said to be ignored on Linux; there it is the longest silence (measured with pyarrow 26).
        request_timeout=limits.silence.total_seconds(),
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=limits.attempts),
    )
    return filesystem, f"{url.netloc}{url.path}".rstrip("/")


def local_folder(folder: Path) -> tuple[fs.FileSystem, str]:
    """(file system, root path on it) of a folder of this machine; it is made when first written to."""
    return fs.LocalFileSystem(), str(folder)
