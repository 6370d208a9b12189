"""The Ray head node of one stack: on loopback, guarded by a token, every port its own.

Never: `ray stop` (it ends every Ray of the machine), a default port, `address="auto"`.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil

from cluster.local.failures import DataDirError, ServerStartError
from cluster.local.health import ray_answers
from cluster.local.ledger import Ledger, ProcessRecord
from cluster.local.paths import StackPaths
from cluster.local.ports import LOOPBACK, Ports
from cluster.local.processes import end
from cluster.local.ray_address import RayAddress
from cluster.local.secret_files import ensure_secret

SERVICE = "ray"
START_TIMEOUT = timedelta(seconds=180)
HEALTH_TIMEOUT = timedelta(seconds=60)
"""The node's agent, which answers for its health, comes up a little after the node."""
ATTEMPTS = 2
"""Ray gives its own start 30 s, which a busy machine may exceed once."""
POLL_SECONDS = 0.1
STOP_PATIENCE = timedelta(seconds=10)
WORKER_PORTS = 300
IDLE_WORKERS_KEPT = timedelta(minutes=15)
MILLISECOND = timedelta(milliseconds=1)
KEPT_SESSIONS = 2
LONGEST_TEMP_DIR = 40
"""Bytes. Ray adds up to 66 for a socket's name, and a socket's path holds 107 (103 on macOS)."""
NOT_PASSED_ON = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_NAMESPACE", "RAY_RUNTIME_ENV_HOOK")


@dataclass(frozen=True)
class RayOptions:
    cpus: int = 16
    """Logical: the actors of one machine share its cores, whatever Ray counts."""
    object_store_bytes: int = 256 * 1024 * 1024
    dashboard: bool = True


