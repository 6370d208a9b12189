"""What one compressed value of 40 MB costs an owner, from the log to its dead letter: CPU and peak memory.

    python -m tests.benchmarks.huge_value

A real broker and its clients; Redis, PostgreSQL and lake in memory. The owner is a process of its own, which
first settles small records, so that what it needs in any case is not counted.
"""

import contextlib
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
from kafka import KafkaProducer

from ray_fraud.stores.connections import KafkaConnection, Topics
from ray_fraud.stores.log.kafka_client import client_settings
from tests.simulation.driver import Driver
from tests.simulation.world import FIRST
from tests.stores.kafka_accidents import KafkaLogs
from tests.stores.test_log_cut_off import WAIT, Broker, KafkaWorld

SMALL = 200
VALUE_BYTES = 40_000_000
KIB = 1024
PATIENCE_SECONDS = 60.0
READY = b"the small records are settled"


class Cost(msgspec.Struct):
    cpu_seconds: float
    peak_mib: float
    """Above the peak of before."""
    seconds: float


def send_huge(connection: KafkaConnection, topic: str) -> int:
    """Sends it gzipped in one batch; the compressed size in bytes."""
    producer = KafkaProducer(
        compression_type="gzip",
        max_request_size=2 * VALUE_BYTES,
        metrics_enabled=False,
        **client_settings(connection),
    )
    with contextlib.closing(producer):
        value = b'{"transaction_id": "' + b"4111111111111111 " * (VALUE_BYTES // 17)
        return int(producer.send(topic, value=value, partition=0).get(60).serialized_value_size)


def own(
    connection: KafkaConnection, topics: Topics, partition: tuple[str, str, int], tell: Connection
) -> None:
    """In a process of its own: settles the small records, then the huge one."""
    from ray_fraud.domain.record import PartitionId

    with contextlib.ExitStack() as clients:
        world = KafkaWorld()
        world.names, world.partition = topics, PartitionId(*partition)
        world.logs = KafkaLogs(connection, clients)
        driver = Driver(world, 1, FIRST)
        settle(driver, SMALL)
        tell.send_bytes(READY)
        before, cpu, began = peak_mib(), time.process_time(), time.monotonic()
        settle(driver, SMALL + 1)
        cost = Cost(time.process_time() - cpu, peak_mib() - before, time.monotonic() - began)
        tell.send_bytes(msgspec.json.encode(cost))


def settle(driver: Driver, end: int) -> None:
    owner = driver.live()
    for _ in range(1_000):
        owner.steps.reconcile()
        owner.queue.extend(owner.steps.observe(owner.steps.read(SMALL if end == SMALL else 500, WAIT)))
        while owner.queue:
            driver.settle(owner)
        if owner.steps.state.next_offset >= end:
            return
    raise AssertionError(f"read up to {owner.steps.state.next_offset} only")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB


def heard(hear: Connection) -> bytes:
    if not hear.poll(PATIENCE_SECONDS):
        raise TimeoutError(f"the owner said nothing for {PATIENCE_SECONDS:.0f} s")
    return hear.recv_bytes()


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = Broker(Path(folder))
        with broker.running() as logs:
            logs.admin().ensure_topics(broker.topics)
            partition = broker.partition(logs)
            broker.send(logs, 0, SMALL)
            context = multiprocessing.get_context("spawn")
            hear, tell = context.Pipe(duplex=False)
            process = context.Process(
                target=own, args=(logs.connection, broker.topics, tuple(partition), tell)
            )
            process.start()
            try:
                heard(hear)
                send_huge(logs.connection, broker.topics.transactions)
                cost = msgspec.json.decode(heard(hear), type=Cost)
                sys.stdout.write(f"{cost}\n")
                process.join(PATIENCE_SECONDS)
            finally:
                process.kill()


if __name__ == "__main__":
    main()
