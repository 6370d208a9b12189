"""What an event of the past says is all that it says: no default of today decides on it."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.recorded_settings import decode_recorded
from ray_fraud.domain.replay import in_batches
from ray_fraud.domain.settings import DetectionSettings, GeoVelocitySettings, HighAmountSettings
from ray_fraud.domain.timeline import (
    ControlEvent,
    EventKind,
    TimelineError,
    content_of,
    inline_event,
    settings_at,
    settings_event,
)
from tests.domain.later_rules import REASON, LaterSettings, install
from tests.domain.samples import record as record_of
from tests.domain.samples import transaction

STRANGE = DetectionSettings(
    max_future_skew_seconds=7.0,
    high_amount=HighAmountSettings(limit=3.0),
    geo_velocity=GeoVelocitySettings(limit_kmh=5.0, min_distance_km=2.0),
)
"""No value of it is a default."""


def paths(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every rule and every field of a rule."""
    for name, value in values.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from paths(value, (*above, name))


CONTENT: dict[str, Any] = json.loads(STRANGE.canonical())
PATHS = [path for path in paths(CONTENT) if path != ("rules_version",)]


def changed(path: tuple[str, ...], *, put: Any = None) -> ControlEvent:
    """An event without that field, or with `put` in it."""
    values = json.loads(STRANGE.canonical())
    table = values
    for name in path[:-1]:
        table = table[name]
    if put is None:
        del table[path[-1]]
    else:
        table[path[-1]] = put
    return event_of(values)


def event_of(values: Any) -> ControlEvent:
    return inline_event(5, 0, EventKind.SETTINGS, json.dumps(values).encode())


def test_an_event_has_every_rule_and_field_and_the_version_of_the_rules() -> None:
    assert CONTENT.pop("rules_version") == DetectionSettings.rules_version
    assert msgspec.to_builtins(STRANGE) == CONTENT
    assert content_of(settings_event(1, 0, STRANGE)) == STRANGE


@given(path=st.sampled_from(PATHS))
def test_what_was_taken_out_of_an_event_does_not_come_back_as_a_default(path: tuple[str, ...]) -> None:
    with pytest.raises(TimelineError) as raised:
        content_of(changed(path))
    assert f"event 5 (settings): content not understood: {'.'.join(path)} is missing" in str(raised.value)


@given(path=st.sampled_from(PATHS), name=st.sampled_from(["more", "later", "limit_mph"]))
def test_what_this_release_does_not_know_is_refused(path: tuple[str, ...], name: str) -> None:
    with pytest.raises(TimelineError, match=rf"{name}: this release knows no such field"):
        content_of(changed((*path[:-1], name), put=1.0))


@given(path=st.sampled_from([path for path in PATHS if len(path) == 1]))
def test_a_rule_that_cannot_be_off_is_not_switched_off_by_an_event(path: tuple[str, ...]) -> None:
    values = json.loads(STRANGE.canonical()) | {path[0]: None}
    with pytest.raises(TimelineError):
        content_of(event_of(values))


def test_an_event_of_a_newer_release_says_what_to_do() -> None:
    with pytest.raises(TimelineError, match=r"version 2 of the rules, this release has version 1; start"):
        content_of(settings_event(3, 0, LaterSettings()))


@pytest.mark.parametrize("version", [0, -1, "1", 1.0, True, None])
def test_a_version_that_is_none_is_refused(version: Any) -> None:
    with pytest.raises(TimelineError, match="rules_version"):
        content_of(event_of(json.loads(STRANGE.canonical()) | {"rules_version": version}))


@pytest.mark.parametrize("content", [b"[]", b"1", b"{", b"null"])
def test_a_content_that_is_no_object_is_refused(content: bytes) -> None:
    with pytest.raises(TimelineError, match="content not understood"):
        content_of(inline_event(1, 0, EventKind.SETTINGS, content))


def test_events_of_releases_that_did_not_say_their_version_are_of_the_first() -> None:
    assert decode_recorded(json.dumps(msgspec.to_builtins(STRANGE)).encode(), DetectionSettings) == STRANGE


# --- a rule and a field that come later ---------------------------------------------------------------------


@given(above=st.floats(0, 9), limit=st.floats(1, 9))
def test_in_an_older_event_a_later_rule_is_off_and_a_later_field_is_what_it_was(
    above: float, limit: float
) -> None:
    old = DetectionSettings(high_amount=HighAmountSettings(limit=limit))
    read = decode_recorded(old.canonical(), LaterSettings)
    assert read.later is None
    assert (read.high_amount.limit, read.high_amount.factor) == (limit, 1.0)
    assert read.geo_velocity == old.geo_velocity
    new = msgspec.json.decode(b'{"later": {"above": %r}}' % above, type=LaterSettings)
    assert decode_recorded(new.canonical(), LaterSettings) == new


def test_an_older_event_cannot_have_a_later_field() -> None:
    values = json.loads(STRANGE.canonical()) | {"later": {"above": 1.0}}
    with pytest.raises(ValueError, match="later came with version 2, the event is of version 1"):
        decode_recorded(json.dumps(values).encode(), LaterSettings)


def test_a_file_of_an_operator_has_the_defaults_of_today() -> None:
    assert msgspec.convert({}, LaterSettings) == LaterSettings()
    assert LaterSettings().later is not None


def test_a_later_rule_holds_from_its_own_event_on(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = [settings_event(1, 0, DetectionSettings()), settings_event(2, 4, LaterSettings())]
    install(monkeypatch)
    records = [record_of(n, transaction(f"t{n}", user_id=n, amount=5.0)) for n in range(8)]
    state = PartitionState(0, Decoder(None), timeline=timeline)
    broken = {
        row.offset: [hit.reason == REASON for hit in row.hits]
        for observed in in_batches(state.observe, records)
        for row in observed.rows
    }
    # From 4 on: above the limit times the later factor, and the later rule.
    assert broken == {n: [] if n < 4 else [False, True] for n in range(8)}
    old = settings_at(timeline, 3)
    assert isinstance(old, LaterSettings)
    assert old.later is None
