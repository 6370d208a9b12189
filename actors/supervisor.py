"""The supervisor: exactly one live owner per partition, the live split, the platform's health.

A detached, named actor; Ray restarts it, and a restarted one adopts the partition actors it finds.

Never: reading transactions; being needed for a running partition to go on.
"""

import logging
import threading
import time
import uuid
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError

from actors.build import SupervisorPorts, build_supervisor_ports
from actors.config import HotPathConfig, Scoring
from actors.feature_roll_out import FeatureRollOut
from actors.log_watch import LogWatch
from actors.partition_slot import PartitionSlot
from actors.partition_watch import PartitionWatch
from actors.split_roll_out import SplitRollOut
from ray_fraud.domain import metrics
from ray_fraud.domain.metrics import Component
from ray_fraud.domain.split import Split
from ray_fraud.stores.connections import from_json
from ray_fraud.stores.errors import StoreError
from ray_fraud.telemetry.meter import Meter
from serve.deploy import ScorerNotReady

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
REGISTRY_SECONDS = 1.0
TOPIC_SECONDS = 300.0
"""Settings of a topic change while we run."""
HEALTH_SECONDS = 5.0
WATCH_SECONDS = 3.0
"""Between two looks at partitions that are well: each costs a call to every owner."""
WORRIED_WATCH_SECONDS = 0.5
"""While one is not, so that it is soon known to be well again."""
CALL_TIMEOUT_SECONDS = 5.0
STATUS_SECONDS = 2.0
"""Less than `ray-fraud status` waits for all of it."""
DRAIN_TIMEOUT_SECONDS = 60.0


