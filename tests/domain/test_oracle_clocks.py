"""Wrong clocks of producers: product and oracle agree, in any batches and from any cut."""

import random
from collections.abc import Callable

import pytest

from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from tests.oracle.clocks import FORGETFUL, lonely_user, racing_clock, wrong_clocks
from tests.oracle.compare import compare
from tests.oracle.mutants import CLOCKED_MUTANTS
from tests.oracle.oracle import Oracle, OracleResult, run_oracle
from tests.oracle.product import collect_all, run_product, scores_of
from tests.oracle.scores import score_row


@pytest.fixture(scope="module")
def log() -> list[Record]:
    return wrong_clocks(1)


@pytest.fixture(scope="module")
def expected(log: list[Record]) -> OracleResult:
    return run_oracle(log, FORGETFUL, score_row)


@pytest.fixture(scope="module")
def shorts() -> list[tuple[list[Record], OracleResult]]:
    """Logs that are read in no time, with what the oracle says: most mutants are seen in them."""
    logs = (racing_clock(), lonely_user())
    return [(each, run_oracle(each, FORGETFUL, score_row)) for each in logs]


@pytest.mark.parametrize("batch_records", [1, 97, 10_000])
def test_product_and_oracle_agree_on_wrong_clocks(
    log: list[Record], expected: OracleResult, batch_records: int
) -> None:
    assert str(compare(expected, run_product(log, FORGETFUL, batch_records))) == "no difference"
    assert expected.counts["forgotten"] > 20


@pytest.mark.parametrize("make", [racing_clock, lonely_user, lambda: wrong_clocks(2)])
def test_other_logs_of_wrong_clocks(make: Callable[[], list[Record]]) -> None:
    log = make()
    assert str(compare(run_oracle(log, FORGETFUL, score_row), run_product(log, FORGETFUL))) == "no difference"


def test_a_partition_restored_at_any_cut_goes_on_alike(log: list[Record], expected: OracleResult) -> None:
    rng = random.Random(3)
    state = PartitionState(0, Decoder(None), timeline=FORGETFUL)
    pieces = []
    position = 0
    while position < len(log):
        observed = state.observe(log[position : position + rng.randrange(1, 120)])
        pieces.append((observed, state.decide(observed, scores_of(observed))))
        assert (observed.watermark_ms, observed.votes) == (state.watermark_ms, state.votes)
        position = observed.next_offset
        state = PartitionState(
            0,
            Decoder(None),
            next_offset=observed.next_offset,
            watermark_ms=observed.watermark_ms,
            votes=observed.votes,
            users=dict(state.users),
            timeline=FORGETFUL,
        )
    assert str(compare(expected, collect_all(state, pieces))) == "no difference"


@pytest.mark.parametrize("mutant", CLOCKED_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_reading_of_clocks_is_noticed(
    shorts: list[tuple[list[Record], OracleResult]],
    log: list[Record],
    expected: OracleResult,
    mutant: type[Oracle],
) -> None:
    tried = [*shorts, (log, expected)]
    assert any(not compare(right, mutant(FORGETFUL, score_row).run(each)).agrees for each, right in tried), (
        f"{mutant.__name__} agrees with the oracle"
    )
