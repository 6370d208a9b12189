"""What every store of findings promises: run on the memory one and on PostgreSQL."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pytest

from ray_fraud.domain.alert import Alert, RuleName, Severity, Source
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.findings.memory import MemoryFindings
from ray_fraud.stores.findings.port import FindingStore, Member, Pattern, Place, Saved
from ray_fraud.stores.findings.postgres import PostgresFindings
from ray_fraud.stores.ledger.memory import MemoryDatabase
from ray_fraud.stores.ledger.memory_queries import MemoryAlertQueries
from ray_fraud.stores.ledger.postgres_queries import PostgresAlertQueries
from ray_fraud.stores.ledger.queries import AlertFilter, AlertQueries, Verdict

START = 1_790_000_000_000


@dataclass
class Findings:
    store: FindingStore
    alerts: AlertQueries


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.servers)])
def findings(request: pytest.FixtureRequest) -> Iterator[Findings]:
    if request.param == "memory":
        database = MemoryDatabase()
        yield Findings(MemoryFindings(database), MemoryAlertQueries(database))
        return
    where = request.getfixturevalue("migrated_database")
    made = Findings(PostgresFindings(where), PostgresAlertQueries(where))
    yield made
    made.store.close()
    made.alerts.close()


def member(offset: int) -> Member:
    return Member(
        Place("cluster", "topic", offset % 3, offset),
        f"tx-{offset}",
        100 + offset,
        START + offset * 1000,
        START + offset * 1000 + 5,
        12.5,
        52.5,
        13.4,
    )


def pattern(*offsets: int, rule: RuleName = RuleName.COORDINATED, subject: str = "merchant:shop") -> Pattern:
    members = tuple(member(offset) for offset in offsets)
    uid = uuid.uuid5(uuid.NAMESPACE_URL, f"{rule}:{subject}:{offsets[0] // 100}")
    reason = f"{len(members)} users"
    return Pattern(uid, rule, subject, START, Severity.CRITICAL, reason, members)


def offsets_of(findings: Findings) -> list[list[int]]:
    """Of each finding, oldest first."""
    known = reversed(findings.store.known(50))
    return [sorted(place.offset for place, _, _ in one.members) for one in known]


def test_a_finding_is_stored_with_its_members_and_one_cold_alert(findings: Findings) -> None:
    found = pattern(1, 2, 3)
    assert findings.store.save([found]) == Saved((RuleName.COORDINATED,), 0)
    (known,) = findings.store.known(5)
    assert (known.uid, known.subject, known.reason) == (found.uid, "merchant:shop", "3 users")
    assert [(tx, user) for _, tx, user in sorted(known.members, key=lambda one: one[1])] == [
        ("tx-1", 101),
        ("tx-2", 102),
        ("tx-3", 103),
    ]
    stored = findings.alerts.get(found.uid)
    assert stored is not None
    assert (stored.alert_id, stored.alert.source, stored.alert.rule_name) == (
        known.alert_id,
        Source.COLD,
        RuleName.COORDINATED,
    )
    assert (stored.alert.transaction_id, stored.alert.user_id) == ("tx-1", 101)
    assert stored.alert.details["users"] == [101, 102, 103]


def test_saving_again_changes_nothing(findings: Findings) -> None:
    findings.store.save([pattern(1, 2, 3)])
    assert findings.store.save([pattern(1, 2, 3), pattern(2, 3)]) == Saved((), 0)
    assert offsets_of(findings) == [[1, 2, 3]]
    assert findings.alerts.count(AlertFilter()) == 1


def test_a_pattern_that_grew_is_the_same_finding(findings: Findings) -> None:
    findings.store.save([pattern(1, 2, 3)])
    assert findings.store.save([pattern(1, 2, 3, 4, 5)]) == Saved((), 1)
    assert offsets_of(findings) == [[1, 2, 3, 4, 5]]
    assert findings.store.known(1)[0].reason == "5 users"


def alert_of(findings: Findings, uid: uuid.UUID) -> Alert:
    stored = findings.alerts.get(uid)
    assert stored is not None
    return stored.alert


def test_its_alert_tells_of_those_who_came_later_until_it_is_judged(findings: Findings) -> None:
    found = pattern(1, 2, 3)
    findings.store.save([found])
    findings.store.save([pattern(1, 2, 3, 15, 4)])
    alert = alert_of(findings, found.uid)
    assert (alert.reason, alert.details["members"], alert.details["users"]) == (
        "5 users",
        5,
        [101, 102, 103, 104, 115],
    )
    ids = [one["transaction_id"] for one in alert.details["transactions"]]
    assert ids == ["tx-1", "tx-2", "tx-3", "tx-15", "tx-4"]
    assert (alert.transaction_id, alert.details["subject"]) == ("tx-1", "merchant:shop")
    findings.alerts.add_feedback(findings.store.known(1)[0].alert_id, Verdict.TRUE_FRAUD, "ana")
    assert findings.store.save([pattern(1, 2, 3, 15, 4, 5)]) == Saved((), 1)
    assert alert_of(findings, found.uid) == alert


def test_an_alert_shows_so_many_members_and_counts_the_others(findings: Findings) -> None:
    findings.store.save([pattern(*range(90))])
    findings.store.save([pattern(*range(130))])
    (known,) = findings.store.known(2)
    details = alert_of(findings, known.uid).details
    assert (len(details["transactions"]), details["members"], len(details["users"])) == (100, 130, 130)
    findings.store.save([pattern(*range(140))])
    assert len(alert_of(findings, known.uid).details["transactions"]) == 100


def test_a_group_that_shares_a_member_joins_the_oldest(findings: Findings) -> None:
    findings.store.save([pattern(1, 2), pattern(100, 101)])
    assert findings.store.save([pattern(200, 2, 101, 201)]) == Saved((), 1)
    assert offsets_of(findings) == [[1, 2, 200, 201], [100, 101]]


def test_the_same_members_under_another_rule_are_another_finding(findings: Findings) -> None:
    found = [pattern(1, 2), pattern(1, 2, rule=RuleName.GEOGRAPHIC_CLUSTER, subject="cell:a")]
    assert findings.store.save(found).new == (RuleName.COORDINATED, RuleName.GEOGRAPHIC_CLUSTER)
    assert offsets_of(findings) == [[1, 2], [1, 2]]


def test_what_was_judged_is_left_alone_and_new_members_are_news(findings: Findings) -> None:
    findings.store.save([pattern(1, 2)])
    findings.alerts.add_feedback(findings.store.known(1)[0].alert_id, Verdict.FALSE_POSITIVE, "ana")
    assert findings.store.save([pattern(200, 1, 2, 201)]) == Saved((RuleName.COORDINATED,), 0)
    assert offsets_of(findings) == [[1, 2], [200, 201]]


def test_more_of_a_judged_pattern_is_still_that_pattern(findings: Findings) -> None:
    findings.store.save([pattern(1, 2)])
    findings.alerts.add_feedback(findings.store.known(1)[0].alert_id, Verdict.TRUE_FRAUD, "ana")
    assert findings.store.save([pattern(1, 2, 3)]) == Saved((), 1)
    assert offsets_of(findings) == [[1, 2, 3]]


def test_ids_are_kept_as_they_are_and_offsets_count_within_their_topic(findings: Findings) -> None:
    odd = ['quote"', "back\\slash", "{brace},", "NULL", " ", "\u2028é\n"]
    members = tuple(
        msgspec.structs.replace(
            member(number), place=Place("cluster", f"topic-{number % 2}", 0, number // 2), transaction_id=text
        )
        for number, text in enumerate(odd)
    )
    even, uneven = (
        msgspec.structs.replace(pattern(first), members=members[first::2], subject=f"device:{first}", uid=uid)
        for first, uid in enumerate((uuid.UUID(int=1), uuid.UUID(int=2)))
    )
    findings.store.save([even])
    assert findings.store.save([even, uneven]) == Saved((RuleName.COORDINATED,), 0)
    of_uid = {known.uid: known.members for known in findings.store.known(5)}
    assert of_uid == {
        one.uid: tuple((m.place, m.transaction_id, m.user_id) for m in one.members) for one in (even, uneven)
    }


def test_all_of_a_batch_are_stored_or_none(findings: Findings) -> None:
    nowhere = msgspec.structs.replace(member(5), lat=float("nan"))
    broken = msgspec.structs.replace(pattern(500), members=(nowhere,))
    with pytest.raises(StoreRefused, match="lat"):
        findings.store.save([pattern(1, 2), broken])
    assert offsets_of(findings) == []
