"""The harness can fail: every seeded defect is noticed, in the result, on the way in, and in the fold."""

import functools
import random

import pytest

from tests.oracle.compare import compare
from tests.oracle.controls import Changes
from tests.oracle.defects import DAMAGES, MISFEEDS, Damage, Misfeed, damaged
from tests.oracle.mutants import FOLD_MUTANTS
from tests.oracle.oracle import Oracle, OracleResult, run_oracle
from tests.oracle.product import run_product
from tests.oracle.scores import score_row
from tests.oracle.streams import Stream, StreamOptions, make_stream

DENSE = StreamOptions(seed=1, records=2_500, users=40, changes=Changes(max_events=16, idle_hours=24))
"""Busy users and full memories, forgotten after a day."""
SPARSE = StreamOptions(
    seed=101,
    records=2_000,
    users=30,
    mean_step_ms=900_000,
    quiet_periods=0.0,
    changes=Changes(max_events=16),
)
"""Three weeks, so that every day of the long windows is there."""

STEADY = StreamOptions(
    seed=103,
    records=2_000,
    users=40,
    mean_step_ms=180_000,
    quiet_periods=0.0,
    changes=Changes(max_events=16, idle_hours=24),
)
"""A log without a pause of an hour: the watermark goes on with it, and users are forgotten."""


@functools.cache
def stream_of(options: StreamOptions) -> Stream:
    return make_stream(options)


@functools.cache
def expected_of(options: StreamOptions) -> OracleResult:
    stream = stream_of(options)
    return run_oracle(stream.records, stream.timeline, score_row)


@pytest.fixture(scope="module")
def actual() -> OracleResult:
    stream = stream_of(DENSE)
    return run_product(stream.records, stream.timeline)


def test_without_a_defect_there_is_no_difference(actual: OracleResult) -> None:
    assert str(compare(expected_of(DENSE), actual)) == "no difference"


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_result_is_noticed(actual: OracleResult, damage: Damage, seed: int) -> None:
    assert not compare(expected_of(DENSE), damaged(actual, damage, seed)).agrees


@pytest.mark.parametrize("misfeed", MISFEEDS, ids=lambda misfeed: misfeed.__name__)
def test_a_product_fed_wrongly_is_noticed(misfeed: Misfeed) -> None:
    stream = stream_of(DENSE)
    records, timeline = misfeed(stream.records, stream.timeline, random.Random(DENSE.seed))
    assert not compare(expected_of(DENSE), run_product(records, timeline)).agrees


@pytest.mark.parametrize("mutant", FOLD_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_fold_is_noticed(mutant: type[Oracle]) -> None:
    def noticed(options: StreamOptions) -> bool:
        stream = stream_of(options)
        wrong = mutant(stream.timeline, score_row).run(stream.records)
        return not compare(expected_of(options), wrong).agrees

    assert noticed(DENSE) or noticed(SPARSE) or noticed(STEADY)


def test_the_verdict_names_what_is_wrong(actual: OracleResult) -> None:
    found = {
        damage.__name__: compare(expected_of(DENSE), damaged(actual, damage, 1)).found for damage in DAMAGES
    }
    assert found["drop_an_alert"] == {"missing_alerts"}
    assert found["duplicate_an_alert"] == {"duplicated_alerts"}
    assert found["alert_for_the_wrong_user"] == {"missing_alerts", "unexpected_alerts"}
    assert found["swap_the_states_of_two_users"] == {"users"}
    assert found["lose_a_dead_letter"] == {"rejected"}
