"""What a backtest is asked.

Never: I/O.
"""

from datetime import UTC, datetime

import msgspec

from batch.backtest.history import Delays
from batch.training.labelled import Period
from batch.training.settings import TrainingSettings
from ray_fraud.domain.alert import HOT_RULES, RuleName
from ray_fraud.domain.settings import DetectionSettings


class BacktestRefused(Exception):
    """It cannot be done as it was asked for; the message says why."""


class BacktestRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Periods are event times, the start included, the end not."""

    test: Period | None = None
    """None: from when labels of the training are known (without a training from the first row) to the end."""
    train: Period | None = None
    """None: nothing is trained."""
    delays: Delays
    detection: DetectionSettings = DetectionSettings()
    training: TrainingSettings = TrainingSettings()
    """Algorithms, parameters, alert budget; the gap is the delay of labels."""
    refresh_ms: int = 3_600_000
    """Of event time, between two refreshes of the feature tables."""
    profile_days: int = 90
    rules: tuple[RuleName, ...] = HOT_RULES
    top_k: int = 100
    """Cards looked at per day."""
    exclude_compromised: bool = False
    """Leaves out of the test what `known_compromised` says."""
    known_from_ms: int | None = None
    """For that: older frauds do not count; None: those before the training do not."""


def _shown(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d %H:%M} UTC"


class Periods(msgspec.Struct, frozen=True):
    """What a request means for a history."""

    train: Period | None
    test: Period
    known_from_ms: int


def periods_of(request: BacktestRequest, first_ms: int, last_ms: int) -> Periods:
    """The periods of a history that begins and ends with these events.

    The training ends, at the latest, when labels are still known by the begin of the test.

    Raises:
        BacktestRefused: a period is empty or lies outside of the history, or the test begins too early.
    """
    train, delay_ms = request.train, request.delays.training_ms
    begin_ms = first_ms if train is None else train.until_ms + delay_ms
    if request.test is None and begin_ms > last_ms:
        raise BacktestRefused(
            f"the label delay passes the end of the data: labels of the training are known from "
            f"{_shown(begin_ms)} on, and the last row is of {_shown(last_ms)}; end the training earlier, "
            "give a shorter --label-delay, or say --test-start and --test-end"
        )
    test = request.test or Period(begin_ms, last_ms + 1)
    for name, period in (("test", test), ("training", train)):
        if period is not None and period.from_ms >= period.until_ms:
            raise BacktestRefused(f"the {name} period is empty: its start must lie before its end")
        if period is not None and not (period.from_ms <= last_ms and period.until_ms > first_ms):
            raise BacktestRefused(f"the {name} period has no row: the history lies outside of it")
    if train is not None:
        known_until_ms = min(train.until_ms, test.from_ms - delay_ms)
        if known_until_ms <= train.from_ms:
            raise BacktestRefused(
                "no label of the training period is known when the test begins: let the test begin "
                "--label-delay after the training's start at least"
            )
        train = Period(train.from_ms, known_until_ms)
    known_from_ms = request.known_from_ms
    if known_from_ms is None:
        known_from_ms = first_ms if train is None else train.from_ms
    return Periods(train, test, known_from_ms)
