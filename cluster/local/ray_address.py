"""Where the stack's Ray listens, and how a driver of this machine connects to it.

Never: the token itself (it is named by file), `address="auto"`.
"""

import os
from pathlib import Path
from typing import Any

import msgspec

from actors.config import NAMESPACE

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
        }

    def connect(self, **options: Any) -> None:
        """Connect this process, as a driver in the platform's namespace; `options` go to `ray.init`.

        Raises:
            ConnectionError: Ray is not there, or refuses the token.
        """
        os.environ.pop("RAY_AUTH_TOKEN", None)
        os.environ.update(self.environment())
        import ray
        from ray._private import ray_constants
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]  # no stubs

        # Read from the environment when Ray was imported, which may have been before.
        ray_constants.ENABLE_RAY_CLUSTER = False
        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()
        chosen = {"log_to_driver": False, "configure_logging": False, **options}
        ray.init(address=self.address, namespace=NAMESPACE, **chosen)
