"""Model versions and the traffic split: the same on both databases."""

import pytest

from ray_fraud.domain.split import RULES_ONLY
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.ledger.errors import RegistryConflict
from ray_fraud.stores.ledger.registry import ModelStatus, ModelVersion, NewModel, Registry, Share
from tests.stores.ledger_world import LedgerWorld

PRODUCTION, TESTING, RETIRED = ModelStatus.PRODUCTION, ModelStatus.TESTING, ModelStatus.RETIRED


@pytest.fixture
def registry(ledger_world: LedgerWorld) -> Registry:
    return ledger_world.registry()


def model(digest: str, name: str = "isolation_forest") -> NewModel:
    return NewModel(name, f"{name}/{digest}", digest, 0.61, {"f1": 0.8, "rows": 1000})


@pytest.fixture
def three(registry: Registry) -> list[ModelVersion]:
    """Registered versions: isolation_forest 1 and 2, random_forest 1."""
    return [
        registry.register(model("digest-a")),
        registry.register(model("digest-b")),
        registry.register(model("digest-c", "random_forest")),
    ]


def test_versions_are_numbered_by_name(registry: Registry, three: list[ModelVersion]) -> None:
    assert [row.label for row in registry.versions()] == [
        "isolation_forest:1",
        "isolation_forest:2",
        "random_forest:1",
    ]
    assert registry.versions() == three
    first = three[0]
    assert (first.status, first.share_bp, first.deployed_at_ms) == (ModelStatus.TRAINING, 0, None)
    assert (first.metrics, first.threshold) == ({"f1": 0.8, "rows": 1000}, 0.61)


def test_registering_again_changes_nothing(registry: Registry, three: list[ModelVersion]) -> None:
    before = registry.fingerprint()
    assert registry.register(model("digest-b")) == three[1]
    assert (len(registry.versions()), registry.fingerprint()) == (3, before)


def test_without_a_live_version_there_are_only_rules(registry: Registry, three: list[ModelVersion]) -> None:
    assert registry.current_split() == RULES_ONLY


def test_a_split_names_production_first(registry: Registry, three: list[ModelVersion]) -> None:
    a, b, c = three
    split = registry.set_split(
        [Share(a.id, TESTING, 1000), Share(c.id, PRODUCTION, 8999), Share(b.id, TESTING, 1)]
    )
    assert [(arm.label, arm.share_bp) for arm in split.arms] == [
        ("random_forest:1", 8999),
        ("isolation_forest:1", 1000),
        ("isolation_forest:2", 1),
    ]
    assert split.arms[0].model_digest == "digest-c"
    assert registry.current_split() == split
    assert all(row.deployed_at_ms is not None for row in registry.versions())


def test_promotion_and_rollback(registry: Registry, three: list[ModelVersion]) -> None:
    a, b, _ = three
    first = registry.set_split([Share(a.id, PRODUCTION, 10_000)])
    second = registry.set_split([Share(b.id, PRODUCTION, 10_000)])
    assert [arm.version for arm in second.arms] == [2]
    assert [row.status for row in registry.versions()][:2] == [RETIRED, PRODUCTION]
    assert registry.set_split([Share(a.id, PRODUCTION, 10_000)]) == first
    swapped = registry.set_split([Share(b.id, PRODUCTION, 9000), Share(a.id, TESTING, 1000)])
    assert swapped.salt == first.salt


def test_a_new_salt_stays(registry: Registry, three: list[ModelVersion]) -> None:
    shares = [Share(three[0].id, PRODUCTION, 10_000)]
    assert registry.set_split(shares, salt="experiment-2").salt == "experiment-2"
    assert registry.set_split(shares).salt == "experiment-2"


@pytest.mark.parametrize(
    "shares",
    [
        [],
        [Share(1, TESTING, 10_000)],
        [Share(1, PRODUCTION, 9_999)],
        [Share(1, PRODUCTION, 9_000), Share(2, TESTING, 1_001)],
        [Share(1, PRODUCTION, 5_000), Share(2, PRODUCTION, 5_000)],
        [Share(1, PRODUCTION, 11_000), Share(2, TESTING, -1_000)],
        [Share(1, PRODUCTION, 5_000), Share(1, TESTING, 5_000)],
        [Share(1, PRODUCTION, 10_000), Share(2, RETIRED, 0)],
        [Share(1, PRODUCTION, 9_000), Share(99, TESTING, 1_000)],
    ],
)
def test_a_wrong_split_changes_nothing(
    registry: Registry, three: list[ModelVersion], shares: list[Share]
) -> None:
    registry.set_split([Share(three[2].id, PRODUCTION, 10_000)])
    before = (registry.versions(), registry.fingerprint())
    with pytest.raises(RegistryConflict):
        registry.set_split(shares)
    assert (registry.versions(), registry.fingerprint()) == before


def test_of_two_promoters_one_is_refused(ledger_world: LedgerWorld, three: list[ModelVersion]) -> None:
    one, other = ledger_world.registry(), ledger_world.registry()
    read = one.fingerprint()
    assert other.fingerprint() == read
    one.set_split([Share(three[0].id, PRODUCTION, 10_000)], expected_fingerprint=read)
    with pytest.raises(RegistryConflict, match="changed since"):
        other.set_split([Share(three[1].id, PRODUCTION, 10_000)], expected_fingerprint=read)
    assert [arm.version for arm in one.current_split().arms] == [1]


def test_the_fingerprint_shows_every_change(registry: Registry) -> None:
    seen = [registry.fingerprint()]
    added = registry.register(model("digest-a"))
    seen.append(registry.fingerprint())
    registry.set_split([Share(added.id, PRODUCTION, 10_000)])
    seen.append(registry.fingerprint())
    registry.set_split([Share(added.id, PRODUCTION, 10_000)], salt="another")
    seen.append(registry.fingerprint())
    assert len(set(seen)) == 4
    assert registry.fingerprint() == seen[-1]


def test_an_unknown_slot_is_refused(registry: Registry) -> None:
    for call in (
        lambda: registry.fingerprint("no-such-slot"),
        lambda: registry.register(model("digest-a"), "no-such-slot"),
        lambda: registry.set_split([Share(1, PRODUCTION, 10_000)], slot="no-such-slot"),
    ):
        with pytest.raises(StoreRefused, match="no-such-slot"):
            call()
