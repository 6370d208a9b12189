"""How a refused record travels on topic `transactions.dlq`: its bytes, and headers that say why.

A letter fits into the limit it is given, whatever the record was: value, key and the record's own headers are
cut (`letter_cuts`), and headers of ours tell what they were. Cutting comes first, so that only what is kept
is masked, and the work on a record has the limit's size.

Never: a card number in clear; a clock or a random id (a replay writes the same dead letter again).
"""

import uuid
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from ray_fraud import __version__
from ray_fraud.domain.letter_cuts import Kept, cut_to
from ray_fraud.domain.masking import DIGITS_HIDDEN, mask_beginning, mask_card_numbers, mask_header, mask_key
from ray_fraud.domain.record import Headers, Record
from ray_fraud.domain.record_size import batch_bytes, field_bytes, name_bytes
from ray_fraud.domain.rejection import DeadLetter, Rejection

DEAD_LETTER_NAMESPACE = uuid.UUID("0d1f2b52-6a43-5c88-8f53-7a3e0a4f9b21")
"""Namespace of correlation ids; changing it would give a dead letter a second identity."""
MAX_MESSAGE_BYTES = 512
SMALLEST_LIMIT_BYTES = 1_024
"""Into this limit every letter fits: its identification, sizes and hashes, and next to nothing else."""
HASHED_AT_ONCE_BYTES = 1 << 20
IDENTIFICATION = ("topic", "partition", "offset", "timestamp", "error.code", "correlation_id")

_TRUE = b"true"
_LONGEST_SIZE = b"9" * 10
_HEX_DIGEST = b"0" * 64
_MASKED_NOTES: Headers = tuple((f"dlq.{part}.masked", _TRUE) for part in ("value", "key", "headers"))
_CUT_NOTES: Headers = _MASKED_NOTES + tuple(
    (f"dlq.{part}.{told}", content)
    for part in ("value", "key", "headers")
    for told, content in (("truncated", _TRUE), ("size", _LONGEST_SIZE), ("sha256", _HEX_DIGEST))
)
_NOTES_OF_A_CUT: Headers = (*_CUT_NOTES, ("dlq.headers.count", _LONGEST_SIZE))
"""The largest notes that a cut record may need: room is kept for all of them."""


class LimitTooSmall(ValueError):
    """No letter fits into the limit."""


class Letter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter as it is sent: within the limit, card numbers masked."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def correlation_id(topic: str, partition: int, offset: int) -> uuid.UUID:
    """UUIDv5 of the record's place; the same record has the same id in the dead letters, logs and replays."""
    return uuid.uuid5(DEAD_LETTER_NAMESPACE, f"{topic}:{partition}:{offset}")


def letter_of(dead: DeadLetter, topic: str, partition: int, limit_bytes: int, *, attempts: int = 1) -> Letter:
    """The record as a dead letter, whose uncompressed batch has at most `limit_bytes`.

    The record's own headers come first, then the `dlq.*` ones, all UTF-8 text. Masking keeps lengths.

    Args:
        dead: the record and why it was refused.
        topic: where the record was read, as `partition`.
        partition: its number.
        limit_bytes: what the topic of the dead letters takes.
        attempts: how often the record was tried (a refusal by the contract is final at the first).

    Raises:
        LimitTooSmall: `limit_bytes` is below `SMALLEST_LIMIT_BYTES`.
    """
    if limit_bytes < SMALLEST_LIMIT_BYTES:
        raise LimitTooSmall(
            f"a limit of {limit_bytes} bytes takes no dead letter; it must be {SMALLEST_LIMIT_BYTES} or more"
        )
    told = _told(dead, topic, partition, attempts)
    record = dead.record
    null = _nulls(record)
    # A topic can hold a record without key and value, but clients refuse to send one.
    value = b"" if record.value is None and record.key is None else record.value
    if batch_bytes(record.key, value, record.headers + told + _reserve(record) + null) <= limit_bytes:
        kept = Kept(record.key, value, tuple((name_bytes(name), text) for name, text in record.headers))
    else:
        null = null[-1:] if record.value is None and record.key is None else ()
        room = limit_bytes - batch_bytes(None, None, told + _NOTES_OF_A_CUT + null)
        if room < limit_bytes // 2:
            told = tuple(each for each in told if each[0].removeprefix("dlq.") in IDENTIFICATION)
            room = limit_bytes - batch_bytes(None, None, told + _NOTES_OF_A_CUT + null)
        kept = cut_to(room, record.key, value, record.headers)
    return _masked(record, kept, told, null)


def _told(dead: DeadLetter, topic: str, partition: int, attempts: int) -> Headers:
    """Place and reason. `dlq.timestamp` is the record's Kafka timestamp in unix milliseconds."""
    record, rejection = dead.record, dead.rejection
    told = {
        "dlq.topic": topic,
        "dlq.partition": str(partition),
        "dlq.offset": str(record.offset),
        "dlq.timestamp": str(record.timestamp_ms),
        "dlq.error.class": f"{Rejection.__module__}.{Rejection.__qualname__}",
        "dlq.error.code": rejection.code.value,
        "dlq.error.field": rejection.field,
        "dlq.error.message": rejection.message,
        "dlq.app.version": __version__,
        "dlq.attempts": str(attempts),
        "dlq.correlation_id": str(correlation_id(topic, partition, record.offset)),
    }
    return tuple((name, text.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES]) for name, text in told.items())


