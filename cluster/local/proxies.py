"""The HTTP proxies of the user's environment: for what lies beyond this machine, never for itself.

Ray's processes speak gRPC and HTTP to each other on loopback, and their clients obey `http_proxy` and its
relatives: through a proxy nothing of that arrives. Downloads and a lake elsewhere go on using it.

Never: a change of a proxy's own address; less than what the user has excluded already.
"""

import socket
from collections.abc import Iterable, Mapping

import psutil

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
"""Looked for in any case."""
EXCEPTIONS = ("no_proxy", "NO_PROXY", "no_grpc_proxy")
"""Clients differ in the case that they read; gRPC reads the last one, and the first only without it."""
EVERYTHING = "*"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def own_names() -> list[str]:
    """Names and addresses by which this machine reaches itself."""
    addresses = [
        address.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    return list(dict.fromkeys([*LOOPBACK_NAMES, socket.gethostname(), *sorted(addresses)]))


def exceptions_for_this_machine(
    environment: Mapping[str, str], own: Iterable[str] | None = None
) -> dict[str, str]:
    """What to add to `environment` so that no proxy is asked for this machine (`own`); {} without a proxy."""
    if not any(name.lower() in PROXIES and value for name, value in environment.items()):
        return {}
    names = own_names() if own is None else list(own)
    general = _entries(environment, "no_proxy", "NO_PROXY")
    for_grpc = _entries(environment, "no_grpc_proxy") or general
    # A lone asterisk excludes everything already, and would mean nothing beside other entries.
    merged = EVERYTHING if EVERYTHING in general else ",".join(dict.fromkeys([*general, *names]))
    grpc = ",".join(dict.fromkeys([*for_grpc, *names]))
    return {"no_proxy": merged, "NO_PROXY": merged, "no_grpc_proxy": grpc}


def _entries(environment: Mapping[str, str], *variables: str) -> list[str]:
    listed = ",".join(environment.get(variable, "") for variable in variables)
    return [entry.strip() for entry in listed.split(",") if entry.strip()]
