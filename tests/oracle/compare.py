"""The verdict on a run: what is missing, unexpected, duplicated or different from the oracle.

Never: deciding which side is right; ignoring a difference that the page does not allow.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.oracle.oracle import OracleResult, Row
from tests.oracle.scores import EXACT_COLUMNS

RELATIVE_TOLERANCE = 1e-6
"""For the two features whose formula leaves the last bits open: distance and speed."""
EXAMPLES = 3


@dataclass
class Verdict:
    """Every difference, as readable lines; a clean run has none."""

    missing_alerts: list[str] = field(default_factory=list)
    unexpected_alerts: list[str] = field(default_factory=list)
    duplicated_alerts: list[str] = field(default_factory=list)
    altered_alerts: list[str] = field(default_factory=list)
    features: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        return not any(vars(self).values())

    @property
    def found(self) -> set[str]:
        """The kinds of difference that there are."""
        return {kind for kind, lines in vars(self).items() if lines}

    def __str__(self) -> str:
        parts = [
            f"{kind}: {len(lines)}\n" + "".join(f"    {line}\n" for line in lines[:EXAMPLES])
            for kind, lines in vars(self).items()
            if lines
        ]
        return "".join(parts) or "no difference"


def compare(expected: OracleResult, actual: OracleResult) -> Verdict:
    """The differences of `actual` from the oracle's `expected`."""
    verdict = Verdict(
        features=[
            f"offset {offset}: {line}"
            for offset in sorted(expected.features.keys() | actual.features.keys())
            for line in row_differences(expected.features.get(offset), actual.features.get(offset))
        ],
        users=table_differences("user", expected.users, actual.users),
        counts=table_differences("count", compared(expected.counts), compared(actual.counts)),
        rejected=table_differences("offset", expected.rejected, actual.rejected),
    )
    if expected.watermark_ms != actual.watermark_ms:
        verdict.counts.append(f"watermark_ms: {actual.watermark_ms}, not {expected.watermark_ms}")
    verdict.counts += table_differences("votes", expected.votes, actual.votes)
    compare_alerts(verdict, expected.alerts, actual.alerts)
    return verdict


def compare_alerts(verdict: Verdict, expected: list[dict[str, Any]], actual: list[dict[str, Any]]) -> None:
    """An alert is (offset, uid): the same uid may come again at an offset that repeats a forgotten record."""
    wanted, seen = Counter(map(key_of, expected)), Counter(map(key_of, actual))
    verdict.missing_alerts = [str(key) for key in wanted - seen]
    for key in seen - wanted:
        (verdict.duplicated_alerts if key in wanted else verdict.unexpected_alerts).append(str(key))
    by_key = {key_of(alert): alert for alert in actual}
    for alert in expected:
        other = by_key.get(key_of(alert), alert)
        names = [name for name, value in alert.items() if not is_same(value, other.get(name))]
        verdict.altered_alerts += [f"{key_of(alert)} {n}: {other.get(n)!r}, not {alert[n]!r}" for n in names]
    if [key_of(alert) for alert in actual] != [key_of(alert) for alert in expected] and wanted == seen:
        verdict.altered_alerts.append("the order of the alerts differs")


def is_same(expected: object, actual: object) -> bool:
    """Equal; of a compared neighbour, distance and speed may differ in their last bits."""
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        return expected == actual
    return expected.keys() == actual.keys() and all(
        math.isclose(value, actual[name], rel_tol=RELATIVE_TOLERANCE)
        if isinstance(value, float)
        else value == actual[name]
        for name, value in expected.items()
    )


def compared(counts: Counter[str]) -> Counter[str]:
    """All counts but those of records inside a declared gap: a reader need not read them at all."""
    return Counter({name: count for name, count in counts.items() if count and name != "in_gap"})


def key_of(alert: dict[str, Any]) -> tuple[int, str, str]:
    return alert["offset"], str(alert["rule_name"]), str(alert["alert_uid"])


def row_differences(expected: Row | None, actual: Row | None) -> list[str]:
    """One line for each column that differs; missing equals missing only."""
    if expected is None or actual is None:
        return ["a row that the oracle has not" if expected is None else "no row"]
    same = (expected == actual) | (np.isnan(expected) & np.isnan(actual))
    near = np.isclose(actual, expected, rtol=RELATIVE_TOLERANCE, atol=0, equal_nan=True)
    inexact = np.setdiff1d(np.arange(len(expected)), EXACT_COLUMNS)
    same[inexact] = near[inexact]
    return [f"feature {c}: {actual[c]!r}, not {expected[c]!r}" for c in np.flatnonzero(~same)]


def table_differences(what: str, expected: dict[Any, Any], actual: dict[Any, Any]) -> list[str]:
    return [
        f"{what} {key}: {actual.get(key)!r}, not {expected.get(key)!r}"
        for key in sorted(expected.keys() | actual.keys())
        if expected.get(key) != actual.get(key)
    ]
