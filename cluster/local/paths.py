"""Where everything of one local stack lies: one data folder.

Never: a path outside the data folder, except the jar cache (jars.py) and Ray's sockets (ray_node.py).
"""

import os
import stat
from pathlib import Path

from cluster.local.failures import DataDirError


def default_data_dir() -> Path:
    """The data folder without `--data-dir`.

    `$XDG_DATA_HOME/ray-fraud` or `~/.local/share/ray-fraud`; as root `/var/lib/ray-fraud`, because PostgreSQL
    refuses to run as root and another user cannot enter root's home.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/ray-fraud")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "ray-fraud"


class StackPaths:
    """The folders and files of the stack in `data_dir`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        self.secrets = self.data_dir / "secrets"
        self.logs = self.data_dir / "logs"
        self.kafka = self.data_dir / "kafka"
        self.postgres = self.data_dir / "postgres"
        self.valkey = self.data_dir / "valkey"
        self.ray = self.data_dir / "ray"
        self.lake = self.data_dir / "lake"
        self.ports = self.data_dir / "ports.json"
        self.ledger = self.data_dir / "processes.json"
        self.state = self.data_dir / "stack.json"
        self.hot_path = self.data_dir / "hot-path.json"
        self.lock = self.data_dir / "lock"

    def log(self, service: str) -> Path:
        return self.logs / f"{service}.log"

    def secret(self, name: str) -> Path:
        return self.secrets / name

    def prepare(self) -> None:
        """Make the folders, closed to other users.

        As root the data folder itself may be passed through (not listed) by others: PostgreSQL runs as one
        of them.

        Raises:
            DataDirError: the folder cannot be made or written.
        """
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if os.geteuid() == 0:
                self.data_dir.chmod(stat.S_IMODE(self.data_dir.stat().st_mode) | stat.S_IXOTH)
            for folder in (self.secrets, self.logs, self.kafka, self.valkey, self.ray, self.lake):
                folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise DataDirError(
                f"{self.data_dir}: {error.strerror or error}; choose another folder with --data-dir"
            ) from error
