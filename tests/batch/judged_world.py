"""A world whose truth is known: transactions, what production and a candidate say of them, and who found out
what, and when.

    truth → production's alerts → analysts within days → chargebacks within the maturity, some later

Both models are numbers in the rows: nothing is fitted, so that a seed takes milliseconds.

Never: a label that the rows are not given by the rule under test.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.verdicts import Origin, Verdict
from ray_fraud.domain.windows import DAY_MS

CANDIDATE, PRODUCTION = FEATURE_NAMES[0], FEATURE_NAMES[1]
"""The columns that hold the scores of the two models."""
MATURITY_DAYS, HOLDOUT_DAYS, DAYS = 7, 7, 29
NEWEST_MS = DAYS * DAY_MS
MATURITY_MS, HOLDOUT_MS = MATURITY_DAYS * DAY_MS, HOLDOUT_DAYS * DAY_MS
CUT = 0.5
"""Both models alert above it."""
PER_DAY, CARDS, STOLEN = 500, 1_500, 84
FRAUDS_OF_A_CARD = 5.0
LATE = 0.05
"""Chargebacks that come when the maturity has passed."""


class Scorer(NamedTuple):
    """What a model does, of all transactions."""

    recall: float
    """Of frauds, one by one."""
    false_rate: float
    """Of ordinary transactions."""
    odd_rate: float
    """Of odd transactions: honest, a fifth of all, and nothing that production looks at."""
    resolves: float
    """How often it sees through what production is wrong about, or puts it low."""


PRESENT = Scorer(recall=0.75, false_rate=0.048, odd_rate=0.0, resolves=0.0)
"""Production: of its alerts about seven in ten are frauds."""
WORSE = Scorer(recall=0.8, false_rate=0.002, odd_rate=0.95, resolves=0.95)
"""Right about everything that production alerts, wrong about what nobody looks at."""
NEARLY = Scorer(recall=0.72, false_rate=0.053, odd_rate=0.0, resolves=0.0)
"""A little worse than production in all."""
BETTER = Scorer(recall=0.93, false_rate=0.008, odd_rate=0.0, resolves=0.9)
"""Clearly better."""


@dataclass(frozen=True)
class JudgedWorld:
    """One seed."""

    table: pa.Table
    """As `ml_features` has them, with the two scores as features."""
    verdicts: list[Verdict]
    fraud: NDArray[np.bool_]
    """The truth, shape (n,)."""
    scores: NDArray[np.float64]
    """The candidate's, shape (n,)."""

    @property
    def precision(self) -> float:
        """The candidate's, of everything that happened."""
        return float(self.fraud[self.scores > CUT].mean())


def judged_world(candidate: Scorer, seed: int, production: Scorer = PRESENT) -> JudgedWorld:
    """A platform's last weeks; the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    cards, event_ms, fraud = _transactions(rng)
    odd = ~fraud & (rng.random(len(fraud)) < 0.2)
    theirs = _scores(rng, production, fraud, odd, np.zeros(len(fraud), np.bool_))
    alerted = theirs > CUT
    mine = _scores(
        rng, candidate, fraud, odd, alerted & ~fraud & (rng.random(len(fraud)) < candidate.resolves)
    )
    verdicts = _verdicts(rng, cards, event_ms, fraud, alerted)
    return JudgedWorld(_table(cards, event_ms, mine, theirs), verdicts, fraud, mine)


def _transactions(
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Cards, event times and truth, in order of time: stolen cards have several frauds within a day."""
    honest = DAYS * PER_DAY
    frauds = rng.poisson(FRAUDS_OF_A_CARD, STOLEN * DAYS // HOLDOUT_DAYS) + 1
    cards = np.concatenate(
        [rng.integers(0, CARDS, honest), np.repeat(rng.integers(0, CARDS, len(frauds)), frauds)]
    )
    begins = np.repeat(rng.integers(0, NEWEST_MS - DAY_MS, len(frauds)), frauds)
    fraud_ms = begins + rng.integers(0, DAY_MS, len(begins))
    event_ms = np.concatenate([rng.integers(0, NEWEST_MS, honest), fraud_ms])
    event_ms[0] = NEWEST_MS
    fraud = np.arange(len(event_ms)) >= honest
    order = np.argsort(event_ms, kind="stable")
    return cards[order], event_ms[order], fraud[order]


def _scores(
    rng: np.random.Generator,
    scorer: Scorer,
    fraud: NDArray[np.bool_],
    odd: NDArray[np.bool_],
    resolved: NDArray[np.bool_],
) -> NDArray[np.float64]:
    draw, height = rng.random(len(fraud)), rng.random(len(fraud))
    share = np.where(fraud, scorer.recall, np.where(odd, scorer.odd_rate, scorer.false_rate))
    high = (draw < share) & ~resolved
    # Frauds that alert lie higher than what is wrong, as in any model that is of use.
    return np.where(high, CUT + 0.5 * np.where(fraud, np.sqrt(height), height), CUT * height * 0.9)


def _verdicts(
    rng: np.random.Generator,
    cards: NDArray[np.int64],
    event_ms: NDArray[np.int64],
    fraud: NDArray[np.bool_],
    alerted: NDArray[np.bool_],
) -> list[Verdict]:
    """Nine of ten alerts are reviewed within two days; what nobody reviewed and was fraud is charged back."""
    reviewed = alerted & (rng.random(len(fraud)) < 0.9)
    charged = fraud & ~reviewed
    delay = np.where(
        reviewed,
        rng.uniform(0.05, 2.0, len(fraud)),
        np.where(
            rng.random(len(fraud)) < LATE,
            rng.uniform(8.0, 40.0, len(fraud)),
            rng.uniform(1.0, 6.9, len(fraud)),
        ),
    )
    known_ms = event_ms + (delay * DAY_MS).astype(np.int64)
    rows = np.flatnonzero((reviewed | charged) & (known_ms <= NEWEST_MS))
    return [
        Verdict(
            number,
            f"t{row}",
            int(cards[row]),
            None,
            int(event_ms[row]),
            bool(fraud[row]),
            int(known_ms[row]),
            Origin.ANALYST if reviewed[row] else Origin.CHARGEBACK,
        )
        for number, row in enumerate(rows.tolist(), 1)
    ]


def _table(
    cards: NDArray[np.int64],
    event_ms: NDArray[np.int64],
    candidate: NDArray[np.float64],
    production: NDArray[np.float64],
) -> pa.Table:
    count = len(cards)
    columns = {
        "topic_id": pa.array(["topic"] * count, pa.string()),
        "transaction_id": pa.array([f"t{row}" for row in range(count)], pa.string()),
        "user_id": pa.array(cards, pa.int64()),
        "event_time": pa.array(event_ms * 1_000, pa.timestamp("us", "UTC")),
    }
    features = {name: pa.nulls(count, pa.float32()) for name in FEATURE_NAMES}
    features |= {CANDIDATE: pa.array(candidate, pa.float32()), PRODUCTION: pa.array(production, pa.float32())}
    return pa.table(columns | features)
