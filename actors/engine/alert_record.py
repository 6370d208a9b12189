"""Reading a record of topic `fraud_alerts` back as an alert of ours; anybody may have written there.

Never: a value of the record in a message; a guess about what is not as our owners write it.
"""

import re
from typing import Final

import msgspec

from ray_fraud.domain.alert import HOT_RULES, Alert, Source
from ray_fraud.domain.record import PartitionId, Record
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.stores.ledger.port import TopicAlert

_DECODER: Final = msgspec.json.Decoder(Alert)
_NUMBER: Final = re.compile(rb"[0-9]{1,10}")
_TOPIC_ID: Final = re.compile(rb"[A-Za-z0-9_.-]{1,64}")
_PLACE: Final = re.compile(r"`\$\.?([^`]*)`")
MAX_NUMBER: Final = 2**31 - 1
"""Of a partition and of an epoch: the narrower of their database columns has 31 bits."""


class NotAnAlert(Exception):
    """The record is no alert of ours."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.rejection = Rejection(RejectionCode.NOT_AN_ALERT, field, f"{field}: {problem}")


def read_alert(record: Record, cluster_id: str) -> TopicAlert:
    """The alert, and the partition and epoch that its headers name.

    Raises:
        NotAnAlert: a header or a field of the value is not as owners write it.
    """
    headers = dict(record.headers)
    topic_id = _header(headers, "topic_id")
    if _TOPIC_ID.fullmatch(topic_id) is None:
        raise NotAnAlert("header topic_id", "is no topic id: up to 64 of A-Z, a-z, 0-9, '_', '.', '-'")
    number, epoch = _number(headers, "partition"), _number(headers, "epoch")
    try:
        alert = _DECODER.decode(record.value or b"")
    except RecursionError:
        raise NotAnAlert("value", "is nested too deeply") from None
    except (ValueError, msgspec.MsgspecError) as error:
        place = _PLACE.search(str(error))
        raise NotAnAlert(place[1] if place else "value", "is not what an alert has there") from None
    if alert.rule_name not in HOT_RULES or alert.source is not Source.HOT:
        raise NotAnAlert("rule_name", "is not one of the hot path's")
    if alert.partition != number:
        raise NotAnAlert("partition", f"is {alert.partition}, the header says {number}")
    return TopicAlert(alert, PartitionId(cluster_id, topic_id.decode(), number), epoch)


def _header(headers: dict[str, bytes | None], name: str) -> bytes:
    value = headers.get(name)
    if value is None:
        raise NotAnAlert(f"header {name}", "is missing")
    return value


def _number(headers: dict[str, bytes | None], name: str) -> int:
    text = _header(headers, name)
    if _NUMBER.fullmatch(text) is None or int(text) > MAX_NUMBER:
        raise NotAnAlert(f"header {name}", f"is not a decimal number of 0 to {MAX_NUMBER}")
    return int(text)
