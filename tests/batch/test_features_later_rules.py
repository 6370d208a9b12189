"""The fold of the lake under the timeline of an older release: a rule that came later was off."""

from pathlib import Path

import pytest

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.timeline import settings_event, split_event
from tests.batch.fold_world import PRESENT, FoldWorld, run_online
from tests.domain.later_rules import REASON, LaterSettings, install
from tests.domain.samples import record, transaction


def test_the_lake_is_folded_with_the_rules_of_each_offset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline = [
        settings_event(1, 0, DetectionSettings()),
        split_event(2, 0, PRESENT),
        settings_event(3, 30, LaterSettings()),
    ]
    records = [record(n, transaction(f"t{n}", user_id=n % 3, seconds=60.0 * n)) for n in range(40)]
    before = run_online(records[:30], timeline[:2])
    install(monkeypatch)
    world = FoldWorld(tmp_path, records, timeline)
    online = world.decide_online()
    assert [alert for alert in online.alerts if alert.offset < 30] == before.alerts
    later = [alert.offset for alert in online.alerts if alert.reason == REASON]
    assert later == list(range(30, 40))
    world.ingest(world.end)
    report = world.fold()
    assert (report.rows, report.expected) == (40, len(online.alerts))
    assert (report.missed, report.unexpected) == (0, 0)
    assert RuleName.GEO_VELOCITY in {alert.rule_name for alert in online.alerts}
