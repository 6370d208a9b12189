"""A lake that accepts connections, or not even these, and never answers: an error in time, no hanging."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.lake_limits import LakeLimits
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.port import Append
from tests.stores.cut_samples import PARTITION, USERS
from tests.stores.table_samples import FIRST, gap, read_range, rows
from tests.stores.test_models_files import ONNX, manifest_of
from tests.stores.test_snapshots_conformance import header_of

LOOPBACK = "127.0.0.1"
SHORT = LakeLimits(
    connect=timedelta(seconds=1),
    silence=timedelta(seconds=1),
    attempts=1,
    request=timedelta(milliseconds=300),
    retry=timedelta(milliseconds=300),
)
IN_TIME_SECONDS = 10.0
"""Two attempts and their pauses, on a busy machine; the clients' own limits are three minutes and more."""


def _deaf(_: ExitStack) -> socket.socket:
    """Connections are made by the kernel, and nobody reads from them."""
    return socket.create_server((LOOPBACK, 0), backlog=64)


def _full(closing: ExitStack) -> socket.socket:
    """No further connection is made: the queue of those that wait is full."""
    listener = socket.create_server((LOOPBACK, 0), backlog=0)
    for _ in range(3):
        waiting = closing.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
    return listener


@pytest.fixture(params=[_deaf, _full])
def hanging(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LakeLocation]:
    credentials = tmp_path / "credentials.json"
    credentials.write_text('{"access_key_id": "id", "secret_access_key": "key"}')
    credentials.chmod(0o600)
    with ExitStack() as closing:
        listener = closing.enter_context(request.param(closing))
        endpoint = f"{LOOPBACK}:{listener.getsockname()[1]}"
        options = {"endpoint": endpoint, "scheme": "http", "region": "us-east-1"}
        yield LakeLocation("s3://lake/prefix", options, credentials)


def ends_in_time(call: Callable[[], object]) -> None:
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        call()
    assert time.monotonic() - began < IN_TIME_SECONDS


TABLE_CALLS: dict[str, Callable[[DeltaTransactions], object]] = {
    "create": lambda table: table.create(),
    "view": lambda table: table.view(),
    "write_files": lambda table: table.write_files(rows(FIRST, 0, 3)),
    "append": lambda table: table.append(Append("run", [read_range(FIRST, 0, 3)], [])),
    "record_gaps": lambda table: table.record_gaps([gap(FIRST, 5, 9)]),
    "recent": lambda table: table.recent(["offset"], 1_000),
}


@pytest.mark.parametrize("call", TABLE_CALLS)
def test_tables(hanging: LakeLocation, call: str) -> None:
    ends_in_time(lambda: TABLE_CALLS[call](DeltaTransactions(hanging, SHORT)))


def test_snapshots(hanging: LakeLocation) -> None:
    store = LakeSnapshotStore(*lake_filesystem(hanging, SHORT))
    ends_in_time(lambda: store.newest_valid(PARTITION, lambda _: True))
    ends_in_time(lambda: store.write(PARTITION, header_of(USERS), USERS.items()))


def test_model_files(hanging: LakeLocation) -> None:
    files = LakeModelFiles(*lake_filesystem(hanging, SHORT))
    ends_in_time(lambda: files.load(manifest_of().digest))
    ends_in_time(lambda: files.put(manifest_of(), ONNX))
