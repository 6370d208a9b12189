"""A way to Kafka for batches that are already encoded: one request per tick, acknowledgements on the side.

It uses the network layer of kafka-python (log-in, TLS, requests) without its producer.

Never: a retry. A load generator reports a failed request; sending it again would change the load.
"""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from kafka.net.compat import KafkaNetClient
from kafka.protocol.producer import ProduceRequest
from kafka.structs import TopicPartition

from ray_fraud.stores.connections import KafkaConnection
from ray_fraud.stores.errors import StoreError, StoreUnavailable
from ray_fraud.stores.log.kafka_client import client_settings, kafka_errors_told_apart

_IN_FLIGHT_LIMIT = 4
"""At full speed; enough to keep a broker busy."""
_QUEUE_LIMIT = 5_000
"""At a rate: a broker that pauses for seconds must find every tick's request when it goes on."""
_SET_UP_SECONDS = 10.0
_ACKS_ALL = -1


class BatchChannel(Protocol):
    """Where encoded batches go. `acknowledged` and `failed` count records."""

    acknowledged: int
    failed: int

    @property
    def partitions(self) -> int: ...

    def send(self, batches: Mapping[int, tuple[bytes, int]]) -> None:
        """Begin to send one batch per partition, each with its number of records."""

    def wait(self, seconds: float) -> None:
        """Let that much time pass while acknowledgements come in."""

    def wait_for_room(self, seconds: float) -> None:
        """Return as soon as another request can be sent without queueing, or after that time."""

    def unfinished(self) -> int:
        """Records that are neither acknowledged nor failed yet."""


class KafkaBatchChannel:
    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        """Connects to every partition's leader.

        Raises:
            StoreUnavailable: no broker, no such topic, or a partition without leader, within ten seconds.
            StoreRefused: the broker refuses the log-in, or the connection contradicts itself.
        """
        self.acknowledged = 0
        self.failed = 0
        self.first_error = ""
        self._sent = 0
        self._topic = topic
        settings = client_settings(connection) | {
            "max_in_flight_requests_per_connection": _QUEUE_LIMIT,
            "request_timeout_ms": 20_000,
            "allow_auto_create_topics": False,
        }
        self._client = KafkaNetClient(**settings)
        try:
            with kafka_errors_told_apart():
                self._leaders = self._find_leaders()
        except StoreError:
            self.close()
            raise

    @property
    def partitions(self) -> int:
        return len(self._leaders)

    def send(self, batches: Mapping[int, tuple[bytes, int]]) -> None:
        by_node: dict[int, dict[int, tuple[bytes, int]]] = {}
        for partition, batch in batches.items():
            by_node.setdefault(self._leaders[partition], {})[partition] = batch
        for node, parts in by_node.items():
            count = sum(records for _, records in parts.values())
            self._sent += count
            future = self._client.send(node, self._request(parts))
            future.add_callback(self._on_response, {index: parts[index][1] for index in parts})
            future.add_errback(self._on_failure, count)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0:
            if left >= 0.001:
                # The selector rounds up to milliseconds: hand it whole ones and sleep the rest exactly.
                self._client.poll(timeout_ms=int(left * 1000.0))
            else:
                time.sleep(left)

    def wait_for_room(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._client.in_flight_request_count() >= _IN_FLIGHT_LIMIT and time.monotonic() < end:
            self._client.poll(timeout_ms=100)

    def unfinished(self) -> int:
        return self._sent - self.acknowledged - self.failed

    def close(self) -> None:
        self._client.close()

    def _request(self, parts: Mapping[int, tuple[bytes, int]]) -> ProduceRequest:
        topic = ProduceRequest.TopicProduceData
        return ProduceRequest(
            transactional_id=None,
            acks=_ACKS_ALL,
            timeout_ms=10_000,
            topic_data=[
                topic(
                    name=self._topic,
                    partition_data=[
                        topic.PartitionProduceData(index=partition, records=records)
                        for partition, (records, _) in parts.items()
                    ],
                )
            ],
            min_version=3,
            max_version=9,
        )

    def _on_response(self, counts: Mapping[int, int], response: Any) -> None:
        for topic in response.responses:
            for answer in topic.partition_responses:
                if answer.error_code:
                    self._on_failure(counts[answer.index], f"error code {answer.error_code}")
                else:
                    self.acknowledged += counts[answer.index]

    def _on_failure(self, count: int, error: object) -> None:
        self.failed += count
        self.first_error = self.first_error or f"{type(error).__name__}: {error}"

    def _find_leaders(self) -> dict[int, int]:
        cluster, end = self._client.cluster, time.monotonic() + _SET_UP_SECONDS
        self._client.check_version(timeout_ms=_SET_UP_SECONDS * 1000)
        cluster.add_topic(self._topic)
        while time.monotonic() < end:
            self._client.poll(timeout_ms=2_000, future=cluster.request_update())
            partitions = cluster.partitions_for_topic(self._topic) or set()
            leaders = {
                partition: cluster.leader_for_partition(TopicPartition(self._topic, partition))
                for partition in sorted(partitions)
            }
            if leaders and all(node is not None and node >= 0 for node in leaders.values()):
                for node in set(leaders.values()):
                    self._client.await_ready(node, timeout_ms=_SET_UP_SECONDS * 1000)
                return leaders
            time.sleep(0.1)
        raise StoreUnavailable(
            "kafka", f"topic {self._topic!r} has no leader for every partition: does it exist?"
        )
