"""The scorer as a Ray Serve application, named by its import path in a declarative deployment.

Never: live splits (they come with each update, see `serve.deploy`), HTTP.
"""

from ray import serve

from serve.config import DEPLOYMENT, ScorerConfig
from serve.scorer import Scorer

SEPARATE_THREAD = "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD"
"""A score takes a millisecond or two: no reason to hand a call over to a second thread and back."""


def build_app(args: dict[str, str]) -> serve.Application:
    """The application of a declarative deployment; `args["config"]`: a `ScorerConfig` as JSON."""
    config = ScorerConfig.from_json(args["config"])
    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=config.replicas,
        max_ongoing_requests=config.max_ongoing_requests,
        ray_actor_options={
            "num_cpus": config.replica_cpus,
            "runtime_env": {"env_vars": {SEPARATE_THREAD: "0"}},
        },
        user_config={"splits": []},
        logging_config={"enable_access_log": False},
        graceful_shutdown_timeout_s=5,
        health_check_period_s=5,
    )(Scorer)
    application: serve.Application = deployment.bind(config)
    return application
