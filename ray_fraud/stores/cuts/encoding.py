"""A cut's header as the fields of a Redis hash, and users as the arguments of a function call.

Never: sending anything.
"""

from collections.abc import Iterable, Mapping

import msgspec

from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.watermark import Votes
from ray_fraud.stores.cuts.layout import BUCKETS
from ray_fraud.stores.cuts.port import CutDamaged, CutHeader

Users = Iterable[tuple[int, bytes | None]]

_event = msgspec.json.Decoder(ControlEvent)
_votes = msgspec.json.Decoder(Votes)
_events = msgspec.json.Decoder(tuple[ControlEvent, ...])
_NO_EVENTS = b"[]"


def header_arguments(header: CutHeader, known_seq: int | None = None) -> list[bytes]:
    """Field, value, field, value …; each event in a field of its own, so that a cut sends only new ones.

    `known_seq`: number of the last event that is stored then; None: that of the last of the header's.
    """
    arguments = [
        b"epoch",
        b"%d" % header.epoch,
        b"token",
        header.token.encode(),
        b"writer_epoch",
        b"%d" % header.writer_epoch,
        b"generation",
        header.generation.encode(),
        b"next_offset",
        b"%d" % header.next_offset,
        b"drained",
        b"%d" % header.drained,
        b"watermark_ms",
        b"%d" % header.watermark_ms,
        b"base_offset",
        b"%d" % header.base_offset,
        # Where older releases have the whole timeline.
        b"events",
        _NO_EVENTS,
        b"events_of",
        b"%d" % header.writer_epoch,
        b"base_seq",
        b"%d" % header.base_seq,
        b"last_seq",
        b"%d" % (header.last_seq if known_seq is None else known_seq),
        b"user_count",
        b"%d" % header.user_count,
        b"digest",
        b"%d" % header.digest,
        b"fold_version",
        b"%d" % header.fold_version,
        b"leader_epoch",
        b"%d" % header.leader_epoch,
        b"votes",
        msgspec.json.encode(header.votes),
    ]
    for event in header.events:
        arguments += (b"event:%d" % event.seq, msgspec.json.encode(event))
    return arguments


def decode_header(fields: Mapping[bytes, bytes]) -> CutHeader | None:
    """The header in a cut's hash; None if only the fence is there.

    Raises:
        CutDamaged: fields are missing or unreadable.
    """
    if b"generation" not in fields:
        return None
    try:
        base_seq, events = _events_of(fields)
        return CutHeader(
            epoch=int(fields[b"epoch"]),
            token=fields[b"token"].decode(),
            writer_epoch=int(fields[b"writer_epoch"]),
            generation=fields[b"generation"].decode(),
            next_offset=int(fields[b"next_offset"]),
            drained=fields[b"drained"] == b"1",
            watermark_ms=int(fields[b"watermark_ms"]),
            base_offset=int(fields[b"base_offset"]),
            events=events,
            base_seq=base_seq,
            user_count=int(fields[b"user_count"]),
            digest=int(fields[b"digest"]),
            fold_version=int(fields[b"fold_version"]),
            # Older releases wrote none.
            leader_epoch=int(fields.get(b"leader_epoch", b"-1")),
            # Cuts of fold versions below 4 have none.
            votes=_votes.decode(fields.get(b"votes", b"{}")),
        )
    except (KeyError, ValueError) as error:
        raise CutDamaged("redis", f"header of the cut is unreadable: {error!r}") from error


def _events_of(fields: Mapping[bytes, bytes]) -> tuple[int, tuple[ControlEvent, ...]]:
    """Number of the base's last event, and those after it.

    Raises:
        KeyError, ValueError: some are missing or unreadable.
    """
    whole = _events.decode(fields[b"events"])
    if fields.get(b"events_of") != fields[b"writer_epoch"]:
        # Written by an older release, perhaps over the fields of a newer one.
        return 0, whole
    base_seq, last_seq = int(fields[b"base_seq"]), int(fields[b"last_seq"])
    return base_seq, tuple(
        _event.decode(fields[b"event:%d" % seq]) for seq in range(base_seq + 1, last_seq + 1)
    )


def user_arguments(users: Users, bucket_keys: list[str]) -> tuple[list[str], list[bytes]]:
    """Users as the functions take them: the touched keys and, per key, count, pairs, count, deleted ids."""
    stored: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    deleted: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    for user_id, state in users:
        if state is None:
            deleted[user_id % BUCKETS].append(b"%d" % user_id)
        else:
            stored[user_id % BUCKETS] += (b"%d" % user_id, state)
    keys: list[str] = []
    arguments: list[bytes] = []
    for key, pairs, ids in zip(bucket_keys, stored, deleted, strict=True):
        if pairs or ids:
            keys.append(key)
            arguments += (b"%d" % len(pairs), *pairs, b"%d" % len(ids), *ids)
    return keys, arguments
