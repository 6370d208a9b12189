"""What `up` tells of a topic that was made again while nothing ran."""

from cluster.local.earlier_topic import made_again
from ray_fraud.domain.record import PartitionId
from ray_fraud.stores.ledger.port import OwnerRow


def owner(topic_id: str, taken_at_ms: int, cluster_id: str = "here") -> OwnerRow:
    return OwnerRow(PartitionId(cluster_id, topic_id, 0), 3, 10, 10, taken_at_ms)


def test_the_topic_of_the_last_owners_is_no_news() -> None:
    owners = [owner("first", 1), owner("second", 2), owner("elsewhere", 9, "another cluster")]
    assert made_again(owners, "here", "transactions", "second") is None
    assert made_again([], "here", "transactions", "second") is None
    assert made_again(owners, "new cluster", "transactions", "third") is None


def test_another_topic_under_the_name_is_told_with_both_ids() -> None:
    told = made_again([owner("second", 2), owner("first", 1)], "here", "transactions", "third")
    assert told is not None
    assert "topic 'transactions' has id third, the last owners read second" in told
    assert "without a history" in told
