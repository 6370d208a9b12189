"""The learning demo's own decisions: which versions it compares, what it shows, whether its periods fit."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from batch.training.labelled import time_folds
from cluster.local import learning
from cluster.local.learning import (
    DAY_SECONDS,
    LEARNING,
    START,
    Judged,
    LearningPlan,
    LearningResult,
    first_and_promoted,
    steps_of,
)
from cluster.local.paths import StackPaths
from cluster.local.stack_record import StackRecord, write_record
from ray_fraud.cli import main
from ray_fraud.cli.demo_learning import learning_view
from ray_fraud.domain.batch_settings import PromotionSettings
from ray_fraud.domain.evaluation import Evaluation
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
)
from ray_fraud.stores.ledger import model_changes as changes
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.memory_registry import MemoryRegistry
from ray_fraud.stores.ledger.model_events import EventAction
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Share

MILLISECONDS = 1000


@pytest.fixture
def registry() -> MemoryRegistry:
    """As after a first start: one version in production, one under test."""
    made = MemoryRegistry(MemoryDatabase())
    first, second, _, _ = (made.register(NewModel("forest", f"{n}", f"{n}" * 64, 0.5)) for n in range(4))
    made.set_split([
        Share(first.id, ModelStatus.PRODUCTION, 9_000), Share(second.id, ModelStatus.TESTING, 1_000)
    ])  # fmt: skip
    return made


def compared(registry: MemoryRegistry) -> tuple[str, str | None]:
    first, promoted = first_and_promoted(registry.versions(), registry.history())
    return first.label, None if promoted is None else promoted.label


def test_the_first_version_is_compared_with_the_one_that_was_promoted_last(registry: MemoryRegistry) -> None:
    assert compared(registry) == ("forest:1", None)
    registry.set_split(changes.testing(registry.versions(), "forest:3", 3_000))
    assert compared(registry) == ("forest:1", None)
    registry.set_split(changes.promotion(registry.versions(), "forest:3"))
    assert compared(registry) == ("forest:1", "forest:3")
    registry.set_split(changes.promotion(registry.versions(), "forest:4"))
    assert compared(registry) == ("forest:1", "forest:4")


def test_a_promotion_that_was_rolled_back_is_shown_all_the_same(registry: MemoryRegistry) -> None:
    registry.set_split(changes.promotion(registry.versions(), "forest:3"))
    registry.set_split(changes.rollback(registry.versions(), registry.history()))
    assert compared(registry) == ("forest:1", "forest:3")


def test_each_step_is_told_with_the_names_of_its_versions(registry: MemoryRegistry) -> None:
    registry.set_split(changes.testing(registry.versions(), "forest:3", 3_000))
    registry.set_split(changes.promotion(registry.versions(), "forest:3"))
    steps = steps_of(registry.versions(), registry.history())
    assert [step.action for step in steps[:4]] == [EventAction.REGISTERED] * 4
    assert [step.models for step in steps[:4]] == [(f"forest:{n}",) for n in range(1, 5)]
    first_split, test, promotion = steps[4:]
    assert first_split.production == test.production == "forest:1"
    assert (test.action, test.models) == (EventAction.TESTING, ("forest:1", "forest:3"))
    assert (promotion.action, promotion.production) == (EventAction.PROMOTED, "forest:3")
    text = shown(msgspec.structs.replace(result(None), steps=steps))
    lines = [line.split()[1:] for line in text.splitlines()]
    told = [words for words in lines if len(words) > 1 and words[0] in ("testing", "promoted")]
    assert told == [["promoted", "forest:1"], ["testing", "forest:3"], ["promoted", "forest:3"]]


def test_the_history_holds_whole_folds_and_a_whole_training() -> None:
    plan, periods = LearningPlan(), LEARNING.training
    first = round(START * MILLISECONDS)
    mature = plan.history_days - LEARNING.features.label_maturity_days
    until = first + round(mature * DAY_SECONDS * MILLISECONDS)
    lengths = {"gap_days": periods.gap_days, "train_days": periods.train_days}
    (final,) = time_folds(first, until, count=1, test_days=periods.holdout_days, **lengths)
    folds = time_folds(
        first, final.train.until_ms, count=periods.folds, test_days=periods.fold_days, **lengths
    )
    assert {fold.train.days for fold in (final, *folds)} == {periods.train_days}


def test_no_bound_of_the_promotion_is_lowered_for_the_demo() -> None:
    shown = msgspec.structs.replace(LEARNING.promotion, test_percent=PromotionSettings().test_percent)
    assert shown == PromotionSettings()


def evaluation(precision: float, recall: float) -> Evaluation:
    return Evaluation(
        rows=1_000,
        frauds=30,
        days=12.0,
        threshold=0.5,
        auc_roc=None,
        average_precision=0.25,
        card_precision_at_k=0.1,
        k=20,
        precision=precision,
        recall=recall,
        f1=0.5,
        alerts=20,
        alerts_per_day=1.7,
        money_caught=10.0,
        money_missed=20.0,
    )


def result(promoted: Judged | None, training: dict[str, Any] | None = None) -> LearningResult:
    first = Judged("forest:1", evaluation(0.111, 0.222))
    verdicts = {"true_fraud": 5, "false_positive": 7, "chargebacks": 1_200}
    return LearningResult(first, promoted, training or {"rows": 50_000}, [], verdicts, 61.4)


def shown(learned: LearningResult) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(learning_view(learned))
    return captured.get()


def test_both_models_are_shown_beside_each_other() -> None:
    text = shown(result(Judged("boosting:1", evaluation(0.888, 0.777))))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.strip()}
    assert rows["first"] == ["promoted"]
    assert rows["model"] == ["forest:1", "boosting:1"]
    assert rows["precision"] == ["0.111", "0.888"]
    assert rows["recall"] == ["0.222", "0.777"]
    assert max(map(len, text.splitlines())) <= 80
    assert " ".join(rows["verdicts"]) == "5 true fraud, 7 false positive, 1,200 chargebacks"


def test_a_loop_without_a_promotion_says_so_and_why() -> None:
    text = shown(result(None, {"not_enough": "12 days of labelled history"}))
    assert "no candidate was promoted" in text
    assert "12 days of labelled history" in text


@pytest.mark.parametrize(
    ("promoted", "exit_code", "status"),
    [(Judged("boosting:1", evaluation(0.9, 0.8)), 0, "ok"), (None, 1, "failed")],
)
def test_the_command_succeeds_only_with_a_promotion(
    monkeypatch: pytest.MonkeyPatch, promoted: Judged | None, exit_code: int, status: str
) -> None:
    monkeypatch.setattr(learning, "run_learning", lambda *_: result(promoted))
    done = CliRunner().invoke(main, ["demo", "--learn", "--output", "json"])
    assert done.exit_code == exit_code, done.output
    answer = json.loads(done.stdout)
    assert (answer["command"], answer["status"]) == ("demo", status)
    assert answer["data"]["first"]["evaluation"]["precision"] == 0.111


@pytest.mark.parametrize("option", ["--seconds", "--tps", "--users"])
def test_options_that_the_loop_has_no_use_for_are_refused(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr(learning, "run_learning", lambda *_: result(None))
    done = CliRunner().invoke(main, ["demo", "--learn", option, "5"])
    assert done.exit_code == 2
    assert option in done.output


def test_a_folder_in_which_a_stack_ran_before_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(learning, "run_learning", lambda *_: result(None))
    known = Connections(
        KafkaConnection("127.0.0.1:1"),
        RedisConnection("redis://127.0.0.1:1/0"),
        PostgresConnection("postgresql://me@127.0.0.1:1/fraud"),
        LakeLocation("file:///nowhere"),
    )
    write_record(StackPaths(tmp_path), StackRecord(connections=known))
    done = CliRunner().invoke(main, ["demo", "--learn", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "choose another --data-dir" in done.output
