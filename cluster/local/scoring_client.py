"""Having a running stack score a period of the lake, and waiting for it.

The job is done by an actor of its own, so it goes on when the one who waits does not. Asking again with the
same job's name finds that actor, or what it has committed.

Never: a job in this process.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError

from actors.build import scorer_config
from actors.config import NAMESPACE, HotPathConfig, score_actor_name
from batch.priority import low_priority_env
from batch.scoring.actor import Begun, ScoreActor
from batch.scoring.config import ScoreConfig
from batch.scoring.plan import ScoreRefused, ScoreRequest, described
from ray_fraud.stores.connections import to_json

POLL_SECONDS = 1.0
CALLS_AT_ONCE = 8


class ScoringEnded(Exception):
    """The job's process ended before its time, or Ray does not answer."""


def run_scoring(
    config: HotPathConfig,
    request: ScoreRequest,
    progress: Callable[[dict[str, Any]], None],
    timeout_seconds: float,
) -> dict[str, Any]:
    """Has the job done and waits for its end; see `batch.scoring.actor.ScoreEnd`. Needs a connection to Ray.

    Args:
        progress: called about once a second with `rows` and `to_score`, once that is known.
        timeout_seconds: then the job goes on without us.

    Raises:
        ScoreRefused: a job of this name is under way with other parameters.
        ScoringEnded: the message says what to do.
        TimeoutError: the job has not ended in time.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        actor = _actor_of(config, request)
        answer = _answer(actor.begin.remote(to_json(request)), deadline, request.job)
        begun = msgspec.json.decode(answer, type=Begun)
        if begun.parameters != request.parameters:
            raise ScoreRefused(
                f"job {request.job} is under way with other parameters, {described(begun.parameters)}, "
                f"not {described(request.parameters)}; take another name"
            )
        while True:
            end = _answer(actor.result.remote(begun.ticket, POLL_SECONDS), deadline, request.job)
            if end is not None:
                return dict(msgspec.json.decode(end))
            figures = _answer(actor.progress.remote(), deadline, request.job)
            if figures is not None:
                progress(msgspec.json.decode(figures))
    except (RayError, ValueError) as error:
        # What a call raised is told by the last line of its trace.
        said = str(error).strip().splitlines()[-1 if isinstance(error, RayTaskError) else 0]
        raise ScoringEnded(
            f"job {request.job} does not answer: {said}; repeat the command with "
            f"--job {request.job}: its rows are written once"
        ) from error


def _actor_of(config: HotPathConfig, request: ScoreRequest) -> Any:
    """The actor of the job, made if there is none."""
    where = ScoreConfig(lake=config.connections.lake, model_cache=scorer_config(config).cache_folder)
    return (
        ray.remote(ScoreActor)
        .options(
            name=score_actor_name(request.job),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=0,
            max_concurrency=CALLS_AT_ONCE,
            num_cpus=0,
            runtime_env=low_priority_env(),
        )
        .remote(to_json(where))
    )


def _answer(call: Any, deadline: float, job: str) -> Any:
    """Its process may take long to begin, at the lowest priority; so only the deadline counts."""
    left = deadline - time.monotonic()
    try:
        if left > 0:
            return ray.get(call, timeout=left)
    except GetTimeoutError:
        pass
    raise TimeoutError(
        f"job {job} has not ended in time and goes on; the same command with --job {job} waits for it again"
    )