class Supervisor:
    """Runs its loop in a thread; methods answer beside it."""

    def __init__(self, config: bytes) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._packed_config = config
        self._config = from_json(config, HotPathConfig)
        self._meter = Meter("supervisor", uuid.uuid4().hex)
        self._ports: SupervisorPorts = build_supervisor_ports(self._config)
        self._roll_out = SplitRollOut(self._ports.registry, self._deploy)
        self._features = FeatureRollOut(self._ports.refreshes)
        self._health: dict[str, bool] = {}
        self._warnings: list[str] = []
        partitions = range(self._config.connections.topics.partitions)
        self._slots = [
            PartitionSlot(self._config, config, partition, self._meter) for partition in partitions
        ]
        for slot in self._slots:
            slot.adopt()
        self._log_watch = LogWatch(self._ports.connect_log, self._config.connections.topics.transactions)
        self._watch = PartitionWatch(
            self._config.connections.topics.transactions,
            self._slots,
            self._log_watch.newest,
            self._meter,
            self._config.stall_seconds,
            time.monotonic,
        )
        self._stopping = threading.Event()
        self._loop = threading.Thread(target=self._run, name="supervising", daemon=True)
        self._loop.start()

    def _warn_of_topic(self) -> None:
        try:
            warnings = self._ports.topic_warnings()
        except StoreError as error:
            warnings = [f"retention and timestamps of the topic are not known: {error}"]
        for warning in warnings:
            if warning not in self._warnings:
                logger.warning("supervisor: %s", warning)
        self._warnings = warnings

    def _run(self) -> None:
        next_topic = next_registry = next_health = next_watch = 0.0
        while not self._stopping.is_set():
            now = time.monotonic()
            try:
                if now >= next_topic:
                    self._warn_of_topic()
                    next_topic = now + TOPIC_SECONDS
                if now >= next_registry:
                    self._roll_out.look()
                    self._features.look([handle for handle in self.handles() if handle is not None])
                    next_registry = now + REGISTRY_SECONDS
                self._propose_if_new()
                if self._roll_out.known:
                    self._step()
                elif self._roll_out.under_way:
                    # No owner to look after yet, and perhaps no Serve whose health could be asked.
                    continue
                else:
                    self._stopping.wait(TICK_SECONDS)
                if now >= next_watch:
                    self._look_at_partitions()
                    next_watch = now + (WATCH_SECONDS if self._watch.healthy else WORRIED_WATCH_SECONDS)
                if now >= next_health:
                    self._check_health()
                    next_health = now + HEALTH_SECONDS
            except Exception:
                # The loop must outlive everything: it is what brings the others back.
                logger.exception("supervisor: going on")
                self._stopping.wait(1.0)

    def _step(self) -> None:
        """Looks after every slot; waits until something ends, at most a tick."""
        split = msgspec.json.encode(self._roll_out.split)
        for slot in self._slots:
            slot.step(split, self._features.digest)
        probes = [slot.probe for slot in self._slots if slot.probe is not None]
        if probes:
            ray.wait(probes, timeout=TICK_SECONDS)
        else:
            self._stopping.wait(TICK_SECONDS)

    def _deploy(self, split: Split) -> None:
        """In a thread of its own: owners are replaced while Serve takes its time."""
        if self._config.scoring is not Scoring.SERVE:
            return
        try:
            self._ports.deploy_split(split)
        except (ScorerNotReady, RayError, TimeoutError) as error:
            # Partitions go on: they score the new split with the same files, locally.
            logger.warning("supervisor: scorer not ready for the split: %s", error)

    def _propose_if_new(self) -> None:
        """Proposes a split whose deployment has ended; before the first one there is nothing else to do."""
        split = self._roll_out.finished(0.0 if self._roll_out.known else TICK_SECONDS)
        if split is not None:
            self._propose(split)

    def _propose(self, split: Split) -> None:
        packed = msgspec.json.encode(split)
        calls = [slot.handle.propose.remote(packed) for slot in self._slots if slot.handle is not None]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=CALL_TIMEOUT_SECONDS)

    def offer_features(self, digest: str, contents: list[Any]) -> None:
        """Announces feature tables that are about to be published.

        `contents`: references to the bytes of their files as arrays, in a list so that none is fetched here.
        """
        self._features.offer(digest, contents)

    def _check_health(self) -> None:
        known = {component.value: False for component in Component} | self._ports.health()
        self._health = known | {Component.PARTITIONS.value: self._watch.healthy}
        for component, healthy in self._health.items():
            self._meter.set(metrics.SYSTEM_HEALTH, float(healthy), component=component)

    def _look_at_partitions(self) -> None:
        self._watch.look(self._health)
        if self._health:
            self._health = self._health | {Component.PARTITIONS.value: self._watch.healthy}
        self._meter.set(metrics.SYSTEM_HEALTH, float(self._watch.healthy), component=Component.PARTITIONS)

    def status(self) -> bytes:
        """JSON: health by component, what is wrong, the split, and every partition's status.

        A partition of the topic that the settings do not name has a row, too, with its `problem`.
        """
        handles = self.handles()
        calls = {index: actor.status.remote() for index, actor in enumerate(handles) if actor is not None}
        if calls:
            # All at once: an owner that takes over answers late, and hides none of the others.
            ray.wait(list(calls.values()), num_returns=len(calls), timeout=STATUS_SECONDS)
        partitions: list[dict[str, Any]] = []
        for index, slot in enumerate(self._slots):
            entry: dict[str, Any] = {"partition": index, "restarts": slot.restarts, "last_end": slot.last_end}
            if index in calls:
                try:
                    entry |= msgspec.json.decode(ray.get(calls[index], timeout=0))
                except RayError as error:
                    entry["error"] = str(error).splitlines()[0]
            partitions.append(entry)
        problems, ends = self._watch.problems, self._watch.ends
        partitions += [{"partition": number} for number in sorted(ends) if number >= len(self._slots)]
        for entry in partitions:
            number = entry["partition"]
            entry["problem"] = problems.get(number)
            if ends.get(number) is not None:
                entry["log_end"] = ends[number]
        split = self._roll_out.split
        arms = {arm.label: arm.share_bp / 100 for arm in split.arms}
        return msgspec.json.encode(
            {
                "health": self._health,
                "problems": self._watch.sentences(),
                "warnings": self._warnings,
                "split": {"digest": split.digest, "arms": arms},
                "feature_tables": self._features.digest,
                "partitions": partitions,
            }
        )

    def handles(self) -> list[Any]:
        """The live partition actors, by partition; None where there is none at the moment."""
        return [slot.handle for slot in self._slots]

    def metrics(self) -> bytes:
        return self._meter.snapshot()

    def drain(self) -> bool:
        """Ends the loop and lets every partition settle and close its cut; whether all did."""
        self._stopping.set()
        self._log_watch.close()
        self._loop.join(CALL_TIMEOUT_SECONDS)
        calls = [slot.handle.drain.remote() for slot in self._slots if slot.handle is not None]
        done, late = (
            ray.wait(calls, num_returns=len(calls), timeout=DRAIN_TIMEOUT_SECONDS) if calls else ([], [])
        )
        clean = not late
        for call in done:
            try:
                ray.get(call)
            except RayError:
                logger.exception("supervisor: a partition did not drain")
                clean = False
        for slot in self._slots:
            slot.stop("drained")
        return clean
