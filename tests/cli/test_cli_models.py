"""`ray-fraud models` against a real database and a lake in a folder: what it changes, shows and refuses."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from cluster.local import split_in_force as rolled_out
from cluster.local.paths import StackPaths
from cluster.local.split_in_force import split_in_force, wait_in_force
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.model import Manifest
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import split_event
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.ledger.memory import MemoryLedger
from ray_fraud.stores.ledger.migrate import migrate
from ray_fraud.stores.ledger.postgres import PostgresLedger
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.postgres_registry import PostgresRegistry
from ray_fraud.stores.ledger.queries import Verdict
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Share
from ray_fraud.stores.models.lake import LakeModelFiles
from ray_fraud.stores.tables.feature_columns import FEATURE_SCHEMA, ML_FEATURES
from ray_fraud.stores.tables.positioned import Move, PositionedTable
from tests.cluster.test_version_latency import platform_in
from tests.scoring.sample_models import rows as sample_rows
from tests.scoring.sample_models import split as sample_split
from tests.scoring.sample_models import trained
from tests.stores.ledger_world import example_alert

ONE, TWO, THREE = (f"isolation_forest:{version}" for version in (1, 2, 3))
PARTITIONS = [PartitionId("cluster", "topic", number) for number in (0, 1)]
EVALUATION = {
    "f1": 0.81,
    "precision": 0.9,
    "average_precision": 0.7654321,
    "rows": 1_000,
    "frauds": 20,
    "precision_interval": {"value": 0.9, "low": 0.85, "high": 0.94},
}

pytestmark = pytest.mark.servers


@pytest.fixture
def connections(tmp_path: Path, fresh_database: PostgresConnection) -> Connections:
    """A stack of which PostgreSQL and the lake are there, with three versions: 90 %, 10 %, in training."""
    migrate(fresh_database)
    made = Connections(
        kafka=KafkaConnection("nowhere.invalid:9092"),
        redis=RedisConnection("redis://nowhere.invalid:6379/0"),
        postgres=fresh_database,
        lake=LakeLocation((tmp_path / "lake").as_uri()),
    )
    (tmp_path / "lake").mkdir()
    paths = StackPaths(tmp_path / "data")
    paths.data_dir.mkdir()
    write_record(paths, StackRecord(connections=made))
    files = LakeModelFiles(*lake_filesystem(made.lake))
    registry = PostgresRegistry(fresh_database)
    rows = []
    for version in (1, 2):
        digest = files.put(*trained(version))
        model = NewModel("isolation_forest", digest, digest, 0.6, {"evaluation": EVALUATION})
        rows.append(registry.register(model))
    registry.register(NewModel("isolation_forest", "nowhere", "nowhere", 0.7))
    registry.set_split(
        [Share(rows[0].id, ModelStatus.PRODUCTION, 9_000), Share(rows[1].id, ModelStatus.TESTING, 1_000)]
    )
    registry.close()
    return made


def run(tmp_path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ("models", *arguments, "--data-dir", str(tmp_path / "data")))


def data(tmp_path: Path, *arguments: str, status: str = "ok") -> Any:
    result = run(tmp_path, *arguments, "--output", "json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["command"] == f"models {arguments[0]}"
    assert answer["status"] == status
    return answer["data"]


def live(tmp_path: Path) -> dict[str, tuple[str, float]]:
    rows = data(tmp_path, "list")["models"]
    return {row["model"]: (row["status"], row["share"]) for row in rows if row["status"] != "training"}


def events(tmp_path: Path, label: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = data(tmp_path, "show", label)["events"]
    return found


def test_the_list_has_every_version(tmp_path: Path, connections: Connections) -> None:
    rows = data(tmp_path, "list")["models"]
    assert [(row["model"], row["status"], row["share"]) for row in rows] == [
        (ONE, "production", 90),
        (TWO, "testing", 10),
        (THREE, "training", 0),
    ]
    text = run(tmp_path, "list").stdout
    assert ONE in text
    assert "0.765" in text
    assert "…" not in text


def test_promote_and_roll_back_are_one_command_each_and_on_record(
    tmp_path: Path, connections: Connections
) -> None:
    made = data(tmp_path, "promote", TWO, "--why", "better", "--by", "ana")
    assert (made["running"], made["in_force"]) == (False, [])
    assert live(tmp_path) == {ONE: ("retired", 0), TWO: ("production", 100)}
    event = events(tmp_path, TWO)[-1]
    assert (event["action"], event["actor"], event["reason"]) == ("promoted", "ana", "better")
    assert event["split_after"] == made["split"]["digest"]
    data(tmp_path, "rollback")
    assert live(tmp_path) == {ONE: ("production", 100), TWO: ("retired", 0)}
    event = events(tmp_path, ONE)[-1]
    assert event["action"] == "rolled_back"
    assert "@" in event["actor"]
    again = run(tmp_path, "rollback")
    assert again.exit_code == 1
    assert f"no version was in production before {ONE}" in again.stderr


def test_split_and_retire(tmp_path: Path, connections: Connections) -> None:
    made = data(tmp_path, "split", f"{ONE}=70", f"{TWO}=27.5", f"{THREE}=2.5", "--salt", "november")
    assert made["split"]["salt"] == "november"
    assert live(tmp_path) == {ONE: ("production", 70), TWO: ("testing", 27.5), THREE: ("testing", 2.5)}
    data(tmp_path, "split", f"{ONE}=100", f"{TWO}=0", f"{THREE}=0")
    assert live(tmp_path)[TWO] == ("testing", 0)
    data(tmp_path, "retire", TWO)
    assert live(tmp_path) == {ONE: ("production", 100), TWO: ("retired", 0), THREE: ("testing", 0)}


def test_a_version_that_was_never_live_is_put_aside(tmp_path: Path, connections: Connections) -> None:
    data(tmp_path, "retire", THREE, "--why", "not needed")
    assert live(tmp_path)[THREE] == ("retired", 0)
    result = data(tmp_path, "show", THREE)
    assert [event["action"] for event in result["events"]] == ["registered", "retired"]
    assert result["manifest"] is None
    assert "no model nowhere" in result["problem"]


def test_show_has_the_manifest_and_compare_what_is_live(tmp_path: Path, connections: Connections) -> None:
    ledger, queries = PostgresLedger(connections.postgres), PostgresAlertQueries(connections.postgres)
    with ledger.take_over(PARTITIONS[0]) as turn:
        own = turn.confirm(1, "owner", 0)
    future_ms = 4_000_000_000_000
    alerts = [
        example_alert(n, rule_name=RuleName.ML_ANOMALY, model_version=TWO, record_timestamp_ms=future_ms)
        for n in range(3)
    ]
    other_rule = example_alert(9, model_version=TWO, record_timestamp_ms=future_ms)
    ledger.insert_hot_alerts(own, [*alerts, other_rule])
    ids = [row.alert_id for row in queries.list() if row.alert.rule_name is RuleName.ML_ANOMALY]
    queries.add_feedback(ids[0], Verdict.TRUE_FRAUD, "ana")
    queries.add_feedback(ids[1], Verdict.FALSE_POSITIVE, "ana")
    queries.close()
    ledger.close()

    manifest = msgspec.convert(data(tmp_path, "show", TWO)["manifest"], Manifest)
    assert manifest == trained(2).manifest
    one, two = data(tmp_path, "compare", ONE, TWO)["models"]
    assert (one["live"]["alerts"], two["live"]["alerts"]) == (0, 3)
    assert (two["live"]["frauds"], two["live"]["mature"]["alerts"]) == (1, 0)
    text = run(tmp_path, "compare", TWO, THREE).stdout
    assert "not live" in text
    assert "0.9000 (0.850 to 0.940)" in text
    assert "…" not in text


def test_what_each_version_costs_is_shown_while_the_platform_runs(
    tmp_path: Path, connections: Connections
) -> None:
    assert data(tmp_path, "show", TWO)["scoring"] is None
    with platform_in(tmp_path / "data"):
        one, three = data(tmp_path, "compare", ONE, THREE)["models"]
        assert (one["scoring"]["calls"], one["scoring"]["rows"], three["scoring"]) == (200, 2_000, None)
        assert data(tmp_path, "show", TWO)["scoring"]["p99_ms"] == 0.25
        for command in (("compare", ONE, TWO), ("show", ONE)):
            text = run(tmp_path, *command).stdout
            assert "200.0" in text
            assert "µs a row" in text


def day_of_features(lake: LakeLocation, amount: float) -> None:
    """1,200 rows of one day in `ml_features`, drawn as the sample models' training was, but for amounts."""
    drawn = sample_rows(1_200, 11)
    drawn[:, FEATURE_NAMES.index("amount")] *= amount
    times = pa.array(1_767_300_000_000_000 + 1_000_000 * np.arange(len(drawn)), pa.timestamp("us", "UTC"))
    plain = {"topic_id": "t", "partition": 0, "offset": 1, "transaction_id": "t", "user_id": 1}
    columns: dict[str, pa.Array] = {
        **{name: pa.array([value] * len(drawn)) for name, value in plain.items()},
        "feature_tables": pa.nulls(len(drawn)),
        **{name: pa.array(drawn[:, index], from_pandas=True) for index, name in enumerate(FEATURE_NAMES)},
        **{name: times.cast(FEATURE_SCHEMA.field(name).type) for name in FEATURE_SCHEMA.names[-3:]},
    }
    table = PositionedTable(lake, ML_FEATURES, FEATURE_SCHEMA)
    table.create()
    made = pa.table({name: columns[name] for name in FEATURE_SCHEMA.names}).cast(FEATURE_SCHEMA)
    table.commit("run", [Move("test", None, 1)], table.write_files(made), {})


