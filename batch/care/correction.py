"""Corrections of rows in the lake: from lines of JSON to one merge.

A line names a record by `topic_id`, `partition` and `offset`, and the columns to change with their new values
(null takes an optional one away). The corrected row has to be accepted as the hot path accepts records: as if
it had been sent like that, under the settings that held at its offset.

What a record *is* cannot be corrected: its place in the log, its transaction id and user, when it was sent,
its card, and the digest that tells its duplicates. Of an imported row nobody knows when it was sent: its
record time follows the corrected event time, which may be any up to now.

Never: a part of the lines done, unless that was asked for; a row that was not there before.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep as really_sleep
from typing import Any

import msgspec

from ray_fraud.domain.accept import CHECK_CLOCK, accept_again, kafka_timestamp
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.record import Record
from ray_fraud.domain.rejection import Rejection
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.transaction import Transaction
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.columns import IMPORTED, PARTITION_COLUMN, SCHEMA
from ray_fraud.stores.tables.corrections import KEYS, CorrectableRows, RecordPlace
from ray_fraud.stores.tables.retry import patiently

PLACE = ("lat", "lon", "city", "country")
OTHERS = ("amount", "timestamp", "merchant_id", "device_id", "currency", "channel")
CHANGEABLE = (*OTHERS, *PLACE)
TIMES = ("event_time", PARTITION_COLUMN)
"""They follow `timestamp`."""
SHOWN_PROBLEMS = 20

SettingsAt = Callable[[RecordPlace], DetectionSettings]
"""The settings that hold, or held, where a record lies."""

_decode = Decoder(None).decode
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class CorrectionError(ValueError):
    """Nothing was changed; the message names each line (the first ones, of many) and what is wrong in it."""


class Correction(msgspec.Struct, frozen=True):
    line: int
    place: RecordPlace
    changes: dict[str, Any]


class CorrectionReport(msgspec.Struct):
    correction_id: str
    corrected: int
    """Rows."""
    version: int | None
    """Of the table afterwards; None: nothing was done."""
    unknown: list[RecordPlace] = []
    """Places of the lines without a row."""


def read_corrections(file: Path) -> list[Correction]:
    """The lines of a file.

    Raises:
        CorrectionError: one is no object of this form, names what cannot be changed, or a place twice.
        OSError: the file cannot be read.
    """
    found: dict[RecordPlace, Correction] = {}
    problems = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            one = _parsed(number, line)
            if one.place in found:
                raise CorrectionError(f"the same place as line {found[one.place].line}")
            found[one.place] = one
        except (CorrectionError, msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(f"line {number}: {error}")
    _refuse(problems)
    if not found:
        raise CorrectionError(f"{file}: no corrections in it")
    return list(found.values())


def correct(
    location: LakeLocation,
    corrections: Iterable[Correction],
    who: str,
    reason: str,
    settings_at: SettingsAt,
    *,
    partial: bool = False,
    sleep: Callable[[float], None] = really_sleep,
    now: Callable[[], float] = time.time,
) -> CorrectionReport:
    """Merges them into `transactions` in one commit.

    `partial`: lines whose row does not exist are passed over; otherwise one such line means that nothing is
    done, and the report says which.

    Args:
        settings_at: asked for the place of each row that exists.

    Raises:
        CorrectionError: a corrected row would not be accepted; nothing was done.
        StoreError: nothing was done, or (`StoreUnavailable`) the result is unknown; repeating it is harmless.
    """
    wanted = {one.place: one for one in corrections}
    now_ms = round(now() * 1000)
    return patiently(
        lambda: _attempt(location, wanted, who, reason, settings_at, now_ms, partial=partial), sleep
    )


def _attempt(
    location: LakeLocation,
    wanted: Mapping[RecordPlace, Correction],
    who: str,
    reason: str,
    settings_at: SettingsAt,
    now_ms: int,
    *,
    partial: bool,
) -> CorrectionReport:
    table = CorrectableRows(location)
    rows = table.rows(wanted)
    report = CorrectionReport(uuid.uuid4().hex, 0, None, sorted(wanted.keys() - rows.keys()))
    changed, problems = [], []
    for place, row in rows.items():
        try:
            changed.append(_corrected(row, wanted[place].changes, settings_at(place), now_ms))
        except CorrectionError as error:
            problems.append(f"line {wanted[place].line}: {error}")
    _refuse(problems)
    if not changed or (report.unknown and not partial):
        return report
    note = {"id": report.correction_id, "who": who, "reason": reason, "rows": len(changed)}
    dates = [row[PARTITION_COLUMN] for row in rows.values()]
    report.corrected, report.version = table.merge(changed, dates, msgspec.json.encode(note).decode())
    return report


def _parsed(number: int, line: bytes) -> Correction:
    content = msgspec.json.decode(line)
    if not isinstance(content, dict):
        raise CorrectionError("not a JSON object")
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise CorrectionError(f"{', '.join(missing)} missing: they say which record is meant")
    place = msgspec.convert([content.pop(key) for key in KEYS], RecordPlace)
    fixed = sorted(content.keys() & (set(SCHEMA.names) - set(CHANGEABLE)))
    if fixed:
        raise CorrectionError(f"{', '.join(fixed)} cannot be changed: they say what the record is")
    unknown = sorted(content.keys() - set(CHANGEABLE))
    if unknown:
        raise CorrectionError(f"there is no column {', '.join(unknown)}; known are {', '.join(CHANGEABLE)}")
    if not content:
        raise CorrectionError("nothing to change in it")
    return Correction(number, place, content)


def _corrected(
    row: Mapping[str, Any], changes: Mapping[str, Any], settings: DetectionSettings, now_ms: int
) -> dict[str, Any]:
    """Keys and all changeable columns of the corrected row."""
    imported = row["topic_id"].startswith(IMPORTED)
    after = {**row, **changes}
    value = {name: after[name] for name in ("transaction_id", "user_id", *OTHERS) if after[name] is not None}
    place = {name: after[name] for name in PLACE if after[name] is not None}
    if place:
        value["location"] = place
    # As when it was imported: its record time is its event time and bounds nothing.
    sent_ms = now_ms if imported else (row["record_time"] - _EPOCH) // timedelta(milliseconds=1)
    sent = Record(row["offset"], sent_ms, None, msgspec.json.encode(value))
    accepted = accept_again(sent, _decode, settings)
    if isinstance(accepted, Rejection):
        said = accepted.message
        raise CorrectionError(
            said.replace(kafka_timestamp(now_ms), "now").replace(CHECK_CLOCK, "check its zone")
        )
    transaction = accepted.transaction
    location = transaction.location
    return {
        **{key: row[key] for key in KEYS},
        **{name: getattr(transaction, name) for name in OTHERS},
        **{name: None if location is None else getattr(location, name) for name in PLACE},
        **(_times(transaction) if "timestamp" in changes else {name: row[name] for name in TIMES}),
        "record_time": _event_time(transaction)
        if imported and "timestamp" in changes
        else row["record_time"],
    }


def _event_time(transaction: Transaction) -> datetime:
    return _EPOCH + timedelta(milliseconds=transaction.event_ms)


def _times(transaction: Transaction) -> dict[str, Any]:
    event_time = _event_time(transaction)
    return dict(zip(TIMES, (event_time, event_time.date()), strict=True))


def _refuse(problems: list[str]) -> None:
    if problems:
        more = len(problems) - SHOWN_PROBLEMS
        rest = [f"… and {more} more"] if more > 0 else []
        raise CorrectionError("; ".join([*problems[:SHOWN_PROBLEMS], *rest]))
