"""The stream: the same for a seed, in order, within its declared ranges, with the asked share of frauds."""

import hashlib
import uuid
from itertools import islice, pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_fraud.generator.encode import encode_transaction
from ray_fraud.generator.stream import StreamSettings, transactions
from ray_fraud.generator.transaction import Scenario

START = 1_767_225_600.0
"""2026-01-01T00:00:00Z"""
GOLDEN = "e43e87301567b398c26d9f0aed688973ee03a247d8dec7952ea591da963f3c78"


def fingerprint(wanted: StreamSettings) -> str:
    digest = hashlib.sha256()
    for made in transactions(wanted):
        nameless = msgspec.structs.replace(
            made.transaction, merchant_id=(made.transaction.merchant_id or "").rsplit("-", 1)[0][:20]
        )
        digest.update(encode_transaction(nameless) + (made.scenario or "").encode())
    return digest.hexdigest()


@given(seed=st.integers(0, 2**32), users=st.integers(1, 10_000), rate=st.floats(0.001, 10_000))
@settings(max_examples=15, deadline=None)
def test_a_stream_is_the_same_for_the_same_settings(seed: int, users: int, rate: float) -> None:
    wanted = StreamSettings(START, seed=seed % 5, users=users, rate_hz=rate, count=300, fraud_share=0.2)
    assert list(transactions(wanted)) == list(transactions(wanted))


def test_the_stream_of_a_seed_is_the_one_it_was() -> None:
    """Changing it is allowed, and deserves to be noticed: recorded experiments name their seed."""
    assert fingerprint(StreamSettings(START, seed=7, users=50, count=3000, fraud_share=0.1)) == GOLDEN


def test_seed_and_start_change_every_transaction_id() -> None:
    streams = [
        transactions(StreamSettings(start, seed=seed, count=200))
        for seed, start in ((1, START), (2, START), (1, START + 1))
    ]
    ids = [made.transaction.transaction_id for stream in streams for made in stream]
    assert len(set(ids)) == 600


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    short = list(transactions(StreamSettings(START, count=500, fraud_share=0.0)))
    assert list(transactions(StreamSettings(START, count=5000, fraud_share=0.0)))[:500] == short


def test_events_are_in_order_and_in_whole_milliseconds() -> None:
    stream = list(transactions(StreamSettings(START, count=5000, fraud_share=0.3)))
    assert all(one.event_time <= two.event_time for one, two in pairwise(stream))
    assert all(round(made.event_time * 1000) / 1000 == made.event_time for made in stream)
    assert stream[0].event_time >= START


@given(users=st.integers(1, 3), seed=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_every_scenario_works_with_very_few_users(users: int, seed: int) -> None:
    stream = list(transactions(StreamSettings(START, seed=seed, users=users, count=800, fraud_share=0.5)))
    assert {made.transaction.user_id for made in stream} <= set(range(1, users + 1))


def test_fields_stay_within_the_declared_ranges() -> None:
    for made in transactions(StreamSettings(START, users=100, count=20_000, fraud_share=0.1)):
        transaction = made.transaction
        assert 5 <= transaction.amount <= 5000
        assert round(transaction.amount, 2) == transaction.amount
        assert 1 <= transaction.user_id <= 100
        assert transaction.location is not None
        assert len(transaction.merchant_id or "") in range(1, 65)


def test_ids_are_unique_uuids_of_version_four() -> None:
    ids = [made.transaction.transaction_id for made in transactions(StreamSettings(START, count=10_000))]
    assert len(set(ids)) == len(ids)
    for text in ids:
        identity = uuid.UUID(text)
        assert (identity.version, str(identity)) == (4, text)


def test_amounts_are_skewed_to_the_right() -> None:
    amounts = sorted(m.transaction.amount for m in transactions(StreamSettings(START, count=20_000)))
    median, mean = amounts[len(amounts) // 2], sum(amounts) / len(amounts)
    assert mean > 1.5 * median
    assert amounts[-1] > 2000


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
def test_the_share_of_frauds_is_as_asked(share: float) -> None:
    stream = list(transactions(StreamSettings(START, users=1000, count=50_000, fraud_share=share)))
    found = sum(made.scenario is not None for made in stream) / len(stream)
    assert found == pytest.approx(share, rel=0.15)


def test_all_scenarios_appear_in_a_run_of_a_minute_with_some_frauds() -> None:
    stream = transactions(StreamSettings(START, rate_hz=75, span_seconds=60, fraud_share=0.05))
    assert {made.scenario for made in stream} == {None, *Scenario}


def test_only_the_wanted_scenarios_appear() -> None:
    wanted = StreamSettings(START, count=3000, fraud_share=0.2, scenarios=(Scenario.CARD_TESTING,))
    assert {made.scenario for made in transactions(wanted)} == {None, Scenario.CARD_TESTING}


def test_the_span_ends_the_stream() -> None:
    stream = list(transactions(StreamSettings(START, rate_hz=100, span_seconds=30)))
    assert stream[-1].event_time < START + 30
    assert len(stream) == pytest.approx(3000, rel=0.1)


def test_arrivals_are_poisson() -> None:
    """Variance of the counts per second equals their mean."""
    stream = transactions(StreamSettings(START, rate_hz=50, span_seconds=600, fraud_share=0.0))
    counts = [0] * 600
    for made in stream:
        counts[int(made.event_time - START)] += 1
    mean = sum(counts) / 600
    variance = sum((count - mean) ** 2 for count in counts) / 599
    assert mean == pytest.approx(50, rel=0.05)
    assert variance == pytest.approx(mean, rel=0.25)


def test_millions_of_users_cost_no_set_up() -> None:
    # Making fifty million users beforehand would run into the test's time limit.
    users = {
        made.transaction.user_id
        for made in islice(transactions(StreamSettings(START, users=50_000_000)), 2000)
    }
    assert len(users) > 1900


def test_labels_tell_the_truth() -> None:
    for made in transactions(StreamSettings(START, count=2000, fraud_share=0.2)):
        label = made.label
        assert (label.transaction_id, label.user_id, label.timestamp) == (
            made.transaction.transaction_id,
            made.transaction.user_id,
            made.transaction.timestamp,
        )
        assert label.is_fraud == (made.scenario is not None)
        assert label.scenario == (made.scenario or "none")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"users": 0}, "users"),
        ({"rate_hz": 0.0}, "rate_hz"),
        ({"rate_hz": float("nan")}, "rate_hz"),
        ({"fraud_share": 1.0}, "fraud_share"),
        ({"scenarios": ()}, "scenarios"),
        ({"count": 0}, "count"),
        ({"span_seconds": -1.0}, "span_seconds"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        StreamSettings(START, **wrong)  # type: ignore[arg-type]  # wrong on purpose
