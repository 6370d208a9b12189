"""A whole platform on this machine, from nothing to healthy and back: servers, Ray, Serve, actors.

Never: touching a stack of another data folder.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil
import ray

from actors.config import DEFAULT_STALL_SECONDS, NAMESPACE, SUPERVISOR, HotPathConfig, Scoring
from cluster.local.cold_path import batch_config, start_cold_path, start_training, training_config
from cluster.local.cold_path_client import wait_for_cold_path
from cluster.local.failures import LocalStackError
from cluster.local.hot_path import prepare_models, prepare_stores, start_hot_path
from cluster.local.hot_path_client import wait_until_ready
from cluster.local.platform_state import platform_state, saved_config
from cluster.local.shut_down import bring_down as bring_down
from cluster.local.stack import LocalStack
from cluster.local.stack_record import read_record, where_partitions_are_set
from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.connections import Connections, to_json
from ray_fraud.stores.log.port import WrongPartitionCount

Progress = Callable[[str], None]
METRICS_SERVICE = "metrics"


class OtherConfigurationError(LocalStackError):
    """The stack runs, and with something else than what was asked for."""


@dataclass(frozen=True, slots=True)
class Running:
    """A healthy platform."""

    config: HotPathConfig
    status: dict[str, Any]


def hot_path_config(
    stack: LocalStack,
    connections: Connections,
    settings: DetectionSettings,
    scoring: Scoring,
    batch: BatchSettings | None = None,
    stall_seconds: float | None = None,
) -> HotPathConfig:
    """What the actors of this stack are told.

    Raises:
        PortInUseError: another program holds the remembered port of the metrics.
    """
    known = saved_config(stack)
    if stall_seconds is None:
        stall_seconds = DEFAULT_STALL_SECONDS if known is None else known.stall_seconds
    return HotPathConfig(
        connections=connections,
        stall_seconds=stall_seconds,
        settings=settings,
        scoring=scoring,
        batch=batch or BatchSettings(),
        metrics_port=_metrics_port(stack),
        model_cache=str(stack.paths.data_dir / "model-cache"),
    )


def bring_up(
    stack: LocalStack,
    progress: Progress,
    *,
    settings: DetectionSettings | None = None,
    scoring: Scoring = Scoring.SERVE,
    batch: BatchSettings | None = None,
    training: bool = True,
    stall_seconds: float | None = None,
) -> Running:
    """Starts what is not running and waits until all of it is healthy; the cold path comes last.

    `stall_seconds`: see `HotPathConfig`; None: as the last start was told.

    The calling process is connected to the stack's Ray afterwards.

    Raises:
        LocalStackError, StoreError, HotPathNotReady, ConnectionError: the message says what to do. What did
            start goes on; `bring_down` ends it.
    """
    with stack.changing():
        refuse_other_servers(stack)
        with ThreadPoolExecutor(max_workers=2) as pool:
            # Ray takes as long as Kafka: start both, and train the first models while Ray comes up.
            ray_node = pool.submit(stack.start_ray)
            connections = stack.start_servers()
            config = hot_path_config(
                stack, connections, settings or DetectionSettings(), scoring, batch, stall_seconds
            )
            try:
                prepare_stores(connections, progress)
            except WrongPartitionCount as wrong:
                raise other_partitions(stack, wrong) from wrong
            prepare_models(config, progress)
            ray_node.result()
        if not ray.is_initialized():
            stack.connect()
        _refuse_other_configuration(stack, config)
        # Before the actors exist, so that whoever finds them knows what they were told.
        stack.save_hot_path(to_json(config))
        start_hot_path(config)
        status = wait_until_ready(progress)
        start_cold_path(batch_config(config))
        wait_for_cold_path(progress)
        if training:
            start_training(training_config(config))
    return Running(config, status)


def other_partitions(stack: LocalStack, wrong: WrongPartitionCount) -> OtherConfigurationError:
    """For people: what it means that the input topic was grown, where the number is set, and how to go on."""
    return OtherConfigurationError(
        f"{wrong}: {where_partitions_are_set(stack.paths, stack.external)}. Records of partitions that are "
        "not in the settings were not checked, and a user whose key now falls into another partition begins "
        "there without a history"
    )


def find_running(stack: LocalStack) -> Running | None:
    """The platform if all of it runs and is healthy; nothing is changed.

    This process is connected to the stack's Ray afterwards, or not at all if the result is None.
    """
    config = saved_config(stack)
    if config is not None:
        state = platform_state(stack)
        if state.healthy:
            return Running(config, state.hot_path)
        ray.shutdown()
    return None


def refuse_other_servers(stack: LocalStack) -> None:
    """Raises:
    OtherConfigurationError: the stack runs with other servers than it is to have now.
    """
    record = read_record(stack.paths)
    if record.connections is not None and record.external != stack.external and stack.ledger.members("ray"):
        raise OtherConfigurationError(
            f"{stack.paths.data_dir}: runs with other servers than the given ones; "
            "stop it first with `ray-fraud down`, or choose another --data-dir"
        )


def _refuse_other_configuration(stack: LocalStack, config: HotPathConfig) -> None:
    """Actors keep what they were started with: a change needs new ones."""
    try:
        ray.get_actor(SUPERVISOR, namespace=NAMESPACE)
    except ValueError:
        return
    known = stack.hot_path()
    if known is not None and known != to_json(config):
        raise OtherConfigurationError(
            f"{stack.paths.data_dir}: runs with other settings than the given ones; "
            "stop it first with `ray-fraud down`"
        )


def _metrics_port(stack: LocalStack) -> int:
    """The remembered port also while our own metrics actor listens on it."""
    remembered = stack.ports.remembered().get(METRICS_SERVICE)
    if remembered is not None and any(_listens(each, remembered) for each in stack.ledger.members("ray")):
        return remembered
    return stack.ports.claim(METRICS_SERVICE)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(
            connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port
            for connection in process.net_connections("tcp")
        )
    except psutil.Error:
        return False
