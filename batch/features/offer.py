"""New feature tables on their way to the owners: through Ray's object store, where one copy serves a node.

Never: a failure of what made the tables; whoever gets no content reads the files.
"""

import logging
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError

from batch.features.config import FeatureConfig
from ray_fraud.stores.feature_tables.parts import Parts

logger = logging.getLogger(__name__)

OFFER_SECONDS = 10.0


def offer(config: FeatureConfig, parts: Parts, offered: list[Any]) -> None:
    """Puts the contents into Ray's object store and tells the supervisor; without one, the files serve."""
    if not config.supervisor:
        return
    try:
        supervisor = ray.get_actor(config.supervisor, namespace=config.namespace)
        offered[:] = [ray.put(np.frombuffer(content, np.uint8)) for content in parts.contents.values()]
        ray.get(supervisor.offer_features.remote(parts.digest, list(offered)), timeout=OFFER_SECONDS)
    except (RayError, ValueError, TimeoutError) as error:
        logger.warning("features: not offered, owners read the files: %s", str(error).splitlines()[0])
