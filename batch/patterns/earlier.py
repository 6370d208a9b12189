"""Findings held against the merchant's own earlier days in the lake.

    coordinated findings → questions → one pass over earlier days for those not yet answered → what stays

Answers hold for the day they were found on; a lake that has too many rows is asked about fewer days, and a
question without an answer leaves its finding as it is.

Never: all rows of a period in memory; a finding dropped because nothing could be read.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ray_fraud.domain.alert import RuleName
from ray_fraud.domain.patterns.earlier_days import (
    Busiest,
    EarlierRows,
    Question,
    busiest_before,
    groups_in,
    hours_of,
    is_usual,
)
from ray_fraud.domain.patterns.finding import Finding, Ints
from ray_fraud.domain.patterns.settings import CoordinatedSettings
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.tables.columns import TRANSACTIONS
from ray_fraud.stores.tables.period import PeriodRows

logger = logging.getLogger(__name__)

COLUMNS = ("user_id", "event_time", "amount", "merchant_id", "device_id")
BATCH_ROWS = 100_000
MAX_READ = 100_000_000
"""Rows of the lake that one pass reads, about half a minute; of more, the newest days."""
MAX_KEPT = 5_000_000
"""Rows of all questions together that are held at once, 80 MB."""
MAX_ANSWERS = 10_000

ReadEarlier = Callable[[int, int], Iterable[pa.Table]]
"""Rows with event times `[since_ms, until_ms)`, `COLUMNS` at least, some at a time.

Raises `StoreError` if the lake does not answer.
"""


class Vouched(NamedTuple):
    findings: list[Finding]
    """Those that stay, in their order."""
    usual: int
    """Coordinated ones that earlier days explain."""


def vouched(
    findings: Sequence[Finding], members: pa.Table, busiest: Busiest, settings: CoordinatedSettings
) -> Vouched:
    """Without those coordinated findings that are usual at their merchants.

    Args:
        findings: their rows are positions in `members`.
        members: columns `user_id`, `amount` and `merchant_id` at least.
        busiest: answers questions about earlier days.
        settings: of the rule.
    """
    judged = {}
    for number, finding in enumerate(findings):
        if finding.rule is RuleName.COORDINATED:
            rows = members.select(["user_id", "amount", "merchant_id"]).take(list(finding.rows))
            users, amounts = rows["user_id"].to_numpy(), rows["amount"].to_numpy()
            merchants = rows["merchant_id"].to_pylist()
            judged[number] = groups_in(finding, users, amounts, merchants, settings)
    asked = [group.question for groups in judged.values() for group in groups]
    answers = busiest(asked) if asked else {}
    usual = {number for number, groups in judged.items() if is_usual(groups, answers, settings)}
    return Vouched([one for number, one in enumerate(findings) if number not in usual], len(usual))


class BusiestInLake:
    """Answers of one process, each found once."""

    def __init__(self, read: ReadEarlier, settings: CoordinatedSettings) -> None:
        self._read = read
        self._settings = settings
        self._answers: dict[Question, int] = {}

    def __call__(self, questions: Sequence[Question]) -> Mapping[Question, int]:
        new = list(dict.fromkeys(each for each in questions if each not in self._answers))
        if new:
            try:
                found = self._look(new)
            except StoreError as error:
                logger.warning("patterns: %d groups are not held against earlier days: %s", len(new), error)
                found = {}
            if len(self._answers) + len(found) > MAX_ANSWERS:
                self._answers.clear()
            self._answers.update(found)
            return self._answers | found
        return self._answers

    def _look(self, questions: Sequence[Question]) -> dict[Question, int]:
        since, until = zip(*(hours_of(each, self._settings) for each in questions), strict=True)
        held: dict[Question, list[EarlierRows]] = {each: [] for each in questions}
        kept = 0
        for table in self._read(min(since), max(until)):
            for question, rows in _of_questions(table, questions, self._settings):
                held[question].append(rows)
                kept += len(rows.user_id)
            if kept > MAX_KEPT:
                logger.warning("patterns: more than %d earlier rows: only some are compared with", MAX_KEPT)
                break
        return {each: busiest_before(_together(parts), each, self._settings) for each, parts in held.items()}


def _of_questions(
    table: pa.Table, questions: Sequence[Question], settings: CoordinatedSettings
) -> Iterable[tuple[Question, EarlierRows]]:
    for column in ("merchant_id", "device_id"):
        mine = [each for each in questions if each.column == column]
        names = sorted({name for each in mine for name in each.names})
        rows = table.filter(pc.is_in(table[column].cast(pa.string()), pa.array(names, pa.string())))
        if not rows.num_rows:
            continue
        users, amounts, name_of = rows["user_id"].to_numpy(), rows["amount"].to_numpy(), rows[column]
        event_ms: Ints = pc.divide(rows["event_time"].cast(pa.int64()), 1_000).to_numpy()
        for each in mine:
            since_ms, _ = hours_of(each, settings)
            at_ms = event_ms - since_ms
            reach_ms = hours_of(each, settings)[1] - since_ms - (settings.earlier_days - 1) * DAY_MS
            named = pc.is_in(name_of.cast(pa.string()), pa.array(each.names, pa.string()))
            chosen = named.to_numpy(zero_copy_only=False) & (amounts >= each.low) & (amounts <= each.high)
            chosen &= (at_ms >= 0) & (at_ms % DAY_MS <= reach_ms)
            if chosen.any():
                yield each, EarlierRows(users[chosen], event_ms[chosen])


def _together(parts: Sequence[EarlierRows]) -> EarlierRows:
    if not parts:
        return EarlierRows(np.empty(0, np.int64), np.empty(0, np.int64))
    return EarlierRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def earlier_in_lake(lake: LakeLocation) -> ReadEarlier:
    """Reads the table of transactions, the newest days of it if it has too many rows."""

    def read(since_ms: int, until_ms: int) -> Iterable[pa.Table]:
        period = PeriodRows(lake, TRANSACTIONS, since_ms, until_ms)
        while period.count() > MAX_READ and until_ms - period.since_ms > DAY_MS:
            half = (period.since_ms + until_ms) // 2
            period = PeriodRows(lake, TRANSACTIONS, half, until_ms, period.version)
        if period.since_ms > since_ms:
            days = (until_ms - period.since_ms) / DAY_MS
            logger.warning("patterns: only %.1f earlier days are compared with: too many rows", days)
        paths = [file.path for file in period.files()]
        return (table for _, table in period.read(paths, COLUMNS, BATCH_ROWS))

    return read
