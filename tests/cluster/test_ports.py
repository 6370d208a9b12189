"""Ports of a stack: chosen once, remembered, checked."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local.failures import LocalStackError, PortInUseError
from cluster.local.paths import StackPaths
from cluster.local.ports import PORT_RUNS, SINGLE_PORTS, Ports


@pytest.fixture
def paths(tmp_path: Path) -> StackPaths:
    paths = StackPaths(tmp_path / "stack")
    paths.prepare()
    return paths


@pytest.fixture
def foreign_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_is_remembered_for_the_next_start(paths: StackPaths) -> None:
    port = Ports(paths).claim("kafka")
    assert port in SINGLE_PORTS
    assert Ports(paths).claim("kafka") == port
    assert Ports(paths).of("kafka") == port


def test_services_get_different_ports(paths: StackPaths) -> None:
    ports = Ports(paths)
    names = [f"service-{number}" for number in range(50)]
    assert len({ports.claim(name) for name in names}) == len(names)


def test_a_run_lies_apart_from_single_ports(paths: StackPaths) -> None:
    first = Ports(paths).claim("ray.workers", count=300)
    assert first in PORT_RUNS
    assert first + 299 in PORT_RUNS
    assert set(SINGLE_PORTS).isdisjoint(PORT_RUNS)


def test_a_port_in_use_is_an_error_that_names_port_and_program(paths: StackPaths, foreign_port: int) -> None:
    with pytest.raises(PortInUseError, match=f"kafka: port {foreign_port} is in use") as caught:
        Ports(paths).claim("kafka", asked=foreign_port)
    assert caught.value.port == foreign_port
    assert f"(pid {os.getpid()})" in str(caught.value)


def test_a_remembered_port_in_use_is_not_silently_replaced(paths: StackPaths) -> None:
    port = Ports(paths).claim("kafka")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        with pytest.raises(PortInUseError):
            Ports(paths).claim("kafka")
        assert Ports(paths).of("kafka") == port


def test_a_broken_file_says_what_to_do(paths: StackPaths) -> None:
    paths.ports.write_text('{"kafka": "many"}')
    with pytest.raises(LocalStackError, match="remove the file"):
        Ports(paths).claim("kafka")
