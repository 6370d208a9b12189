"""What of a user lies outside of the lake's tables: what a deletion takes, what stays, where and until when.

One list of all places. What decisions rest on stays: the log, what was decided and judged, and the state that
the next decision needs.

Never: an answer that leaves out a place because it could not be asked.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta

import msgspec

from ray_fraud.stores.connections import Connections
from ray_fraud.stores.errors import StoreError
from ray_fraud.stores.log.kafka_admin import KafkaLogAdmin
from ray_fraud.stores.review_data.port import NAMING, ReviewData
from ray_fraud.stores.review_data.postgres import PostgresReviewData

NOT_ASKED = "only the lake was named; ask again with --data-dir of its platform"


class Remains(msgspec.Struct, frozen=True):
    """What still names the user."""

    where: str
    rows: int | None
    """None: not counted."""
    until: datetime | None
    """None: no limit, see `why`."""
    why: str


class Erasure(msgspec.Struct):
    """Of one request, beside the lake's tables."""

    deleted: dict[str, int] = {}
    """Rows by place."""
    remains: list[Remains] = []
    failed: list[str] = []
    """What could not be done; asking again does it."""


class Outside(msgspec.Struct, frozen=True):
    """The servers of a platform, as a deletion asks them."""

    review: Callable[[], ReviewData]
    retention: Callable[[str], timedelta | None]
    """How long a topic keeps a record; None: for ever."""
    topics: Sequence[str]


def outside_of(connections: Connections) -> Outside:
    """Opens nothing yet."""

    def retention(topic: str) -> timedelta | None:
        with closing(KafkaLogAdmin(connections.kafka)) as admin:
            return admin.retention(topic)

    topics = connections.topics
    names = (topics.rekey_from, topics.transactions, topics.dead_letters, topics.alerts, topics.labels)
    return Outside(
        lambda: PostgresReviewData(connections.postgres), retention, [name for name in names if name]
    )


def erase_outside(outside: Outside | None, user_id: int, now: datetime) -> Erasure:
    """Deletes what goes, and lists what stays. `outside` is None where only a lake was named."""
    erasure = Erasure()
    _in_postgres(outside, user_id, erasure)
    _in_kafka(outside, now, erasure)
    erasure.remains += _in_files()
    return erasure


def _in_postgres(outside: Outside | None, user_id: int, erasure: Erasure) -> None:
    named: dict[str, int] = {}
    why = "the record of what was decided and judged; nothing removes it by itself"
    if outside is None:
        erasure.remains.append(Remains("PostgreSQL: user_features", None, None, NOT_ASKED))
        why = f"{why}; {NOT_ASKED}"
    else:
        try:
            with closing(outside.review()) as review:
                erasure.deleted["user_features"] = review.forget(user_id)
                named = review.naming(user_id)
        except StoreError as error:
            erasure.failed.append(f"user_features in PostgreSQL: {error}")
            why = f"{why}; PostgreSQL did not answer"
    for table in NAMING:
        if named.get(table, 1):
            erasure.remains.append(Remains(f"PostgreSQL: {table}", named.get(table), None, why))


def _in_kafka(outside: Outside | None, now: datetime, erasure: Erasure) -> None:
    if outside is None or erasure.failed:
        why = NOT_ASKED if outside is None else "not asked, as PostgreSQL did not answer"
        erasure.remains.append(Remains("Kafka: all topics", None, None, f"until their retention ends; {why}"))
        return
    for topic in outside.topics:
        why, until = "records that are there now go by the topic's retention", None
        try:
            kept = outside.retention(topic)
            if kept is None:
                why = "the topic keeps its records for ever (retention.ms)"
            else:
                until = now + kept
        except StoreError as error:
            why = f"until the topic's retention ends, which is not known: {error}"
        erasure.remains.append(Remains(f"Kafka: {topic}", None, until, why))


def _in_files() -> list[Remains]:
    return [
        Remains("Redis", None, None, "the state that the next transaction is judged by; it has no limit"),
        Remains("lake: snapshots/, cold/", None, None, "copies of that state; newer ones replace them"),
        Remains(
            "lake: feature_tables/", None, None,
            "the profile leaves with the refresh of the next completed day, older files by care",
        ),
        Remains("lake: hold_outs/", None, None, "label and scores, as long as the model that they judge"),
        Remains("lake: quarantine", None, None, "records whose user could not be told; look at them by hand"),
    ]  # fmt: skip
