"""Prepared records: a file of ordinary transactions, sent again under new times and ids by slicing.

The file is what `ray-fraud generate --to FILE` writes: one transaction per line in the layout of
`encode`. Made once, it lets a load generator spend about a microsecond per record.

Never: an id that was sent before. A run has a random part of its own, and each record a number.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from ray_fraud.generator.background import MAX_AMOUNT
from ray_fraud.generator.chance import generator
from ray_fraud.generator.encode import ID_SLOT, encode_transaction
from ray_fraud.generator.stream import StreamSettings, transactions

START_TIME = 1_767_225_600.0
"""2026-01-01 00:00 UTC, unix seconds: whose day it is then decides who pays where."""
ALERTING_AMOUNT = 2000.0
"""The high-amount rule's default limit: prepared records are above or below it on purpose."""
_LINE = re.compile(rb'\{"timestamp":\d{10}\.\d{3},"transaction_id":"[0-9a-f-]{36}","user_id":(\d+),.*\}')


class PreparedFileError(ValueError):
    """The file is not one that `prepare` or `generate --to` wrote."""


@dataclass(frozen=True)
class Template:
    """One record without its time and id."""

    key: bytes
    tail: bytes
    """Everything after the id's last character."""


def prepare(file: BinaryIO, *, seed: int, users: int, count: int, alert_share: float = 0.01) -> None:
    """Write `count` records of which `alert_share` exceed the high-amount limit and no other alerts by rule.

    Nobody travels in them, so they can be sent in any order at any rate without impossible journeys.
    """
    settings = StreamSettings(
        start_time=START_TIME, seed=seed, users=users, fraud_share=0.0, count=count, trip_share=0.0
    )
    rng = generator(seed, 6)
    alerting = rng.random(count) < alert_share
    high = np.round(ALERTING_AMOUNT + 1.0 + (MAX_AMOUNT - ALERTING_AMOUNT - 1.0) * rng.random(count), 2)
    for made, alerts, amount in zip(transactions(settings), alerting.tolist(), high.tolist(), strict=True):
        wanted = amount if alerts else round(min(made.transaction.amount, 0.9 * ALERTING_AMOUNT), 2)
        file.write(encode_transaction(msgspec.structs.replace(made.transaction, amount=wanted)) + b"\n")


def read_templates(path: Path) -> list[Template]:
    """All records of a prepared file.

    Raises:
        PreparedFileError: a line has another layout, or there is none.
    """
    templates = list(_templates(path))
    if not templates:
        raise PreparedFileError(f"{path}: no records; write some with: ray-fraud generate --to {path}")
    return templates


def _templates(path: Path) -> Iterator[Template]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            value = line.rstrip(b"\n")
            match = _LINE.fullmatch(value)
            if match is None:
                raise PreparedFileError(
                    f"{path}: line {number} is not in the prepared layout (timestamp, then transaction_id, "
                    f"then user_id); write the file with: ray-fraud generate --to {path}"
                )
            yield Template(match[1], value[ID_SLOT.stop :])


HEAD = b'{"timestamp":'
MIDDLE = b',"transaction_id":"'
VALUE_BYTES_BEFORE_TAIL = ID_SLOT.stop
