"""New feature tables reach the supervisor through Ray's object store, or are left to the files."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from batch.features.config import FeatureConfig
from batch.features.offer import offer
from ray_fraud.stores.feature_tables.parts import Parts

NAMESPACE = "offer-tests"
PARTS = Parts({"a": b"profiles" * 50_000, "b": b"risks"}, "b")


class Supervisor:
    """Keeps what it is offered."""

    def __init__(self) -> None:
        self.offers: list[tuple[str, list[bytes]]] = []

    def offer_features(self, digest: str, contents: list[Any]) -> None:
        self.offers.append((digest, [content.tobytes() for content in ray.get(contents)]))

    def seen(self) -> list[tuple[str, list[bytes]]]:
        return self.offers


@pytest.fixture
def supervisor(local_ray: None) -> Iterator[Any]:
    actor: Any = ray.remote(Supervisor).options(name="supervisor", namespace=NAMESPACE).remote()
    yield actor
    ray.kill(actor)


def config_for(name: str) -> FeatureConfig:
    return FeatureConfig(model_cache=Path("unused"), namespace=NAMESPACE, supervisor=name)


@pytest.mark.cluster
@pytest.mark.timeout(240, func_only=True)
def test_the_supervisor_gets_references_to_the_contents(supervisor: Any) -> None:
    offered: list[Any] = []
    offer(config_for("supervisor"), PARTS, offered)
    assert ray.get(supervisor.seen.remote(), timeout=60) == [("b", list(PARTS.contents.values()))]
    assert len(offered) == 2, "who made them keeps them in the store"


@pytest.mark.cluster
@pytest.mark.timeout(240, func_only=True)
def test_without_a_supervisor_it_is_said_and_nothing_fails(
    local_ray: None, caplog: pytest.LogCaptureFixture
) -> None:
    offered: list[Any] = []
    with caplog.at_level(logging.WARNING):
        offer(config_for("nobody"), PARTS, offered)
    assert "not offered, owners read the files" in caplog.text
    caplog.clear()
    offer(config_for(""), PARTS, offered)
    assert (caplog.text, offered) == ("", [])
