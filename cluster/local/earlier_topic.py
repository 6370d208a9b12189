"""Whether the input topic is another one than the one that owners had last: made again while nothing ran.

Never: a decision; people are told, and the partitions begin anew.
"""

from collections.abc import Iterable

from ray_fraud.stores.ledger.port import OwnerRow


def made_again(owners: Iterable[OwnerRow], cluster_id: str, topic: str, topic_id: str) -> str | None:
    """A sentence for people; None if the topic is that of the last owners, or nobody ever owned one.

    `owners`: as `Ledger.owners` tells, those of earlier lives included.
    """
    here = [owner for owner in owners if owner.partition.cluster_id == cluster_id]
    if not here or any(owner.partition.topic_id == topic_id for owner in here):
        return None
    last = max(here, key=lambda owner: owner.taken_at_ms).partition.topic_id
    return (
        f"topic {topic!r} has id {topic_id}, the last owners read {last}: it was made again, or another "
        "topic is named now. Every user begins without a history; what the earlier one had unread is lost"
    )
