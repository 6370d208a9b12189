"""Commands on a data folder in which nothing runs: clear answers, no trace, nothing made."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ray_fraud.cli import main


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "nothing"


def test_status_says_down_and_fails(data_dir: Path) -> None:
    result = _run("status", "--data-dir", str(data_dir), "--output", "json")
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["command"], answer["status"]) == ("status", "failed")
    services = answer["data"]["services"]
    assert set(services) == {
        "kafka", "redis", "postgres", "lake", "ray", "dashboard", "serve",
        "hot_path", "sink", "cold_path", "metrics",
    }  # fmt: skip
    assert {service["health"] for service in services.values()} == {"down"}
    assert not data_dir.exists()


def test_status_as_text(data_dir: Path) -> None:
    result = _run("status", "--data-dir", str(data_dir))
    assert result.exit_code == 1
    assert "kafka" in result.stdout


def test_down_is_content(data_dir: Path) -> None:
    result = _run("down", "--data-dir", str(data_dir), "--output", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["data"]["ended_processes"] == 0
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("alerts", "list"),
        ("alerts", "show", "1"),
        ("alerts", "tail"),
        ("alerts", "verdict", "1", "true_fraud"),
        ("verdicts", "list"),
        ("state", "show", "7"),
        ("models", "list"),
        ("models", "show", "forest:1"),
        ("models", "compare", "forest:1", "forest:2"),
        ("models", "promote", "forest:1"),
        ("models", "rollback"),
        ("models", "split", "forest:1=100"),
        ("models", "retire", "forest:1"),
        ("generate", "--count", "1"),
    ],
)
def test_readers_say_how_to_start(data_dir: Path, arguments: tuple[str, ...]) -> None:
    result = _run(*arguments, "--data-dir", str(data_dir))
    assert result.exit_code == 1
    assert "ray-fraud up" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("alerts", "show", "nonsense"), "neither an alert's number nor its uid"),
        (("alerts", "show", "9" * 30), "there is no alert"),
        (("up", "--redis", "redis://:hunter2@c:1/0"), "password_file"),
        (("up", "--kafka", "nonsense"), "host:port"),
        (("up", "--settings", "{settings}"), "limmit"),
        (("up", "--connections", "{settings}"), "high_amount"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, arguments: tuple[str, ...], hint: str) -> None:
    settings = tmp_path / "s.toml"
    settings.write_text("[high_amount]\nlimmit = 3\n")
    data_dir = tmp_path / "nothing"
    filled = (part.format(settings=settings) for part in arguments)
    result = _run(*filled, "--data-dir", str(data_dir))
    assert result.exit_code == 1
    assert hint in result.stderr
    assert "hunter2" not in result.output
    assert not data_dir.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("state", "show", "-1"),
        ("state", "show", ""),
        ("state", "show", "7", "--at-offset", "-1"),
        ("alerts", "list", "--rule", "nonsense"),
        ("alerts", "list", "--limit", "0"),
        ("status", "--output", "xml"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert _run(*arguments).exit_code == 2
