"""Corrections: what may be changed, by the decoder's rules, in one commit, each offset still once."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deltalake import DeltaTable

from batch.care.correction import CorrectionError, CorrectionReport, SettingsAt, correct, read_corrections
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.settings import DetectionSettings
from ray_fraud.stores.tables.columns import IMPORTED
from ray_fraud.stores.tables.corrections import CORRECTION_NOTE, RecordPlace
from ray_fraud.stores.tables.port import Append
from tests.batch.care_lake import CareLake
from tests.stores.table_samples import read_range, rows


@pytest.fixture
def lake(tmp_path: Path) -> CareLake:
    return CareLake(tmp_path / "lake")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "corrections.jsonl"


def line(offset: int, **changes: Any) -> str:
    return json.dumps({"topic_id": "topic-id", "partition": 0, "offset": offset} | changes)


def corrected(
    lake: CareLake,
    file: Path,
    *lines: str,
    partial: bool = False,
    settings_at: SettingsAt = lambda _: DetectionSettings(),
) -> CorrectionReport:
    file.write_text("\n".join(lines))
    wanted = read_corrections(file)
    return correct(lake.location, wanted, "somebody", "wrong till", settings_at, partial=partial)


def row(lake: CareLake, offset: int) -> dict[str, Any]:
    (found,) = [each for each in lake.rows() if each["offset"] == offset]
    return found


def test_the_named_columns_change_and_nothing_else(lake: CareLake, file: Path) -> None:
    before = {str(each["offset"]): each for each in lake.rows()}
    report = corrected(
        lake, file, line(4, amount=99.5, city="Bern", lat=46.9, lon=7.4), "", line(5, channel="pos")
    )
    assert (report.corrected, report.unknown) == (2, [])
    after = {str(each["offset"]): each for each in lake.rows()}
    assert after["4"] == before["4"] | {"amount": 99.5, "city": "Bern", "lat": 46.9, "lon": 7.4}
    assert after["5"] == before["5"] | {"channel": "pos"}
    assert {key: each for key, each in after.items() if key not in ("4", "5")} == {
        key: each for key, each in before.items() if key not in ("4", "5")
    }
    assert lake.offsets() == list(range(18))
    assert [position for *_, position in lake.table.view().last_positions()] == [18]


def test_null_takes_an_optional_column_away(lake: CareLake, file: Path) -> None:
    corrected(lake, file, line(4, merchant_id="m-1"))
    assert row(lake, 4)["merchant_id"] == "m-1"
    corrected(lake, file, line(4, merchant_id=None))
    assert row(lake, 4)["merchant_id"] is None


IMPORT = PartitionId("import", f"{IMPORTED}{'a' * 32}", 0)
HOURS = 3600.0


def imported(lake: CareLake) -> float:
    """An imported row, as imports write it; its event time, unix seconds."""
    lake.table.append(
        Append("import", [read_range(IMPORT, 0, 1)], lake.table.write_files(rows(IMPORT, 0, 1)))
    )
    (found,) = [each for each in lake.rows() if each["topic_id"] == IMPORT.topic_id]
    return float(str(found["timestamp"]))


def moved(lake: CareLake, file: Path, timestamp: float, *, now: float, skew: float = 300.0) -> dict[str, Any]:
    """The imported row with that time, corrected `now`."""
    file.write_text(line(0, topic_id=IMPORT.topic_id, timestamp=timestamp))
    settings = DetectionSettings(max_future_skew_seconds=skew)
    wanted = read_corrections(file)
    correct(lake.location, wanted, "somebody", "zone", lambda _: settings, now=lambda: now)
    (found,) = [each for each in lake.rows() if each["topic_id"] == IMPORT.topic_id]
    return found


@pytest.mark.parametrize("shift", [2 * HOURS, 14 * HOURS, -12 * HOURS, 400 * 24 * HOURS])
def test_an_imported_row_may_be_moved_to_any_time_up_to_now(lake: CareLake, file: Path, shift: float) -> None:
    at = imported(lake) + shift
    found = moved(lake, file, at, now=at)
    event_time = datetime.fromtimestamp(at, UTC)
    assert found["event_time"] == found["record_time"] == event_time
    assert found["event_date"] == event_time.date()
    back = moved(lake, file, at - 7 * HOURS, now=at)
    assert back["record_time"] == datetime.fromtimestamp(at - 7 * HOURS, UTC)


def test_an_imported_row_is_not_moved_past_now_and_the_skew_that_holds(lake: CareLake, file: Path) -> None:
    at = imported(lake)
    with pytest.raises(CorrectionError, match=r"301.000 s later than now, 300 s are allowed; check its zone"):
        moved(lake, file, at + 301, now=at)
    assert moved(lake, file, at + 301, now=at, skew=400.0)["timestamp"] == at + 301


def test_a_record_of_the_log_keeps_when_it_was_sent(lake: CareLake, file: Path) -> None:
    before = row(lake, 4)
    corrected(lake, file, line(4, timestamp=before["timestamp"] - 9 * HOURS))
    assert row(lake, 4)["record_time"] == before["record_time"]
    with pytest.raises(CorrectionError, match="Kafka timestamp"):
        corrected(lake, file, line(4, timestamp=before["timestamp"] + 9 * HOURS))


def test_a_corrected_time_moves_the_row_to_its_day(lake: CareLake, file: Path) -> None:
    corrected(lake, file, line(4, timestamp=1_795_400_000.25))
    moved = row(lake, 4)
    assert moved["event_time"] == datetime(2026, 11, 23, 2, 13, 20, 250_000, tzinfo=UTC)
    assert moved["event_date"] == date(2026, 11, 23)
    assert lake.offsets() == list(range(18))


def test_how_far_ahead_a_time_may_lie_is_what_the_settings_at_the_row_s_place_say(
    lake: CareLake, file: Path
) -> None:
    ahead = row(lake, 4)["record_time"].timestamp() + 400
    asked: list[RecordPlace] = []

    def settings_at(place: RecordPlace) -> DetectionSettings:
        asked.append(place)
        return DetectionSettings(max_future_skew_seconds=401 if place.offset == 4 else 300)

    corrected(lake, file, line(4, timestamp=ahead), settings_at=settings_at)
    assert row(lake, 4)["timestamp"] == ahead
    assert asked == [RecordPlace("topic-id", 0, 4)]
    with pytest.raises(CorrectionError, match="300 s are allowed"):
        corrected(lake, file, line(5, timestamp=ahead), settings_at=settings_at)


def test_who_why_and_how_many_stands_in_the_commit(lake: CareLake, file: Path) -> None:
    report = corrected(lake, file, line(4, amount=1), line(5, amount=2))
    (commit,) = DeltaTable(f"{lake.folder}/transactions").history(1)
    note = msgspec.json.decode(commit[CORRECTION_NOTE])
    assert note == {"id": report.correction_id, "who": "somebody", "reason": "wrong till", "rows": 2}
    assert (commit["operation"], commit["version"]) == ("MERGE", report.version)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "line 1: not a JSON object"),
        ("{", "line 1: "),
        ('{"partition": 0, "amount": 1}', "line 1: topic_id, offset missing"),
        ('{"topic_id": "topic-id", "partition": 0, "offset": "4", "amount": 1}', "line 1: Expected `int`"),
        (line(4), "line 1: nothing to change"),
        (line(4, user_id=3), "line 1: user_id cannot be changed"),
        (line(4, transaction_id="x", payload_digest="y"), "payload_digest, transaction_id cannot be changed"),
        (line(4, event_date="2026-11-25"), "event_date cannot be changed"),
        (line(4, amont=3), "there is no column amont; known are amount"),
        (line(4, amount=1) + "\n" + line(4, amount=2), "line 2: the same place as line 1"),
        ("\n", "no corrections"),
    ],
)
def test_lines_that_make_no_sense_are_named(file: Path, content: str, message: str) -> None:
    file.write_text(content)
    with pytest.raises(CorrectionError) as raised:
        read_corrections(file)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amount": -1}, "amount"),
        ({"amount": None}, "amount"),
        ({"amount": "1"}, "amount"),
        ({"lat": 91.0, "lon": 3.0}, "lat"),
        ({"city": "Bern"}, "lat"),
        ({"merchant_id": ""}, "merchant_id"),
        ({"device_id": "a\u200bb"}, "device_id"),
        ({"timestamp": 1_795_400_000_000}, "millisecond"),
        ({"timestamp": 1_895_400_000}, "later than its record's Kafka timestamp"),
    ],
)
def test_a_row_that_the_decoder_would_refuse_is_refused_and_nothing_is_done(
    lake: CareLake, file: Path, changes: dict[str, Any], message: str
) -> None:
    version = DeltaTable(f"{lake.folder}/transactions").version()
    with pytest.raises(CorrectionError) as raised:
        corrected(lake, file, line(5, amount=3), line(4, **changes))
    assert "line 2: " in str(raised.value)
    assert message in str(raised.value)
    assert DeltaTable(f"{lake.folder}/transactions").version() == version


def test_one_unknown_row_means_that_nothing_is_done_unless_a_part_is_wanted(
    lake: CareLake, file: Path
) -> None:
    lines = (line(4, amount=99.5), line(400, amount=1), line(-1, amount=1))
    report = corrected(lake, file, *lines)
    assert (report.corrected, report.version) == (0, None)
    assert report.unknown == [RecordPlace("topic-id", 0, -1), RecordPlace("topic-id", 0, 400)]
    assert row(lake, 4)["amount"] == 12.5
    report = corrected(lake, file, *lines, partial=True)
    assert (report.corrected, len(report.unknown)) == (1, 2)
    assert row(lake, 4)["amount"] == 99.5
    assert lake.offsets() == list(range(18))


def test_repeating_a_correction_is_harmless(lake: CareLake, file: Path) -> None:
    for _ in range(2):
        assert corrected(lake, file, line(4, amount=99.5)).corrected == 1
    assert lake.offsets() == list(range(18))
