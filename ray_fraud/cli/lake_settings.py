"""The detection settings under which a record of the lake was accepted.

Never: a running stack required; without PostgreSQL the present settings stand in, which is said.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.local.failures import LocalStackError
from cluster.local.paths import StackPaths
from cluster.local.stack_record import load_connections
from ray_fraud.cli.output import progress
from ray_fraud.cli.settings_file import DETECTION
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.timeline import ControlEvent, settings_at
from ray_fraud.stores.errors import StoreError

if TYPE_CHECKING:
    from ray_fraud.stores.tables.corrections import RecordPlace

Timelines = dict[tuple[str, int], list[ControlEvent]]
"""By topic id and partition."""


class HeldSettings:
    """By the control timeline for a record of the topic, else those of the deployment (imports)."""

    def __init__(self, present: DetectionSettings, timelines: Timelines) -> None:
        self._present = present
        self._timelines = timelines

    def __call__(self, place: RecordPlace) -> DetectionSettings:
        """The settings that held at a place.

        Raises:
            TimelineError: its timeline is damaged.
        """
        timeline = self._timelines.get((place.topic_id, place.partition), [])
        return settings_at(timeline, place.offset) or self._present


def held_settings(data_dir: Path, *, own_lake: bool) -> HeldSettings:
    """Of the platform in `data_dir`; its timelines count only if the lake is its own.

    Raises:
        SettingsFileError: the platform's settings cannot be read.
    """
    present = DETECTION.holding(StackPaths(data_dir), None)
    return HeldSettings(present, _timelines(data_dir) if own_lake else {})


def _timelines(data_dir: Path) -> Timelines:
    from ray_fraud.stores.ledger.postgres import PostgresLedger

    try:
        with closing(PostgresLedger(load_connections(data_dir).postgres, name="ray-fraud lake")) as ledger:
            partitions = [owner.partition for owner in ledger.owners()]
            return {_place(partition): ledger.events(partition) for partition in partitions}
    except (StoreError, LocalStackError) as error:
        progress.print(f"judged by the present settings, since nobody tells those of the time: {error}")
        return {}


def _place(partition: PartitionId) -> tuple[str, int]:
    return partition.topic_id, partition.partition
