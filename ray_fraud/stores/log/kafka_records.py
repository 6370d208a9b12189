"""The records of one batch of format 2, out of a stream of bytes of unknown length.

The loop over small records is the most expensive step of reading, so it is written out: numbers are zigzag
varints, nearly always of one byte. What is larger is read field by field, and only its beginning is kept.

Format: https://kafka.apache.org/documentation/#recordbatch (message format 2).

Never: more than a piece and one record in memory; a header or a key left out without `Record.cut`.
"""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from ray_fraud.domain.masking import DIGITS_HIDDEN
from ray_fraud.domain.record import Cut, Headers, Record
from ray_fraud.stores.log.limits import KEPT_HEADERS_BYTES, KEPT_KEY_BYTES, KEPT_VALUE_BYTES

ATTRIBUTES_BYTES = 1
LARGE_BYTES: Final = 65_536
"""From this length on a record is read field by field; nothing shorter can be over a limit."""
_LARGE_VARINT: Final = LARGE_BYTES << 1
_LONGEST_LENGTH = 5
"""Bytes of the longest varint that may stand before a record."""
_LONGEST_VARINT_BITS = 63
_NO_SHA256 = b""


class RecordsError(ValueError):
    """Lengths and counts of a batch do not fit."""


class Frame(NamedTuple):
    """What a batch's head says about each of its records."""

    base_offset: int
    last_offset: int
    first_timestamp: int
    append_time: int | None
    """Timestamp of all records if the broker stamps them (LogAppendTime), unix milliseconds."""
    records: int


def records_in(pieces: Iterator[bytes], frame: Frame) -> Iterator[tuple[list[Record], int]]:
    """All records in portions of about one piece, each with the bytes that were read for it.

    Raises:
        RecordsError: lengths, counts or offsets do not fit.
        ValueError: the pieces' own errors.
    """
    source = Source(pieces)
    left, lowest = frame.records, frame.base_offset
    if left <= 0 and source.available(1):
        raise RecordsError(f"bytes follow, but the number of records is {left}")
    while left > 0:
        before = source.taken
        records = _small_records(source, left, lowest, frame)
        if not records:
            records = [_large_record(source, lowest, frame)]
        left -= len(records)
        lowest = records[-1].offset + 1
        if lowest - 1 > frame.last_offset:
            raise RecordsError(f"offset {lowest - 1} is above the batch's last, {frame.last_offset}")
        if not left and source.available(1):
            raise RecordsError("bytes are left behind the last record")
        yield records, source.taken - before


