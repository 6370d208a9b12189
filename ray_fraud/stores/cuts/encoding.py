"""A cut's header as the fields of a Redis hash, and users as the arguments of a function call.

Never: sending anything.
"""

from collections.abc import Iterable, Mapping

import msgspec

from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.stores.cuts.layout import BUCKETS
from ray_fraud.stores.cuts.port import CutDamaged, CutHeader

Users = Iterable[tuple[int, bytes | None]]

_events = msgspec.json.Decoder(tuple[ControlEvent, ...])


def header_arguments(header: CutHeader) -> list[bytes]:
    """Field, value, field, value …"""
    return [
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
        b"events",
        msgspec.json.encode(header.events),
        b"user_count",
        b"%d" % header.user_count,
        b"digest",
        b"%d" % header.digest,
        b"fold_version",
        b"%d" % header.fold_version,
        b"leader_epoch",
        b"%d" % header.leader_epoch,
    ]


def decode_header(fields: Mapping[bytes, bytes]) -> CutHeader | None:
    """The header in a cut's hash; None if only the fence is there.

    Raises:
        CutDamaged: fields are missing or unreadable.
    """
    if b"generation" not in fields:
        return None
    try:
        return CutHeader(
            epoch=int(fields[b"epoch"]),
            token=fields[b"token"].decode(),
            writer_epoch=int(fields[b"writer_epoch"]),
            generation=fields[b"generation"].decode(),
            next_offset=int(fields[b"next_offset"]),
            drained=fields[b"drained"] == b"1",
            watermark_ms=int(fields[b"watermark_ms"]),
            base_offset=int(fields[b"base_offset"]),
            events=_events.decode(fields[b"events"]),
            user_count=int(fields[b"user_count"]),
            digest=int(fields[b"digest"]),
            fold_version=int(fields[b"fold_version"]),
            # Older releases wrote none.
            leader_epoch=int(fields.get(b"leader_epoch", b"-1")),
        )
    except (KeyError, ValueError) as error:
        raise CutDamaged("redis", f"header of the cut is unreadable: {error!r}") from error


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
