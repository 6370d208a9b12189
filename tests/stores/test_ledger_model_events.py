"""The history of the registry: the same on both databases, and kept by the schema for every writer."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.split import RULES_ONLY
from ray_fraud.stores.connections import PostgresConnection
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import RegistryConflict
from ray_fraud.stores.ledger.model_events import Cause, EventAction, ModelEvent, previous_production
from ray_fraud.stores.ledger.postgres_session import Rows, Session
from ray_fraud.stores.ledger.registry import ModelStatus, ModelVersion, NewModel, Registry, Share
from tests.stores.ledger_world import LedgerWorld

PRODUCTION, TESTING = ModelStatus.PRODUCTION, ModelStatus.TESTING
ANA = Cause(by="ana", why="better on November", evidence={"f1": 0.81, "days": [1, 2]})
Run = Callable[[str], Rows]


@pytest.fixture
def registry(ledger_world: LedgerWorld) -> Registry:
    return ledger_world.registry()


@pytest.fixture
def two(registry: Registry) -> list[ModelVersion]:
    return [registry.register(NewModel("forest", digest, digest, 0.6)) for digest in ("a", "b")]


def last(registry: Registry) -> ModelEvent:
    return registry.history()[-1]


def test_registering_is_an_event_once(registry: Registry) -> None:
    assert registry.history() == []
    row = registry.register(NewModel("forest", "a", "a", 0.6), cause=ANA)
    registry.register(NewModel("forest", "a", "a", 0.6), cause=ANA)
    (event,) = registry.history()
    assert (event.action, event.actor, event.reason) == (EventAction.REGISTERED, "ana", "better on November")
    assert (event.models, event.production, event.evidence) == ((row.id,), None, ANA.evidence)
    assert (event.split_before, event.split_after) == (None, None)
    assert event.db_user != ""


def test_every_change_of_the_split_is_named_for_what_it_is(
    registry: Registry, two: list[ModelVersion]
) -> None:
    a, b = (row.id for row in two)
    actions: list[EventAction] = []
    splits = [RULES_ONLY]
    for shares, cause in (
        ([Share(a, PRODUCTION, 10_000)], ANA),
        ([Share(a, PRODUCTION, 9_500), Share(b, TESTING, 500)], ANA),
        ([Share(a, PRODUCTION, 9_000), Share(b, TESTING, 1_000)], ANA),
        ([Share(a, PRODUCTION, 10_000)], ANA),
        ([Share(b, PRODUCTION, 10_000)], ANA),
        ([Share(a, PRODUCTION, 10_000)], Cause("ana", action=EventAction.ROLLED_BACK)),
    ):
        splits.append(registry.set_split(shares, cause=cause))
        event = last(registry)
        actions.append(event.action)
        assert (event.split_before, event.split_after) == (splits[-2].digest, splits[-1].digest)
        assert event.production == shares[0].model_id
    assert [action.value for action in actions] == [
        "promoted",
        "testing",
        "split",
        "retired",
        "promoted",
        "rolled_back",
    ]
    assert last(registry).models == (a, b)
    assert len(registry.history()) == 2 + 6


def test_what_changes_nothing_is_no_event_and_a_new_draw_is_one(
    registry: Registry, two: list[ModelVersion]
) -> None:
    shares = [Share(two[0].id, PRODUCTION, 10_000)]
    registry.set_split(shares)
    known = len(registry.history())
    registry.set_split(shares)
    with pytest.raises(RegistryConflict):
        registry.set_split([Share(99, PRODUCTION, 10_000)])
    assert len(registry.history()) == known
    registry.set_split(shares, salt="another")
    assert (last(registry).action, last(registry).models) == (EventAction.SPLIT, ())


def test_a_candidate_is_withdrawn_once_and_a_live_version_never(
    registry: Registry, two: list[ModelVersion]
) -> None:
    a, b = two
    registry.set_split([Share(a.id, PRODUCTION, 10_000)])
    refused = Cause(why="F1 0.41", action=EventAction.REFUSED)
    before = registry.fingerprint()
    assert registry.withdraw(b.id, cause=refused).status is ModelStatus.RETIRED
    assert registry.fingerprint() != before
    registry.withdraw(b.id, cause=refused)
    assert [event.action for event in registry.history()].count(EventAction.REFUSED) == 1
    assert (last(registry).actor, last(registry).models) == ("ray-fraud", (b.id,))
    with pytest.raises(RegistryConflict, match="forest:1 is live"):
        registry.withdraw(a.id)
    with pytest.raises(RegistryConflict, match=r"has no models \[99\]"):
        registry.withdraw(99)


def test_who_must_be_told() -> None:
    for name in ("", "  ", "a\nb", "x" * 201):
        with pytest.raises(RegistryConflict, match="by: "):
            Cause(by=name)


def test_what_a_rollback_goes_back_to() -> None:
    def event(production: int | None, action: EventAction = EventAction.PROMOTED) -> ModelEvent:
        return ModelEvent(0, "s", 0, action, "ana", "ana", (), production, None, None, "", {})

    assert previous_production([], 1) is None
    assert previous_production([event(None), event(1)], 1) is None
    history = [event(1), event(1, EventAction.SPLIT), event(2), event(3)]
    assert previous_production(history, 3) == 2
    back = event(2, EventAction.ROLLED_BACK)
    assert previous_production([*history, back], 2) == 1
    assert previous_production([*history, back, event(3)], 3) == 2
    assert previous_production([*history, back, event(1, EventAction.ROLLED_BACK)], 1) is None
    # The registry was changed past the history: what was in production last is what there was before.
    assert previous_production(history, 4) == 3


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=12), st.integers(1, 4))
def test_a_rollback_never_goes_to_what_is_there(moves: list[tuple[int, bool]], present: int) -> None:
    actions = {True: EventAction.ROLLED_BACK, False: EventAction.PROMOTED}
    events = [
        ModelEvent(0, "s", 0, actions[back], "a", "a", (), production, None, None, "", {})
        for production, back in moves
    ]
    found = previous_production(events, present)
    assert found is None or (found != present and found in {production for production, _ in moves})


@pytest.fixture
def run(migrated_database: PostgresConnection) -> Iterator[Run]:
    """Runs SQL as an operator would."""
    session = Session(migrated_database, name="test")
    yield lambda sql: session.rows("test", sql)
    session.close()


INSERT = "INSERT INTO model_registry (model_name, version, model_path, model_digest, threshold) VALUES "
EVENTS = "SELECT action, actor, models, reason FROM model_event ORDER BY event_id"


@pytest.mark.servers
def test_a_change_by_hand_is_an_event_per_row(run: Run) -> None:
    run(INSERT + "('m', 1, 'p', 'd1', 0), ('m', 2, 'p', 'd2', 0)")
    run("UPDATE model_registry SET status = 'production', traffic_percentage = 100 WHERE version = 1")
    assert run(EVENTS) == [
        ("direct", "ray_fraud", [1], "insert by hand"),
        ("direct", "ray_fraud", [2], "insert by hand"),
        ("direct", "ray_fraud", [1], "update by hand"),
    ]
    assert run("SELECT production FROM model_event ORDER BY event_id DESC LIMIT 1") == [(1,)]


@pytest.mark.servers
@pytest.mark.parametrize(
    "change", ["UPDATE model_event SET reason = 'x'", "DELETE FROM model_event", "TRUNCATE model_event"]
)
def test_no_event_can_be_changed(run: Run, change: str) -> None:
    run(INSERT + "('m', 1, 'p', 'd1', 0)")
    with pytest.raises(StoreRefused, match="append-only"):
        run(change)
    assert len(run(EVENTS)) == 1
