"""The rules of promotion and rollback, applied to the registry: one look at a time, every step on record.

    candidate with an evaluation → test with a small share → production, or refused
    production whose live precision fell → the version before it

At most one change of the production version per look. A change that somebody else made meanwhile is not
overwritten; the next look sees it.

Never: a candidate without an evaluation; a rule of its own (see `ray_fraud.domain.promotion`).
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from batch.promotion.config import PromotionConfig
from batch.promotion.figures import live_figures, own_alerts
from ray_fraud.domain.live_comparison import LiveFigures
from ray_fraud.domain.promotion import (
    Contender,
    Decision,
    HoldOut,
    Outcome,
    Verdicts,
    decide_promotion,
    decide_rollback,
)
from ray_fraud.stores.hold_outs.port import HoldOuts
from ray_fraud.stores.ledger import model_changes as changes
from ray_fraud.stores.ledger.errors import RegistryConflict
from ray_fraud.stores.ledger.model_events import Cause, EventAction, previous_production
from ray_fraud.stores.ledger.queries import AlertQueries
from ray_fraud.stores.ledger.registry import ModelStatus, ModelVersion, Registry, Share, production_of
from ray_fraud.stores.models.port import ModelFiles

logger = logging.getLogger(__name__)

EVALUATION = "evaluation"
"""Where a version's metrics in the registry have the figures of its hold-out."""


class Step(msgspec.Struct, frozen=True):
    """One thing that was done or decided."""

    outcome: str
    """`tested`, `promoted`, `refused`, `rolled_back`, or `kept`."""
    model: str
    reasons: tuple[str, ...]


class KeeperReport(msgspec.Struct):
    """What one look did."""

    steps: list[Step] = []
    live: list[LiveFigures] = []
    """The live versions afterwards, production first; without figures of scores."""


class KeeperPorts(NamedTuple):
    registry: Registry
    alerts: AlertQueries
    models: ModelFiles
    hold_outs: HoldOuts
    newest_ms: Callable[[], int | None]
    """Time of the newest event, unix milliseconds; None for an empty lake."""