class RayNode:
    """Ray's head node in `<data>/ray`. It keeps nothing over a restart."""

    service = SERVICE

    def __init__(
        self, paths: StackPaths, ledger: Ledger, ports: Ports, options: RayOptions | None = None
    ) -> None:
        self._paths = paths
        self._ledger = ledger
        self._ports = ports
        self._options = options or RayOptions()
        self._log = paths.log(SERVICE)
        self._token_file = paths.secret("ray-token")

    def start(self) -> RayAddress:
        """Start it, or take the running one of this stack; what is left of a broken one is ended first.

        Raises:
            PortInUseError, ServerStartError, DataDirError
        """
        address = self.address()
        if self._ledger.alive(SERVICE) and self.answers():
            return address
        ensure_secret(self._token_file)
        for _ in range(ATTEMPTS):
            self.stop()
            self._drop_old_sessions()
            if self._started(address):
                self._record()
                return address
        self.stop()
        raise ServerStartError(SERVICE, "`ray start` failed", self._log)

    def _started(self, address: RayAddress) -> bool:
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *self._arguments()]
        with self._log.open("ab") as log, contextlib.suppress(subprocess.SubprocessError):
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=True,
                timeout=START_TIMEOUT.total_seconds(),
                cwd=self._paths.ray,
                env=self._environment(address),
                start_new_session=True,
            )
            deadline = time.monotonic() + HEALTH_TIMEOUT.total_seconds()
            while not self.answers():
                if time.monotonic() > deadline:
                    return False
                time.sleep(POLL_SECONDS)
            return True
        return False

    def stop(self) -> None:
        """End every process of this node: the one that starts workers first, then all others."""
        raylets = [process for process in self._ledger.members(SERVICE) if _name(process) == "raylet"]
        end(raylets, patience=STOP_PATIENCE)
        end(self._ledger.members(SERVICE), patience=STOP_PATIENCE)
        self._ledger.remove(SERVICE)
        if self._link().is_symlink() and self._link().readlink() == self._paths.ray:
            self._link().unlink()

    def answers(self) -> bool:
        """True if the node is up and its control service knows it."""
        return ray_answers(self.address())

    def address(self) -> RayAddress:
        """Where it listens (or will, once started)."""
        return RayAddress(
            address=f"{LOOPBACK}:{self._ports.of('ray.gcs')}",
            token_file=self._token_file,
            dashboard_url=f"http://{LOOPBACK}:{self._ports.of('ray.dashboard')}",
            metrics_url=f"http://{LOOPBACK}:{self._ports.of('ray.metrics')}/metrics",
            health_url=f"http://{LOOPBACK}:{self._ports.of('ray.agent')}/api/local_raylet_healthz",
        )

    def _arguments(self) -> list[str]:
        def port(name: str, count: int = 1) -> int:
            return self._ports.claim(f"ray.{name}", count=count)

        first_worker = port("workers", WORKER_PORTS)
        values = {
            "--node-ip-address": LOOPBACK,
            "--port": port("gcs"),
            "--object-manager-port": port("object-manager"),
            "--node-manager-port": port("node-manager"),
            "--ray-client-server-port": port("client"),
            "--runtime-env-agent-port": port("runtime-env-agent"),
            "--dashboard-host": LOOPBACK,
            "--dashboard-port": port("dashboard"),
            "--dashboard-agent-listen-port": port("agent"),
            "--dashboard-agent-grpc-port": port("agent-grpc"),
            "--metrics-export-port": port("metrics"),
            "--min-worker-port": first_worker,
            "--max-worker-port": first_worker + WORKER_PORTS - 1,
            "--include-dashboard": str(self._options.dashboard).lower(),
            "--num-cpus": self._options.cpus,
            "--object-store-memory": self._options.object_store_bytes,
            "--temp-dir": self._temp_dir(),
            "--log-style": "record",
            "--log-color": "false",
        }
        # Nothing scales on one machine, and the autoscaler's monitor would listen on a fixed port.
        return [
            "--no-monitor",
            "--disable-usage-stats",
            *(f"{name}={value}" for name, value in values.items()),
        ]

    def _environment(self, address: RayAddress) -> dict[str, str]:
        """Ours (workers may need credentials of the lake, certificates, …), and what this node needs."""
        inherited = {name: value for name, value in os.environ.items() if name not in NOT_PASSED_ON}
        return {
            **inherited,
            **address.environment(),
            **self._ledger.environment(SERVICE),
            # Workers start at niceness 15 otherwise, and the servers beside them would starve them.
            "RAY_worker_niceness": "0",
            # A batch's processes begin at the lowest priority: on a busy machine they take minutes, and Ray
            # would start others in their place, which makes it busier.
            "RAY_worker_register_timeout_seconds": "900",
            # Starting a batch's processes costs more than a batch: they stay from one to the next.
            "RAY_idle_worker_killing_time_threshold_ms": str(IDLE_WORKERS_KEPT // MILLISECOND),
            # One idle worker for each of the (logical) CPUs would be too many.
            "RAY_prestart_worker_first_driver": "0",
            # What looks ten times a second whether anything changed takes up to a tenth of a core, all told.
            "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
            "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "1000",
            "RAY_raylet_report_resources_period_milliseconds": "500",
            "DASHBOARD_METRIC_PORT": str(self._ports.of("ray.dashboard-metrics")),
            # Process titles must not overwrite the environment, in which the stack's id is looked for.
            "SPT_NOENV": "1",
        }

    def _temp_dir(self) -> Path:
        """The folder under the name that Ray is told: a short link if the data folder's path is long.

        Raises:
            DataDirError: something else has the link's name.
        """
        folder, link = self._paths.ray, self._link()
        if len(os.fsencode(folder)) <= LONGEST_TEMP_DIR:
            return folder
        with contextlib.suppress(FileExistsError):
            link.symlink_to(folder)
        if link.lstat().st_uid != os.geteuid() or link.resolve() != folder:
            raise DataDirError(f"{link}: is not the link to {folder} that Ray's sockets need; remove it")
        return link

    def _link(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self._paths.ray) + self._ledger.stack_id.encode()).hexdigest()
        link = Path(tempfile.gettempdir()) / f"ray-fraud-{digest[:12]}"
        if len(os.fsencode(link)) > LONGEST_TEMP_DIR:
            link = Path("/tmp") / link.name  # noqa: S108 - a link to our folder; its name is not guessable
        return link

    def _drop_old_sessions(self) -> None:
        """Ray never removes the folders of its sessions; the last ones are kept for their logs."""
        sessions = sorted(path for path in self._paths.ray.glob("session_2*") if path.is_dir())
        for old in sessions[:-KEPT_SESSIONS]:
            shutil.rmtree(old, ignore_errors=True)

    def _record(self) -> None:
        records = []
        for process in self._ledger.marked(SERVICE):
            with contextlib.suppress(psutil.Error):
                name = f"{SERVICE}.{_name(process)}.{process.pid}"
                records.append(ProcessRecord(name, process.pid, process.create_time()))
        self._ledger.replace(SERVICE, records)


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return "gone"
