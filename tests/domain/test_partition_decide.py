"""Alerts: which, in what order, and what an analyst finds in them."""

import pickle
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ray_fraud.domain.alert import Alert, RuleName, alert_uid
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.partition import PartitionState, ScoresMismatchError
from ray_fraud.domain.scores import Scores
from ray_fraud.domain.split import Arm, Split
from ray_fraud.domain.timeline import split_event
from ray_fraud.domain.transaction import Transaction
from tests.domain.samples import BERLIN, NOW_MS, NOW_S, TOKYO, decoder, record, transaction

SPLIT = Split((Arm("forest", 1, "d1", 0.5, 9_000), Arm("forest", 2, "d2", 0.8, 1_000)), "salt")


def alerts_of(
    *transactions: Transaction, scores: Scores | None = None, split: Split = SPLIT, **extra: Any
) -> list[Alert]:
    state = PartitionState(2, decoder(), timeline=[split_event(1, 0, split)])
    records = [record(offset, tx, **extra) for offset, tx in enumerate(transactions)]
    observed = state.observe(records)
    if scores is None and split.arms:
        scores = scored(*[0.0] * len(transactions))
    return state.decide(observed, scores).alerts


def scored(*values: float, arm: int = 0) -> Scores:
    return Scores(np.array(values, np.float64), np.full(len(values), arm, np.uint8))


def test_alerts_stand_in_the_order_of_offset_and_rule() -> None:
    alerts = alerts_of(
        transaction("a", amount=3000.0),
        transaction("b"),
        transaction("c", amount=3000.0, seconds=60, location=TOKYO),
        scores=scored(0.6, 0.5, 0.7),
    )
    assert [(alert.offset, str(alert.rule_name)) for alert in alerts] == [
        (0, "high_amount"),
        (0, "ml_anomaly"),
        (2, "high_amount"),
        (2, "geo_velocity"),
        (2, "ml_anomaly"),
    ]


def test_the_threshold_is_that_of_the_arm() -> None:
    assert len(alerts_of(transaction(), scores=scored(0.6, arm=0))) == 1
    assert len(alerts_of(transaction(), scores=scored(0.6, arm=1))) == 0
    (alert,) = alerts_of(transaction(), scores=scored(0.9, arm=1))
    assert (alert.score, alert.model_version) == (0.9, "forest:2")


def test_a_rule_alert_of_a_scored_row_carries_the_score() -> None:
    (alert,) = alerts_of(transaction(amount=3000.0), scores=scored(0.25))
    assert (alert.rule_name, alert.score, alert.model_version) == (RuleName.HIGH_AMOUNT, 0.25, "forest:1")


def test_without_models_rules_alert_without_a_score() -> None:
    (alert,) = alerts_of(transaction(amount=3000.0), split=Split((), ""))
    assert (alert.score, alert.model_version) == (None, None)


def test_only_the_alert_of_a_model_is_explained_and_only_it_is_asked_for() -> None:
    asked: list[tuple[Split, int, float]] = []

    def explain(split: Split, arm: int, features: NDArray[np.float32]) -> NDArray[np.float64]:
        asked.append((split, arm, float(features[0])))
        return np.arange(-1, len(FEATURE_NAMES) - 1, dtype=np.float64)

    state = PartitionState(2, decoder(), timeline=[split_event(1, 0, SPLIT)])
    transactions = [transaction("a", amount=3000.0), transaction("b"), transaction("c", amount=2500.0)]
    observed = state.observe([record(offset, tx) for offset, tx in enumerate(transactions)])
    scores = Scores(np.array([0.4, 0.7, 0.9]), np.array([0, 0, 1], np.uint8))
    alerts = state.decide(observed, scores, explain).alerts
    assert [(alert.offset, alert.rule_name.value, "explanation" in alert.details) for alert in alerts] == [
        (0, "high_amount", False),
        (1, "ml_anomaly", True),
        (2, "high_amount", False),
        (2, "ml_anomaly", True),
    ]
    assert asked == [(SPLIT, 0, float(observed.features[1, 0])), (SPLIT, 1, 2500.0)]
    reasons = alerts[1].details["explanation"]
    assert [reason["feature"] for reason in reasons] == list(FEATURE_NAMES[:-6:-1])
    assert reasons[0]["contribution"] == len(FEATURE_NAMES) - 2
    assert state.decide(observed, scores, explain).alerts == alerts


