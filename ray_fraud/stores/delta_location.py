"""Where delta-rs finds a table of the lake: an address and its object-store options.

Never: secrets in an error message; a commit that another writer can overwrite unseen; a wait without an end.
"""

import json
import os
from datetime import timedelta
from urllib.parse import urlsplit

from ray_fraud.stores.connections import LakeLocation, read_secret
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.lake_limits import PATIENT, LakeLimits

_S3_OPTIONS = {
    "endpoint": "AWS_ENDPOINT_URL",
    "region": "AWS_REGION",
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
}
UNSAFE = "AWS_S3_ALLOW_UNSAFE_RENAME"


def delta_location(
    location: LakeLocation, table: str, limits: LakeLimits = PATIENT
) -> tuple[str, dict[str, str]]:
    """(address, options) of a table for delta-rs; the lake's options are those of `lake_filesystem`.

    On S3 a commit is a conditional put (`If-None-Match`), which the store has to support: of two writers of
    one version exactly one wins.

    Raises:
        ValueError: the lake is neither a folder nor on S3.
        StoreRefused: the environment allows commits that overwrite each other.
        PermissionError: the credentials file may be read by others.
    """
    if os.environ.get(UNSAFE, "").lower() in ("1", "true"):
        raise StoreRefused("lake", f"{UNSAFE} is set: two writers could overwrite each other; unset it")
    url = urlsplit(location.url)
    address = f"{location.url.rstrip('/')}/{table}"
    if url.scheme == "file":
        return address, {}
    if url.scheme != "s3":
        raise ValueError(f"lake url {location.url}: must start with file:/// or s3://")
    given = dict(location.options)
    if location.credentials_file is not None:
        given |= json.loads(read_secret(location.credentials_file))
    scheme = given.pop("scheme", "https")
    if "endpoint" in given and "://" not in given["endpoint"]:
        given["endpoint"] = f"{scheme}://{given['endpoint']}"
    options = {_S3_OPTIONS[name]: value for name, value in given.items()}
    allow_http = str(given.get("endpoint", "").startswith("http://")).lower()
    return address, {
        **options,
        "AWS_CONDITIONAL_PUT": "etag",
        "AWS_ALLOW_HTTP": allow_http,
        "connect_timeout": _duration(limits.connect),
        "timeout": _duration(limits.request),
        "retry_timeout": _duration(limits.retry),
    }


def _duration(of: timedelta) -> str:
    """As delta-rs reads it."""
    return f"{round(of.total_seconds() * 1000)}ms"
