"""What everyone who reads a partition's log must know of it, live or not: its identity, how it is decoded.

Never: importing Ray; a command that only looks must not wait for that.
"""

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.connections import Connections, read_secret
from ray_fraud.stores.log.port import LogAdmin


def decoder_of(connections: Connections) -> Decoder:
    """The decoder with this deployment's card key.

    Raises:
        PermissionError: the key file may be read by others.
    """
    key_file = connections.card_key_file
    return Decoder(None if key_file is None else bytes.fromhex(read_secret(key_file)))


def partition_id(admin: LogAdmin, topic: str, partition: int) -> PartitionId:
    """The partition of the topic's present life.

    Raises:
        StoreError: Kafka does not answer, or has no such topic.
    """
    return PartitionId(admin.cluster_id(), admin.topic_id(topic), partition)
