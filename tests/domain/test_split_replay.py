"""Who decides for whom, across crashes: a replay gives each transaction to the version that had it before."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ray_fraud.domain.alert import Alert, RuleName
from ray_fraud.domain.observed import Observed
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import BASIS_POINTS, Arm, Split
from ray_fraud.domain.timeline import ControlEvent, content_of, split_event
from tests.domain.samples import decoder, record, transaction

RECORDS = 120
LOG = [
    record(offset, transaction(f"t{offset}", user_id=offset * 7_919 % 31, seconds=10.0 * offset))
    for offset in range(RECORDS)
]


class Decided(NamedTuple):
    """What became of the observed offsets."""

    versions: dict[int, str]
    alerts: dict[int, Alert]


def scored(observed: Observed) -> Scores:
    """A stand-in for models that disagree: a row's score depends on its version, and half of them alert."""
    split = observed.split
    arms = split.arm_of(observed.user_ids)
    seeds = np.array([arm.version for arm in split.arms])[arms]
    values: NDArray[np.float64] = (observed.features[:, 0] + observed.user_ids + 0.618034 * seeds) % 1.0
    return Scores(values, arms)


def decide(state: PartitionState, until: int, sizes: Iterator[int]) -> Decided:
    """Observes and decides the log from the state's offset up to `until`, in batches of these sizes."""
    found = Decided({}, {})
    while state.next_offset < until:
        batch = LOG[state.next_offset : min(until, state.next_offset + next(sizes))]
        observed = state.observe(batch)
        scores = scored(observed)
        labels = [arm.label for arm in observed.split.arms]
        for row, arm in zip(observed.rows, scores.arms, strict=True):
            assert row.offset not in found.versions
            found.versions[row.offset] = labels[arm]
        for alert in state.decide(observed, scores).alerts:
            assert alert.rule_name is RuleName.ML_ANOMALY
            found.alerts[alert.offset] = alert
    return found


@st.composite
def splits(draw: st.DrawFn) -> Split:
    cuts = sorted(draw(st.lists(st.integers(0, BASIS_POINTS), max_size=3)))
    parts = [high - low for low, high in zip([0, *cuts], [*cuts, BASIS_POINTS], strict=True)]
    first = draw(st.integers(1, 3))
    arms = tuple(Arm("forest", first + n, f"d{first + n}", 0.5, share) for n, share in enumerate(parts))
    return Split(arms, draw(st.sampled_from(["a", "b"])))


@st.composite
def timelines(draw: st.DrawFn) -> list[ControlEvent]:
    """A first split and up to four changes of versions, shares or draw in mid-stream."""
    offsets = sorted(draw(st.lists(st.integers(1, RECORDS - 1), max_size=4)))
    return [split_event(seq, offset, draw(splits())) for seq, offset in enumerate([0, *offsets], start=1)]


def in_force(timeline: Sequence[ControlEvent], offset: int) -> Split:
    content = content_of([event for event in timeline if event.from_offset <= offset][-1])
    assert isinstance(content, Split)
    return content


@settings(max_examples=60)
@given(timelines(), st.integers(1, RECORDS), st.floats(0, 1), splits(), st.integers(0, 999))
def test_after_a_crash_each_transaction_has_the_version_and_the_alert_that_it_had(
    timeline: list[ControlEvent], crash: int, kept: float, wanted: Split, seed: int
) -> None:
    """T40: shares change in mid-stream, the owner dies, another split is wanted meanwhile.

    The new owner begins at an older base, in other batches, and appends at its barrier, the crash's offset.
    """
    chance = random.Random(seed)
    sizes = iter(lambda: chance.randint(1, 40), None)
    known = [event for event in timeline if event.from_offset <= crash]
    cut = int(kept * crash)
    dead = PartitionState(0, decoder(), timeline=known)
    before = decide(dead, cut, sizes)
    base = dict(dead.users), dead.next_offset, (dead.watermark_ms, dead.votes)
    late = decide(dead, crash, sizes)

    users, offset, watermark = base
    appended = split_event(len(known) + 1, crash, wanted)
    heir = PartitionState(
        0,
        decoder(),
        next_offset=offset,
        watermark_ms=watermark[0],
        votes=watermark[1],
        users=users,
        timeline=[*known, appended],
    )
    again = decide(heir, crash, sizes)
    assert again == late
    after = decide(heir, RECORDS, sizes)

    versions = before.versions | again.versions | after.versions
    assert sorted(versions) == list(range(RECORDS))
    for number, label in versions.items():
        split = in_force([*known, appended], number)
        (arm,) = split.arm_of(np.array([number * 7_919 % 31]))
        assert label == split.arms[arm].label
        alert = (before.alerts | again.alerts | after.alerts).get(number)
        assert alert is None or alert.model_version == label


@given(splits(), st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=60), st.randoms())
def test_a_users_version_depends_on_nothing_but_split_and_user(
    split: Split, ids: list[int], chance: random.Random
) -> None:
    """Not on the other rows, their order, or the process: the split comes back from its bytes."""
    alone = {user: int(split.arm_of(np.array([user], np.int64))[0]) for user in ids}
    chance.shuffle(ids)
    restored = msgspec.json.decode(split.canonical(), type=Split)
    assert restored.arm_of(np.array(ids, np.int64)).tolist() == [alone[user] for user in ids]
