"""Changes that people and rules ask for: what becomes of everyone's users."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_fraud.stores.ledger import model_changes as changes
from ray_fraud.stores.ledger.errors import RegistryConflict
from ray_fraud.stores.ledger.memory_registry import MemoryRegistry
from ray_fraud.stores.ledger.model_events import Cause, EventAction
from ray_fraud.stores.ledger.registry import ModelStatus, NewModel, Share

ROLLED_BACK = Cause("ana", action=EventAction.ROLLED_BACK)


def registry_of(*shares_bp: int, more: int = 0) -> MemoryRegistry:
    """forest:1 in production, forest:2 … under test with these shares, and `more` versions in training."""
    registry = MemoryRegistry()
    for number in range(len(shares_bp) + more):
        registry.register(NewModel("forest", f"{number}", f"{number}", 0.5))
    status = [ModelStatus.PRODUCTION] + [ModelStatus.TESTING] * (len(shares_bp) - 1)
    registry.set_split([Share(n + 1, status[n], share) for n, share in enumerate(shares_bp)])
    return registry


def shown(registry: MemoryRegistry) -> dict[str, tuple[str, int]]:
    return {row.label: (row.status.value, row.share_bp) for row in registry.versions()}


def test_a_promotion_takes_both_shares_and_leaves_the_others() -> None:
    registry = registry_of(8_000, 1_500, 500)
    registry.set_split(changes.promotion(registry.versions(), "forest:2"))
    assert shown(registry) == {
        "forest:1": ("retired", 0),
        "forest:2": ("production", 9_500),
        "forest:3": ("testing", 500),
    }


def test_rolling_back_undoes_promotions_one_by_one() -> None:
    registry = registry_of(10_000, more=2)
    for label in ("forest:2", "forest:3"):
        registry.set_split(changes.promotion(registry.versions(), label))
    for label in ("forest:2", "forest:1"):
        registry.set_split(changes.rollback(registry.versions(), registry.history()), cause=ROLLED_BACK)
        assert shown(registry)[label] == ("production", 10_000)
    with pytest.raises(RegistryConflict, match="no version was in production before forest:1"):
        changes.rollback(registry.versions(), registry.history())


def test_a_test_takes_its_share_from_production_and_gives_it_back() -> None:
    registry = registry_of(9_000, 1_000, more=1)
    registry.set_split(changes.testing(registry.versions(), "forest:3", 0))
    assert shown(registry)["forest:3"] == ("testing", 0)
    registry.set_split(changes.testing(registry.versions(), "forest:3", 500))
    assert shown(registry)["forest:1"] == ("production", 8_500)
    registry.set_split(changes.retirement(registry.versions(), "forest:2"))
    assert shown(registry) == {
        "forest:1": ("production", 9_500),
        "forest:2": ("retired", 0),
        "forest:3": ("testing", 500),
    }


def test_a_split_by_labels_keeps_production() -> None:
    registry = registry_of(9_000, 1_000, more=1)
    wanted = {"forest:3": 2_000, "forest:1": 8_000, "forest:2": 0}
    registry.set_split(changes.shares_by_label(registry.versions(), wanted))
    assert shown(registry) == {
        "forest:1": ("production", 8_000),
        "forest:2": ("testing", 0),
        "forest:3": ("testing", 2_000),
    }


def test_what_cannot_be_is_refused_with_what_can() -> None:
    registry = registry_of(9_000, 1_000, more=1)
    rows = registry.versions()
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: changes.promotion(rows, "tree:1"), "there is no model tree:1; known: forest:1, forest:2"),
        (lambda: changes.promotion(rows, "forest:1"), "in production already"),
        (lambda: changes.retirement(rows, "forest:1"), "promote another version"),
        (lambda: changes.retirement(rows, "forest:3"), "forest:3 is training and has no users"),
        (lambda: changes.testing(rows, "forest:3", 9_001), "production has 9000"),
        (lambda: changes.testing(rows, "forest:1", 1), "is in production"),
        (lambda: changes.shares_by_label(rows, {"forest:2": 10_000}), "forest:1 is in production and must"),
        (lambda: changes.shares_by_label(rows, {"forest:1": 9_999}), "99.99 %, must be 100 %"),
        (lambda: changes.rollback(MemoryRegistry().versions(), []), "no version is in production"),
    ]
    for call, message in calls:
        with pytest.raises(RegistryConflict, match=message):
            call()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 10_000)), max_size=12))
def test_whatever_is_asked_for_there_is_one_production_and_every_user_has_a_model(
    steps: list[tuple[int, int, int]],
) -> None:
    registry = registry_of(9_000, 1_000, more=2)
    for kind, number, share in steps:
        rows, label = registry.versions(), f"forest:{number}"
        try:
            shares = (
                lambda: changes.promotion(rows, label),  # noqa: B023
                lambda: changes.rollback(rows, registry.history()),  # noqa: B023
                lambda: changes.testing(rows, label, share),  # noqa: B023
                lambda: changes.retirement(rows, label),  # noqa: B023
                lambda: changes.shares_by_label(rows, {label: share, "forest:1": 10_000 - share}),  # noqa: B023
            )[kind]()
        except RegistryConflict:
            continue
        registry.set_split(shares)
        live = [row for row in registry.versions() if row.status in ("testing", "production")]
        assert sum(row.status is ModelStatus.PRODUCTION for row in live) == 1
        assert sum(row.share_bp for row in live) == 10_000


@pytest.mark.parametrize(
    ("text", "points"), [("70", 7_000), ("0", 0), ("2.5", 250), ("0.01", 1), ("100", 10_000)]
)
def test_shares_in_per_cent(text: str, points: int) -> None:
    assert changes.basis_points(text) == points


@pytest.mark.parametrize("text", ["", "x", "-1", "100.01", "0.001", "nan", "inf", "1e9"])
def test_shares_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="per cent"):
        changes.basis_points(text)