def _reserve(record: Record) -> Headers:
    """The largest notes that the record needs if all of it is kept that the reader has kept."""
    return _MASKED_NOTES if record.cut is None else _NOTES_OF_A_CUT


def _nulls(record: Record) -> Headers:
    """What the protocol can say and no client can send: null header values, neither key nor value."""
    positions = [str(index) for index, (_, text) in enumerate(record.headers) if text is None]
    notes: Headers = (("dlq.headers.null", ",".join(positions).encode()),) if positions else ()
    if record.value is None and record.key is None:
        notes += (("dlq.value.null", _TRUE),)
    return notes


def _masked(record: Record, kept: Kept, told: Headers, null: Headers) -> Letter:
    cut = record.cut
    notes: Headers = ()
    value = kept.value
    if value is not None:
        whole = len(record.value or b"") if cut is None else cut.value_size
        value = mask_card_numbers(value) if len(value) == whole else mask_beginning(value)
        digest = cut.value_sha256.hex().encode() if cut is not None and cut.value_sha256 else b""
        notes += _notes("value", whole, record.value or b"", kept.value or b"", value, digest)
    key = kept.key
    if key is not None:
        whole = len(record.key or b"") if cut is None else cut.key_size
        key = mask_key(key, cut=len(key) < whole)
        notes += _notes("key", whole, record.key or b"", kept.key or b"", key)
    headers, about_headers = _masked_headers(record, kept)
    return Letter(key, value, headers + told + notes + about_headers + null)


def _masked_headers(record: Record, kept: Kept) -> tuple[Headers, Headers]:
    """The record's own headers, and the notes on them."""
    cut = record.cut
    whole = tuple((name_bytes(name), text) for name, text in record.headers)
    held = _size(whole)
    size, count = (held, len(whole)) if cut is None else (cut.headers_size, cut.header_count)
    cut_by_reader = (size, count) != (held, len(whole))
    masked: list[tuple[bytes, bytes | None]] = []
    for (name, text), (all_of_name, all_of_text) in zip(kept.headers, whole, strict=False):
        shown = mask_key(name, cut=cut_by_reader or len(name) < len(all_of_name))
        if text is not None:
            text_is_cut = cut_by_reader or len(text) < len(all_of_text or b"")
            text = mask_header(all_of_name, text, cut=text_is_cut)
        masked.append((shown, text))
    notes: Headers = () if tuple(masked) == kept.headers else (("dlq.headers.masked", _TRUE),)
    if _size(masked) < size or len(masked) < count:
        notes += (
            ("dlq.headers.truncated", _TRUE),
            ("dlq.headers.size", str(size).encode()),
            ("dlq.headers.count", str(count).encode()),
        )
        if not cut_by_reader:
            joined = b"".join(name + (text or b"") for name, text in whole)
            notes += (("dlq.headers.sha256", hidden_digits_sha256(joined).encode()),)
    return tuple((name.decode("utf-8", "surrogateescape"), text) for name, text in masked), notes


def _size(headers: Iterable[tuple[bytes, bytes | None]]) -> int:
    """Bytes of names and values with their lengths."""
    return sum(field_bytes(len(name)) + field_bytes(len(text or b"")) for name, text in headers)


def _notes(
    part: str, whole_size: int, held: bytes, kept: bytes, masked: bytes, digest: bytes = b""
) -> Headers:
    """What was done to one part of the record; nothing if it is whole and in clear.

    Args:
        part: `value` or `key`.
        whole_size: bytes of the part in the log.
        held: what the reader has kept of it.
        kept: what the letter has room for.
        masked: that, with card numbers masked.
        digest: of the whole part, hex, if it is known already.
    """
    notes: Headers = () if masked == kept else ((f"dlq.{part}.masked", _TRUE),)
    if len(kept) < whole_size:
        notes += ((f"dlq.{part}.truncated", _TRUE), (f"dlq.{part}.size", str(whole_size).encode()))
        if not digest and len(held) == whole_size:
            digest = hidden_digits_sha256(held).encode()
        if digest:
            notes += ((f"dlq.{part}.sha256", digest),)
    return notes


def hidden_digits_sha256(content: bytes) -> str:
    """SHA-256 of the content with an asterisk for each ASCII digit (`tr 0-9 '*' | sha256sum`), hex.

    A hash of the content itself, beside its masked beginning, would let anyone try digits until it fits.
    """
    digest = sha256()
    view = memoryview(content)
    for start in range(0, len(content), HASHED_AT_ONCE_BYTES):
        digest.update(bytes(view[start : start + HASHED_AT_ONCE_BYTES]).translate(DIGITS_HIDDEN))
    return digest.hexdigest()
