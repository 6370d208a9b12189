"""Which records of a log are transactions: the one rule that the hot path, the lake and corrections share.

A record is accepted if its value keeps the contract (`decode`), its Kafka timestamp is one in milliseconds,
and the transaction does not claim to be of the future, which the value alone does not show: it needs the
Kafka timestamp and the settings.

Never: a clock; settings of another moment than the record's.
"""

from collections.abc import Callable

from ray_fraud.domain.payload import payload_digest
from ray_fraud.domain.record import Cut, DecodedRecord, Record
from ray_fraud.domain.rejection import Rejection, RejectionCode
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.transaction import Transaction

Decode = Callable[[bytes | None], Transaction | Rejection]
"""`Decoder.decode` of one deployment."""
LEAST_TIMESTAMP_MS = 10**12
"""September 2001. Below lie -1 and 0, which clients send for "none", and every time in seconds."""
TIMESTAMP_LIMIT_MS = 10**14
"""The year 5138. From here on lie microseconds and nanoseconds of every time since 1973."""
_NANOSECONDS_FROM = 10**17
CHECK_CLOCK = "check the producer's clock"


def accept(record: Record, decode: Decode, settings: DetectionSettings) -> DecodedRecord | Rejection:
    """The transaction of a record, or why it is none. Never raises.

    `settings` are those that hold at the record's offset.
    """
    transaction = decode(record.value)
    # Asked for what it nearly always is: that no instance of another struct is one takes 0.2 µs to find out.
    if not isinstance(transaction, Transaction):
        return transaction if record.cut is None else _told_whole(transaction, record, record.cut)
    timestamp_ms = record.timestamp_ms
    if not LEAST_TIMESTAMP_MS <= timestamp_ms < TIMESTAMP_LIMIT_MS:
        return _unusable(timestamp_ms)
    event_ms = transaction.event_ms
    # Nearly every record is sent after its event: the allowance need not be looked at.
    if event_ms > timestamp_ms and _is_in_future(event_ms, timestamp_ms, settings):
        return _in_future(transaction, timestamp_ms, settings)
    return DecodedRecord(record.offset, timestamp_ms, transaction, payload_digest(transaction), event_ms)


def accept_again(record: Record, decode: Decode, settings: DetectionSettings) -> DecodedRecord | Rejection:
    """The same for a record that was accepted before and has another value now: when it was sent stands."""
    transaction = decode(record.value)
    if not isinstance(transaction, Transaction):
        return transaction
    timestamp_ms, event_ms = record.timestamp_ms, transaction.event_ms
    if _is_in_future(event_ms, timestamp_ms, settings):
        return _in_future(transaction, timestamp_ms, settings)
    return DecodedRecord(record.offset, timestamp_ms, transaction, payload_digest(transaction), event_ms)


def _is_in_future(event_ms: int, timestamp_ms: int, settings: DetectionSettings) -> bool:
    return event_ms > timestamp_ms + settings.max_future_skew_seconds * 1000


def _told_whole(rejection: Rejection, record: Record, cut: Cut) -> Rejection:
    """With the size that the value had before the reader cut it."""
    held, whole = f"has {len(record.value or b'')} bytes", f"has {cut.value_size} bytes"
    return Rejection(rejection.code, rejection.field, rejection.message.replace(held, whole))


def kafka_timestamp(record_ms: int) -> str:
    """What a refusal calls the time at which a record was sent."""
    return f"its record's Kafka timestamp {record_ms} ms"


def _unusable(timestamp_ms: int) -> Rejection:
    if timestamp_ms <= 0:
        fault = "says that the producer set none"
    elif timestamp_ms < LEAST_TIMESTAMP_MS:
        fault = "looks like seconds"
    else:
        fault = f"looks like {'micro' if timestamp_ms < _NANOSECONDS_FROM else 'nano'}seconds"
    message = (
        f"record timestamp: {timestamp_ms} {fault}, it must be in unix milliseconds ({LEAST_TIMESTAMP_MS} or "
        f"more, less than {TIMESTAMP_LIMIT_MS}): send CreateTime in milliseconds, or set "
        "message.timestamp.type=LogAppendTime on the topic"
    )
    return Rejection(RejectionCode.RECORD_TIMESTAMP_UNUSABLE, "", message)


def _in_future(transaction: Transaction, record_ms: int, settings: DetectionSettings) -> Rejection:
    skew_seconds = (transaction.event_ms - record_ms) / 1000
    message = (
        f"timestamp: {transaction.timestamp!r} is {skew_seconds:,.3f} s later than "
        f"{kafka_timestamp(record_ms)}, {settings.max_future_skew_seconds:,.15g} s are allowed; {CHECK_CLOCK}"
    )
    return Rejection(RejectionCode.TIMESTAMP_IN_FUTURE, "timestamp", message)
