"""The whole stack with Ray: guarded, on loopback, side by side with another one, gone when stopped."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from cluster.local.processes import end, is_alive
from cluster.local.ray_address import RayAddress
from cluster.local.ray_node import RayOptions
from cluster.local.stack import LocalStack
from cluster.local.stack_record import Health

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

DRIVER = """
import os, sys
from pathlib import Path
from cluster.local.stack import LocalStack
import ray  # imported before the environment is set: connecting must not depend on the order
LocalStack(Path(sys.argv[1])).connect()
@ray.remote
class Actor:
    def look(self):
        return os.nice(0), os.environ.get("RAY_FRAUD_STACK", "")
actor = Actor.options(name="survivor", lifetime="detached", get_if_exists=True, num_cpus=0).remote()
print(*ray.get(actor.look.remote(), timeout=60))
"""
STRANGER = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
"""

IMPATIENT = {"RAY_NUM_REDIS_GET_RETRIES": "1"}
"""Ray repeats a refused connection twenty times otherwise."""


def _run(code: str, argument: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code, str(argument)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _stack(folder: str) -> LocalStack:
    return LocalStack(Path(folder), ray=RayOptions(dashboard=False))


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A whole stack; its folder is too deep for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder:
        stack = _stack(f"{folder}/{'deep/' * 20}stack")
        for parent in stack.paths.data_dir.parents:
            if parent.is_relative_to(folder):
                parent.mkdir(parents=True, exist_ok=True)
        Path(folder).chmod(0o711)
        yield stack
        stack.stop()


@pytest.fixture(scope="module")
def address(stack: LocalStack) -> RayAddress:
    with ThreadPoolExecutor(1) as pool:
        servers = pool.submit(stack.start_servers)
        address = stack.start_ray()
        servers.result()
    return address


def test_all_services_are_healthy(stack: LocalStack, address: RayAddress) -> None:
    states = stack.state()
    assert {name: state.health for name, state in states.items()} == dict.fromkeys(
        ("kafka", "redis", "postgres", "ray"), Health.HEALTHY
    )
    assert states["ray"].address == address.address


def test_a_driver_connects_and_workers_carry_the_mark(stack: LocalStack, address: RayAddress) -> None:
    done = _run(DRIVER, stack.paths.data_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"0 {stack.ledger.stack_id}\n"
    titles = [" ".join(process.cmdline()) for process in stack.ledger.marked("ray")]
    assert any("ray::Actor" in title for title in titles)


def test_a_client_without_the_token_is_refused(address: RayAddress) -> None:
    allowed = _run(STRANGER, address.address, **address.environment(), **IMPATIENT)
    assert allowed.returncode == 0, allowed.stderr
    environment = {**address.environment(), "RAY_AUTH_MODE": "disabled", **IMPATIENT}
    done = _run(STRANGER, address.address, **environment)
    assert done.returncode != 0
    assert "Failed to connect" in done.stderr


def test_ray_listens_on_loopback_only(stack: LocalStack, address: RayAddress) -> None:
    listening = {
        (listener.laddr[0], listener.laddr[1])
        for process in stack.ledger.members("ray")
        for listener in process.net_connections("inet")
        if listener.status == psutil.CONN_LISTEN and listener.laddr
    }
    assert {ip.removeprefix("::ffff:") for ip, _ in listening} == {"127.0.0.1"}
    assert {port for _, port in listening} <= set(range(20_000, 32_000))


def test_a_second_stack_runs_beside_and_stops_alone(stack: LocalStack, address: RayAddress) -> None:
    with tempfile.TemporaryDirectory(prefix="ray-fraud-tests-", ignore_cleanup_errors=True) as folder:
        other = _stack(folder)
        try:
            other_address = other.start_ray()
            assert other_address.address != address.address
            assert other.state()["ray"].health is Health.HEALTHY
            with_the_wrong_token = _run(STRANGER, address.address, **other_address.environment(), **IMPATIENT)
            assert with_the_wrong_token.returncode != 0
            assert "Failed to connect" in with_the_wrong_token.stderr
        finally:
            other.stop()
        assert other.ledger.marked() == []
    assert stack.state()["ray"].health is Health.HEALTHY


def test_all_comes_back_after_kill_9_of_everything(stack: LocalStack, address: RayAddress) -> None:
    end(stack.ledger.marked(), patience=timedelta(seconds=10), first=signal.SIGKILL)
    assert stack.ledger.marked() == []
    assert stack.start_servers() is not None
    assert stack.start_ray() == address
    assert {state.health for state in stack.state().values()} == {Health.HEALTHY}


def test_survivors_of_a_dead_node_are_ended_by_the_next_start(stack: LocalStack, address: RayAddress) -> None:
    nodes = [each for each in stack.ledger.members("ray") if each.name() in ("gcs_server", "raylet")]
    assert len(nodes) == 2
    survivors = {each.pid for each in stack.ledger.members("ray")} - {each.pid for each in nodes}
    end(nodes, patience=timedelta(seconds=10), first=signal.SIGKILL)
    assert stack.start_ray() == address
    assert stack.state()["ray"].health is Health.HEALTHY
    assert survivors.isdisjoint(each.pid for each in stack.ledger.members("ray"))


def test_stopping_leaves_no_process_behind(stack: LocalStack, address: RayAddress) -> None:
    assert _run(DRIVER, stack.paths.data_dir).returncode == 0
    everything = stack.ledger.marked()
    assert len(everything) > 8
    assert _links_to(stack.paths.ray)
    stack.stop()
    assert stack.ledger.marked() == []
    assert not [process for process in everything if is_alive(process.pid)]
    assert {state.health for state in stack.state().values()} == {Health.DOWN}
    assert not _links_to(stack.paths.ray)


def _links_to(folder: Path) -> list[Path]:
    """The short names under which Ray knows a folder whose path is too long for its sockets."""
    links = [path for path in Path(tempfile.gettempdir()).glob("ray-fraud-*") if path.is_symlink()]
    return [link for link in links if link.readlink() == folder]
