"""The ingest with its real outside: Kafka, PostgreSQL, Ray Data, the lake.

Never: logic.
"""

from collections.abc import Mapping
from contextlib import ExitStack, closing

from batch.features.run import forget_features
from batch.ingest.config import IngestConfig
from batch.ingest.dataset import read_and_write
from batch.ingest.follow import Places, cut_offs_of
from batch.ingest.job import Ingest, IngestReport, Progress
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.port import CutOff
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_session import PATIENT
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.port import LogBounds
from ray_fraud.stores.partition_facts import partition_id
from ray_fraud.stores.tables.delta import DeltaTransactions


def run_ingest(config: IngestConfig, progress: Progress = lambda _: None) -> IngestReport:
    """One ingest; needs a connection to Ray.

    Raises:
        StoreError: Kafka, PostgreSQL or the lake failed, or a task was lost for good; what was committed
            before stays.
    """
    ledger = PostgresLedger(config.connections.postgres, name="ray-fraud ingest", limits=PATIENT)
    with closing(ledger):
        return Ingest(
            config,
            DeltaTransactions(config.connections.lake),
            lambda: log_bounds(config),
            lambda slices: read_and_write(config, slices),
            timeline=ledger.events,
            cut_offs=lambda places: log_cut_offs(config, places),
            epochs=ledger.epochs,
            forget=lambda partition, offset: forget_features(config.connections.lake, partition, offset),
            progress=progress,
        ).run()


def log_cut_offs(config: IngestConfig, places: Places) -> Mapping[PartitionId, CutOff]:
    """What of these places the topic has lost.

    Raises:
        StoreError: Kafka does not answer, or has another topic by now.
    """
    kafka, topic = config.connections.kafka, config.connections.topics.transactions
    with ExitStack() as closing:
        readers = {}
        for partition in places:
            readers[partition] = KafkaLogReader(kafka, topic, partition)
            closing.callback(readers[partition].close)
        return cut_offs_of(readers, places)


def log_bounds(config: IngestConfig) -> Mapping[PartitionId, LogBounds]:
    """Begin and end of every partition of the topic's present life.

    Raises:
        StoreError: Kafka does not answer, or has no such topic.
    """
    kafka, topic = config.connections.kafka, config.connections.topics.transactions
    bounds = {}
    with closing(KafkaLogAdmin(kafka)) as admin:
        for number in range(admin.partition_count(topic)):
            partition = partition_id(admin, topic, number)
            with closing(KafkaLogReader(kafka, topic, partition)) as reader:
                bounds[partition] = reader.bounds()
    return bounds
