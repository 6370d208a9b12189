"""A driver keeps its stdout for results, whatever Ray has to tell."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.local.ray_address import RayAddress
from ray_fraud.stores.connections import to_json

DRIVER = """
import contextlib, io, sys, threading
from cluster.local.ray_address import RayAddress
from ray_fraud.stores.connections import from_json
WARNING = "8 PYTHON worker processes have been started"
told = threading.Event()
class Watched(io.StringIO):
    def write(self, text):
        if WARNING in text:
            told.set()
        return super().write(text)
out, err = Watched(), Watched()
import ray
from ray._private.utils import publish_error_to_driver
from ray._private.worker import global_worker
address = from_json(sys.argv[1].encode(), RayAddress)
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    address.connect(num_cpus=0, include_dashboard=False, object_store_memory=100 << 20)
    # Its listener may not listen yet.
    while not told.wait(1):
        publish_error_to_driver("worker_pool_large", WARNING, global_worker.gcs_client)
    ray.shutdown()
print("on stdout:", out.getvalue())
print(WARNING in err.getvalue())
"""


@pytest.mark.cluster
def test_warnings_of_a_node_go_to_stderr(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0" * 64)
    # A Ray of its own, which is there as long as the driver is.
    address = RayAddress("local", token, "", "", "")
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, to_json(address).decode()],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["on stdout: ", "True"]
