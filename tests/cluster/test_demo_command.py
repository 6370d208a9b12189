"""`ray-fraud demo` as a newcomer runs it, only shorter."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.cluster


@pytest.mark.timeout(300)
def test_demo_ends_by_itself_agrees_with_the_replay_and_leaves_nothing(tmp_path: Path) -> None:
    # A temporary folder that every user may pass through: as root PostgreSQL runs as another one.
    environment = os.environ | {"TMPDIR": "/tmp"}
    before = _temporary_stacks()
    done = subprocess.run(
        [sys.executable, "-m", "ray_fraud.cli", "demo", "--seconds", "8", "--tps", "150", "--output", "json"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    assert (answer["schema_version"], answer["command"], answer["status"]) == (1, "demo", "ok")
    data = answer["data"]
    assert data["produced"] > 500
    assert data["processed"] == data["produced"]
    assert data["oracle"] == {"missing": 0, "unexpected": 0, "duplicates": 0}
    assert data["alerts"]["total"] == data["postgres_alerts"] == data["topic_alerts"] > 0
    assert data["lake"] == {
        "rows": data["processed"] + data["duplicates"],
        "feature_rows": data["processed"],
        "different_alerts": 0,
        "agrees": True,
    }
    assert sum(data["alerts"]["by_rule"].values()) == data["alerts"]["total"]
    assert 0 < data["latency_ms"]["p50"] <= data["latency_ms"]["p95"] <= data["latency_ms"]["p99"]
    assert set(data["ab_share"]) == {"isolation_forest:1", "isolation_forest:2"}
    assert 0 < data["startup_seconds"] < data["first_alert_seconds"]
    assert _temporary_stacks() == before
    assert not _processes_mentioning("ray-fraud-demo-")


def _temporary_stacks() -> set[str]:
    return {path.name for path in Path("/tmp").glob("ray-fraud-demo-*")}


def _processes_mentioning(text: str) -> list[str]:
    lines = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if text in line]
