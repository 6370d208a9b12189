"""The real batch actor, killed in the middle of runs: the next run leaves each row, alert and record once."""

from collections import Counter
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import ray
from deltalake import DeltaTable

from actors.config import BATCH, NAMESPACE
from cluster.local.cold_path_client import NoColdPath, batch_status, run_batch
from ray_fraud.domain.metrics import RunStatus
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import ML_FEATURES, SCORES
from tests.actors.platform import Platform, eventually

PATIENCE_SECONDS = 280.0
"""Batches run at the lowest priority: beside other work they take their time."""


def running() -> bool | None:
    """Whether a run is under way; None without an answer."""
    with suppress(NoColdPath):
        return batch_status(0)["running"] is not None
    return None


def ask_for_a_run() -> None:
    actor: Any = ray.get_actor(BATCH, namespace=NAMESPACE)
    actor.request.remote()


def in_the_middle(platform: Platform, ends: dict[int, int] | None) -> bool:
    """A run is under way, and the lake has reached `ends` if they are given; asks for a run if none is."""
    if ends is not None and lake_positions(platform) != ends:
        return False
    under_way = running()
    if under_way is False:
        ask_for_a_run()
    return bool(under_way)


def lake_positions(platform: Platform) -> dict[int, int]:
    table = DeltaTransactions(platform.config.connections.lake)
    table.create()
    view = table.view()
    return {number: view.position(place) or 0 for number, place in platform.partitions.items()}


def places_in(platform: Platform, name: str, *columns: str) -> Counter[tuple[object, ...]]:
    table = DeltaTable(f"{platform.config.connections.lake.url}/{name}")
    names = ["topic_id", "partition", "offset", *columns]
    rows = table.to_pyarrow_table(columns=names).to_pydict()
    return Counter(zip(*(rows[each] for each in names), strict=True))


def run_to_its_end() -> dict[str, Any] | None:
    """A run's row; None from an actor that is being restarted. Asked twice, it runs twice at the most."""
    with suppress(NoColdPath):
        return run_batch(lambda _: None, PATIENCE_SECONDS)
    return None


def kill_batch_actor() -> None:
    ray.kill(ray.get_actor(BATCH, namespace=NAMESPACE), no_restart=False)


@pytest.mark.timeout(900, func_only=True)
def test_killed_before_and_after_its_first_commit_the_next_run_makes_it_good(platform: Platform) -> None:
    with platform.load(400):
        pass
    ends = platform.settle()
    for reached in (None, ends):
        eventually("a run is under way", partial(in_the_middle, platform, reached), PATIENCE_SECONDS)
        kill_batch_actor()
        eventually("Ray has restarted the actor", lambda: running() is not None, PATIENCE_SECONDS)
        if reached is None:
            ask_for_a_run()
    run = eventually("the actor runs a batch", run_to_its_end, PATIENCE_SECONDS)

    assert run["status"] == RunStatus.DONE, run
    assert (run["report"]["features"]["missed"], run["report"]["features"]["unexpected"]) == (0, 0)
    assert lake_positions(platform) == ends
    rows, features = places_in(platform, "transactions"), places_in(platform, ML_FEATURES)
    scores = places_in(platform, SCORES, "model")
    assert {*rows.values(), *features.values(), *scores.values()} == {1}
    assert {place[:3] for place in scores} == set(features) <= set(rows)
    audit = platform.assert_exact()
    assert (len(rows), len(features)) == (audit.processed + audit.duplicates, audit.processed)
    ended = [each for each in batch_status(20)["runs"] if each["status"] != RunStatus.RUNNING]
    killed = [each for each in ended if each["status"] == RunStatus.FAILED]
    assert len(killed) >= 2
    assert all("process" in each["error"] for each in killed[:2]), killed
