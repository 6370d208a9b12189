"""`ray-fraud lake care` of a platform whose stores answer: feature tables that no replay needs go, too."""

import json
import os
import time
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from batch.features.run import feature_tables_of
from cluster.local.paths import StackPaths
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.domain.timeline import features_event
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    PostgresConnection,
    RedisConnection,
    Topics,
)
from ray_fraud.stores.feature_tables.lake import LakeFeatureTables
from ray_fraud.stores.feature_tables.postgres import PostgresFeatureRefreshes
from ray_fraud.stores.lake import local_folder
from ray_fraud.stores.partition_facts import partition_id
from tests.batch.care_lake import CareLake
from tests.batch.test_care_feature_tables import CONTENTS, DIGESTS, write_timeline
from tests.stores.kafka_accidents import KafkaLogs

TOPICS = Topics("by-hand-transactions", "by-hand-dlq", "by-hand-alerts", "by-hand-labels", partitions=1)


@pytest.mark.timeout(180)
def test_a_care_by_hand_removes_the_feature_tables_that_nothing_needs(
    kafka_server: KafkaConnection, fresh_database: PostgresConnection, tmp_path: Path
) -> None:
    lake = CareLake(tmp_path / "lake")
    paths = StackPaths(tmp_path / "data")
    paths.prepare()
    connections = Connections(kafka_server, RedisConnection(""), fresh_database, lake.location, TOPICS)
    write_record(paths, StackRecord(connections=connections))
    (paths.data_dir / "batch-settings.toml").write_text("[care]\nfeature_tables_days = 3\n")
    files = LakeFeatureTables(*local_folder(lake.folder))
    for content in CONTENTS[:4]:
        files.put(content)
    four_days_ago = time.time() - timedelta(days=4).total_seconds()
    for digest in DIGESTS[:3]:
        (file,) = lake.folder.rglob(f"*{digest}*")
        os.utime(file, (four_days_ago, four_days_ago))
    feature_tables_of(lake.location).features.create()
    with ExitStack() as stack:
        admin = KafkaLogs(kafka_server, stack).admin()
        admin.ensure_topics(TOPICS)
        partition = partition_id(admin, TOPICS.transactions, 0)
    write_timeline(fresh_database, partition, [features_event(1, 0, DIGESTS[0])])
    with closing(PostgresFeatureRefreshes(fresh_database)) as refreshes:
        refreshes.publish(DIGESTS[1])
    command = ["lake", "care", "--data-dir", str(paths.data_dir)]

    would = json.loads(CliRunner().invoke(main, [*command, "--dry-run", "--output", "json"]).stdout)
    assert would["data"]["feature_tables"] == {"files": 4, "removed": [DIGESTS[2]]}
    assert would["data"]["feature_tables_left"] is None
    assert set(files.digests()) == set(DIGESTS[:4])
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "feature tables: 1 of 4 removed" in done.stdout
    # In a timeline, the newest, and young.
    assert set(files.digests()) == {DIGESTS[0], DIGESTS[1], DIGESTS[3]}
