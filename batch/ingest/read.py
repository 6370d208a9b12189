"""Reading one slice of the log to its end, as rows.

Never: an offset left out in silence; a wait without a limit.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import pyarrow as pa

from batch.ingest.columns import rows_of, unreadable_rows
from batch.ingest.plan import Slice
from ray_fraud.domain.decode import Decoder
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.domain.text_users import UnclaimedUserError
from ray_fraud.domain.timeline import ControlEvent, refused_by, settings_at
from ray_fraud.stores.errors import StoreUnavailable
from ray_fraud.stores.log.damage import DamageTries
from ray_fraud.stores.log.port import LogDamaged, LogReader
from ray_fraud.stores.text_users.claims import claim_users
from ray_fraud.stores.text_users.port import TextUserRegister

logger = logging.getLogger(__name__)

POLL_RECORDS = 10_000
POLL_TIMEOUT = timedelta(seconds=1)
PATIENCE = timedelta(seconds=30)
"""Without a new offset for longer than this, the slice fails; the next ingest reads it again."""


def read_slice(
    reader: LogReader,
    piece: Slice,
    decoder: Decoder,
    settings: DetectionSettings,
    monotonic: Callable[[], float] = time.monotonic,
    register: TextUserRegister | None = None,
) -> Iterator[pa.Table]:
    """Rows of all offsets of the slice, some thousand at a time; what stays unreadable is a row that says so.

    A record is accepted under the settings of its offset; `settings` are for those below the first event.
    `register`: of the decoder's users, if it wants them claimed.

    Raises:
        TimelineError: a settings event is damaged.
        LogGap, TopicReplaced: the log no longer has these offsets.
        StoreUnavailable: the broker does not answer, or nothing came for too long.
    """
    reader.seek(piece.from_offset, piece.leader_epoch)
    # Before it is unpacked: it may end this process.
    reader.watch(lambda begin, end: refused_by(piece.unreadable, max(begin, reader.position()), end))
    expected = piece.from_offset
    progress_at = monotonic()
    tries = DamageTries()
    while expected < piece.to_offset:
        try:
            polled = reader.poll(POLL_RECORDS, POLL_TIMEOUT)
        except LogDamaged as damage:
            known = any(one.offset <= damage.from_offset < one.end for one in piece.unreadable)
            if known or not tries.again(damage):
                begin, reached = (min(piece.to_offset, at) for at in (damage.from_offset, damage.to_offset))
                logger.error("ingest: %s: %s; they are counted as unreadable", piece.partition, damage)  # noqa: TRY400
                yield rows_of([], piece.partition, expected, begin, decoder, settings)
                yield unreadable_rows(piece.partition, begin, reached)
                reader.seek(reached)
                expected, progress_at = reached, monotonic()
            continue
        records = [record for record in polled if record.offset < piece.to_offset]
        # The position lies past holes at the end of what was polled, too.
        reached = min(piece.to_offset, reader.position())
        if reached > expected:
            for begin, end in _stretches(piece.settings, expected, reached):
                held = settings_at(piece.settings, begin) or settings
                within = [record for record in records if begin <= record.offset < end]
                try:
                    rows = rows_of(within, piece.partition, begin, end, decoder, held)
                except UnclaimedUserError:
                    if register is None:
                        raise
                    claim_users(decoder, register, within)
                    rows = rows_of(within, piece.partition, begin, end, decoder, held)
                yield rows
            expected, progress_at = reached, monotonic()
        elif monotonic() - progress_at > PATIENCE.total_seconds():
            raise StoreUnavailable(
                "kafka",
                f"{piece.partition}: nothing at offset {expected} for {PATIENCE.total_seconds():.0f} s",
            )


def _stretches(events: Sequence[ControlEvent], begin: int, end: int) -> list[tuple[int, int]]:
    """`[begin, end)`, cut where other settings hold."""
    cuts = sorted({event.from_offset for event in events if begin < event.from_offset < end})
    return list(zip([begin, *cuts], [*cuts, end], strict=True))
