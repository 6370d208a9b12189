"""One stream in order of event time: the population's own traffic with frauds mixed in.

Never: a clock. The stream of given settings is the same on every machine and day.
"""

import heapq
from collections.abc import Iterator
from itertools import islice, takewhile
from operator import attrgetter

import msgspec
import numpy as np

from ray_fraud.generator.background import background
from ray_fraud.generator.chance import generator
from ray_fraud.generator.population import Population
from ray_fraud.generator.scenarios import PLANS
from ray_fraud.generator.scene import Scene
from ray_fraud.generator.transaction import GeneratedTransaction, Scenario

ALL_SCENARIOS = tuple(Scenario)
_INCIDENT_SHARE_OF_RUN = 0.25
"""No fraud lasts longer than this share of a run whose length is known: whole frauds fit into it."""


class StreamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides a stream. The seed alone decides the population: users keep their homes and journeys
    in every run of that seed, so runs may follow each other on one topic."""

    start_time: float
    """Event time of the beginning, unix seconds."""
    seed: int = 0
    users: int = 100
    rate_hz: float = 75.0
    """Transactions per second of event time, frauds included."""
    fraud_share: float = 0.02
    """Expected share of frauds among the transactions."""
    scenarios: tuple[Scenario, ...] = ALL_SCENARIOS
    span_seconds: float | None = None
    """Length in event time; None: no end."""
    count: int | None = None
    """Number of transactions; None: no end."""
    trip_share: float = 0.35
    """How likely a user travels within a fortnight."""

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed: {self.seed} must be at least 0")
        if self.users < 1:
            raise ValueError(f"users: {self.users} must be at least 1")
        if self.count is not None and self.count < 1:
            raise ValueError(f"count: {self.count} must be at least 1")
        if self.span_seconds is not None and not self.span_seconds > 0:
            raise ValueError(f"span_seconds: {self.span_seconds} must be above 0")
        if not self.rate_hz > 0:
            raise ValueError(f"rate_hz: {self.rate_hz} must be above 0")
        if not 0 <= self.fraud_share < 1:
            raise ValueError(f"fraud_share: {self.fraud_share} must be at least 0 and below 1")
        if self.fraud_share and not self.scenarios:
            raise ValueError(f"scenarios: none named, but fraud_share is {self.fraud_share}")

    @property
    def start_ms(self) -> int:
        """Part of every random stream, so that two runs of one seed repeat no transaction id."""
        return round(self.start_time * 1000)

    @property
    def length_seconds(self) -> float | None:
        """Event time from the first to the last transaction, as far as it is known beforehand."""
        lengths = [
            length
            for length in (self.span_seconds, None if self.count is None else self.count / self.rate_hz)
            if length is not None
        ]
        return min(lengths, default=None)


def transactions(settings: StreamSettings) -> Iterator[GeneratedTransaction]:
    """All transactions of the settings, ascending by event time; without a limit it never ends."""
    population = Population(settings.seed, settings.users, settings.trip_share)
    own_rate_hz = settings.rate_hz * (1.0 - settings.fraud_share)
    merged: Iterator[GeneratedTransaction] = background(
        population, settings.seed, settings.start_time, own_rate_hz
    )
    if settings.fraud_share:
        merged = heapq.merge(merged, _frauds(settings, population), key=attrgetter("event_time"))
    if settings.span_seconds is not None:
        end = settings.start_time + settings.span_seconds
        merged = takewhile(lambda made: made.event_time < end, merged)
    return islice(merged, settings.count)


def _frauds(settings: StreamSettings, population: Population) -> Iterator[GeneratedTransaction]:
    """The frauds in order of event time. Incidents begin as a Poisson process and may overlap."""
    waiting: list[tuple[float, int, GeneratedTransaction]] = []
    staged = 0
    for number, begin in enumerate(_beginnings(settings)):
        while waiting and waiting[0][0] <= begin:
            yield heapq.heappop(waiting)[2]
        for made in _incident(settings, population, number, begin):
            heapq.heappush(waiting, (made.event_time, staged, made))
            staged += 1
    while waiting:
        yield heapq.heappop(waiting)[2]


def _beginnings(settings: StreamSettings) -> Iterator[float]:
    """When incidents begin; in a run of known length early enough for the whole incident to fit."""
    rng = generator(settings.seed, 3, settings.start_ms)
    mean_frauds = float(np.mean([PLANS[scenario].mean_frauds for scenario in settings.scenarios]))
    incidents_hz = settings.rate_hz * settings.fraud_share / mean_frauds
    length = settings.length_seconds
    if length is None:
        last = float("inf")
    else:
        last = length - _span_limit(settings, length)
        incidents_hz *= length / last
    begin = 0.0
    while True:
        begin += float(rng.exponential(1.0 / incidents_hz))
        if begin >= last:
            return
        yield settings.start_time + begin


def _span_limit(settings: StreamSettings, length: float) -> float:
    longest = max(PLANS[scenario].span_seconds for scenario in settings.scenarios)
    return min(longest, _INCIDENT_SHARE_OF_RUN * length)


def _incident(
    settings: StreamSettings, population: Population, number: int, begin: float
) -> list[GeneratedTransaction]:
    """Scenarios take turns in an order shuffled anew each round, so that short runs show all of them."""
    turn, place = divmod(number, len(settings.scenarios))
    order = generator(settings.seed, 4, settings.start_ms, turn).permutation(len(settings.scenarios))
    scenario = settings.scenarios[int(order[place])]
    length = settings.length_seconds
    limit = None if length is None else _INCIDENT_SHARE_OF_RUN * length
    scene = Scene(generator(settings.seed, 5, settings.start_ms, number), population, begin, limit)
    return PLANS[scenario].stage(scene)
