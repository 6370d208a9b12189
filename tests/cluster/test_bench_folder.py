"""The folder of a benchmark: removed unless it was named, and never one that is in use."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.local.bench.folder import bench_folder
from cluster.local.failures import DataDirError
from ray_fraud.cli import main


class Stopped(Exception):
    """The run ended early."""


def stopped_run(data_dir: Path | None, used: list[Path]) -> None:
    """Writes a log into its folder and fails."""
    with bench_folder(data_dir) as folder:
        used.append(folder)
        folder.mkdir(exist_ok=True)
        (folder / "kafka.log").write_text("why")
        raise Stopped


def test_without_a_name_it_is_temporary() -> None:
    with bench_folder(None) as folder:
        (folder / "logs").mkdir()
        assert folder.is_dir()
    assert not folder.exists()


def test_a_temporary_one_goes_after_a_failure_too() -> None:
    used: list[Path] = []
    with pytest.raises(Stopped):
        stopped_run(None, used)
    assert not used[0].exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_named_one_stays_with_what_is_in_it(tmp_path: Path, there: bool) -> None:
    named = tmp_path / "bench"
    if there:
        named.mkdir()
    with pytest.raises(Stopped):
        stopped_run(named, [])
    assert (named / "kafka.log").read_text() == "why"


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataDirError, match="--data-dir"), bench_folder(tmp_path / "file"):
        pytest.fail("not to be used")


def test_the_command_refuses_a_folder_in_use_and_leaves_it_alone(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"somebody": "else"}))
    result = CliRunner().invoke(main, ["bench", "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path}: not empty" in result.stderr
    assert "name an empty or a new folder with --data-dir" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["stack.json"]
