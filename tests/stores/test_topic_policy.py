"""What is said of a topic that forgets too much, or believes any clock."""

from datetime import timedelta

import pytest

from ray_fraud.stores.log.topic_policy import TopicPolicy, policy_warnings

NEEDED = timedelta(hours=2)
SOUND = {"after_max": timedelta(hours=1), "retention": timedelta(days=7)}


def warnings(**policy: object) -> list[str]:
    return policy_warnings("t", TopicPolicy(**{**SOUND, **policy}), NEEDED)  # type: ignore[arg-type]  # by name


def test_the_defaults_of_a_new_broker_are_sound() -> None:
    assert warnings() == []


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"compacts": True}, "cleanup.policy=delete"),
        ({"compacts": True, "deletes": False}, "cleanup.policy=delete"),
        ({"retention": timedelta(minutes=90)}, "raise retention.ms"),
        ({"retention_bytes": 10**9}, "1,000,000,000 bytes"),
        ({"after_max": None}, "however far ahead"),
        ({"after_max": timedelta(days=2)}, "message.timestamp.after.max.ms=3600000"),
        ({"before_max": timedelta(minutes=5)}, "message.timestamp.before.max.ms"),
    ],
)
def test_each_fault_is_told_with_what_to_set(policy: dict[str, object], words: str) -> None:
    (warning,) = warnings(**policy)
    assert warning.startswith("topic 't': ")
    assert words in warning


def test_a_broker_that_sets_the_time_needs_no_limits() -> None:
    assert warnings(log_append_time=True, after_max=None, before_max=timedelta(0)) == []


def test_a_compacted_topic_is_not_kept() -> None:
    assert TopicPolicy(deletes=False).kept is None
    assert TopicPolicy(compacts=True, deletes=False).kept == timedelta()
    lag = timedelta(days=1)
    assert TopicPolicy(compacts=True, retention=timedelta(days=7), compaction_lag=lag).kept == lag
    assert TopicPolicy(retention=timedelta(days=7)).kept == timedelta(days=7)
