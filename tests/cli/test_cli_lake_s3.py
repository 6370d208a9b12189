"""The commands that look after a lake and ask it, on a real S3 server."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ray_fraud.cli import main
from ray_fraud.stores.connections import LakeLocation, to_json
from tests.batch.care_lake import CareLake
from tests.batch.import_samples import as_json, write_lines
from tests.domain.samples import NOW_S


class Commands:
    """`ray-fraud lake …` on a lake that a file names."""

    def __init__(self, location: LakeLocation, folder: Path) -> None:
        self._file = folder / "servers.json"
        self._file.write_text(json.dumps({"lake": json.loads(to_json(location))}))

    def data(self, *arguments: str) -> Any:
        where = ("--connections", str(self._file), "--output", "json")
        result = CliRunner().invoke(main, ["lake", *arguments, *where])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["data"]

    def rows(self, sql: str, *more: str) -> list[list[Any]]:
        found: list[list[Any]] = self.data("query", sql, *more)["rows"]
        return found


@pytest.mark.timeout(120, func_only=True)
def test_a_lake_on_s3_is_cared_for_corrected_and_asked_like_a_folder(
    s3_lake: LakeLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake, commands = CareLake.make(s3_lake), Commands(s3_lake, tmp_path)
    (done,) = [one for one in commands.data("care")["tables"] if one["table"] == "transactions"]
    assert (done["before"]["files"], done["after"]["files"]) == (6, 2)
    cared = done["after"]["version"]

    corrections = tmp_path / "corrections.jsonl"
    corrections.write_text(json.dumps({"topic_id": "topic-id", "partition": 0, "offset": 4, "amount": 99.5}))
    assert commands.data("correct", str(corrections), "--reason", "wrong till")["corrected"] == 1
    amount = 'select amount from transactions where "offset" = 4'
    assert commands.rows(amount) == [[99.5]]
    assert commands.rows(amount, "--as-of", str(cared)) != [[99.5]]

    file = write_lines(
        tmp_path / "past.jsonl",
        [
            as_json({"transaction_id": f"t{number}", "user_id": 7, "amount": 1.5, "timestamp": NOW_S})
            for number in range(4)
        ],
    )
    assert commands.data("import", str(file), "--workers", "1")["accepted"] == 4
    assert commands.data("import", str(file), "--workers", "1")["accepted"] == 0
    assert commands.rows("select count(*) from transactions") == [[22]]

    deleted = commands.data("delete-user", "8", "--reason", "asked", "--yes", "--purge")
    assert (deleted["rows"]["transactions"], deleted["purged_files"] > 0) == (6, True)
    assert lake.users() == {7, 9}
    notes = [(one["operation"], one["rows"]) for one in commands.data("history", "-n", "3")["commits"]]
    assert ("DELETE", 6) in notes
