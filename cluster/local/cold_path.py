"""Bringing the cold path onto a running stack.

Never: a step that cannot be repeated.
"""

from datetime import timedelta

import ray

from actors.build import scorer_config
from actors.config import BATCH, NAMESPACE, SUPERVISOR, TRAINING, HotPathConfig
from batch.features.config import FeatureConfig
from batch.ingest.config import IngestConfig
from batch.priority import low_priority_env
from batch.schedule.actor import BatchActor
from batch.schedule.config import BatchConfig, with_settings
from batch.training.actor import TrainingActor
from batch.training.config import TrainingConfig
from batch.training.settings import TrainingSettings
from ray_fraud.domain.batch_settings import TrainingPeriods
from ray_fraud.stores.connections import to_json


def batch_config(config: HotPathConfig) -> BatchConfig:
    """What the batch actor is told, from what the hot path was told."""
    told = BatchConfig(
        ingest=IngestConfig(connections=config.connections, settings=config.settings),
        features=FeatureConfig(
            model_cache=scorer_config(config).cache_folder, namespace=NAMESPACE, supervisor=SUPERVISOR
        ),
    )
    return with_settings(told, config.batch)


def training_config(config: HotPathConfig) -> TrainingConfig:
    """What the training actor is told."""
    periods = config.batch.training
    names = set(TrainingPeriods.__struct_fields__) & set(TrainingSettings.__struct_fields__)
    chosen = {name: getattr(periods, name) for name in names}
    return TrainingConfig(
        connections=config.connections,
        model_cache=scorer_config(config).cache_folder,
        training=TrainingSettings(**chosen),
        label_maturity_days=config.batch.features.label_maturity_days,
        interval=timedelta(hours=periods.interval_hours),
        new_verdicts=periods.new_verdicts,
    )


def start_cold_path(config: BatchConfig) -> None:
    """Starts the batch actor, detached; one that is there stays."""
    _start(BatchActor, BATCH, to_json(config))


def start_training(config: TrainingConfig) -> None:
    """Starts the actor that trains, detached; one that is there stays."""
    _start(TrainingActor, TRAINING, to_json(config))


def _start(kind: type, name: str, config: bytes) -> None:
    ray.remote(kind).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_concurrency=8,
        num_cpus=0,
        runtime_env=low_priority_env(),
    ).remote(config)
