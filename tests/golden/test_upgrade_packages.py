"""What the last release of each earlier fold version left behind, taken over by this one."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from actors.engine.ports import Ports
from actors.engine.upgrade import NotDrainedError
from ray_fraud.domain.conversion import PRESENT, Fold, FoldState, version_events
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.replay import replay
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.user_state import decode_state
from ray_fraud.stores.cuts.memory import StoredPartition
from ray_fraud.stores.faults import FaultPlan
from ray_fraud.stores.feature_tables.lookup import TablesFromFiles
from ray_fraud.stores.feature_tables.memory import MemoryFeatureTables
from ray_fraud.stores.ledger.memory import MemoryLedger
from tests.golden import golden
from tests.golden.package import PARTITION, Package, package_of, packages
from tests.simulation.driver import Driver, topic_alerts
from tests.simulation.world import FIRST, TOPICS, World, explain_row, score_rows


def unchanged(state: FoldState) -> FoldState:
    return state


NEXT = Fold(PRESENT.version + 1, {**PRESENT.converters, PRESENT.version: unchanged})
"""The version that is yet to come, with a stand-in for its converter."""

UPGRADES = [
    *(pytest.param(version, PRESENT, id=f"{version}") for version in packages() if version < PRESENT.version),
    *(pytest.param(version, NEXT, id=f"{version}-to-the-next") for version in packages()),
]
each_upgrade = pytest.mark.parametrize(("version", "fold"), UPGRADES)


class Inherited(World):
    """The stores as a release left them (cut, snapshot, timeline), and the golden log in the topic."""

    def __init__(self, package: Package, folder: Path, fold: Fold, *, drained: bool = True) -> None:
        super().__init__()
        self._fold = fold
        self.tables = {**self.tables, **golden.table_files()}
        log = self.broker.topic(TOPICS.transactions).logs[0]
        log.records[:] = golden.log()
        log.end = log.records[-1].offset + 1
        # Not drained: it died behind its newest cut.
        header = msgspec.structs.replace(package.header(), drained=drained)
        self.contents[self.partition] = StoredPartition(
            header.epoch, header.token, header, dict(package.users)
        )
        lake = package.snapshot_into(folder)
        snapshot = lake.newest_valid(PARTITION, lambda _: True)
        assert snapshot is not None
        own = msgspec.structs.replace(snapshot, partition=self.partition)
        self.snapshots[self.partition, own.name] = own, dict(lake.read_users(snapshot))
        ledger = MemoryLedger(self.database)
        with ledger.take_over(self.partition) as turn:
            taken = turn.confirm(header.epoch, header.token, 0)
        for event in package.timeline():
            ledger.append_event(taken, event)
        ledger.set_decided_offset(taken, golden.CUT_AT)

    def ports(self, faults: FaultPlan | None = None) -> Ports:
        return replace(super().ports(faults), fold=self._fold)

    def events(self) -> list[ControlEvent]:
        return MemoryLedger(self.database).events(self.partition)


@each_upgrade
@pytest.mark.parametrize("lost", [False, True], ids=["", "Redis lost after the upgrade"])
def test_a_drained_package_is_converted_and_goes_on_as_the_converted_state_does(
    version: int, fold: Fold, lost: bool, tmp_path: Path
) -> None:
    package = package_of(version)
    world = Inherited(package, tmp_path, fold)
    driver = Driver(world, 1, FIRST)
    base = driver.live().steps.base
    assert (base.next_offset, base.fold_version) == (golden.CUT_AT, fold.version)
    for packed in base.users.values():
        decode_state(packed)
    if lost:
        driver.crash()
        world.contents.clear()
    owner = driver.finish().steps
    assert version_events(world.events()) == [(0, version), (golden.CUT_AT, fold.version)]

    before = FoldState(dict(package.users), package.header().watermark_ms, package.header().votes)
    converted = fold.convert(before, version)
    state = PartitionState(
        0,
        Decoder(None),
        next_offset=golden.CUT_AT,
        watermark_ms=converted.watermark_ms,
        votes=converted.votes,
        users=dict(converted.users),
        timeline=world.events(),
        tables=TablesFromFiles(MemoryFeatureTables(world.tables)),
        fold_version=fold.version,
    )
    later = [record for record in golden.log() if record.offset >= golden.CUT_AT]
    decided = replay(later, state, score_rows, explain=explain_row)
    alerts = {alert.alert_uid for each in decided for alert in each.effects.alerts}
    assert len(alerts) > 20
    assert set(topic_alerts(world)) == set(world.database.alerts) == alerts
    stored = world.contents.of(world.partition)
    assert stored.header is not None
    assert stored.users == owner.state.users == state.users
    assert stored.header.watermark_ms == owner.state.watermark_ms == state.watermark_ms
    assert stored.header.votes == owner.state.votes == state.votes


@each_upgrade
def test_a_package_that_was_not_drained_is_refused(version: int, fold: Fold, tmp_path: Path) -> None:
    world = Inherited(package_of(version), tmp_path, fold, drained=False)
    events = world.events()
    with pytest.raises(NotDrainedError):
        Driver(world, 1, FIRST).live()
    assert world.events() == events


def test_the_manual_says_what_a_refused_upgrade_says() -> None:
    docs = Path(__file__).parents[2] / "docs"
    manual, scenarios = (
        " ".join((docs / name).read_text(encoding="utf-8").split())
        for name in ("upgrades.md", "failure-scenarios.md")
    )
    refusal = str(NotDrainedError("P", 3, 4))
    assert refusal in manual
    assert refusal[refusal.index("can only") :] in scenarios
