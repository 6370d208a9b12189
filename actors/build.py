"""Making the real stores for each kind of actor: the one place where an actor meets concrete clients.

Never: logic; a connection that nobody closes.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path

from ray.exceptions import RayError

from actors.config import HotPathConfig, Scoring
from actors.engine.alert_topic import AlertTopic
from actors.engine.ports import Ports
from actors.engine.rekey import Rekeyer, rekeyer_name
from actors.engine.sink import Sink
from actors.engine.sink_letters import SinkLetters
from ray_fraud.domain.metrics import Component
from ray_fraud.domain.progress_metrics import LOCKS_REFUSED
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.split import Split
from ray_fraud.stores.connections import Connections
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.feature_tables.cached import CachedFeatureTables
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables, NodeFeatureTables
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_health import check_writes
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.postgres_session import Session
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_atomic import KafkaAtomicWriter
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from ray_fraud.stores.log.kafka_writer import KafkaLogWriter
from ray_fraud.stores.log.topic_policy import policy_warnings
from ray_fraud.stores.partition_facts import deciding_decoder
from ray_fraud.stores.partition_facts import decoder_of as decoder_of
from ray_fraud.stores.partition_facts import partition_id as partition_id
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.text_users.postgres import PostgresTextUsers
from ray_fraud.telemetry.meter import Meter
from serve.client import open_scorer_client
from serve.config import ScorerConfig, ScoringMode
from serve.deploy import ScorerNotReady, deploy_scorer, scorer_state

DEFAULT_MODEL_CACHE = Path("~/.cache/ray-fraud/models")
HEALTH_TIMEOUT = timedelta(seconds=2)
LATENESS = timedelta(hours=1)
"""How old a record may be when it is written to the topic and still be found by a recovery."""


def scorer_config(config: HotPathConfig) -> ScorerConfig:
    """Where the scorer and the partitions' local fallback find model files."""
    cache = Path(config.model_cache) if config.model_cache else DEFAULT_MODEL_CACHE
    return ScorerConfig(lake=config.connections.lake, cache_folder=cache.expanduser())


def feature_table_files(config: HotPathConfig) -> CachedFeatureTables:
    """The lake's feature tables, and beside the node's model files its copies of them."""
    copies = scorer_config(config).cache_folder
    return CachedFeatureTables(
        LakeFeatureTables(*lake_filesystem(config.connections.lake)),
        NodeFeatureTables(copies),
    )


@dataclass(slots=True)
class BuiltPorts:
    """The ports of one partition actor, and how to close them."""

    ports: Ports
    partition: PartitionId
    feature_tables: CachedFeatureTables
    closing: ExitStack = field(default_factory=ExitStack)

    def close(self) -> None:
        self.closing.close()


def _ledger(connections: Connections, name: str, meter: Meter) -> PostgresLedger:
    meter.count(LOCKS_REFUSED, 0)
    return PostgresLedger(
        connections.postgres, name=name, on_lock_refused=partial(meter.count, LOCKS_REFUSED)
    )


def build_ports(config: HotPathConfig, partition: int, meter: Meter) -> BuiltPorts:
    """Connects everything that one partition needs.

    Raises:
        StoreError: Kafka does not answer, or something is set up wrongly.
    """
    connections = config.connections
    with ExitStack() as closing:
        admin = KafkaLogAdmin(connections.kafka)
        closing.callback(admin.close)
        own = partition_id(admin, connections.topics.transactions, partition)
        reader = KafkaLogReader(connections.kafka, connections.topics.transactions, own)
        closing.callback(reader.close)
        writer = KafkaLogWriter(connections.kafka)
        closing.callback(writer.close)
        ledger = _ledger(connections, f"ray-fraud partition {partition}", meter)
        closing.callback(ledger.close)
        alert_ledger = _ledger(connections, f"ray-fraud alerts {partition}", meter)
        closing.callback(alert_ledger.close)
        cuts = RedisCutStore(connections.redis)
        closing.callback(cuts.close)
        mode = ScoringMode(
            serve=config.scoring is Scoring.SERVE, timeout=timedelta(milliseconds=config.scoring_timeout_ms)
        )
        filesystem, root = lake_filesystem(connections.lake)
        feature_tables = feature_table_files(config)
        text_users = PostgresTextUsers(connections.postgres)
        closing.callback(text_users.close)
        ports = Ports(
            ledger=ledger,
            alert_ledger=alert_ledger,
            cuts=cuts,
            snapshots=LakeSnapshotStore(filesystem, root),
            feature_tables=feature_tables,
            reader=reader,
            writer=writer,
            scorer=open_scorer_client(scorer_config(config), mode),
            decoder=deciding_decoder(connections, text_users),
            text_users=text_users,
            meter=meter,
            topics=connections.topics,
        )
        return BuiltPorts(ports, own, feature_tables, closing.pop_all())


