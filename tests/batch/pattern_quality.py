"""The pattern rules against the generator's ground truth: recall and precision with default parameters.

*Recall* of a rule for a kind of fraud: the share of that kind's transactions that are members of one of the
rule's findings. *Precision*: the share of the rule's members that are frauds of any kind.

The hot rules without a model, which a batch applies again, judge single transactions. So their recall counts
incidents: frauds of one kind and user, an hour apart at most, of which one transaction is found. A journey
has two ends, and a hit is right if either is a fraud.

Never: a parameter that was fitted to the seed that is measured.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.patterns.finding import Finding, Ints
from ray_fraud.domain.record import Record
from ray_fraud.generator.encode import encode_transaction
from ray_fraud.generator.population import NATURAL_TRANSACTIONS_PER_DAY
from ray_fraud.generator.stream import StreamSettings, transactions
from ray_fraud.generator.transaction import GeneratedTransaction, Scenario

START = 1_788_220_800.0
CHUNK = 5_000
INCIDENT_MS = 3_600_000
HOUR, DAY = 3_600.0, 86_400.0

HOT_RULES: dict[RuleName, tuple[Scenario, ...]] = {
    RuleName.HIGH_AMOUNT: (Scenario.STOLEN_CARD,),
    RuleName.GEO_VELOCITY: (Scenario.IMPOSSIBLE_TRAVEL,),
}
"""The hot rules without a model, and the kinds of fraud that each is meant for."""
PATTERN_RULES: dict[RuleName, tuple[Scenario, ...]] = {
    RuleName.FREQUENCY: (Scenario.CARD_TESTING,),
    RuleName.SMALL_AMOUNTS: (Scenario.CARD_TESTING,),
    RuleName.GEOGRAPHIC_CLUSTER: (Scenario.COORDINATED_RING,),
    RuleName.UNUSUAL_HOURS: (Scenario.ACCOUNT_TAKEOVER,),
    RuleName.BURST: (Scenario.CARD_TESTING,),
    RuleName.ROBOT: (),
    RuleName.COORDINATED: (Scenario.COORDINATED_RING,),
}
"""Likewise. The generator has no robots."""
MEANT_FOR = HOT_RULES | PATTERN_RULES

Scenarios = NDArray[np.str_]
"""The kind of fraud of each row, empty for none, shape (n,)."""


class History(NamedTuple):
    """A stream as the lake has it, and the truth about it."""

    settings: StreamSettings
    table: pa.Table
    scenarios: Scenarios


class Quality(msgspec.Struct, frozen=True):
    rule: RuleName
    findings: int
    """Or hits, of a hot rule."""
    right: int
    """Of them, those that hold a fraud."""
    members: int
    precision: float | None
    """None where nothing is found."""
    recall: dict[str, float]
    """Of the kinds that the rule is meant for, and of others of which it finds some."""


def stream_of(
    users: int, hours: float, seed: int, fraud_share: float, tps: float | None = None
) -> StreamSettings:
    """`tps`: transactions per second of event time; None: what so many users make by themselves."""
    rate_hz = users * NATURAL_TRANSACTIONS_PER_DAY / DAY if tps is None else tps
    return StreamSettings(
        START, seed=seed, users=users, rate_hz=rate_hz, fraud_share=fraud_share, span_seconds=hours * HOUR
    )


def history(settings: StreamSettings) -> History:
    """The columns that pattern rules look at, and each row's scenario."""
    rows: dict[str, list[Any]] = defaultdict(list)
    labels: list[str] = []
    for made in transactions(settings):
        tx = made.transaction
        place = tx.location
        rows["user_id"].append(tx.user_id)
        rows["event_time"].append(tx.event_ms * 1000)
        rows["amount"].append(tx.amount)
        rows["lat"].append(None if place is None else place.lat)
        rows["lon"].append(None if place is None else place.lon)
        rows["merchant_id"].append(tx.merchant_id)
        rows["device_id"].append(tx.device_id)
        labels.append("" if made.scenario is None else made.scenario.value)
    table = pa.table(dict(rows))
    at = table.schema.get_field_index("event_time")
    event_time = table["event_time"].cast(pa.timestamp("us", "UTC"))
    return History(settings, table.set_column(at, "event_time", event_time), np.array(labels))


