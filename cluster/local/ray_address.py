"""Where the stack's Ray listens, and how a driver of this machine connects to it.

Never: the token itself (it is named by file), `address="auto"`, Ray's words on stdout.
"""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from actors.config import NAMESPACE
from cluster.local.proxies import exceptions_for_this_machine

LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own name: "0" makes it keep 127.0.0.1 as the node's address on Linux too, so that its servers listen
on loopback; otherwise it puts the machine's outer address in its place and listens on all of them."""


class RayAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    address: str
    """`host:port` of Ray's control service."""
    token_file: Path
    dashboard_url: str
    metrics_url: str
    """Ray's own metrics of this node, for Prometheus."""
    health_url: str

    def environment(self) -> dict[str, str]:
        """What a driver process must have in its environment before it imports Ray."""
        return {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            LOOPBACK_ONLY: "0",
            **exceptions_for_this_machine(os.environ),
        }

    def connect(self, **options: Any) -> None:
        """Connect this process, as a driver in the platform's namespace; `options` go to `ray.init`.

        What Ray has to tell a driver goes to stderr from now on: stdout is for results.

        Raises:
            ConnectionError: Ray is not there, or refuses the token.
        """
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ.update(self.environment())
        import ray
        from ray._private import ray_constants, worker
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # no stubs

        # Read from the environment when Ray was imported, which may have been before.
        ray_constants.ENABLE_RAY_CLUSTER = False
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
        # A node's warnings ("8 PYTHON worker processes have been started …") come whatever is chosen below.
        worker.print_worker_logs = _to_stderr(worker.print_worker_logs)
        chosen = {"log_to_driver": False, "configure_logging": False, **options}
        ray.init(address=self.address, namespace=NAMESPACE, **chosen)


def _to_stderr(printing: Callable[..., None]) -> Callable[..., None]:
    """Ray's function of (lines, stream, …) with stderr as the stream."""
    if getattr(printing, "to_stderr", False):
        return printing

    @functools.wraps(printing)
    def on_stderr(lines: Any, _stream: Any, *rest: Any, **options: Any) -> None:
        printing(lines, sys.stderr, *rest, **options)

    on_stderr.to_stderr = True  # type: ignore[attr-defined]  # so that connecting again does not wrap it again
    return on_stderr
