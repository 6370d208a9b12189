"""Proxies in the environment: our own processes do not ask them for this machine."""

import socket
import urllib.request
from pathlib import Path

import pytest
from requests.utils import should_bypass_proxies

from cluster.local.proxies import EXCEPTIONS, PROXIES, exceptions_for_this_machine, own_names
from cluster.local.ray_address import RayAddress

PROXY = "http://proxy.example:3128"
OWN = ["localhost", "127.0.0.1", "::1", "here"]
ADDRESS = RayAddress(
    address="127.0.0.1:20001",
    token_file=Path("/nowhere/token"),
    dashboard_url="http://127.0.0.1:20002",
    metrics_url="http://127.0.0.1:20003/metrics",
    health_url="http://127.0.0.1:20004/api/local_raylet_healthz",
)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *EXCEPTIONS):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_proxy_nothing_is_changed() -> None:
    assert exceptions_for_this_machine({"PATH": "/bin", "http_proxy": ""}, OWN) == {}


@pytest.mark.parametrize("name", [*PROXIES, *(name.upper() for name in PROXIES), "Http_Proxy"])
def test_each_kind_of_proxy_gets_exceptions(name: str) -> None:
    excluded = exceptions_for_this_machine({name: PROXY}, OWN)
    assert excluded == dict.fromkeys(EXCEPTIONS, "localhost,127.0.0.1,::1,here")


def test_what_the_user_excluded_stays_excluded() -> None:
    given = {"http_proxy": PROXY, "no_proxy": ".corp, 10.0.0.0/8", "NO_PROXY": "db,localhost"}
    excluded = exceptions_for_this_machine(given, OWN)
    expected = ".corp,10.0.0.0/8,db,localhost,127.0.0.1,::1,here"
    assert excluded == dict.fromkeys(EXCEPTIONS, expected)


def test_grpc_has_a_list_of_its_own() -> None:
    given = {"grpc_proxy": PROXY, "no_proxy": "a", "no_grpc_proxy": "b"}
    excluded = exceptions_for_this_machine(given, OWN)
    assert excluded["no_proxy"] == "a,localhost,127.0.0.1,::1,here"
    assert excluded["no_grpc_proxy"] == "b,localhost,127.0.0.1,::1,here"


def test_an_asterisk_stays_alone() -> None:
    excluded = exceptions_for_this_machine({"http_proxy": PROXY, "no_proxy": "*"}, OWN)
    assert excluded["no_proxy"] == excluded["NO_PROXY"] == "*"


def test_this_machine_knows_its_addresses() -> None:
    names = own_names()
    assert {"localhost", "127.0.0.1", socket.gethostname()} <= set(names)
    assert not [name for name in names if "%" in name or "," in name]


def test_what_ray_and_its_drivers_are_started_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("no_proxy", ".corp")
    given = ADDRESS.environment()
    for name in EXCEPTIONS:
        assert given[name].split(",")[0] == ".corp"
        assert "127.0.0.1" in given[name].split(",")


def test_clients_of_python_go_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """They understand the form of the list, and what is elsewhere still goes through the proxy."""
    monkeypatch.setenv("http_proxy", PROXY)
    for name, value in ADDRESS.environment().items():
        monkeypatch.setenv(name, value)
    assert urllib.request.proxy_bypass("127.0.0.1:8000")
    assert urllib.request.proxy_bypass("localhost")
    assert not urllib.request.proxy_bypass("repo.example")
    assert urllib.request.getproxies()["http"] == PROXY
    assert should_bypass_proxies("http://127.0.0.1:8000/metrics", no_proxy=None)
    assert not should_bypass_proxies("http://repo.example/maven2", no_proxy=None)
