"""One ingest with its real outside: Kafka, Ray Data, a lake on an S3 server; each accepted offset once.

Never: a step that is only imagined.
"""

from collections import Counter

import msgspec
import pytest
from deltalake import DeltaTable

from ray_fraud.stores.connections import KafkaConnection, LakeLocation, Topics
from ray_fraud.stores.delta_location import delta_location
from tests.batch.plain_ingest import plain_ingest
from tests.batch.test_ingest_kills import RECORDS, config_for, fill

TOPICS = Topics("s3-transactions", "s3-dlq", "s3-alerts", "s3-labels", partitions=2)
"""Its own: one broker serves all tests of a session."""


@pytest.fixture
def filled(kafka_server: KafkaConnection) -> KafkaConnection:
    return fill(kafka_server, TOPICS)


@pytest.mark.cluster
@pytest.mark.timeout(240, func_only=True)
def test_an_ingest_into_s3_brings_each_accepted_offset_once(
    filled: KafkaConnection, s3_lake: LakeLocation, local_ray: None
) -> None:
    config = msgspec.structs.replace(config_for(filled, s3_lake, TOPICS), commit_records=30)
    report = plain_ingest(config).run()
    assert report.complete
    assert report.commits == 2
    assert (report.accepted, report.rejected, report.holes) == (2 * RECORDS + 1, {"not_json": 2}, 2)
    assert plain_ingest(config).run().commits == 0

    address, options = delta_location(s3_lake, "transactions")
    table = DeltaTable(address, storage_options=options)
    rows = table.to_pyarrow_table(columns=["partition", "offset"]).to_pydict()
    places = Counter(zip(*rows.values(), strict=True))
    assert set(places.values()) == {1}
    assert len(places) == report.accepted