def test_a_model_that_cannot_explain_itself_alerts_without() -> None:
    state = PartitionState(2, decoder(), timeline=[split_event(1, 0, SPLIT)])
    observed = state.observe([record(0, transaction())])
    for explain in (None, lambda *_: None):
        (alert,) = state.decide(observed, scored(0.9), explain).alerts
        assert "explanation" not in alert.details


def test_an_alert_names_its_transaction_and_place_in_the_log() -> None:
    tx = transaction("t9", amount=3000.0, seconds=1.25)
    (alert,) = alerts_of(tx)
    assert (alert.transaction_id, alert.user_id, alert.partition, alert.offset) == ("t9", 7, 2, 0)
    assert (alert.event_time, alert.record_timestamp_ms) == (NOW_S + 1.25, NOW_MS + 1250)
    assert (alert.lat, alert.lon) == (BERLIN.lat, BERLIN.lon)
    (elsewhere,) = alerts_of(msgspec.structs.replace(tx, location=None))
    assert (elsewhere.lat, elsewhere.lon) == (None, None)


def test_the_uid_depends_on_the_payload() -> None:
    one, other = alerts_of(transaction("a", amount=3000.0), transaction("a", amount=3001.0))
    assert one.alert_uid != other.alert_uid
    assert one.alert_uid == alerts_of(transaction("a", amount=3000.0))[0].alert_uid
    assert one.alert_uid != alert_uid("a", 7, "high_amount", b"")


def test_details_show_transaction_neighbour_features_and_history() -> None:
    history = [transaction(f"h{i}", amount=float(i), seconds=i, location=TOKYO) for i in range(8)]
    last = transaction("x", amount=4812.1, seconds=600, merchant_id="m")
    high, geo = alerts_of(*history, last)
    assert high.details["transaction"]["merchant_id"] == "m"
    assert high.details["transaction"]["location"]["city"] == "Berlin"
    assert high.details["neighbour"] is None
    assert geo.details["neighbour"]["position"] == "previous"
    assert geo.details["neighbour"]["amount"] == 7.0
    assert tuple(geo.details["features"]) == FEATURE_NAMES
    assert geo.details["features"]["amount"] == 4812.1
    assert [event["amount"] for event in geo.details["last_transactions"]] == [3.0, 4.0, 5.0, 6.0, 7.0]
    assert geo.details["last_transactions"][0] == {
        "event_time": NOW_S + 3,
        "amount": 3.0,
        "lat": TOKYO.lat,
        "lon": TOKYO.lon,
    }


def test_missing_features_are_null() -> None:
    (alert,) = alerts_of(transaction(amount=3000.0, location=None))
    assert alert.details["features"]["lat"] is None
    assert alert.details["features"]["seconds_since_previous"] is None
    assert alert.details["last_transactions"] == []


def test_history_is_what_lay_before_in_event_time() -> None:
    alerts = alerts_of(transaction("new", seconds=500), transaction("late", amount=3000.0))
    assert alerts[0].details["last_transactions"] == []


def test_a_card_shows_only_its_masked_number() -> None:
    number = "4242424242424242"
    (alert,) = alerts_of(transaction(amount=3000.0), card_number=number)
    assert alert.details["transaction"]["card"] == "424242******4242"
    text = msgspec.json.encode(alert).decode()
    assert number not in text
    assert "token" not in text


def test_an_alert_survives_json() -> None:
    for alert in alerts_of(transaction("a", amount=3000.0), transaction("b", seconds=60, location=TOKYO)):
        assert msgspec.json.decode(msgspec.json.encode(alert), type=Alert) == alert


def test_deciding_twice_gives_equal_effects() -> None:
    state = PartitionState(0, decoder())
    observed = state.observe([record(0, transaction(amount=3000.0)), record(1, b"{")])
    users = dict(state.users)
    effects = state.decide(observed, None)
    assert effects == state.decide(observed, None)
    assert (effects.next_offset, len(effects.dead_letters), state.users) == (2, 1, users)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (None, "1 rows under 2 models, no scores"),
        (scored(0.1, 0.2), "1 rows under 2 models, 2 scores"),
        (scored(0.1, arm=2), "arm 2 was scored, the split has 2"),
    ],
)
def test_scores_that_do_not_fit_are_refused(scores: Scores | None, message: str) -> None:
    state = PartitionState(0, decoder(), timeline=[split_event(1, 0, SPLIT)])
    observed = state.observe([record(0, transaction())])
    with pytest.raises(ScoresMismatchError, match=message) as caught:
        state.decide(observed, scores)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  our own bytes


def test_scores_of_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"values \(2,\) and arms \(1,\)"):
        Scores(np.zeros(2), np.zeros(1, np.uint8))
