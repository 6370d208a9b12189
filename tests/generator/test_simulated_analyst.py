"""The simulated analyst: never early, never too much in a day, never twice, and right unless it errs."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.alert import Severity
from ray_fraud.generator.analyst import DAY_MS, Case, Habits, Judgement, Key, SimulatedAnalyst

HOUR_MS = 3_600_000
START_MS = 20_000 * DAY_MS

TIMES = st.integers(START_MS, START_MS + 5 * DAY_MS)
KEYS = st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 3))
CASES = st.builds(
    Case,
    transactions=KEYS.map(lambda key: (key,)),
    severity=st.sampled_from(list(Severity)),
    score=st.none() | st.floats(0, 1),
    seen_ms=TIMES,
)
GROUPS = st.builds(
    Case,
    transactions=st.lists(KEYS, min_size=2, max_size=4, unique=True).map(tuple),
    severity=st.sampled_from(list(Severity)),
    score=st.none(),
    seen_ms=TIMES,
    alert_id=st.integers(1, 3),
)
HABITS = st.builds(
    Habits,
    delay_ms=st.integers(0, 2 * DAY_MS),
    capacity_per_day=st.integers(0, 4),
    chargeback_delay_ms=st.integers(0, 3 * DAY_MS),
)
WORLDS = st.tuples(HABITS, st.lists(CASES | GROUPS, max_size=15), st.dictionaries(KEYS, TIMES, max_size=10))
World = tuple[Habits, list[Case], dict[Key, int]]
CALLS = st.lists(st.integers(START_MS, START_MS + 20 * DAY_MS), max_size=6).map(sorted)
LATER_MS = START_MS + 100 * DAY_MS


def analyst_of(world: World, start_ms: int = START_MS) -> SimulatedAnalyst:
    habits, cases, frauds = world
    made = SimulatedAnalyst(habits, start_ms)
    for case in cases:
        made.see(case)
    for key, at_ms in frauds.items():
        made.learn_fraud(key, at_ms)
    return made


def judged(world: World, calls: list[int]) -> list[tuple[int, Judgement]]:
    """All judgements, each with the moment at which it was told."""
    analyst = analyst_of(world)
    return [(now_ms, each) for now_ms in calls for each in analyst.due(now_ms)]


@given(WORLDS, CALLS)
def test_nothing_is_said_before_its_delay_is_over_nor_for_the_future(world: World, calls: list[int]) -> None:
    habits, cases, frauds = world
    for now_ms, each in judged(world, calls):
        assert each.at_ms <= now_ms
        if each.reviewed:
            seen_ms = min(case.seen_ms for case in cases if case.subject == each.subject)
            assert each.at_ms >= seen_ms + habits.delay_ms
        else:
            assert isinstance(each.subject, tuple)
            assert each.at_ms >= frauds[each.subject] + habits.chargeback_delay_ms


@given(WORLDS, CALLS)
def test_a_day_has_no_more_reviews_than_its_capacity(world: World, calls: list[int]) -> None:
    days = Counter(each.at_ms // DAY_MS for _, each in judged(world, calls) if each.reviewed)
    assert all(count <= world[0].capacity_per_day for count in days.values())


@given(WORLDS, CALLS)
def test_nothing_is_judged_twice(world: World, calls: list[int]) -> None:
    subjects = [each.subject for _, each in judged(world, [*calls, LATER_MS, LATER_MS])]
    assert len(subjects) == len(set(subjects))


@given(WORLDS, CALLS)
def test_verdicts_are_the_truth(world: World, calls: list[int]) -> None:
    _, cases, frauds = world
    groups = {case.alert_id: case for case in cases if case.alert_id is not None}
    for _, each in judged(world, [*calls, LATER_MS]):
        if isinstance(each.subject, tuple):
            assert each.fraud == (each.subject in frauds)
        elif sum(case.alert_id == each.subject for case in cases) == 1:
            found = [key in frauds for key in groups[each.subject].transactions]
            assert each.fraud == (sum(found) >= len(found) / 2)


@given(WORLDS)
def test_with_time_and_capacity_everything_is_judged(world: World) -> None:
    habits, cases, frauds = world
    analyst = analyst_of(world)
    subjects = {each.subject for each in analyst.due(LATER_MS)}
    assert subjects >= set(frauds)
    if habits.capacity_per_day:
        assert subjects == {case.subject for case in cases} | set(frauds)
        assert (analyst.open_cases, analyst.open_frauds) == (0, 0)


@given(WORLDS, st.integers(1, 10))
def test_what_is_on_record_is_left_alone(world: World, count: int) -> None:
    recorded = [each for _, each in judged(world, [LATER_MS])][:count]
    again = analyst_of(world)
    for each in recorded:
        again.hear(each.subject, each.at_ms, reviewed=each.reviewed)
    assert not {each.subject for each in again.due(LATER_MS)} & {each.subject for each in recorded}


def case(name: str, severity: Severity, score: float | None = None, seen_ms: int = START_MS) -> Case:
    return Case(((name, 1),), severity, score, seen_ms)


def names(given: list[Judgement]) -> list[str]:
    return [each.subject[0] for each in given if isinstance(each.subject, tuple)]


def test_the_most_severe_come_first_then_the_highest_score_then_the_oldest() -> None:
    cases = [
        case("old", Severity.MEDIUM, 0.5),
        case("low", Severity.LOW, 0.99),
        case("new", Severity.MEDIUM, 0.5, START_MS + 1),
        case("high", Severity.HIGH),
        case("scored", Severity.MEDIUM, 0.7),
    ]
    analyst = analyst_of((Habits(0, 2, 0), cases, {}))
    assert names(analyst.due(START_MS + HOUR_MS)) == ["high", "scored"]
    assert names(analyst.due(START_MS + 2 * HOUR_MS)) == [], "the day's capacity is used up"
    assert names(analyst.due(START_MS + DAY_MS)) == ["old", "new"]
    assert names(analyst.due(START_MS + 2 * DAY_MS)) == ["low"]


def test_two_alerts_of_a_transaction_are_one_case() -> None:
    cases = [
        case("a", Severity.LOW),
        case("a", Severity.CRITICAL, 0.5, START_MS + 9),
        case("b", Severity.HIGH),
    ]
    analyst = analyst_of((Habits(5, 1, 0), cases, {}))
    assert analyst.due(START_MS + 5) == [Judgement(("a", 1), fraud=False, at_ms=START_MS + 5, reviewed=True)]


def test_an_alerted_fraud_that_nobody_got_to_comes_as_a_chargeback_and_is_closed() -> None:
    analyst = analyst_of((Habits(0, 0, DAY_MS), [case("a", Severity.LOW)], {("a", 1): START_MS}))
    assert analyst.due(START_MS + DAY_MS - 1) == []
    given = analyst.due(START_MS + DAY_MS)
    assert given == [Judgement(("a", 1), fraud=True, at_ms=START_MS + DAY_MS, reviewed=False)]
    assert analyst.open_cases == 0


def test_reviews_of_an_earlier_run_count_in_their_day() -> None:
    analyst = analyst_of((Habits(0, 2, 0), [case(name, Severity.LOW) for name in "abc"], {}))
    analyst.hear(("a", 1), START_MS + 1, reviewed=True)
    assert len(analyst.due(START_MS + HOUR_MS)) == 1


def test_history_is_judged_day_by_day_and_days_before_the_start_are_lost() -> None:
    cases = [case(f"c{number}", Severity.LOW) for number in range(5)]
    days = [each.at_ms // DAY_MS for each in analyst_of((Habits(0, 2, 0), cases, {})).due(LATER_MS)]
    assert days == [20_000, 20_000, 20_001, 20_001, 20_002]
    late = analyst_of((Habits(0, 2, 0), cases, {}), START_MS + 7 * DAY_MS)
    assert len(late.due(START_MS + 7 * DAY_MS)) == 2


def test_errors_are_as_many_as_asked_for_and_the_seed_decides_which() -> None:
    cases = [case(f"c{number}", Severity.LOW) for number in range(2_000)]

    def wrong(rate: float, seed: int) -> set[str]:
        given = analyst_of((Habits(0, 10_000, 0, rate, seed), cases, {})).due(START_MS)
        return set(names([each for each in given if each.fraud]))

    assert wrong(0.0, 1) == set()
    assert len(wrong(1.0, 1)) == 2_000
    assert 120 < len(wrong(0.1, 1)) < 280
    assert wrong(0.1, 1) == wrong(0.1, 1) != wrong(0.1, 2)


@pytest.mark.parametrize(
    ("habits", "words"),
    [((-1, 0, 0), "delay_ms: -1"), ((0, -1, 0), "capacity_per_day: -1"), ((0, 0, 0, 1.5), "error_rate: 1.5")],
)
def test_impossible_habits_are_refused(habits: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Habits(*habits)
