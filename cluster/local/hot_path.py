"""Bringing the hot path onto a running stack: topics, schema, first models, Serve, actors.

Never: starting servers (see `stack`); a step that cannot be repeated.
"""

from collections.abc import Callable
from typing import Any

import ray

from actors.build import scorer_config
from actors.config import METRICS_HUB, NAMESPACE, REKEY, SINK, SUPERVISOR, HotPathConfig
from actors.metrics_actor import MetricsActor
from actors.rekey import RekeyActor
from actors.sink import SinkActor
from actors.supervisor import Supervisor
from batch.training.first_models import ensure_first_models
from cluster.local.earlier_topic import made_again
from cluster.local.hot_path_client import HotPathNotReady as HotPathNotReady
from cluster.local.hot_path_client import drain_hot_path as drain_hot_path
from cluster.local.hot_path_client import hot_path_status as hot_path_status
from cluster.local.hot_path_client import stop_hot_path as stop_hot_path
from cluster.local.hot_path_client import wait_until_ready as wait_until_ready
from ray_fraud.stores.connections import Connections, to_json
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin

Progress = Callable[[str], None]


def prepare_stores(connections: Connections, progress: Progress) -> None:
    """Topics, schema and Redis functions; needs no Ray.

    Raises:
        StoreError: a server does not answer or is set up wrongly.
    """
    admin = KafkaLogAdmin(connections.kafka)
    try:
        if connections.topics.rekey_from is not None:
            admin.ensure_rekeying(connections.topics)
        admin.ensure_topics(connections.topics)
        cluster_id, topic_id = admin.cluster_id(), admin.topic_id(connections.topics.transactions)
    finally:
        admin.close()
    for applied in migrate(connections.postgres):
        progress(f"schema: applied {applied}")
    ledger = PostgresLedger(connections.postgres, name="ray-fraud up")
    try:
        note = made_again(ledger.owners(), cluster_id, connections.topics.transactions, topic_id)
    finally:
        ledger.close()
    if note is not None:
        progress(f"topics: {note}")
    cuts = RedisCutStore(connections.redis)
    try:
        cuts.check_configuration()
    finally:
        cuts.close()


def prepare_models(config: HotPathConfig, progress: Progress) -> None:
    """Trains and registers the first models if the registry is empty; needs no Ray."""
    registry = PostgresRegistry(config.connections.postgres)
    try:
        if ensure_first_models(registry, scorer_config(config).model_files()):
            progress("models: trained and registered the first two on generated history")
    finally:
        registry.close()


def start_hot_path(config: HotPathConfig) -> None:
    """Starts supervisor, sink, metrics and re-keying as detached actors; those already there stay."""
    packed = to_json(config)
    roles: list[tuple[Any, str]] = [
        (Supervisor, SUPERVISOR),
        (SinkActor, SINK),
        (MetricsActor, METRICS_HUB),
    ]
    if config.connections.topics.rekey_from is not None:
        roles.append((RekeyActor, REKEY))
    for role, name in roles:
        ray.remote(role).options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            max_concurrency=8,
            num_cpus=0,
        ).remote(packed)
