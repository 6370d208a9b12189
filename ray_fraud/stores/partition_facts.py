"""What everyone who reads a partition's log must know of it, live or not: its identity, how it is decoded.

Never: importing Ray; a command that only looks must not wait for that.
"""

from contextlib import closing
from pathlib import Path

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.text_users import TextUsers
from ray_fraud.stores.connections import Connections, read_secret
from ray_fraud.stores.log.port import LogAdmin
from ray_fraud.stores.text_users.port import TextUserRegister
from ray_fraud.stores.text_users.postgres import PostgresTextUsers


def decoder_of(connections: Connections) -> Decoder:
    """The decoder with this deployment's keys, for whoever reads what others decide.

    Raises:
        PermissionError: a key file may be read by others.
        StoreError: there is a user key, and the register of text ids does not answer.
    """
    taken: set[str] = set()
    if connections.user_key_file is not None:
        with closing(PostgresTextUsers(connections.postgres)) as register:
            taken = register.taken()
    users = users_of(connections.user_key_file, taken=taken)
    return Decoder(_key(connections.card_key_file), users=users)


def deciding_decoder(connections: Connections, register: TextUserRegister) -> Decoder:
    """The decoder of whoever decides about records first: users whose id is text must be claimed.

    Raises:
        PermissionError: a key file may be read by others.
        StoreRefused: the register's numbers were made with another user key.
        StoreUnavailable: the register does not answer.
    """
    users = users_of(connections.user_key_file, must_be_claimed=True)
    if users is not None:
        register.check_key(users.fingerprint)
    return Decoder(_key(connections.card_key_file), users=users)


def users_of(
    user_key_file: Path | None, *, taken: set[str] | None = None, must_be_claimed: bool = False
) -> TextUsers | None:
    """The numbers of text ids under the key of this file; None without one.

    Raises:
        PermissionError: the file may be read by others.
    """
    key = _key(user_key_file)
    return None if key is None else TextUsers(key, taken=taken or (), must_be_claimed=must_be_claimed)


def _key(file: Path | None) -> bytes | None:
    return None if file is None else bytes.fromhex(read_secret(file))


def partition_id(admin: LogAdmin, topic: str, partition: int) -> PartitionId:
    """The partition of the topic's present life.

    Raises:
        StoreError: Kafka does not answer, or has no such topic.
    """
    return PartitionId(admin.cluster_id(), admin.topic_id(topic), partition)
