"""Whether a candidate takes production's place, and whether production has to give way: rules over figures.

A promotion needs all of these, on a hold-out that begins after both versions' training ended:

- F1 at the candidate's own threshold above 0.7;
- on the same transactions average precision better than production's and card precision@k not worse (of few
  cards it cannot be better), and the bootstrap interval of each difference without "worse" (its lower bound
  is not negative);
- enough frauds in the hold-out, and enough verdicts on the alerts that the candidate made itself.

A candidate is refused when more data can hardly help: F1 too low, or worse for sure in one of the two.
Otherwise it is kept in its test.

A rollback needs enough verdicts on production's alerts since it went live, and a live precision that is below
a share of what the hold-out had promised, with all of Wilson's interval. Who is judged early is chosen, so an
alert without a verdict counts as a fraud while it is younger than the maturity, and as none afterwards, as in
a hold-out (`ray_fraud.domain.known_labels`).

Never: a change of the registry; a clock; a figure that is not in the decision's evidence.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from ray_fraud.domain.bootstrap import CONFIDENCE, RESAMPLES, paired_differences
from ray_fraud.domain.measures import (
    Ids,
    Labels,
    Values,
    at_threshold,
    check_rows,
    wilson_interval,
)

Ratio = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[int, Meta(ge=1)]


class PromotionRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of both rules."""

    min_f1: Ratio = 0.7
    """F1 has to be above it."""
    k: Positive = 100
    """Cards that analysts look at per day."""
    min_frauds: Positive = 30
    """Frauds in the hold-out."""
    min_verdicts: Positive = 30
    """Verdicts on the candidate's own alerts."""
    resamples: Positive = RESAMPLES
    confidence: Annotated[float, Meta(gt=0, lt=1)] = CONFIDENCE
    seed: int = 1
    rollback_verdicts: Positive = 50
    """Verdicts on production's alerts."""
    rollback_share: Ratio = 0.7
    """Of the hold-out's precision: live precision has to stay above this part of it."""
    rollback_judged: Ratio = 0.5
    """So large a part has to be judged of what could be: else what nobody looked at decides."""


@dataclass(frozen=True, slots=True)
class HoldOut:
    """The same later transactions, scored by a candidate and by production; shape (n,) each."""

    labels: Labels
    cards: Ids
    days: Ids
    """Days since 1970."""
    candidate: Values
    production: Values
    begins: float
    """Event time of the first row, unix seconds."""
    ends: float

    def __post_init__(self) -> None:
        check_rows(self.labels, self.candidate)
        check_rows(self.labels, self.production)
        if not len(self.cards) == len(self.days) == len(self.labels):
            raise ValueError(
                f"cards, days: {len(self.cards)} and {len(self.days)} rows, must be {len(self.labels)}"
            )
        if not self.begins <= self.ends:
            raise ValueError(f"begins, ends: {self.begins} is after {self.ends}")


class Verdicts(NamedTuple):
    """What analysts said of a version's own alerts."""

    frauds: int
    false_alerts: int
    unjudged: int = 0
    """Alerts that have none and are older than the maturity."""
    waiting: int = 0
    """Alerts that have none yet."""

    @property
    def total(self) -> int:
        return self.frauds + self.false_alerts

    @property
    def alerts(self) -> int:
        return self.total + self.unjudged + self.waiting


class Contender(NamedTuple):
    """What is known of a version beside its scores."""

    threshold: float
    trained_until: float | None
    """Event time of the last row of its training, unix seconds; None: not recorded."""
    verdicts: Verdicts
    generated: bool = False
    """Trained on generated rows: any hold-out is new to it."""


class Outcome(StrEnum):
    PROMOTE = "promote"
    KEEP = "keep"
    """Not yet: more data may help."""
    REFUSE = "refuse"


class Decision(msgspec.Struct, frozen=True):
    outcome: Outcome
    reasons: tuple[str, ...]
    """With the numbers in them; of a promotion, what was passed."""
    evidence: dict[str, Any]
    """All figures that decided."""


class RollbackDecision(msgspec.Struct, frozen=True):
    roll_back: bool
    reason: str
    evidence: dict[str, Any]


