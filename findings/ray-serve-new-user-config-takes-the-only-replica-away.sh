#!/usr/bin/env bash
# Guess:   deploying the same application again with another user_config is the "lightweight update" of the manual:
#          the replica runs reconfigure() and answers calls all the while, as `async def` methods could.
# Happens: from the moment of the update until reconfigure() has returned, routers do not send anything to the replica,
#          also if it is the only one: calls of an existing handle wait that long, then go on without an error.
# Seen:    ray[serve] 2.60.0, Python 3.11.
# Hurts:   whoever rolls out models or settings by user_config with one replica and a latency limit: each change is a
#          pause as long as reconfigure(). Tell the replica by an ordinary call, or keep two.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "ray[serve]==2.60.0"
cd "$work"
RAY_DEDUP_LOGS=0 "$work/venv/bin/python" - <<'PY' 2> log || { tail -20 log; exit 1; }
import asyncio
import threading
import time

import ray
from ray import serve

PAUSE = 3.0


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
class Model:
    async def reconfigure(self, config: dict) -> None:
        if config["version"] > 1:
            await asyncio.sleep(PAUSE)
        self.version = config["version"]

    async def __call__(self) -> int:
        return self.version


ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)
print("ray", ray.__version__)
handle = serve.run(Model.options(user_config={"version": 1}).bind(), name="app", route_prefix=None)
for _ in range(50):
    handle.remote().result(timeout_s=30)
update = threading.Thread(
    target=lambda: serve.run(Model.options(user_config={"version": 2}).bind(), name="app", route_prefix=None)
)
slowest = {1: 0.0, 2: 0.0}
update.start()
end = time.monotonic() + 60
version = 1
while version == 1 and time.monotonic() < end:
    began = time.monotonic()
    version = handle.remote().result(timeout_s=30)
    slowest[version] = max(slowest[version], time.monotonic() - began)
update.join()
waited = max(slowest.values())
print(f"reconfigure() slept for {PAUSE:.0f} s; the slowest call meanwhile took {waited:.1f} s")
assert version == 2 and waited > PAUSE / 2, (version, slowest)
serve.shutdown()
ray.shutdown()
print("as described: the only replica is not called while it is told its configuration")
PY
