"""Control timelines for the synthetic streams: settings, splits and quarantines in mid-stream.

Never: an event that a partition's owner could not have appended.
"""

import random
from dataclasses import dataclass

import msgspec

from ray_fraud.domain.canonical import canonical_json
from ray_fraud.domain.fold_version import FOLD_VERSION
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import RULES_ONLY, Arm, Split
from ray_fraud.domain.timeline import (
    ControlEvent,
    EventKind,
    FeatureRefresh,
    FoldVersion,
    gap_event,
    inline_event,
    quarantine_event,
)


@dataclass(frozen=True)
class Changes:
    """How many control events of each kind a stream has, and the settings it starts with."""

    settings: int = 3
    splits: int = 4
    quarantines: int = 5
    gaps: int = 1
    refreshes: int = 3
    max_events: int = 64
    idle_hours: int = 744


DEFAULT_CHANGES = Changes()


def settings_of(rng: random.Random, changes: Changes, *, first: bool) -> DetectionSettings:
    """The starting settings, or a random change of them."""
    start = DetectionSettings()
    state = msgspec.structs.replace(start.state, max_events=changes.max_events, idle_hours=changes.idle_hours)
    if first:
        return msgspec.structs.replace(start, state=state)
    shrunk = max(2, changes.max_events // rng.choice((1, 1, 2)))
    return msgspec.structs.replace(
        start,
        max_future_skew_seconds=rng.choice((300.0, 60.0, 299.9995)),
        state=msgspec.structs.replace(
            state, max_events=shrunk, idle_hours=rng.choice((24, changes.idle_hours))
        ),
        high_amount=msgspec.structs.replace(start.high_amount, limit=rng.choice((2000.0, 500.0, 1999.999))),
        geo_velocity=msgspec.structs.replace(
            start.geo_velocity,
            limit_kmh=rng.choice((800.0, 120.0)),
            min_distance_km=rng.choice((50.0, 5.0)),
        ),
    )


def split_of(rng: random.Random, version: int) -> Split:
    """Two arms with a random share, sometimes one arm, sometimes none."""
    kind = rng.choice(("two", "two", "two", "one", "none"))
    if kind == "none" and version > 1:
        return RULES_ONLY
    digest = f"{version:064x}"
    if kind == "one":
        return Split((Arm("isolation_forest", version, digest, 0.96, 10_000),), salt=f"salt-{version}")
    challenger = rng.choice((0, 1_000, 5_000))
    production = Arm("isolation_forest", version, digest, 0.97, 10_000 - challenger)
    testing = Arm("random_forest", version + 100, digest, 0.9, challenger)
    return Split((production, testing), salt=f"salt-{rng.randrange(5)}")


def changed_to(rng: random.Random, kind: EventKind, version: int, changes: Changes) -> bytes:
    if kind is EventKind.SETTINGS:
        return settings_of(rng, changes, first=False).canonical()
    if kind is EventKind.FEATURES:
        return FeatureRefresh(f"{rng.randrange(4):064x}").canonical()
    return split_of(rng, version).canonical()


def control_events(rng: random.Random, records: int, changes: Changes) -> list[ControlEvent]:
    """Numbered events; settings and splits never go back to a lower offset, quarantines may."""
    contents: list[tuple[int, EventKind, bytes]] = [
        (0, EventKind.FOLD_VERSION, canonical_json(FoldVersion(FOLD_VERSION))),
        (0, EventKind.SETTINGS, settings_of(rng, changes, first=True).canonical()),
        (0, EventKind.SPLIT, split_of(rng, 1).canonical()),
    ]
    middle = [(rng.randrange(records), EventKind.SETTINGS) for _ in range(changes.settings)]
    middle += [(rng.randrange(records), EventKind.SPLIT) for _ in range(changes.splits)]
    middle += [(rng.randrange(records), EventKind.FEATURES) for _ in range(changes.refreshes)]
    for version, (offset, kind) in enumerate(sorted(middle), start=2):
        contents.append((offset, kind, changed_to(rng, kind, version, changes)))
    timeline = [inline_event(seq, *content) for seq, content in enumerate(contents, start=1)]
    timeline += [
        quarantine_event(seq, rng.randrange(records))
        for seq in range(len(timeline) + 1, len(timeline) + 1 + changes.quarantines)
    ]
    for seq in range(len(timeline) + 1, len(timeline) + 1 + changes.gaps):
        start = rng.randrange(records)
        timeline.append(gap_event(seq, start, start + rng.randrange(1, 20), "found again later"))
    return timeline