def decide_promotion(
    hold_out: HoldOut, candidate: Contender, production: Contender, rules: PromotionRules | None = None
) -> Decision:
    """Promote, keep in its test, or refuse; see the module.

    Raises:
        ValueError: the hold-out cannot be measured (fewer than 2 cards).
    """
    rules = PromotionRules() if rules is None else rules
    frauds = int(hold_out.labels.sum())
    evidence: dict[str, Any] = {
        "rows": len(hold_out.labels),
        "frauds": frauds,
        "begins": hold_out.begins,
        "ends": hold_out.ends,
        "candidate_verdicts": list(candidate.verdicts[:2]),
        "production_verdicts": list(production.verdicts[:2]),
    }
    for name, contender in (("candidate", candidate), ("production", production)):
        if contender.generated:
            evidence[f"{name}_generated"] = True
            continue
        until = contender.trained_until
        evidence[f"{name}_trained_until"] = until
        if until is None or hold_out.begins <= until:
            said = "is not known" if until is None else f"ended at {until:.0f}"
            reason = f"hold-out begins at {hold_out.begins:.0f}, {name}'s training {said}: must be later"
            return Decision(Outcome.KEEP, (reason,), evidence)
    if frauds < rules.min_frauds or frauds == len(hold_out.labels):
        reason = f"{frauds} frauds in {len(hold_out.labels)} rows of the hold-out, needs {rules.min_frauds}"
        return Decision(Outcome.KEEP, (reason,), evidence)
    return _compared(hold_out, candidate, rules, evidence)


def decide_rollback(
    verdicts: Verdicts, promised: float | None, rules: PromotionRules | None = None
) -> RollbackDecision:
    """Whether production's live precision has fallen so far that the version before it is to come back.

    Args:
        verdicts: on the alerts that production made since it went live.
        promised: its precision on the hold-out before that; None: none is recorded, and nothing can fall
            below it.
    """
    rules = PromotionRules() if rules is None else rules
    live = wilson_interval(verdicts.frauds + verdicts.waiting, verdicts.alerts)
    evidence = verdicts._asdict() | {"precision": live.value}
    if promised is None:
        return RollbackDecision(False, "no precision on a hold-out is recorded to compare with", evidence)
    bound = rules.rollback_share * promised
    evidence |= {"high": live.high, "promised": promised, "bound": bound}
    if verdicts.total < rules.rollback_verdicts:
        reason = f"{verdicts.total} verdicts since it went live, needs {rules.rollback_verdicts}"
        return RollbackDecision(False, reason, evidence)
    due = verdicts.total + verdicts.unjudged
    if verdicts.total < rules.rollback_judged * due:
        reason = f"{verdicts.total} of {due} alerts are judged, needs {rules.rollback_judged:g} of them"
        return RollbackDecision(False, reason, evidence)
    said = (
        f"live precision {live.value:.3f} (at most {live.high:.3f}) of {verdicts.alerts} alerts with "
        f"{verdicts.total} verdicts, bound {bound:.3f} = {rules.rollback_share:g} of {promised:.3f}"
    )
    return RollbackDecision(live.high < bound, said, evidence)


def _compared(
    hold_out: HoldOut, candidate: Contender, rules: PromotionRules, evidence: dict[str, Any]
) -> Decision:
    f1 = at_threshold(hold_out.labels, hold_out.candidate, candidate.threshold).f1
    differences = paired_differences(
        hold_out.labels,
        hold_out.candidate,
        hold_out.production,
        hold_out.cards,
        hold_out.days,
        k=rules.k,
        resamples=rules.resamples,
        confidence=rules.confidence,
        seed=rules.seed,
    )
    evidence |= {"f1": f1, "k": rules.k, "differences": msgspec.to_builtins(differences)}
    said = [f"F1 {f1:.3f}, must be above {rules.min_f1:g}"]
    compared = (
        ("average precision", differences.average_precision, "better and not worse"),
        (f"card precision@{rules.k}", differences.card_precision, "not worse, nor"),
    )
    passed, hopeless = [f1 > rules.min_f1], f1 <= rules.min_f1
    for name, found, wanted in compared:
        better = found.value > 0 or (found.value == 0 and found is differences.card_precision)
        passed.append(better and found.low >= 0)
        hopeless |= found.high < 0
        said.append(
            f"{name} {found.value:+.4f} against production ({found.low:+.4f} to {found.high:+.4f}), "
            f"must be {wanted} anywhere in the interval"
        )
    verdicts = candidate.verdicts.total
    passed.append(verdicts >= rules.min_verdicts)
    said.append(f"{verdicts} verdicts on its alerts, needs {rules.min_verdicts}")
    if all(passed):
        return Decision(Outcome.PROMOTE, tuple(said), evidence)
    missed = tuple(reason for reason, good in zip(said, passed, strict=True) if not good)
    return Decision(Outcome.REFUSE if hopeless else Outcome.KEEP, missed, evidence)
