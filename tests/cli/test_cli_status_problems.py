"""What `ray-fraud status` says of partitions and of a sink that do not get on."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.local.platform_state import PlatformState
from cluster.local.stack import LocalStack
from cluster.local.stack_record import Health, ServiceState
from ray_fraud.cli.stack import hot_path_tables, platform_data

LIVE: dict[str, Any] = {
    "partition": 0,
    "epoch": 3,
    "settled_offset": 40,
    "cut_offset": 40,
    "log_end": 50,
    "users": 7,
    "restarts": 2,
    "last_end": None,
    "replaying": False,
    "dead_letter_alarm": False,
    "misrouted": 0,
    "misrouted_alarm": False,
    "unreadable": 0,
    "unreadable_last": "",
    "problem": None,
}
STALLED = "stalled: nothing above offset 40 has settled for 45 s, 10 records wait"
ADDED = "not checked: topic 'transactions' has 3 partitions, the settings say 2"
SINK = {"failing_seconds": 41.0, "problem": "postgres: read-only"}


def state(sink: dict[str, Any]) -> PlatformState:
    hot_path = {
        "health": {"partitions": False},
        "problems": [f"partition 0: {STALLED}", f"partition 2: {ADDED}"],
        "split": {"digest": "d", "arms": {}},
        "partitions": [
            LIVE | {"problem": STALLED},
            {
                "partition": 1,
                "restarts": 4,
                "last_end": "Fenced: by another",
                "log_end": 8,
                "problem": "no owner",
            },
            {"partition": 2, "log_end": 9, "problem": ADDED},
        ],
    }
    services = {"sink": ServiceState("here", Health.UNHEALTHY, external=False, pid=None)}
    return PlatformState(services, hot_path, sink)


def shown(platform: PlatformState) -> str:
    console = Console(width=200, record=True, file=StringIO())
    for each in hot_path_tables(platform):
        console.print(each)
    return console.export_text()


def test_json_has_every_problem_and_the_lag_of_partitions_that_nobody_reads(tmp_path: Path) -> None:
    data = platform_data(LocalStack(tmp_path / "data"), state(SINK))
    assert data["problems"] == [
        f"partition 0: {STALLED}",
        f"partition 2: {ADDED}",
        "sink: postgres: read-only (for 41 s)",
    ]
    assert not data["healthy"]
    assert [partition["lag"] for partition in data["partitions"]] == [10, None, None]
    assert data["sink"] == SINK


@pytest.mark.parametrize(
    "text", ["stalled", "no owner: Fenced: by another", "not checked", STALLED, ADDED, "sink: postgres"]
)
def test_people_read_the_same(text: str) -> None:
    assert text in shown(state(SINK))


def test_a_sink_that_gets_on_is_no_problem() -> None:
    assert "sink" not in shown(state({"failing_seconds": 0.0, "problem": ""}))
