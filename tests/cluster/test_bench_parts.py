"""The benchmark's own arithmetic: what it makes of samples."""

import pytest

from cluster.local.bench.memory import bytes_per_user
from cluster.local.bench.observer import Seen
from cluster.local.bench.plan import Latency, Report
from cluster.local.bench.run import after_warm_up, rate_of


def test_the_rate_counts_from_the_first_progress() -> None:
    samples = [(0.0, 0), (5.0, 0), (10.0, 1_000), (12.0, 3_000), (14.0, 5_000)]
    assert rate_of(samples) == 1_000.0


@pytest.mark.parametrize("samples", [[], [(1.0, 0), (2.0, 0)], [(1.0, 0), (2.0, 10)]])
def test_no_rate_without_two_moving_samples(samples: list[tuple[float, int]]) -> None:
    assert rate_of(samples) == 0.0


def test_alerts_of_the_warm_up_are_left_out_by_their_send_time() -> None:
    reports = [Seen([50.0, 20.0], [1_000, 2_000], {}), Seen([30.0], [1_999], {})]
    assert after_warm_up(reports, 2_000) == [20.0]


def test_ratios_compare_equal_rates() -> None:
    report = Report(machine={}, ceiling_tps=1_000.0, sustained_tps=400.0, drain_tps=700.0)
    report.latency = [
        Latency(500, "serve", 9, 1.0, 2.0, 30.0, 500.0),
        Latency(500, "local", 9, 1.0, 2.0, 20.0, 500.0),
        Latency(5_000, "serve", 9, 1.0, 2.0, 50.0, 5_000.0),
    ]
    report.derive_ratios()
    assert report.ratios == {
        "p99_serve_to_local_500": 1.5,
        "sustained_to_ceiling": 0.4,
        "drain_to_ceiling": 0.7,
    }


def test_a_user_with_forty_transactions_a_day_fits_the_budget() -> None:
    assert bytes_per_user(40) <= 2_400
    assert bytes_per_user(40, earlier_days=29) <= 2_500