class Source:
    """The bytes of a batch, of which only the part around the position is in memory."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._gone = 0
        self.buffer = b""
        self.at = 0
        self.ended = False

    @property
    def taken(self) -> int:
        """Bytes before the position."""
        return self._gone + self.at

    def available(self, wanted: int) -> bool:
        """Whether `wanted` bytes follow in the buffer, after reading on as far as need be."""
        while not self.ended and len(self.buffer) - self.at < wanted:
            piece = next(self._pieces, None)
            if piece is None:
                self.ended = True
                break
            self._gone += self.at
            self.buffer = self.buffer[self.at :] + piece if self.at < len(self.buffer) else piece
            self.at = 0
        return len(self.buffer) - self.at >= wanted

    def varint(self) -> int:
        """The next zigzag varint."""
        self.available(_LONGEST_VARINT_BITS // 7 + 1)
        first = self.buffer[self.at]
        self.at += 1
        value = first
        if first > 127:
            value, self.at = _continue_varint(self.buffer, self.at, first)
        return (value >> 1) ^ -(value & 1)

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which the caller has bounded."""
        if not self.available(count):
            raise RecordsError(f"{count} bytes should follow, {len(self.buffer) - self.at} do")
        self.at += count
        return self.buffer[self.at - count : self.at]

    def chunks(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes as they come."""
        while count:
            if not self.available(1):
                raise RecordsError(f"{count} more bytes should follow, none do")
            chunk = self.buffer[self.at : self.at + count]
            self.at += len(chunk)
            count -= len(chunk)
            yield chunk


def _small_records(source: Source, most: int, lowest: int, frame: Frame) -> list[Record]:
    """Records up to the end of what is in memory, or up to one that is not small; the position moves on."""
    source.available(_LONGEST_LENGTH + LARGE_BYTES)
    try:
        records, source.at = _decode(source.buffer, source.at, most, lowest, frame)
    except (IndexError, OverflowError) as error:
        raise RecordsError(f"a record is cut short: {error}") from error
    return records


def _decode(buffer: bytes, at: int, most: int, lowest: int, frame: Frame) -> tuple[list[Record], int]:
    """The loop; stops before a record that is large or not all there, or at the end of the buffer."""
    base_offset, _, first_timestamp, append_time, _ = frame
    size = len(buffer)
    previous = (lowest - base_offset << 1) - 1
    records: list[Record] = []
    add = records.append
    while most and at < size:
        begin = at
        length = buffer[at]
        at += 1
        if length > 127:
            if at + _LONGEST_LENGTH > size:
                return records, begin
            length, at = _continue_varint(buffer, at, length)
        end = at + (length >> 1)
        if end > size or length >= _LARGE_VARINT:
            return records, begin
        at += ATTRIBUTES_BYTES
        delta = buffer[at]
        at += 1
        if delta > 127:
            delta, at = _continue_varint(buffer, at, delta)
        timestamp = first_timestamp + ((delta >> 1) ^ -(delta & 1)) if append_time is None else append_time
        offset = buffer[at]
        at += 1
        if offset > 127:
            offset, at = _continue_varint(buffer, at, offset)
        if offset <= previous:
            raise RecordsError(f"offset {base_offset + (offset >> 1)} comes twice or too late")
        previous = offset
        key, at = _field(buffer, at)
        bytes_of_value = buffer[at]
        at += 1
        if bytes_of_value > 127:
            bytes_of_value, at = _continue_varint(buffer, at, bytes_of_value)
        value = None
        if not bytes_of_value & 1:
            begin = at
            at += bytes_of_value >> 1
            value = buffer[begin:at]
        if buffer[at] == 0:
            at += 1
            add(Record(base_offset + (offset >> 1), timestamp, key, value))
        else:
            headers, at = _headers(buffer, at)
            add(Record(base_offset + (offset >> 1), timestamp, key, value, headers))
        if at != end:
            raise RecordsError(
                f"record at offset {records[-1].offset} ends {at - end} bytes from where it should"
            )
        most -= 1
    return records, at


def _continue_varint(buffer: bytes, at: int, first: int) -> tuple[int, int]:
    """The rest of an unsigned varint whose first byte was `first`; value and the position behind it."""
    second = buffer[at]
    if second < 128:
        return (second << 7) | (first & 0x7F), at + 1
    value = first & 0x7F
    shift = 7
    while first > 127:
        if shift > _LONGEST_VARINT_BITS:
            raise RecordsError("a number is longer than ten bytes")
        first = buffer[at]
        at += 1
        value |= (first & 0x7F) << shift
        shift += 7
    return value, at


def _field(buffer: bytes, at: int) -> tuple[bytes | None, int]:
    """Bytes with their length before them, a negative length for None."""
    length = buffer[at]
    at += 1
    if length > 127:
        length, at = _continue_varint(buffer, at, length)
    if length & 1:
        return None, at
    end = at + (length >> 1)
    return buffer[at:end], end


def _headers(buffer: bytes, at: int) -> tuple[Headers, int]:
    """A count, then name and value of each."""
    count = buffer[at]
    at += 1
    if count > 127:
        count, at = _continue_varint(buffer, at, count)
    if count & 1:
        raise RecordsError("the number of headers is negative")
    headers = []
    for _ in range(count >> 1):
        name, at = _field(buffer, at)
        value, at = _field(buffer, at)
        headers.append((_name(name), value))
    return tuple(headers), at


def _name(name: bytes | None) -> str:
    if name is None:
        raise RecordsError("the name of a header is null")
    return name.decode("utf-8", "surrogateescape")


def _large_record(source: Source, lowest: int, frame: Frame) -> Record:
    """One record field by field."""
    try:
        length = source.varint()
        end = source.taken + length
        source.take(ATTRIBUTES_BYTES)
        delta = source.varint()
        offset = frame.base_offset + source.varint()
        if offset < lowest:
            raise RecordsError(f"offset {offset} comes twice or too late")
        key_size = source.varint()
        key, _ = _begin_of(source, key_size, KEPT_KEY_BYTES, end)
        value_size = source.varint()
        value, digest = _begin_of(source, value_size, KEPT_VALUE_BYTES, end)
        header_count = source.varint()
        if header_count < 0:
            raise RecordsError("the number of headers is negative")
        headers_size = end - source.taken
        headers, all_headers = _first_headers(source, header_count, end)
    except (IndexError, OverflowError) as error:
        raise RecordsError(f"a record is cut short: {error}") from error
    if source.taken != end:
        raise RecordsError(f"record at offset {offset} ends {source.taken - end} bytes from where it should")
    whole = all_headers and key_size <= KEPT_KEY_BYTES and value_size <= KEPT_VALUE_BYTES
    timestamp = frame.first_timestamp + delta if frame.append_time is None else frame.append_time
    cut = None if whole else Cut(max(0, value_size), digest, max(0, key_size), header_count, headers_size)
    return Record(offset, timestamp, key, value, headers, cut)


def _begin_of(source: Source, size: int, kept: int, end: int) -> tuple[bytes | None, bytes]:
    """The first bytes of a field of `size`; if that is not all, the SHA-256 of all, digits hidden."""
    if size < 0:
        return None, _NO_SHA256
    if source.taken + size > end:
        raise RecordsError(f"a field of {size} bytes does not fit into its record")
    begin = source.take(min(size, kept))
    if size <= kept:
        return begin, _NO_SHA256
    digest = hashlib.sha256(begin.translate(DIGITS_HIDDEN))
    for chunk in source.chunks(size - kept):
        digest.update(chunk.translate(DIGITS_HIDDEN))
    return begin, digest.digest()


def _first_headers(source: Source, count: int, end: int) -> tuple[Headers, bool]:
    """As many as fit, the last perhaps cut; whether that is all. The position is at `end` then."""
    headers: list[tuple[str, bytes | None]] = []
    limit = source.taken + KEPT_HEADERS_BYTES
    complete = True
    while complete and len(headers) < count:
        name, complete = _first_part(source, limit, end)
        value: bytes | None = None
        if complete:
            value, complete = _first_part(source, limit, end)
        headers.append((_name(name), value))
    if not complete:
        for _ in source.chunks(end - source.taken):
            pass
    return tuple(headers), complete


def _first_part(source: Source, limit: int, end: int) -> tuple[bytes | None, bool]:
    """The next field as far as `limit` allows, and whether that is all of it."""
    size = source.varint()
    if size < 0:
        return None, True
    if source.taken + size > end:
        raise RecordsError(f"a header of {size} bytes does not fit into its record")
    room = limit - source.taken
    if room <= 0:
        return b"", False
    return source.take(min(size, room)), size <= room
