"""The scorer on a real Ray cluster: changes in place under load, and a killed replica."""

import logging
import os
import shutil
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ray_fraud.domain.split import Split
from ray_fraud.scoring.scored_batch import ScoredBatch
from ray_fraud.scoring.split_scorer import SplitScorer
from ray_fraud.stores.connections import LakeLocation
from serve.client import ScorerClient, open_scorer_client
from serve.config import APPLICATION, ScorerConfig, ScoringMode
from tests.scoring.sample_models import loaded, rows, split, trained

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

ROWS = rows(50, 31)
IDS = np.arange(50) * 104_729
MODELS = {trained(version).manifest.digest: loaded(version) for version in (1, 2)}
PATIENT = ScoringMode(timeout=timedelta(seconds=5), warm_up_timeout=timedelta(seconds=30))
"""For a busy test machine: a call that fails here fails for another reason than slowness."""


@pytest.fixture(scope="module")
def config() -> Iterator[ScorerConfig]:
    """A local Ray with Serve, and a lake that holds both models."""
    folder = Path(tempfile.mkdtemp(prefix="rf-serve-"))
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Ray's and pydantic's own warnings about each other, while Ray Serve is imported and started
        warnings.simplefilter("ignore")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        import ray
        from ray import serve

        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace="test-serve",
            object_store_memory=100 << 20,
            _temp_dir=str(folder / "ray"),
        )
        try:
            made = ScorerConfig(LakeLocation((folder / "lake").as_uri()), folder / "copies")
            for version in (1, 2):
                made.model_files().put(*trained(version))
            yield made
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]  # Ray leaves it without annotations
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def deploy(config: ScorerConfig, *splits: Split) -> int:
    """Deploy or update, and the pid of the replica."""
    from serve.deploy import deploy_scorer, scorer_state

    deploy_scorer(config, splits)
    return scorer_state(timeout=timedelta(seconds=10)).pid


def connect(config: ScorerConfig, *splits: Split) -> ScorerClient:
    client = open_scorer_client(config, PATIENT)
    for each in splits:
        client.prepare(each)
    return client


def is_exact(batch: ScoredBatch, under: Split) -> bool:
    """Whether the scores are, bit for bit, those of a scorer in this process."""
    expected = SplitScorer(under, MODELS).score(IDS, ROWS)
    return (batch.scores.values.tobytes(), batch.scores.arms.tobytes()) == (
        expected.values.tobytes(),
        expected.arms.tobytes(),
    )


def test_a_client_that_is_older_than_serve_finds_it(config: ScorerConfig) -> None:
    wanted = split(10_000)
    client = connect(config, wanted)
    early = client.score(wanted, IDS, ROWS)
    deploy(config, wanted)
    deadline = time.monotonic() + 30
    while client.score(wanted, IDS, ROWS).degraded:
        assert time.monotonic() < deadline, "the client did not find Serve"
        time.sleep(0.1)
    assert early.degraded
    assert is_exact(early, wanted)


def test_models_and_weights_change_in_place_under_load(config: ScorerConfig) -> None:
    history = [split(10_000), split(9_000, 1_000), split(5_000, 5_000), split(5_000, 5_000, salt="again")]
    pid = deploy(config, history[0])
    live = [history[0]]
    answers: list[tuple[Split, ScoredBatch]] = []
    stop = threading.Event()

    def call() -> None:
        client = connect(config, history[0])
        while not stop.is_set():
            wanted = live[0]
            answers.append((wanted, client.score(wanted, IDS, ROWS)))

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        for each in history[1:]:
            assert deploy(config, each) == pid
            live[0] = each
            time.sleep(0.3)
    finally:
        stop.set()
        for caller in callers:
            caller.join(60)
    assert {each.digest for each, _ in answers} == {each.digest for each in history}
    assert sum(batch.degraded for _, batch in answers) == 0
    assert all(is_exact(batch, under) for under, batch in answers)


def test_a_change_of_splits_leaves_the_deployment_alone(config: ScorerConfig) -> None:
    """Serve routes no call to a replica that it reconfigures, and there is no other one."""
    from ray import serve

    from serve.deploy import scorer_state

    pid = deploy(config, split(10_000))
    before = serve.status().applications[APPLICATION]
    wanted = split(7_000, 3_000, salt="never deployed")
    assert deploy(config, wanted) == pid
    assert wanted.digest in scorer_state(timeout=timedelta(seconds=10)).splits
    assert serve.status().applications[APPLICATION] == before


def test_another_configuration_replaces_the_replica(config: ScorerConfig) -> None:
    wanted = split(7_000, 3_000)
    pid = deploy(config, wanted)
    other = msgspec.structs.replace(config, max_ongoing_requests=63)
    assert deploy(other, wanted) != pid
    assert deploy(config, wanted) != pid


def test_earlier_and_never_configured_splits_are_answered(config: ScorerConfig) -> None:
    deploy(config, split(10_000))
    client = connect(config)
    for wanted in (split(9_000, 1_000), split(1, 9_999, salt="only a replay knows it")):
        batch = client.score(wanted, IDS, ROWS)
        assert not batch.degraded
        assert is_exact(batch, wanted)


def test_a_model_that_is_missing_is_reported_and_the_scorer_goes_on(config: ScorerConfig) -> None:
    from serve.deploy import ScorerNotReady, deploy_scorer

    good = split(10_000)
    pid = deploy(config, good)
    arm = Split(tuple(type(arm)(arm.model_name, 9, "0" * 64, 0.5, 10_000) for arm in good.arms), "bad")
    with pytest.raises(ScorerNotReady, match="no model 0000"):
        deploy_scorer(config, [arm], timeout=timedelta(seconds=20))
    assert not connect(config, good).score(good, IDS, ROWS).degraded
    assert deploy(config, good) == pid


def test_a_killed_replica_costs_no_score(config: ScorerConfig) -> None:
    wanted = split(8_000, 2_000)
    pid = deploy(config, wanted)
    client = connect(config, wanted)
    assert not client.score(wanted, IDS, ROWS).degraded
    later = split(6_000, 4_000, salt="the deployment does not know it")
    assert deploy(config, later) == pid
    os.kill(pid, signal.SIGKILL)
    wanted = later
    deadline = time.monotonic() + 60
    batch = client.score(wanted, IDS, ROWS)
    assert is_exact(batch, wanted)
    while batch.degraded or not is_exact(batch, wanted):
        assert time.monotonic() < deadline, "Serve did not answer again"
        time.sleep(0.1)
        batch = client.score(wanted, IDS, ROWS)
        assert is_exact(batch, wanted)