class ModelKeeper:
    """Driven by one thread."""

    def __init__(self, ports: KeeperPorts, config: PromotionConfig | None = None) -> None:
        self._ports = ports
        self._config = PromotionConfig() if config is None else config
        self._mature_ms: int | None = None
        """Alerts of transactions before it are mature, by event time."""
        self._decided: dict[tuple[str, str], tuple[object, Decision]] = {}
        """By pair of digests: what was decided by, so that the same figures are not resampled again."""

    def look(self) -> KeeperReport:
        """Applies the rules once.

        Raises:
            StoreError: a store did not answer; the next look does it.
        """
        report = KeeperReport()
        newest_ms = self._ports.newest_ms()
        self._mature_ms = None if newest_ms is None else newest_ms + 1 - self._config.maturity_ms
        try:
            if not self._roll_back(report) and not self._judge(report):
                self._begin_tests(report)
        except RegistryConflict as error:
            logger.warning("promotion: not done, the next look sees what changed: %s", error)
        report.live = live_figures(self._ports.registry.versions(), self._ports.alerts, {}, self._mature_ms)
        return report

    def _roll_back(self, report: KeeperReport) -> bool:
        """Whether production gave way."""
        registry = self._ports.registry
        fingerprint, versions = registry.fingerprint(), registry.versions()
        production = production_of(versions)
        if production is None:
            return False
        made = own_alerts(self._ports.alerts, production, self._mature_ms)
        unjudged = made.mature.unjudged
        waiting = made.alerts - made.frauds - made.false_alerts - unjudged
        verdicts = Verdicts(made.frauds, made.false_alerts, unjudged, waiting)
        decision = decide_rollback(verdicts, _promised(production), self._config.rules)
        if not decision.roll_back:
            return False
        history = registry.history()
        if previous_production(history, production.id) is None:
            reason = f"{decision.reason}; no version was in production before"
            self._tell(report, "kept", production, (reason,))
            return False
        shares = changes.rollback(versions, history)
        cause = Cause(why=decision.reason, action=EventAction.ROLLED_BACK, evidence=decision.evidence)
        registry.set_split(shares, expected_fingerprint=fingerprint, cause=cause)
        self._tell(report, "rolled_back", production, (decision.reason,))
        return True

    def _judge(self, report: KeeperReport) -> bool:
        """Decides about everything under test; whether one was promoted."""
        registry = self._ports.registry
        fingerprint, versions = registry.fingerprint(), registry.versions()
        production = production_of(versions)
        if production is None:
            return False
        for row in versions:
            if row.status is not ModelStatus.TESTING:
                continue
            decision = self._decision(row, production)
            if decision is None or decision.outcome is Outcome.KEEP:
                reasons = ("no hold-out with production",) if decision is None else decision.reasons
                self._tell(report, "kept", row, reasons)
                continue
            good = decision.outcome is Outcome.PROMOTE
            shares = (changes.promotion if good else changes.retirement)(versions, row.label)
            action = EventAction.PROMOTED if good else EventAction.REFUSED
            cause = Cause(why="; ".join(decision.reasons), action=action, evidence=decision.evidence)
            registry.set_split(shares, expected_fingerprint=fingerprint, cause=cause)
            self._tell(report, "promoted" if good else "refused", row, decision.reasons)
            if good:
                return True
            fingerprint, versions = registry.fingerprint(), registry.versions()
        return False

    def _begin_tests(self, report: KeeperReport) -> None:
        registry = self._ports.registry
        for candidate in [row for row in registry.versions() if row.status is ModelStatus.TRAINING]:
            fingerprint, versions = registry.fingerprint(), registry.versions()
            production = production_of(versions)
            if production is None or EVALUATION not in candidate.metrics:
                continue
            decision = self._decision(candidate, production)
            if decision is not None and decision.outcome is Outcome.REFUSE:
                why = "; ".join(decision.reasons)
                cause = Cause(why=why, action=EventAction.REFUSED, evidence=decision.evidence)
                registry.withdraw(candidate.id, cause=cause)
                self._tell(report, "refused", candidate, decision.reasons)
                continue
            if sum(row.status is ModelStatus.TESTING for row in versions) >= self._config.most_tested:
                self._tell(report, "kept", candidate, (f"{self._config.most_tested} are under test",))
                continue
            shares, why = self._test(versions, candidate, production)
            cause = Cause(why=why, action=EventAction.TESTING, evidence=candidate.metrics[EVALUATION])
            registry.set_split(shares, expected_fingerprint=fingerprint, cause=cause)
            self._tell(report, "tested", candidate, (why,))

    def _test(
        self, versions: list[ModelVersion], candidate: ModelVersion, production: ModelVersion
    ) -> tuple[list[Share], str]:
        share_bp = self._config.test_share_bp
        if production.share_bp - share_bp < self._config.least_production_bp:
            share_bp = 0
        why = f"under test with {share_bp / 100:g} % of the users"
        return changes.testing(versions, candidate.label, share_bp), why

    def _decision(self, candidate: ModelVersion, production: ModelVersion) -> Decision | None:
        """None: the two were never compared."""
        pair = (candidate.model_digest, production.model_digest)
        hold_out = self._ports.hold_outs.load(*pair)
        if hold_out is None:
            return None
        contenders = self._contender(candidate), self._contender(production)
        figures = (*contenders, *_identity(hold_out))
        known = self._decided.get(pair)
        if known is not None and known[0] == figures:
            return known[1]
        decision = decide_promotion(hold_out, *contenders, self._config.rules)
        self._decided[pair] = (figures, decision)
        return decision

    def _contender(self, row: ModelVersion) -> Contender:
        training = self._ports.models.load(row.model_digest).manifest.training
        made = own_alerts(self._ports.alerts, row, None)
        return Contender(
            row.threshold,
            None if training.period is None else training.period[1],
            Verdicts(made.frauds, made.false_alerts),
            generated=not training.saw_transactions,
        )

    def _tell(self, report: KeeperReport, outcome: str, row: ModelVersion, reasons: tuple[str, ...]) -> None:
        report.steps.append(Step(outcome, row.label, reasons))
        if outcome != "kept":
            logger.warning("promotion: %s %s: %s", row.label, outcome, "; ".join(reasons))


def _promised(row: ModelVersion) -> float | None:
    """Its precision on its hold-out; None if none is recorded, or one whose rows had not all matured."""
    evaluation = row.metrics.get(EVALUATION) or {}
    if evaluation.get("precision_interval") is None:
        return None
    promised: float | None = evaluation.get("precision")
    return promised


def _identity(hold_out: HoldOut) -> tuple[Any, ...]:
    """Tells hold-outs of one pair apart without keeping their rows."""
    sums = float(hold_out.candidate.sum()), float(hold_out.production.sum())
    return (len(hold_out.labels), int(hold_out.labels.sum()), hold_out.begins, hold_out.ends, *sums)