def test_show_has_the_drift_of_the_last_day(tmp_path: Path, connections: Connections) -> None:
    nothing = data(tmp_path, "show", TWO)["drift"]
    assert (nothing["features"], nothing["score"]) == ([], None)
    assert "no features yet" in nothing["problem"]
    day_of_features(connections.lake, amount=3.0)
    found = data(tmp_path, "show", TWO)["drift"]
    assert found["rows"] == 1_200
    assert found["features"][0]["name"] == "amount"
    assert [each["alarm"] for each in found["features"]] == [True, False, False, False]
    assert "0 rows scored by it" in found["problem"]
    (tmp_path / "data" / "batch-settings.toml").write_text("[drift]\nalarm = 19.0\n")
    calm = data(tmp_path, "show", TWO)["drift"]
    assert (calm["alarm_above"], any(each["alarm"] for each in calm["features"])) == (19.0, False)
    (tmp_path / "data" / "batch-settings.toml").unlink()
    text = run(tmp_path, "show", TWO).stdout
    assert "above 0.25" in text
    assert "1,200 rows" in text
    assert "score_reference" not in text
    assert "cannot be read" in data(tmp_path, "show", THREE)["drift"]["problem"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("promote", "forest:9"), 1, f"there is no model forest:9; known: {ONE}, {TWO}, {THREE}"),
        (("promote", ONE), 1, "in production already"),
        (("retire", ONE), 1, "promote another version"),
        (("split", f"{TWO}=100"), 1, f"{ONE} is in production and must be named"),
        (("split", f"{ONE}=60", f"{TWO}=30"), 1, "shares add up to 90 %, must be 100 %"),
        (("split", f"{ONE}=60", f"{ONE}=40"), 2, "named twice"),
        (("split", f"{ONE}=0.001"), 2, "at most two decimals"),
        (("split", ONE), 2, "NAME:VERSION=PERCENT"),
        (("split", f"{ONE}=100", "--salt", ""), 2, "--salt"),
        (("show", "forest"), 2, "is not NAME:VERSION"),
        (("compare", ONE, "forest:9"), 1, "there is no model forest:9"),
        (("promote", TWO, "--by", "a\nb"), 1, "by: "),
    ],
)
def test_mistakes_are_explained_and_change_nothing(
    tmp_path: Path, connections: Connections, arguments: tuple[str, ...], code: int, message: str
) -> None:
    before = live(tmp_path)
    result = run(tmp_path, *arguments)
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr
    assert live(tmp_path) == before


