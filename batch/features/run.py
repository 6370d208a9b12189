"""The building of features with its real outside: PostgreSQL, the lake, Ray.

Never: logic.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from batch.features.config import FeatureConfig
from batch.features.fold import Scoring
from batch.features.job import FeatureJob, FeatureReport, PartitionFacts, position_name
from batch.features.offer import offer
from batch.features.refresh import Refresher
from batch.features.stretch import Stretch, StretchPorts, StretchReport, fold_stretch
from batch.ray_data import answers_of_tasks
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Arm, Split
from ray_fraud.stores.connections import Connections, LakeLocation, from_json, to_json
from ray_fraud.stores.feature_tables.cached import CachedFeatureTables
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables, NodeFeatureTables
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.review_data.postgres import PostgresReviewData
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES, SCORE_SCHEMA, SCORES
from ray_fraud.stores.tables.positioned import PositionedTable
from ray_fraud.stores.verdicts.postgres import PostgresVerdicts
from serve.config import ScorerConfig
from serve.loaded_splits import LoadedSplits

logger = logging.getLogger(__name__)

STRETCH_SECONDS = 1_800.0
"""For a stretch, ten seconds of work, beside a busy hot path."""
LEAST_OFFSETS_PER_SECOND = 5_000.0
"""Comes on top, for the whole log: without a sound state one is made anew from its first offset."""
STATES = "cold"
"""Folder of the lake with the cold path's own states."""


class Tables(NamedTuple):
    """The two tables that features go to."""

    features: PositionedTable
    scores: PositionedTable


def feature_tables_of(lake: LakeLocation) -> Tables:
    return Tables(
        PositionedTable(lake, ML_FEATURES, FEATURE_SCHEMA), PositionedTable(lake, SCORES, SCORE_SCHEMA)
    )


def forget_features(lake: LakeLocation, partition: PartitionId, offset: int) -> None:
    """Takes back what was folded of a partition at and above an offset, where its log was cut off.

    Raises:
        StoreError: some of it may be there still; repeat it.
    """
    for table in feature_tables_of(lake):
        table.take_back(partition, offset, position_name(partition))
    filesystem, root = lake_filesystem(lake)
    LakeSnapshotStore(filesystem, f"{root}/{STATES}").remove_above(partition, offset)


def run_features(connections: Connections, config: FeatureConfig) -> FeatureReport:
    """One job; needs a connection to Ray.

    Raises:
        StoreError: what was committed before stays.
    """
    tables = feature_tables_of(connections.lake)
    with ExitStack() as closing:
        ledger = PostgresLedger(connections.postgres, name="ray-fraud features", limits=PATIENT)
        closing.callback(ledger.close)
        registry = PostgresRegistry(connections.postgres, name="ray-fraud features", limits=PATIENT)
        closing.callback(registry.close)
        positions = _positions(DeltaTransactions(connections.lake), connections.topics.transactions)
        return FeatureJob(
            tables.features,
            tables.scores,
            lambda partition: PartitionFacts(
                tuple(ledger.events(partition)),
                ledger.decided_offset(partition) or 0,
                tuple(ledger.epochs(partition)),
            ),
            registry.current_split,
            lambda stretches: fold_all(connections, config, stretches),
            config.stretch_records,
        ).run(positions)


def _positions(table: DeltaTransactions, topic: str) -> Mapping[PartitionId, int]:
    return {
        partition: position for name, partition, position in table.view().last_positions() if name == topic
    }


def fold_all(
    connections: Connections, config: FeatureConfig, stretches: list[Stretch]
) -> Iterator[StretchReport]:
    """Each stretch in a task of its own, a few at a time, at low priority.

    Raises:
        StoreError: a task's own, or `StoreUnavailable` if one was lost for good or took too long.
    """
    work = partial(_fold_in_task, connections=to_json(connections), config=to_json(config))
    return folded_by(work, stretches, config.tasks)


def folded_by(
    work: Callable[[bytes], bytes], stretches: list[Stretch], tasks: int
) -> Iterator[StretchReport]:
    """What `work`, in worker processes, reports of stretches; see `fold_all`."""
    furthest = max((stretch.to_offset for stretch in stretches), default=0)
    packed = [msgspec.msgpack.encode(stretch) for stretch in stretches]
    longest = STRETCH_SECONDS + furthest / LEAST_OFFSETS_PER_SECOND
    for answer in answers_of_tasks(work, packed, tasks, longest):
        yield msgspec.msgpack.decode(answer, type=StretchReport)


def _fold_in_task(stretch: bytes, connections: bytes, config: bytes) -> bytes:
    """In a worker process."""
    where = from_json(connections, Connections)
    ports, close = open_ports(where, from_json(config, FeatureConfig))
    try:
        return msgspec.msgpack.encode(fold_stretch(ports, msgspec.msgpack.decode(stretch, type=Stretch)))
    finally:
        close()


def open_ports(connections: Connections, config: FeatureConfig) -> tuple[StretchPorts, Callable[[], None]]:
    """The real outside of a stretch, and how to close it."""
    filesystem, root = lake_filesystem(connections.lake)
    tables = feature_tables_of(connections.lake)
    review = PostgresReviewData(connections.postgres)
    ports = StretchPorts(
        transactions=DeltaTransactions(connections.lake),
        features=tables.features,
        scores=tables.scores,
        states=LakeSnapshotStore(filesystem, f"{root}/{STATES}"),
        checkpoints=LakeSnapshotStore(filesystem, root),
        review=review,
        tables=TablesFromFiles(table_files(connections, config)),
        scoring=lambda present: model_scoring(connections, config, present),
    )
    return ports, review.close


def table_files(connections: Connections, config: FeatureConfig) -> CachedFeatureTables:
    """The lake's feature tables and the node's copies of them."""
    return CachedFeatureTables(
        LakeFeatureTables(*lake_filesystem(connections.lake)),
        NodeFeatureTables(config.model_cache),
    )


def model_scoring(connections: Connections, config: FeatureConfig, present: Split) -> Scoring:
    """The same model files and the same scorer as the hot path's."""
    loaded = LoadedSplits(ScorerConfig(lake=connections.lake, cache_folder=config.model_cache).model_files())

    def by_split(split: Split, user_ids: NDArray[np.int64], features: NDArray[np.float32]) -> Scores:
        return (loaded.get(split.digest) or loaded.load(split)).score(user_ids, features)

    def by_model(arm: Arm, features: NDArray[np.float32]) -> NDArray[np.float64]:
        whole = Split((msgspec.structs.replace(arm, share_bp=10_000),), salt="")
        return by_split(whole, np.zeros(len(features), np.int64), features).values

    return Scoring(by_split, by_model, present, loaded.explain)


def open_refresher(
    connections: Connections, config: FeatureConfig, offered: list[Any]
) -> tuple[Refresher, Callable[[], None]]:
    """The refresher with its real outside, and how to close it. Opens nothing yet.

    `offered` keeps references to the newest files' contents, so that they stay in Ray's object store.
    """
    verdicts = PostgresVerdicts(connections.postgres, name="ray-fraud refresh")
    refreshes = PostgresFeatureRefreshes(connections.postgres, limits=PATIENT)
    refresher = Refresher(
        config,
        DeltaTransactions(connections.lake),
        verdicts,
        table_files(connections, config),
        refreshes,
        lambda parts: offer(config, parts, offered),
        time.time,
    )

    def close() -> None:
        verdicts.close()
        refreshes.close()

    return refresher, close
