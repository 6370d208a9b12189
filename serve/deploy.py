"""Deploys the scorer, and changes its splits in place.

The deployment is declarative (by import path): Serve then compares configurations, and one that
differs in `user_config` only makes the running replicas reconfigure. `serve.run` gives each deployment
a random code version instead, so it would replace the replica on every change.

Never: an HTTP proxy; a change that stops a replica because a model or a weight changed.
"""

import time
from collections.abc import Sequence
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


class ScorerNotReady(Exception):
    """The scorer did not reach the wanted state in time; partitions meanwhile score locally."""


def deploy_scorer(
    config: ScorerConfig, splits: Sequence[Split], *, timeout: timedelta = timedelta(seconds=60)
) -> None:
    """Start the scorer, or change its splits in place if it runs; call it again with the new splits.

    Blocks until a replica holds every split. Needs a process that is connected to the Ray cluster (a
    driver or an actor).

    Raises:
        ScorerNotReady: not ready in time, or a split's model was refused; the message says which.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
    client = _get_global_client()
    if client is None:
        raise ScorerNotReady("scorer: Ray Serve did not start; see the Ray logs")
    client.deploy_apps(_schema(config, splits))
    wanted = {split.digest for split in splits}
    message = "no replica answers"
    while time.monotonic() < deadline:
        held, message, final = _progress(wanted, timedelta(seconds=deadline - time.monotonic()))
        if held:
            return
        if final:
            break
        time.sleep(POLL_SECONDS)
    raise ScorerNotReady(f"scorer: {message or 'starting'} (waited up to {timeout.total_seconds():.0f} s)")


def _progress(wanted: set[str], left: timedelta) -> tuple[bool, str, bool]:
    """(every wanted split is held, what is missing, waiting longer is of no use)."""
    application = serve.status().applications.get(APPLICATION)
    if application is None or application.status is not ApplicationStatus.RUNNING:
        return False, application.message if application else "not deployed yet", False
    try:
        state = scorer_state(timeout=min(left, timedelta(seconds=5)))
    except ScorerNotReady as error:
        return False, str(error), False
    refused = [state.refused[digest] for digest in wanted if digest in state.refused]
    return wanted <= set(state.splits), "; ".join(refused), bool(refused)


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
    try:
        response = scorer_handle().state.remote()
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
