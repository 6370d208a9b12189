"""Going once through all that a first alert would wait for, before a partition reads its first record.

First calls are slow: clients fetch metadata and connect, PostgreSQL plans the statements of a new session,
models allocate what they score and explain with. A partition pays for that before it says that it is ready.

Never: a record that is sent, a state that moves; a failure that keeps a partition from starting.
"""

import logging
from collections.abc import Callable

import msgspec

from actors.engine.ports import Ports, Scorer
from actors.engine.timeline_keeper import Desired
from ray_fraud.domain.contract import MAX_AMOUNT
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.model import ModelRefused
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import Record
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.split import Split
from ray_fraud.domain.timeline import settings_event
from ray_fraud.stores.errors import SlowDown, StoreRefused, StoreUnavailable
from ray_fraud.stores.ledger.port import Ownership

logger = logging.getLogger(__name__)

BEGAN_MS = 1_700_000_000_000
"""Any plausible time: the rehearsed transactions are never seen again."""


def rehearse(ports: Ports, own: Ownership, desired: Desired) -> None:
    """Calls everything an alert passes through once, with made-up transactions and without an effect.

    What is not at hand now is logged; the partition starts all the same and pays at its first use.

    Raises:
        Fenced: a newer owner exists.
    """
    topics = ports.topics
    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("fold and rules", lambda: rehearsed_alerts(ports.decoder, desired.settings)),
        ("alert topic", lambda: ports.writer.prepare(topics.alerts)),
        ("dead-letter topic", lambda: ports.writer.prepare(topics.dead_letters)),
        ("alert table", lambda: ports.alert_ledger.insert_hot_alerts(own, ())),
    )
    prepare_split(ports.scorer, desired.split)
    for name, step in steps:
        _try(name, step)


def prepare_split(scorer: Scorer, split: Split) -> None:
    """Makes the models of a split ready in the calling thread, before the one that reads needs them."""
    _try("models", lambda: scorer.prepare(split))


def rehearsed_alerts(decoder: Decoder, settings: DetectionSettings) -> list[bytes]:
    """The encoded alerts of two made-up transactions, over the limit and far apart, in their own state."""
    state = PartitionState(0, decoder, timeline=[settings_event(1, 0, settings)])
    observed = state.observe([_record(0, settings, lat=51.5), _record(1, settings, lat=-33.9)])
    return [msgspec.json.encode(alert) for alert in state.decide(observed, None).alerts]


def _try(name: str, step: Callable[[], object]) -> None:
    try:
        step()
    except (StoreUnavailable, StoreRefused, SlowDown, ModelRefused) as error:
        logger.warning("not warmed up, %s: %s", name, error)


def _record(offset: int, settings: DetectionSettings, lat: float) -> Record:
    began_ms = BEGAN_MS + offset * 1_000
    transaction = {
        "transaction_id": f"rehearsal-{offset}",
        "user_id": 0,
        "amount": min(2 * settings.high_amount.limit, MAX_AMOUNT),
        "timestamp": began_ms / 1000,
        "location": {"lat": lat, "lon": 0.1},
    }
    return Record(offset, began_ms, b"0", msgspec.json.encode(transaction))
