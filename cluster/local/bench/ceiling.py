"""The ceiling C: one process that consumes, decodes, folds and writes the cut, and does not score.

    python -m cluster.local.bench.ceiling --connections-file F --seconds S

No arrangement of processes does these four steps cheaper per record, so C is what one core can give.
The process is prepared as an owner's is.
It writes its cuts under a partition of its own, beside those of the hot path.

Never: alerts; the hot path's keys.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import click
import msgspec

from actors.build import decoder_of, partition_id
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import FOLD_VERSION, Observed, PartitionState
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.user_state import users_digest
from ray_fraud.generator.connections_file import read_connections
from ray_fraud.stores.cuts.port import Cut
from ray_fraud.stores.cuts.redis_store import RedisCutStore
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.log.kafka_reader import KafkaLogReader
from serve.latency import prepare_process

BATCH_RECORDS = 2_000
POLL_TIMEOUT = timedelta(milliseconds=500)
FIRST_POLL_TIMEOUT = timedelta(seconds=20)
DECODE_SAMPLE = 20_000
EPOCH = 1
TOKEN = "bench"  # noqa: S105 - names this measurement


class Ceiling(msgspec.Struct):
    """Seconds of each step over `records`, and the rate of all of them together.

    A cut is written while the next batch is folded, as an owner does, so the steps add up to more.
    """

    read: int = 0
    """All records, the first batch included."""
    records: int = 0
    """Those that were timed."""
    users: int = 0
    poll: float = 0.0
    observe: float = 0.0
    commit: float = 0.0
    decode_us: float = 0.0
    """Per record, measured on its own over a sample."""
    seconds: float = 0.0

    @property
    def tps(self) -> float:
        return self.records / self.seconds if self.seconds else 0.0


class _Cuts:
    """Writes each batch as one cut."""

    def __init__(self, store: RedisCutStore, partition: PartitionId) -> None:
        self._store = store
        self._partition = partition
        self._digest = 0
        self._count = 0
        self._offset = 0
        store.check_configuration()
        store.write_generation(partition, self._cut(0, 0, {}, 0), ())

    def write(self, observed: Observed) -> float:
        """Seconds that it took."""
        began = time.perf_counter()
        came = [(user_id, state) for user_id, state in observed.changed.items() if state is not None]
        went = [(user_id, state) for user_id, state in observed.before.items() if state is not None]
        self._count += len(came) - len(went)
        self._digest ^= users_digest(came) ^ users_digest(went)
        cut = self._cut(self._offset, observed.next_offset, observed.changed, observed.watermark_ms)
        outcome = self._store.write(self._partition, cut)
        if outcome.name not in ("WRITTEN", "ALREADY_WRITTEN"):
            raise RuntimeError(f"cut at offset {observed.next_offset}: {outcome.value}")
        self._offset = observed.next_offset
        return time.perf_counter() - began

    def _cut(self, previous: int, following: int, changed: dict[int, bytes | None], watermark_ms: int) -> Cut:
        return Cut(
            epoch=EPOCH,
            token=TOKEN,
            previous_offset=previous,
            next_offset=following,
            watermark_ms=watermark_ms,
            base_offset=0,
            user_count=self._count,
            digest=self._digest,
            fold_version=FOLD_VERSION,
            changed=changed,
        )


def measure(reader: KafkaLogReader, cuts: _Cuts, decoder: Decoder, seconds: float) -> Ceiling:
    """Runs the four steps on one partition until its end or the time is over."""
    result = Ceiling()
    state = PartitionState(reader.partition.partition, decoder)
    sample: list[bytes | None] = []
    clock = time.perf_counter
    # The first answer pays for connections and metadata; a rate is what comes after it.
    first = reader.poll(BATCH_RECORDS, FIRST_POLL_TIMEOUT)
    result.read = len(first)
    if first:
        for observed in in_batches(state.observe, first):
            cuts.write(observed)
    began = clock()
    with ThreadPoolExecutor(1, "keeping") as keeping:
        writing = keeping.submit(float)
        while clock() - began < seconds:
            at = clock()
            records = reader.poll(BATCH_RECORDS, POLL_TIMEOUT)
            polled = clock()
            if not records:
                break
            (observed,) = in_batches(state.observe, records)
            folded = clock()
            result.commit += writing.result()
            writing = keeping.submit(cuts.write, observed)
            result.poll += polled - at
            result.observe += folded - polled
            result.seconds += clock() - at
            result.records += len(records)
            result.read += len(records)
            if len(sample) < DECODE_SAMPLE:
                sample += [record.value for record in records]
        at = clock()
        result.commit += writing.result()
        result.seconds += clock() - at
    result.users = len(state.users)
    at = clock()
    for value in sample:
        decoder.decode(value)
    result.decode_us = (clock() - at) / max(1, len(sample)) * 1e6
    return result


@click.command()
@click.option("--connections-file", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--seconds", type=float, default=10.0)
def main(connections_file: Path, seconds: float) -> None:
    """Measures on partition 0 of the transactions topic."""
    connections = read_connections(connections_file)
    admin = KafkaLogAdmin(connections.kafka)
    own = partition_id(admin, connections.topics.transactions, 0)
    admin.close()
    reader = KafkaLogReader(connections.kafka, connections.topics.transactions, own)
    store = RedisCutStore(connections.redis)
    cuts = _Cuts(store, own._replace(topic_id=f"bench-{own.topic_id}"))
    prepare_process()
    result = measure(reader, cuts, decoder_of(connections), seconds)
    reader.close()
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