def build_alert_topic(config: HotPathConfig, meter: Meter) -> tuple[AlertTopic, Callable[[], None]]:
    """The alert topic with a sink for each partition that a look finds, and how to close them all."""
    connections = config.connections
    topics = connections.topics
    with ExitStack() as closing:
        admin = KafkaLogAdmin(connections.kafka)
        closing.callback(admin.close)
        writer = KafkaLogWriter(connections.kafka)
        closing.callback(writer.close)
        ledger = _ledger(connections, "ray-fraud sink", meter)
        closing.callback(ledger.close)
        letters = SinkLetters(writer, topics, meter)

        def open_sink(partition: PartitionId) -> Sink:
            return Sink(ledger, KafkaLogReader(connections.kafka, topics.alerts, partition), letters, meter)

        topic = AlertTopic(topics.alerts, admin, ledger, open_sink, meter)
        closing.callback(topic.close)
        return topic, closing.pop_all().close


def build_rekeyers(config: HotPathConfig) -> tuple[list[Rekeyer], KafkaLogAdmin]:
    """One for every partition of the producers' topic, and an admin client; whoever gets them closes them.

    Raises:
        StoreError: Kafka does not answer, or re-keying is not set up.
    """
    connections = config.connections
    topics, kafka = connections.topics, connections.kafka
    with ExitStack() as closing:
        admin = KafkaLogAdmin(kafka)
        closing.callback(admin.close)
        rekeyers = []
        for number in range(admin.ensure_rekeying(topics)):
            own = partition_id(admin, topics.input, number)
            progress = partition_id(admin, topics.rekey_progress, number)
            rekeyer = Rekeyer(
                topics,
                KafkaLogReader(kafka, topics.input, own),
                KafkaLogReader(kafka, topics.rekey_progress, progress),
                KafkaAtomicWriter(kafka, rekeyer_name(own.topic_id, number)),
                decoder_of(connections),
            )
            closing.callback(rekeyer.close)
            rekeyers.append(rekeyer)
        closing.pop_all()
        return rekeyers, admin


class SupervisorPorts:
    """What the supervisor asks: the registry, the scorer, and whether each system answers."""

    def __init__(self, config: HotPathConfig) -> None:
        self._config = config
        connections = config.connections
        self.registry = PostgresRegistry(connections.postgres, name="ray-fraud supervisor")
        self.refreshes = PostgresFeatureRefreshes(connections.postgres, name="ray-fraud supervisor")
        self._admin: KafkaLogAdmin | None = None
        self._cuts = RedisCutStore(connections.redis)
        self._postgres = Session(connections.postgres, name="ray-fraud health")
        self._scorer = scorer_config(config)

    def connect_log(self) -> KafkaLogAdmin:
        """A connection of its own, for whoever looks at the log from outside.

        Raises:
            StoreError: Kafka does not answer, or lets us not in.
        """
        return KafkaLogAdmin(self._config.connections.kafka)

    def topic_warnings(self) -> list[str]:
        """What to change if the topic forgets records that a recovery would need, or believes any clock."""
        topic = self._config.connections.topics.transactions
        needed = timedelta(seconds=self._config.snapshot_interval_seconds) + LATENESS
        return policy_warnings(topic, self._kafka().policy(topic), needed)

    def deploy_split(self, split: Split) -> None:
        """Makes the scorer hold the split; partitions that use it before score locally.

        Raises:
            ScorerNotReady: partitions will score locally until it is.
        """
        deploy_scorer(self._scorer, [split])

    def health(self) -> dict[str, bool]:
        """By component: whether it answered just now."""
        checks: dict[Component, Callable[[], object]] = {
            Component.KAFKA: self._check_kafka,
            Component.REDIS: self._check_redis,
            Component.POSTGRES: self._check_postgres,
            Component.RAY: lambda: None,
            Component.SERVE: self._check_serve,
        }
        return {component.value: _answers(check) for component, check in checks.items()}

    def _check_redis(self) -> None:
        self._cuts.check_configuration()
        self._cuts.check_writes()

    def _check_postgres(self) -> None:
        self.registry.fingerprint()
        check_writes(self._postgres)

    def _check_kafka(self) -> None:
        self._kafka().partition_count(self._config.connections.topics.transactions)

    def _kafka(self) -> KafkaLogAdmin:
        if self._admin is None:
            self._admin = KafkaLogAdmin(self._config.connections.kafka)
        return self._admin

    def _check_serve(self) -> None:
        if self._config.scoring is Scoring.SERVE:
            scorer_state(timeout=HEALTH_TIMEOUT)


def build_supervisor_ports(config: HotPathConfig) -> SupervisorPorts:
    """Connects what the supervisor needs."""
    return SupervisorPorts(config)


def _answers(check: Callable[[], object]) -> bool:
    try:
        check()
    except (StoreError, RayError, ScorerNotReady, TimeoutError):
        return False
    return True
