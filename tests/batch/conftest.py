"""What tests of batches with a real Ray share."""

import logging
import warnings
from collections.abc import Iterator

import pytest
import tenacity

from batch.priority import VARIABLE


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A small Ray of its own, whose tasks have the priority of the test; one for all tests of a module.

    It must end before other tests connect to theirs: a scope of "package" would last as long as the session.
    """
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_AUTH_MODE", "disabled")
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        # With the lowest priority no worker starts in time on a machine that is busy with other tests.
        patched.setenv(VARIABLE, "0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray

            # Ray gives its own node 30 s to start, which a busy machine may exceed.
            for attempt in tenacity.Retrying(
                stop=tenacity.stop_after_attempt(3), after=lambda _: ray.shutdown(), reraise=True
            ):
                with attempt:
                    ray.init(
                        num_cpus=2,
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                        object_store_memory=200 << 20,
                    )
        yield
        ray.shutdown()
