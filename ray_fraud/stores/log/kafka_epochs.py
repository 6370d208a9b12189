"""Asking the leader of a partition where a leader epoch ends in its log (OffsetForLeaderEpoch, KIP-320).

kafka-python sends this request to check its own positions only; `KafkaConsumer` has no call for it.

Never: a retry; an answer of a broker that is not the leader.
"""

from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.protocol.consumer import OffsetForLeaderEpochRequest

from ray_fraud.stores.log.port import EpochEnd

_Partition = OffsetForLeaderEpochRequest.OffsetForLeaderTopic.OffsetForLeaderPartition
CONSUMER = -1
"""Replica id of a client; brokers give theirs."""
UNCHECKED = -1
"""Whether our metadata is the newest does not matter: a broker that is not the leader says so."""


def end_of_epoch(
    consumer: KafkaConsumer, place: TopicPartition, leader_epoch: int, timeout_ms: float
) -> EpochEnd | None:
    """None if the broker knows no such epoch, or no older one.

    Raises:
        KafkaError: no answer, or none from the leader; refresh the metadata and try again.
    """
    manager = consumer._manager
    leader = consumer._cluster.leader_for_partition(place)
    if leader is None or leader == -1:
        raise kafka_errors.LeaderNotAvailableError(f"{place} has no leader")
    asked = _Partition(partition=place.partition, current_leader_epoch=UNCHECKED, leader_epoch=leader_epoch)
    request = OffsetForLeaderEpochRequest(replica_id=CONSUMER, topics=[(place.topic, [asked])])

    async def ask() -> Any:
        return await manager.wait_for(manager.send(request, node_id=leader), timeout_ms)

    (topic,) = manager.run(ask).topics
    (answer,) = topic.partitions
    error = kafka_errors.for_code(answer.error_code)
    if error is not kafka_errors.NoError:
        raise error(f"end of leader epoch {leader_epoch} of {place}")
    if answer.end_offset < 0 or answer.leader_epoch is None or answer.leader_epoch < 0:
        return None
    return EpochEnd(answer.leader_epoch, answer.end_offset)