def pattern_quality(findings: Iterable[Finding], scenarios: Scenarios) -> list[Quality]:
    """Of every pattern rule, also of those that found nothing."""
    found: dict[RuleName, list[Ints]] = {rule: [] for rule in PATTERN_RULES}
    for finding in findings:
        found[finding.rule].append(np.array(finding.rows, np.int64))
    return [_of_members(rule, each, scenarios) for rule, each in found.items()]


def _of_members(rule: RuleName, found: Sequence[Ints], scenarios: Scenarios) -> Quality:
    members = np.unique(np.concatenate([np.empty(0, np.int64), *found]))
    right = sum(bool((scenarios[rows] != "").any()) for rows in found)
    precision = float((scenarios[members] != "").mean()) if found else None
    recall = _recall(rule, members, scenarios, np.arange(len(scenarios)))
    return Quality(rule, len(found), right, len(members), precision, recall)


def hot_quality(past: History) -> list[Quality]:
    """Of the hot rules without a model, by a fold as the batch folds the lake."""
    state = PartitionState(0, Decoder(None))
    at: dict[tuple[int, int], int] = {}
    """The last transaction of a user at a moment."""
    ends: dict[RuleName, list[tuple[int, int]]] = {rule: [] for rule in HOT_RULES}
    stream = enumerate(transactions(past.settings))
    while chunk := list(itertools.islice(stream, CHUNK)):
        at.update(((made.transaction.user_id, made.transaction.event_ms), offset) for offset, made in chunk)
        for row in state.observe([_record(offset, made) for offset, made in chunk]).rows:
            for hit in row.hits:
                other = 0 if hit.neighbour is None else hit.neighbour.event_ms
                ends[hit.rule].append((row.offset, at.get((row.transaction.user_id, other), row.offset)))
    incidents = _incidents(past)
    return [
        _of_ends(rule, np.array(each, np.int64).reshape(-1, 2), past.scenarios, incidents)
        for rule, each in ends.items()
    ]


def _record(offset: int, made: GeneratedTransaction) -> Record:
    return Record(offset, round(made.event_time * 1000), None, encode_transaction(made.transaction))


def _incidents(past: History) -> Ints:
    """The number of the incident of each row, shape (n,); rows that are no fraud have numbers, too."""
    user = past.table["user_id"].to_numpy()
    at_ms = past.table["event_time"].cast(pa.int64()).to_numpy() // 1000
    kind = np.unique(past.scenarios, return_inverse=True)[1]
    order = np.lexsort((at_ms, kind, user))
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (np.diff(user[order]) != 0) | (np.diff(kind[order]) != 0)
    begins[1:] |= np.diff(at_ms[order]) >= INCIDENT_MS
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(begins)
    return numbers


def _of_ends(rule: RuleName, ends: Ints, scenarios: Scenarios, incidents: Ints) -> Quality:
    frauds = scenarios[ends] != ""
    right = int(frauds.any(axis=1).sum())
    recall = _recall(rule, np.unique(ends[frauds]), scenarios, incidents)
    return Quality(rule, len(ends), right, len(ends), right / len(ends) if len(ends) else None, recall)


def _recall(rule: RuleName, found: Ints, scenarios: Scenarios, counted: Ints) -> dict[str, float]:
    """By kind of fraud; `counted`: the number of what each row counts as, shape (n,)."""
    kinds = {kind.value for kind in MEANT_FOR[rule]} | set(np.unique(scenarios[found]).tolist())
    recall = {}
    for kind in sorted(kinds & set(np.unique(scenarios).tolist()) - {""}):
        of_kind = np.unique(counted[found[scenarios[found] == kind]])
        recall[kind] = len(of_kind) / len(np.unique(counted[scenarios == kind]))
    return recall
