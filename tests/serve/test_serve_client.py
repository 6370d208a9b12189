"""The scorer's caller: equal scores from Serve and from here, and never a wait beyond the timeout.

Faults are data: the scorer here is the deployment's own class, called directly or made to fail.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest

from ray_fraud.domain.split import RULES_ONLY, Split
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.models.memory import MemoryModelFiles
from ray_fraud.stores.models.port import ModelFiles, ModelMissing
from serve.answer import AnswerMalformed, ScoreBytes, UnknownSplit
from serve.breaker import BreakerState
from serve.client import ScorerClient
from serve.config import ScorerConfig, ScoringMode
from serve.loaded_splits import LoadedSplits
from serve.scorer import Scorer
from tests.scoring.sample_models import loaded, model_files, rows, split, trained

ROWS = rows(60, 21)
IDS = np.arange(60) * 7919
SPLIT = split(7_000, 3_000)


class Clock:
    """Monotonic seconds that move only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class ReplicaInProcess:
    """`RemoteScorer` that calls the deployment's class here; `fault` runs before each call."""

    def __init__(self, scorer: Scorer, fault: Callable[[], None] = lambda: None) -> None:
        self.scorer = scorer
        self.fault = fault
        self.contents: list[bytes | None] = []
        self.timeouts: list[timedelta] = []
        self.rows: list[int] = []

    def call(
        self, digest: str, user_ids: bytes, features: bytes, content: bytes | None, timeout: timedelta
    ) -> ScoreBytes | UnknownSplit:
        self.contents.append(content)
        self.timeouts.append(timeout)
        self.rows.append(len(user_ids) // 8)
        self.fault()
        return asyncio.run(self.scorer.score(digest, user_ids, features, content))


@pytest.fixture
def scorer(tmp_path: Path) -> Scorer:
    config = ScorerConfig(LakeLocation((tmp_path / "lake").as_uri()), tmp_path / "copies")
    for version in (1, 2):
        config.model_files().put(*trained(version))
    return Scorer(config)


def client(
    remote: ReplicaInProcess | None, clock: Callable[[], float] | None = None, files: ModelFiles | None = None
) -> ScorerClient:
    return ScorerClient(LoadedSplits(files or model_files(1, 2)), remote, monotonic=clock or Clock())


def refuse() -> None:
    raise ConnectionError("no replica")


def time_out() -> None:
    raise TimeoutError


def test_serve_and_local_scores_have_equal_bits(scorer: Scorer) -> None:
    served = client(ReplicaInProcess(scorer)).score(SPLIT, IDS, ROWS)
    local = client(None).score(SPLIT, IDS, ROWS)
    assert served.scores.values.tobytes() == local.scores.values.tobytes()
    assert served.scores.arms.tobytes() == local.scores.arms.tobytes()
    assert set(served.scores.arms.tolist()) == {0, 1}
    assert not served.degraded
    assert not local.degraded


@pytest.mark.parametrize("prepared", [True, False])
def test_explanations_come_from_this_process(scorer: Scorer, prepared: bool) -> None:
    remote = ReplicaInProcess(scorer)
    caller = client(remote)
    if prepared:
        caller.prepare(SPLIT)
    calls = len(remote.contents)
    for arm in (0, 1):
        made, expected = caller.explain(SPLIT, arm, ROWS[0]), loaded(arm + 1).explain(ROWS[0])
        assert made is not None
        assert expected is not None
        assert made.tobytes() == expected.tobytes()
    assert len(remote.contents) == calls


def test_an_unknown_split_is_sent_with_its_content_once(scorer: Scorer) -> None:
    remote = ReplicaInProcess(scorer)
    caller = client(remote)
    for _ in range(2):
        assert not caller.score(SPLIT, IDS, ROWS).degraded
    assert remote.contents == [None, SPLIT.canonical(), None]


def test_the_second_send_has_only_the_time_that_is_left(scorer: Scorer) -> None:
    clock = Clock()

    def slow() -> None:
        clock.now += 0.1

    remote = ReplicaInProcess(scorer, slow)
    batch = client(remote, clock).score(SPLIT, IDS, ROWS)
    assert [timeout.total_seconds() for timeout in remote.timeouts] == pytest.approx([0.25, 0.15])
    assert batch.seconds == pytest.approx(0.2)


def test_configured_splits_are_known_at_once_and_earlier_ones_stay(scorer: Scorer) -> None:
    remote = ReplicaInProcess(scorer)
    later = split(5_000, 5_000)
    for each in (SPLIT, later):
        asyncio.run(scorer.reconfigure({"splits": [each.canonical().decode()]}))
    caller = client(remote)
    for each in (SPLIT, later):
        caller.score(each, IDS, ROWS)
    assert remote.contents == [None, None]


def test_a_split_that_cannot_be_loaded_leaves_the_others(scorer: Scorer) -> None:
    arm = msgspec.structs.replace(SPLIT.arms[0], model_digest="0" * 64, share_bp=10_000)
    bad = Split((arm,), "bad")
    contents = [bad.canonical().decode(), SPLIT.canonical().decode()]
    asyncio.run(scorer.reconfigure({"splits": contents}))
    state = asyncio.run(scorer.state())
    assert state.splits == [SPLIT.digest]
    assert "no model 0000" in state.refused[bad.digest]


def test_a_call_makes_splits_ready_beside_the_others(scorer: Scorer) -> None:
    later = split(5_000, 5_000)
    asyncio.run(scorer.hold([SPLIT.canonical().decode()]))
    arm = msgspec.structs.replace(SPLIT.arms[0], model_digest="0" * 64, share_bp=10_000)
    bad = Split((arm,), "bad")
    state = asyncio.run(scorer.hold([bad.canonical().decode(), later.canonical().decode()]))
    assert state.splits == [SPLIT.digest, later.digest]
    assert "no model 0000" in state.refused[bad.digest]
    assert asyncio.run(scorer.hold([])).refused == {}


@pytest.mark.parametrize("fault", [refuse, time_out])
def test_without_an_answer_it_scores_here_and_says_so(scorer: Scorer, fault: Callable[[], None]) -> None:
    batch = client(ReplicaInProcess(scorer, fault)).score(SPLIT, IDS, ROWS)
    assert batch.degraded
    assert batch.scores.values.tobytes() == client(None).score(SPLIT, IDS, ROWS).scores.values.tobytes()


@pytest.mark.parametrize("served", [True, False])
def test_the_time_of_each_version_comes_with_the_answer(scorer: Scorer, served: bool) -> None:
    """From the replica, or from here, inside what the caller waited."""
    batch = client(ReplicaInProcess(scorer) if served else None, time.monotonic).score(SPLIT, IDS, ROWS)
    assert len(batch.arm_seconds) == 2
    assert min(batch.arm_seconds) > 0
    assert sum(batch.arm_seconds) < batch.seconds


def test_an_open_circuit_is_not_called_until_a_probe_succeeds(scorer: Scorer) -> None:
    clock = Clock()
    remote = ReplicaInProcess(scorer, refuse)
    caller = client(remote, clock)
    for _ in range(20):
        assert caller.score(SPLIT, IDS, ROWS).degraded
    assert len(remote.timeouts) == 5
    opened = caller.breaker_state
    remote.fault = lambda: None
    assert caller.score(SPLIT, IDS, ROWS).degraded
    clock.now += 1.0
    assert not caller.score(SPLIT, IDS, ROWS).degraded
    assert (opened, caller.breaker_state) == (BreakerState.OPEN, BreakerState.CLOSED)


def test_an_answer_of_another_length_is_no_answer() -> None:
    class Short:
        def call(self, *_: object) -> ScoreBytes:
            return ScoreBytes(b"\0" * 8, b"\0")

    batch = ScorerClient(LoadedSplits(model_files(1, 2)), Short()).score(SPLIT, IDS, ROWS)
    assert batch.degraded
    assert len(batch.scores) == 60
    with pytest.raises(AnswerMalformed, match="60 rows"):
        ScoreBytes(b"\0" * 8, b"\0").scores(60)


def test_a_replica_that_never_learns_the_split_is_no_answer() -> None:
    class Forgetful:
        def call(self, digest: str, *_: object) -> UnknownSplit:
            return UnknownSplit(digest)

    assert ScorerClient(LoadedSplits(model_files(1, 2)), Forgetful()).score(SPLIT, IDS, ROWS).degraded


def test_neither_serve_nor_a_file_is_an_error_of_the_files(scorer: Scorer) -> None:
    with pytest.raises(ModelMissing):
        client(ReplicaInProcess(scorer, refuse), files=MemoryModelFiles()).score(SPLIT, IDS, ROWS)


def test_serve_alone_is_enough(scorer: Scorer) -> None:
    batch = client(ReplicaInProcess(scorer), files=MemoryModelFiles()).score(SPLIT, IDS, ROWS)
    assert not batch.degraded


def test_preparing_makes_both_ends_ready(scorer: Scorer) -> None:
    remote = ReplicaInProcess(scorer)
    caller = client(remote)
    caller.prepare(SPLIT)
    assert asyncio.run(scorer.state()).splits == [SPLIT.digest]
    assert remote.timeouts[0] == ScoringMode().warm_up_timeout
    assert remote.rows[-1] > 0, "a replica that has scored nothing is not warm"
    caller.score(SPLIT, IDS, ROWS)
    assert remote.timeouts[-1] == ScoringMode().timeout
    assert remote.contents == [None, SPLIT.canonical(), None]


def test_preparing_again_asks_only_a_scorer_that_did_not_answer(scorer: Scorer) -> None:
    remote = ReplicaInProcess(scorer, refuse)
    caller = client(remote)
    caller.prepare(SPLIT)
    remote.fault = lambda: None
    caller.prepare(SPLIT)
    calls = len(remote.rows)
    caller.prepare(SPLIT)
    assert len(remote.rows) == calls
    assert not caller.score(SPLIT, IDS, ROWS).degraded


def test_preparing_reports_a_missing_file_and_needs_no_serve(scorer: Scorer) -> None:
    with pytest.raises(ModelMissing):
        client(None, files=MemoryModelFiles()).prepare(SPLIT)
    client(ReplicaInProcess(scorer, refuse)).prepare(SPLIT)


def test_rules_only_asks_nobody(scorer: Scorer) -> None:
    remote = ReplicaInProcess(scorer, refuse)
    caller = client(remote)
    caller.prepare(RULES_ONLY)
    batch = caller.score(RULES_ONLY, IDS, ROWS)
    assert np.isnan(batch.scores.values).all()
    assert not batch.degraded
    assert remote.timeouts == []


def test_the_configuration_survives_its_transport(tmp_path: Path) -> None:
    config = ScorerConfig(LakeLocation("s3://b", {"region": "x"}, tmp_path / "s3.json"), tmp_path, replicas=2)
    assert ScorerConfig.from_json(config.to_json()) == config
