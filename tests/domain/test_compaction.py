"""A compacted timeline folds as the whole one, from its floor on."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.compaction import REPLACED, compacted, last_missing, may_be_compacted
from ray_fraud.domain.controls import Controls
from ray_fraud.domain.feature_tables import NO_TABLES
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import (
    ControlEvent,
    EventKind,
    TimelineError,
    Truncation,
    features_event,
    fold_version_event,
    gap_event,
    in_force_order,
    quarantine_event,
    settings_event,
    split_event,
    truncation_event,
)

END = 60
DIGESTS = [f"{number:064x}" for number in range(5)]
TABLES = dict.fromkeys(DIGESTS, NO_TABLES)


def made(kind: EventKind, seq: int, offset: int, number: int) -> ControlEvent:
    match kind:
        case EventKind.SETTINGS:
            return settings_event(seq, offset, DetectionSettings(max_future_skew_seconds=300.0 + number))
        case EventKind.SPLIT:
            return split_event(seq, offset, Split(arms=(), salt=f"{number}"))
        case EventKind.FEATURES:
            return features_event(seq, offset, DIGESTS[number])
        case EventKind.QUARANTINE:
            return quarantine_event(seq, offset, offset + 1 + number if number else None)
        case EventKind.GAP:
            return gap_event(seq, offset, offset + 1 + number, "lost")
        case EventKind.TRUNCATION:
            return truncation_event(seq, offset, Truncation(max(0, offset - number), seq))
        case EventKind.FOLD_VERSION:
            return fold_version_event(seq, offset, FOLD_VERSION)


@st.composite
def timelines(draw: st.DrawFn) -> list[ControlEvent]:
    """As owners write them (by offset, quarantines apart), or as older releases left them (any order)."""
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from(EventKind), st.integers(0, END), st.integers(0, 4)),
            max_size=25,
        )
    )
    if draw(st.booleans()):
        offsets = iter(sorted(offset for kind, offset, _ in drawn if kind is not EventKind.QUARANTINE))
        drawn = [
            (kind, offset if kind is EventKind.QUARANTINE else next(offsets), number)
            for kind, offset, number in drawn
        ]
    return [made(kind, seq, offset, number) for seq, (kind, offset, number) in enumerate(drawn, 1)]


def seen(timeline: Sequence[ControlEvent], begin: int) -> list[object]:
    """What holds at each offset from `begin` on."""
    controls = Controls(timeline, begin, TABLES)
    found: list[object] = []
    places = range(begin, END + 8)
    for offset in places:
        reached = controls.apply_due(offset)
        found.append(
            (
                max(reached, begin),
                controls.split,
                controls.settings,
                controls.tables_digest,
                [
                    at
                    for at in range(begin, END + 8)
                    if at in controls.quarantined or controls.is_unreadable(at)
                ],
            )
        )
    return found


@given(timelines(), st.integers(0, END), st.integers(0, END))
def test_it_folds_as_the_whole_timeline(timeline: list[ControlEvent], floor: int, further: int) -> None:
    begin = min(END, floor + further)
    assert seen(compacted(timeline, floor), begin) == seen(timeline, begin)


@given(timelines(), st.integers(0, END), st.integers(0, END), st.integers(0, 25))
def test_it_may_be_done_again_and_again(
    timeline: list[ControlEvent], floor: int, further: int, kept_above: int
) -> None:
    later = min(END, floor + further)
    once = compacted(timeline, floor, kept_above)
    assert seen(compacted(once, later), later) == seen(timeline, later)


@given(timelines(), st.integers(0, END), st.integers(0, 25))
def test_what_stays_is_named(timeline: list[ControlEvent], floor: int, kept_above: int) -> None:
    kept = compacted(timeline, floor, kept_above)
    assert [event for event in timeline if event in kept] == kept
    assert kept[:1] == timeline[:1]
    assert kept[-1:] == timeline[-1:]
    for event in timeline:
        if event.kind not in REPLACED or event.from_offset > floor or event.seq > kept_above:
            assert event in kept
    assert may_be_compacted(kept, floor)


def test_only_the_refresh_in_force_is_left_of_a_day() -> None:
    timeline = [fold_version_event(1, 0, 4), settings_event(2, 0, DetectionSettings())]
    timeline += [features_event(seq, 10 * seq, DIGESTS[seq % 5]) for seq in range(3, 8_643)]
    kept = compacted(timeline, 80_000)
    assert [event.seq for event in kept[:3]] == [1, 2, 8_000]
    assert len(kept) == 3 + 642
    assert last_missing(kept) == 7_999
    assert last_missing(kept, 8_001) == 7_999
    assert last_missing(kept, 7_000) == 7_000
    assert last_missing(kept, 2) == last_missing([]) == 0


@pytest.mark.parametrize("lost", [2, 3, 4])
def test_a_missing_event_that_may_hold_is_an_error(lost: int) -> None:
    timeline = [
        fold_version_event(1, 0, 4),
        settings_event(2, 0, DetectionSettings()),
        features_event(3, 20, DIGESTS[0]),
        features_event(4, 30, DIGESTS[1]),
        features_event(5, 40, DIGESTS[2]),
    ]
    holey = [event for event in timeline if event.seq != lost]
    with pytest.raises(TimelineError, match=f"event {lost} is missing"):
        Controls(holey, 10, TABLES)
    assert in_force_order(holey[-1]) == (40, 5)
