"""A compressed batch as a stream of pieces, so that its size in memory does not depend on its producer.

Never: more than a piece at a time (one block of snappy apart, which grows 32-fold at most); a codec that
Kafka does not name.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

import lz4.frame
import snappy
import zstandard

from ray_fraud.stores.log.limits import MAX_INFLATED_BYTES

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
"""Kafka's numbers of codecs: the lowest three bits of a batch's attributes."""

PIECE_BYTES: Final = 1 << 20
SNAPPY_GROWTH: Final = 32
"""Three bytes of snappy stand for 64 at most."""
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_GZIP_WINDOW = 31
_LENGTH = struct.Struct(">i")


class InflateError(ValueError):
    """The compressed bytes contradict their codec, or become too many."""


def inflated(codec: int, data: bytes) -> Iterator[bytes]:
    """The content of one batch in pieces, in order.

    Raises:
        InflateError: unknown codec, damaged or truncated data, or more than `MAX_INFLATED_BYTES`.
    """
    if not data:
        return
    try:
        pieces = _PIECES[codec](data)
    except KeyError:
        raise InflateError(f"codec {codec} is unknown") from None
    total = 0
    try:
        for piece in pieces:
            total += len(piece)
            if total > MAX_INFLATED_BYTES:
                raise InflateError(f"{len(data)} bytes become more than {MAX_INFLATED_BYTES}")
            yield piece
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError, snappy.UncompressError) as error:
        raise InflateError(f"{type(error).__name__}: {error}") from error


def _gzip(data: bytes) -> Iterator[bytes]:
    """Members one after another, as `GZIPInputStream` reads them."""
    while data:
        member = zlib.decompressobj(_GZIP_WINDOW)
        while not member.eof:
            piece = member.decompress(data, PIECE_BYTES)
            data = member.unconsumed_tail
            if piece:
                yield piece
            elif not data and not member.eof:
                raise InflateError("gzip data ends in the middle")
        data = member.unused_data


def _lz4(data: bytes) -> Iterator[bytes]:
    """Frames one after another."""
    while data:
        frame: Any = lz4.frame.LZ4FrameDecompressor()
        while not frame.eof:
            piece: bytes = frame.decompress(data, max_length=PIECE_BYTES)
            data = b""
            if piece:
                yield piece
            elif frame.needs_input and not frame.eof:
                raise InflateError("lz4 data ends in the middle")
        data = frame.unused_data or b""


def _zstd(data: bytes) -> Iterator[bytes]:
    """Frames one after another; a truncated one shows as records that are missing."""
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        while piece := reader.read(PIECE_BYTES):
            yield piece


def _snappy(data: bytes) -> Iterator[bytes]:
    """One block, or the blocks of the xerial format, which Java writes."""
    if not data.startswith(_XERIAL):
        yield _snappy_block(data)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise InflateError("snappy data ends in the length of a block")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if not 0 < length <= len(data) - at:
            raise InflateError(f"snappy block of {length} bytes, where {len(data) - at} are left")
        yield _snappy_block(data[at : at + length])
        at += length


def _snappy_block(block: bytes) -> bytes:
    claimed = _claimed_by_snappy(block)
    if claimed > min(MAX_INFLATED_BYTES, SNAPPY_GROWTH * len(block)):
        raise InflateError(f"snappy block of {len(block)} bytes claims to hold {claimed}")
    content: bytes = snappy.decompress(block)
    return content


def _claimed_by_snappy(block: bytes) -> int:
    """The varint that a block begins with: its length when decompressed."""
    value = 0
    for index, octet in enumerate(block[:5]):
        value |= (octet & 0x7F) << 7 * index
        if octet < 128:
            return value
    raise InflateError("snappy block without a length")


_PIECES = {GZIP: _gzip, SNAPPY: _snappy, LZ4: _lz4, ZSTD: _zstd}
