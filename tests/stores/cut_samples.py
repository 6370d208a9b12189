"""A partition with users, and cuts of it whose counts and digests are right."""

from collections.abc import Mapping
from functools import reduce
from operator import xor

from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import EventKind, inline_event
from ray_fraud.domain.user_state import users_digest_term
from ray_fraud.domain.watermark import Votes
from ray_fraud.stores.cuts.port import Cut

PARTITION = PartitionId("cluster", "topic-id", 2)
EVENTS = (
    inline_event(1, 0, EventKind.FOLD_VERSION, b'{"version":1}'),
    inline_event(2, 40, EventKind.SPLIT, '{"salt":"ü"}'.encode()),
)
USERS: dict[int, bytes] = {
    user_id: b"state \x00\xff\r\n of %d" % user_id for user_id in (0, 1, 63, 64, 65, 2**63 - 1)
}


def digest_of(users: Mapping[int, bytes]) -> int:
    return reduce(xor, (users_digest_term(user_id, state) for user_id, state in users.items()), 0)


def cut_of(
    users: Mapping[int, bytes],
    *,
    changed: Mapping[int, bytes | None] | None = None,
    previous_offset: int = 0,
    next_offset: int = 100,
    epoch: int = 1,
    token: str = "owner-1",  # noqa: S107 - an owner's token is no secret
    drained: bool = False,
) -> Cut:
    """The cut after which the partition holds `users`."""
    return Cut(
        epoch=epoch,
        token=token,
        previous_offset=previous_offset,
        next_offset=next_offset,
        drained=drained,
        watermark_ms=1_700_000_000_123,
        votes=Votes(12, 500, 1_700_009_000_000, 0, (2**63 - 1, 7), 3, established=True),
        base_offset=7,
        events=EVENTS,
        user_count=len(users),
        digest=digest_of(users),
        fold_version=3,
        changed={} if changed is None else changed,
    )
