"""From what a user asks for (rate, clock, length) to a stream and a schedule.

Three quantities hang together: sends per second (`tps`), transactions per second of event time
(`rate_hz`) and the seconds of event time that pass per second (`speed`): tps = rate_hz × speed.
Asking for two fixes the third.

Never: reading the clock: `now` is an argument.
"""

import math
from dataclasses import dataclass

from ray_fraud.generator.pace import DEFAULT_TPS
from ray_fraud.generator.population import NATURAL_TRANSACTIONS_PER_DAY
from ray_fraud.generator.stream import ALL_SCENARIOS, StreamSettings
from ray_fraud.generator.transaction import Scenario

DAY = 86_400.0


class PlanError(ValueError):
    """The wishes contradict each other; the message names the options and what to change."""


@dataclass(frozen=True)
class Wishes:
    """The options of `ray-fraud generate` that decide rate, clock and length; None: not given."""

    users: int = 100
    seed: int = 0
    tps: float | None = None
    seconds: float | None = None
    count: int | None = None
    start_time: float | None = None
    """Unix seconds; begins a simulated clock."""
    days: float | None = None
    speed: float | None = None
    fraud_share: float = 0.02
    scenarios: tuple[Scenario, ...] = ALL_SCENARIOS
    keeps_pace: bool = True
    """False for a file, which takes everything at once."""


@dataclass(frozen=True)
class RunPlan:
    settings: StreamSettings
    speed: float
    """Seconds of event time per second; infinite: as fast as it goes."""
    wall_limit_seconds: float | None
    """Stop after this much time, where no event time says when to stop."""


def plan_run(wishes: Wishes, now: float) -> RunPlan:
    """The stream and its pace.

    Raises:
        PlanError: the wishes contradict each other, or would make transactions dated in the future.
    """
    if wishes.speed is not None and wishes.start_time is None and wishes.days is None:
        raise PlanError("--speed needs a simulated clock: add --start DATE or --days N")
    if wishes.start_time is not None or wishes.days is not None:
        return _simulated(wishes, now)
    if wishes.tps == 0 or not wishes.keeps_pace:
        return _just_past(wishes, now)
    rate_hz = DEFAULT_TPS if wishes.tps is None else wishes.tps
    return RunPlan(_settings(wishes, now, rate_hz, wishes.seconds), 1.0, None)


def _just_past(wishes: Wishes, now: float) -> RunPlan:
    """No pace to keep: the transactions end now, as if they had arrived at the default rate."""
    rate_hz = wishes.tps or DEFAULT_TPS
    if wishes.count is not None:
        # Arrivals are random: five standard deviations of room keep the last one out of the future.
        length = (wishes.count + 5.0 * math.sqrt(wishes.count)) / rate_hz
    elif wishes.seconds is not None and not wishes.keeps_pace:
        length = wishes.seconds
    else:
        raise PlanError("without a pace (--tps 0 or --to) the run needs a length: add --count N or --days N")
    span = None if wishes.count is not None else length
    wall_limit = wishes.seconds if wishes.keeps_pace else None
    return RunPlan(_settings(wishes, now - length, rate_hz, span), math.inf, wall_limit)


def _simulated(wishes: Wishes, now: float) -> RunPlan:
    """Event time from --start (or --days ago) on."""
    natural_hz = wishes.users * NATURAL_TRANSACTIONS_PER_DAY / DAY
    rate_hz, speed = natural_hz, math.inf
    if wishes.speed is not None:
        speed = wishes.speed
        rate_hz = wishes.tps / speed if wishes.tps else natural_hz
    elif wishes.tps and wishes.keeps_pace:
        speed = wishes.tps / natural_hz
    elif wishes.tps:
        rate_hz = wishes.tps
    days_seconds = None if wishes.days is None else wishes.days * DAY
    start = now - (days_seconds or 0.0) if wishes.start_time is None else wishes.start_time
    if start > now:
        raise PlanError(
            "--start lies in the future: transactions dated ahead are refused; choose an earlier one"
        )
    paced = wishes.keeps_pace and not math.isinf(speed)
    lengths = [] if days_seconds is None else [days_seconds]
    if wishes.seconds is not None and (paced or not wishes.keeps_pace):
        lengths.append(wishes.seconds * (speed if paced else 1.0))
    reaches_now = _event_time_until_now(start, now, speed if wishes.keeps_pace else math.inf)
    span = min([*lengths, reaches_now])
    if wishes.days is not None and wishes.days * DAY > reaches_now + 1.0 and span == reaches_now:
        raise PlanError(
            f"--days {wishes.days:g} from --start reach into the future, and transactions dated ahead are "
            f"refused; at most {reaches_now / DAY:.4g} days fit"
        )
    wall_limit = wishes.seconds if wishes.keeps_pace and not paced else None
    finite_span = None if math.isinf(span) else span
    return RunPlan(_settings(wishes, start, rate_hz, finite_span), speed if paced else math.inf, wall_limit)


def _event_time_until_now(start: float, now: float, speed: float) -> float:
    """How much event time passes until a clock of that speed, begun at `start`, catches up with `now`."""
    if speed <= 1.0:
        return math.inf
    behind = now - start
    return behind if math.isinf(speed) else behind * speed / (speed - 1.0)


def _settings(wishes: Wishes, start: float, rate_hz: float, span: float | None) -> StreamSettings:
    try:
        return StreamSettings(
            start_time=math.floor(start * 1000.0) / 1000.0,
            seed=wishes.seed,
            users=wishes.users,
            rate_hz=rate_hz,
            fraud_share=wishes.fraud_share,
            scenarios=wishes.scenarios,
            span_seconds=span,
            count=wishes.count,
        )
    except ValueError as error:
        raise PlanError(str(error)) from error
