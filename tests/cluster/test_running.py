"""What is decided before anything is started, and ending what does not run."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.config import Scoring
from cluster.local.failures import PortInUseError
from cluster.local.platform_state import platform_state, saved_config
from cluster.local.running import (
    OtherConfigurationError,
    bring_down,
    find_running,
    hot_path_config,
    other_partitions,
    refuse_other_servers,
)
from cluster.local.stack import LocalStack
from cluster.local.stack_record import ExternalServers, Health, StackRecord, write_record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    Topics,
    to_json,
)
from ray_fraud.stores.log.port import WrongPartitionCount

CONNECTIONS = Connections(
    KafkaConnection("127.0.0.1:1"),
    RedisConnection("redis://127.0.0.1:1/0"),
    PostgresConnection("postgresql://me@127.0.0.1:1/fraud"),
    LakeLocation("file:///nowhere"),
)
LISTENER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sys.stdin.read()
"""
OTHER = ExternalServers(kafka=KafkaConnection("other:9092"))


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    stack = LocalStack(tmp_path / "data")
    stack.paths.prepare()
    return stack


@pytest.fixture
def ray_process(stack: LocalStack) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that the ledger takes for a Ray of this stack."""
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **stack.ledger.environment("ray")},
    )
    with process:
        yield process
        process.kill()


def test_nothing_is_found_and_nothing_is_made_where_nothing_was(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path / "nothing")
    assert find_running(stack) is None
    assert {state.health for state in platform_state(stack).services.values()} == {Health.DOWN}
    bring_down(stack, print)
    assert not stack.paths.data_dir.exists()


def test_the_metrics_port_is_kept(stack: LocalStack) -> None:
    first = hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE)
    assert hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE) == first


def test_a_metrics_port_of_another_program_is_reported(stack: LocalStack) -> None:
    port = hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE).metrics_port
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(PortInUseError, match=f"metrics: port {port}"),
    ):
        hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE)


def test_a_metrics_port_of_our_own_actor_is_fine(
    stack: LocalStack, ray_process: "subprocess.Popen[bytes]"
) -> None:
    assert ray_process.stdout is not None
    port = int(ray_process.stdout.readline())
    stack.paths.ports.write_text(f'{{"metrics": {port}}}')
    assert hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE).metrics_port == port


def test_a_running_stack_keeps_its_servers(stack: LocalStack, ray_process: "subprocess.Popen[bytes]") -> None:
    assert ray_process.stdout is not None
    ray_process.stdout.readline()
    write_record(stack.paths, StackRecord(connections=CONNECTIONS))
    refuse_other_servers(stack)
    other = LocalStack(stack.paths.data_dir, external=OTHER)
    with pytest.raises(OtherConfigurationError, match="ray-fraud down"):
        refuse_other_servers(other)


def test_a_stopped_stack_may_get_other_servers(stack: LocalStack) -> None:
    write_record(stack.paths, StackRecord(connections=CONNECTIONS))
    refuse_other_servers(LocalStack(stack.paths.data_dir, external=OTHER))


def test_the_configuration_of_another_release_is_not_believed(stack: LocalStack) -> None:
    assert saved_config(stack) is None
    config = hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE)
    stack.save_hot_path(to_json(config))
    assert saved_config(stack) == config
    stack.save_hot_path(b'{"unknown": 1}')
    assert saved_config(stack) is None


def test_the_limit_of_a_stall_is_remembered(stack: LocalStack) -> None:
    def limit(asked: float | None = None) -> float:
        config = hot_path_config(stack, CONNECTIONS, DetectionSettings(), Scoring.SERVE, stall_seconds=asked)
        stack.save_hot_path(to_json(config))
        return config.stall_seconds

    assert (limit(), limit(12.0), limit()) == (30.0, 12.0, 12.0)


def test_a_topic_that_was_grown_says_what_to_set_and_where_the_number_is(tmp_path: Path) -> None:
    wrong = WrongPartitionCount("transactions", 5, 2)
    unnamed = LocalStack(tmp_path / "data")
    message = str(other_partitions(unnamed, wrong))
    for part in (
        "has 5 partitions, the settings say 2",
        f"remembered in {unnamed.paths.state}",
        "`topics.partitions`",
        "`ray-fraud up --connections FILE`",
        "were not checked",
    ):
        assert part in message
    named = LocalStack(tmp_path / "data", external=ExternalServers(topics=Topics(partitions=2)))
    assert "comes from `topics.partitions` of the connections file" in str(other_partitions(named, wrong))