@pytest.fixture
def owners(connections: Connections, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Thread]:
    """A platform of two partitions that follows the registry; only Ray itself is not there."""
    monkeypatch.setattr(rolled_out, "ray_runs", lambda _: True)
    stopping = threading.Event()

    def follow() -> None:
        ledger, registry = PostgresLedger(connections.postgres), PostgresRegistry(connections.postgres)
        owned = []
        for partition in PARTITIONS:
            with ledger.take_over(partition) as turn:
                owned.append(turn.confirm(1, "owner", 0))
        while not stopping.wait(0.05):
            split = registry.current_split()
            for own in owned:
                known = ledger.events(own.partition)
                if not known or known[-1].digest != split.digest:
                    seq = len(known) + 1
                    event = split_event(seq, 100 * seq + own.partition.partition, split)
                    ledger.append_event(own, event)
        ledger.close()
        registry.close()

    thread = threading.Thread(target=follow)
    thread.start()
    yield thread
    stopping.set()
    thread.join(timeout=30)


def wait_until_owned(tmp_path: Path) -> None:
    """Until both partitions decide by the first split; a repeated split changes nothing."""
    for _ in range(200):
        if len(data(tmp_path, "split", f"{ONE}=90", f"{TWO}=10")["in_force"]) == len(PARTITIONS):
            return
    pytest.fail("nobody took the partitions over")


def test_on_a_running_platform_it_says_from_which_offset_it_holds(
    tmp_path: Path, owners: threading.Thread
) -> None:
    wait_until_owned(tmp_path)
    made = data(tmp_path, "promote", TWO)
    offsets = {each["partition"]: each["from_offset"] for each in made["in_force"]}
    assert set(offsets) == {0, 1}
    assert offsets == {0: 200, 1: 201}
    assert "from offset" in run(tmp_path, "rollback").stdout


def test_a_platform_that_does_not_follow_is_pending() -> None:
    ledger = MemoryLedger()
    wanted, former = sample_split(10_000), sample_split(9_000, 1_000)
    for partition in PARTITIONS:
        with ledger.take_over(partition) as turn:
            own = turn.confirm(1, "owner", 0)
        ledger.append_event(own, split_event(1, 0, former))
    ledger.append_event(own, split_event(2, 70, wanted))
    found = wait_in_force(ledger, wanted.digest, 0.0)
    assert [(each.partition, each.from_offset) for each in found] == [(0, None), (1, 70)]
    assert split_in_force(MemoryLedger(), wanted.digest) == []
