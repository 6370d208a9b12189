"""Deploys the scorer, and changes its splits in place.

The deployment is declarative (by import path): Serve then compares configurations, and one that
differs in `user_config` only makes the running replicas reconfigure. `serve.run` gives each deployment
a random code version instead, so it would replace the replica on every change.

While a replica reconfigures, Serve takes it out of routing for some control rounds of 0.1 s (2.60 routes to
RUNNING replicas only). The only replica is therefore told by a call of ours instead, which leaves the
deployment as it is; of several the others answer meanwhile.

Never: an HTTP proxy; a change that stops a replica because a model or a weight changed, or that keeps callers
from the only one.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from ray import serve
from ray.exceptions import RayError
from ray.serve.config import ProxyLocation
from ray.serve.context import _get_global_client
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import (
    ApplicationStatus,
    DeploymentSchema,
    LoggingConfig,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from ray_fraud.domain.split import Split
from serve.answer import ReplicaState
from serve.config import APPLICATION, DEPLOYMENT, ScorerConfig

IMPORT_PATH = "serve.app:build_app"
POLL_SECONDS = 0.1
LOOK_TIMEOUT = timedelta(seconds=5)
"""For the question whether a replica is there already."""


class ScorerNotReady(Exception):
    """The scorer did not reach the wanted state in time; partitions meanwhile score locally."""


def deploy_scorer(
    config: ScorerConfig, splits: Sequence[Split], *, timeout: timedelta = timedelta(seconds=60)
) -> None:
    """Start the scorer, or change its splits in place if it runs; call it again with the new splits.

    Blocks until a replica holds every split. Needs a process that is connected to the Ray cluster (a
    driver or an actor). A replica that Serve starts later holds the splits of the deployment, and loads
    others when it is first asked for them.

    Raises:
        ScorerNotReady: not ready in time, or a split's model was refused; the message says which.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    runs = config.replicas == 1 and _runs(config)
    if not runs:
        serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
        client = _get_global_client()
        if client is None:
            raise ScorerNotReady("scorer: Ray Serve did not start; see the Ray logs")
        client.deploy_apps(_schema(config, splits))
    message = "starting"
    while (left := deadline - time.monotonic()) > 0:
        try:
            if not runs:
                _check_deployed()
            state = _hold(config, splits, timedelta(seconds=left))
        except ScorerNotReady as error:
            message = str(error)
            time.sleep(POLL_SECONDS)
            continue
        refused = [state.refused[split.digest] for split in splits if split.digest in state.refused]
        if refused:
            raise ScorerNotReady(f"scorer: {'; '.join(refused)}")
        return
    raise ScorerNotReady(f"{message} (waited up to {timeout.total_seconds():.0f} s)")


def _runs(config: ScorerConfig) -> bool:
    """Whether a replica answers that was started with this configuration."""
    try:
        return scorer_state(timeout=LOOK_TIMEOUT).config == config.to_json()
    except ScorerNotReady:
        return False


def _check_deployed() -> None:
    application = serve.status().applications.get(APPLICATION)
    if application is None or application.status is not ApplicationStatus.RUNNING:
        raise ScorerNotReady(
            f"scorer: {application.message or 'starting' if application else 'not deployed yet'}"
        )


def _hold(config: ScorerConfig, splits: Sequence[Split], timeout: timedelta) -> ReplicaState:
    contents = [split.canonical().decode() for split in splits]
    state = _ask_replica(lambda handle: handle.hold.remote(contents), timeout)
    if state.config != config.to_json():
        raise ScorerNotReady("scorer: a replica of another configuration still answers")
    return state


def scorer_handle() -> DeploymentHandle[Any]:
    """A handle to the scorer, running or not, with the cheapest transport for raw bytes.

    Made without asking the controller, which could block without a time limit.
    """
    return DeploymentHandle(DEPLOYMENT, APPLICATION).options(
        _by_reference=False, request_serialization="pickle", response_serialization="pickle"
    )


def scorer_state(*, timeout: timedelta) -> ReplicaState:
    """What one replica holds.

    Raises:
        ScorerNotReady: Serve does not run, or no replica answered in time.
    """
    return _ask_replica(lambda handle: handle.state.remote(), timeout)


def _ask_replica(ask: Callable[[DeploymentHandle[Any]], Any], timeout: timedelta) -> ReplicaState:
    try:
        response = ask(scorer_handle())
        state: ReplicaState = response.result(timeout_s=timeout.total_seconds())
    except (RayServeException, RayError, TimeoutError) as error:
        raise ScorerNotReady(f"scorer: no replica answers: {type(error).__name__}: {error}") from error
    return state


def _schema(config: ScorerConfig, splits: Sequence[Split]) -> ServeDeploySchema:
    contents = [split.canonical().decode() for split in splits]
    return ServeDeploySchema(
        proxy_location=ProxyLocation.Disabled,
        logging_config=LoggingConfig(enable_access_log=False),
        applications=[
            ServeApplicationSchema(
                name=APPLICATION,
                route_prefix=None,
                import_path=IMPORT_PATH,
                args={"config": config.to_json()},
                deployments=[DeploymentSchema(name=DEPLOYMENT, user_config={"splits": contents})],
            )
        ],
    )
