"""Files with exactly the columns of public data sets, each by the one command that the documents name."""

# ruff: noqa: E501 - lines of files are as long as they are

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result
from deltalake import DeltaTable

from batch.backtest.labels import Words, labelled_columns
from batch.backtest.read_file import judge_labelled
from batch.imports.layout import preset, preset_names
from batch.imports.part import Judge
from batch.imports.sources import FileFormat, column_names, open_source
from batch.imports.user_ids import UserIds
from ray_fraud.cli import main
from ray_fraud.domain.settings import DetectionSettings
from tests.batch.import_samples import FAR, PARTITION
from tests.domain.samples import decoder

V = ",".join(f"V{n}" for n in range(1, 29))
CISCO = [f"card{n}" for n in range(1, 7)]


class Sample(NamedTuple):
    """A small file of one data set."""

    name: str
    lines: list[str]
    first: dict[str, Any]
    """Of the first row; without user ids that are hashed."""
    frauds: list[bool]
    refused: dict[str, int]


def at(*parts: int) -> str:
    return str(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type, misc]  # year to second


SAMPLES = {
    "paysim": Sample(
        "PS_20174392719_1491204439457_log.csv",
        [
            "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,isFlaggedFraud",
            "1,PAYMENT,9839.64,C1231006815,170136.0,160296.36,M1979787155,0.0,0.0,0,0",
            "25,TRANSFER,181.0,C1305486145,181.0,0.0,C553264065,0.0,0.0,1,0",
        ],
        {"transaction_id": "paysim-0", "amount": 9839.64, "event_time": at(2017, 1, 1, 1), "merchant_id": "M1979787155",
         "channel": "PAYMENT"},
        [False, True],
        {},
    ),
    "sparkov": Sample(
        "fraudTrain.csv",
        [
            ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,"
            "city_pop,job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud",
            '0,2019-01-01 00:00:18,2703186189652095,"fraud_Rippin, Kub and Mann",misc_net,4.97,Jennifer,Banks,F,'
            '561 Perry Cove,Moravian Falls,NC,28654,36.0788,-81.1781,3495,"Psychologist, counselling",1988-03-09,'
            "0b242abb623afc578575680df30655b9,1325376018,36.011293,-82.048315,0",
            "1,2019-01-01 00:00:44,630423337322,fraud_Heller,grocery_pos,107.23,Stephanie,Gill,F,43039 Riley Greens,"
            "Orient,WA,99160,48.8878,-118.2105,149,Teacher,1978-06-21,1f76529f8574734946361c461b024d99,1325376044,"
            "49.159047,-118.186462,1",
        ],
        {"transaction_id": "0b242abb623afc578575680df30655b9", "amount": 4.97, "event_time": at(2019, 1, 1, 0, 0, 18),
         "merchant_id": "fraud_Rippin, Kub and Mann", "channel": "misc_net", "lat": 36.011293, "lon": -82.048315},
        [False, True],
        {},
    ),
    "handbook": Sample(
        "transactions.csv",
        [
            ",TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,"
            "TX_FRAUD_SCENARIO",
            "0,0,2018-04-01 00:00:31,596,3156,57.16,31,0,0,0",
            "1,1,2018-04-01 00:02:10,4961,3412,81.51,130,0,1,1",
        ],
        {"transaction_id": "0", "user_id": 596, "amount": 57.16, "event_time": at(2018, 4, 1, 0, 0, 31),
         "merchant_id": "3156"},
        [False, True],
        {},
    ),
    "tabformer": Sample(
        "card_transaction.v1.csv",
        [
            "User,Card,Year,Month,Day,Time,Amount,Use Chip,Merchant Name,Merchant City,Merchant State,Zip,MCC,"
            "Errors?,Is Fraud?",
            "0,0,2002,9,1,06:21,$134.09,Swipe Transaction,3527213246127876953,La Verne,CA,91750.0,5300,,No",
            "0,0,2002,9,1,06:42,$38.48,Swipe Transaction,-727612092139916043,Monterey Park,CA,91754.0,5411,,Yes",
            "0,0,2002,9,2,06:22,$-99.00,Swipe Transaction,-727612092139916043,Monterey Park,CA,91754.0,5411,,No",
        ],
        {"transaction_id": "tabformer-0", "user_id": 0, "amount": 134.09, "event_time": at(2002, 9, 1, 6, 21),
         "merchant_id": "3527213246127876953", "channel": "Swipe Transaction"},
        [False, True],
        {"refund": 1},
    ),
    "creditcard": Sample(
        "creditcard.csv",
        [
            f'"Time",{V},"Amount","Class"',
            f'0,{",".join(["-1.3598071336738"] * 28)},149.62,"0"',
            f'1.5,{",".join(["0.1"] * 28)},2.69,"1"',
        ],
        {"transaction_id": "creditcard-0", "user_id": 0, "amount": 149.62, "event_time": at(2013, 9, 1),
         "currency": "EUR"},
        [False, True],
        {},
    ),
    "ieee-cis": Sample(
        "train_transaction.csv",
        [
            f"TransactionID,isFraud,TransactionDT,TransactionAmt,ProductCD,{','.join(CISCO)},addr1,addr2,dist1,dist2,"
            "P_emaildomain,R_emaildomain",
            "2987000,0,86400,68.5,W,13926,,150.0,discover,142.0,credit,315.0,87.0,19.0,,,",
            "2987001,1,86401,29.0,W,2755,404.0,150.0,mastercard,102.0,credit,325.0,87.0,,,gmail.com,",
        ],
        {"transaction_id": "2987000", "user_id": 13926, "amount": 68.5, "event_time": at(2017, 12, 2), "channel": "W"},
        [False, True],
        {},
    ),
    "banksim": Sample(
        "bs140513_032310.csv",
        [
            "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud",
            "0,'C1093826151','4','M','28007','M348934600','28007','es_transportation',4.55,0",
            "3,'C352968107','2','M','28007','M348934600','28007','es_transportation',39.68,1",
        ],
        {"transaction_id": "banksim-0", "amount": 4.55, "event_time": at(2012, 11, 1), "merchant_id": "M348934600",
         "channel": "es_transportation"},
        [False, True],
        {},
    ),
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a key that a stack would have."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("ab" * 32)
    (tmp_path / "key").chmod(0o600)
    return tmp_path


def written(here: Path, sample: Sample) -> Path:
    file = here / sample.name
    file.write_text("\n".join(sample.lines) + "\n", encoding="utf-8")
    return file


def run(here: Path, *arguments: str, output: str = "json") -> Result:
    lake = ("--lake", (here / "lake").as_uri(), "--data-dir", str(here / "none"), "--card-key-file", "key")
    command = ["lake", "import", *arguments, *lake, "--workers", "1", "--output", output]
    return CliRunner().invoke(main, command)


def test_each_data_set_has_a_sample() -> None:
    assert sorted(SAMPLES) == preset_names()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_dry_run_shows_rows_as_they_would_be_read_and_writes_nothing(here: Path, name: str) -> None:
    sample = SAMPLES[name]
    result = run(here, str(written(here, sample)), "--format", name, "--dry-run")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["status"] == "dry_run"
    data = answer["data"]
    values = data["shown"][0]["values"]
    hashed = values.pop("user_id") if "user_id" not in sample.first else None
    assert values == sample.first
    assert hashed is None or 0 <= hashed < 2**63
    assert (data["accepted"], data["rejected"]) == (len(sample.frauds), sample.refused)
    assert not (here / "lake").exists()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_backtest_reads_the_label(here: Path, name: str) -> None:
    sample, layout = SAMPLES[name], preset(name)
    file = written(here, sample)
    columns = labelled_columns(layout.mapping, layout.fraud, column_names(file, FileFormat.CSV, layout.form))
    source = open_source(file, FileFormat.CSV, columns.mapping, also=(columns.label,), form=layout.form)
    judge = Judge(
        PARTITION, decoder(), DetectionSettings(), FAR, UserIds(bytes(32) if layout.form.hash_user else None)
    )
    (chunk,) = source.chunks(0)
    judged = judge_labelled(judge, chunk, columns.label, Words(layout.form))
    assert judged.fraud.tolist() == sample.frauds


def test_a_packed_file_sorted_by_user_is_imported_by_one_command(here: Path) -> None:
    sample = SAMPLES["tabformer"]
    file = here / f"{sample.name}.gz"
    file.write_bytes(gzip.compress(("\n".join(sample.lines) + "\n").encode()))
    result = run(here, file.name, "--format", "tabformer")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["data"]
    assert (data["accepted"], data["refunds"], data["rejected"]) == (2, 1, {"refund": 1})
    table = DeltaTable(here / "lake" / "transactions").to_pyarrow_table().sort_by("offset")
    assert table["transaction_id"].to_pylist() == ["tabformer-0", "tabformer-1"]


def test_nothing_accepted_is_a_failure_and_no_claim_on_the_file(here: Path) -> None:
    file = here / "past.csv"
    file.write_text("id,user,amount,when\na,7,2,01.02.2024 10:00\nb,8,3,01.02.2024 11:00\n")
    mapping = ("--map", "transaction_id=id", "--map", "user_id=user", "--map", "timestamp=when")
    refused = run(here, "past.csv", *mapping)
    assert refused.exit_code == 1
    assert "no row was accepted" in refused.output
    assert "row 0: timestamp" in refused.output
    assert "past.csv.rejected.jsonl" in refused.output
    mended = run(here, "past.csv", *mapping, "--time-format", "%d.%m.%Y %H:%M")
    assert mended.exit_code == 0, mended.output
    data = json.loads(mended.stdout)["data"]
    assert (data["accepted"], data["already_there"], data["rejected_file"]) == (2, 0, None)


def test_a_mapping_in_a_file_and_options_go_together(here: Path) -> None:
    (here / "map.toml").write_text(
        '[columns]\ntransaction_id = "@row"\nuser_id = "who"\ntimestamp = "at"\n[form]\ntime_unit = "hours"\n'
    )
    (here / "past.csv").write_text("who;sum;at\n7;1.299,00;10\n")
    result = run(
        here,
        "past.csv",
        "--map",
        "map.toml",
        "--map",
        "amount=sum",
        "--time-origin",
        "2024-01-01",
        "--dry-run",
    )
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["data"]["shown"]
    assert row["values"] == {
        "transaction_id": "0", "user_id": 7, "amount": 1299.0, "event_time": at(2024, 1, 1, 10)
    }  # fmt: skip


def test_what_is_shown_cannot_steer_a_terminal_and_is_no_markup(here: Path) -> None:
    (here / "past.csv").write_text(
        "transaction_id,user_id,amount,timestamp,[/bold]\x1b]0;x\na[/],7,2,2024-01-01,1\n\x1b[31mb,7,2,2024-01-01,1\n"
    )
    result = run(here, "past.csv", "--dry-run", output="text")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "a[/]" in result.output
    assert "[/bold]" in result.output


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--format", "paysim", "--format", "banksim"), "give a data set once"),
        (("--map", "nothing.toml"), "give FIELD=COLUMN"),
        (("--time-zone", "Moon/Base"), "there is no 'Moon/Base'"),
        (("--delimiter", "::"), "must be one character"),
        (("--time-origin", "soon"), "no date or time"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(
    here: Path, arguments: tuple[str, ...], hint: str
) -> None:
    (here / "past.csv").write_text("transaction_id,user_id,amount,timestamp\na,7,2,2024-01-01\n")
    result = run(here, "past.csv", *arguments)
    assert result.exit_code == 1
    assert hint in result.output
    assert not (here / "lake").exists()
