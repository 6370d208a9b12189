"""`settings.toml` and `batch-settings.toml`: read, refused by field, remembered; what of them is shown."""

from pathlib import Path

import msgspec
import pytest
from rich.console import Console, Group

from cluster.local.paths import StackPaths
from ray_fraud.cli.batch import settings_view
from ray_fraud.cli.settings_file import BATCH, DETECTION, SettingsFileError
from ray_fraud.domain.alert import Severity
from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.settings import DetectionSettings


def _file(folder: Path, text: str) -> Path:
    file = folder / "given.toml"
    file.write_text(text)
    return file


def test_named_fields_change_and_the_others_keep_their_defaults(tmp_path: Path) -> None:
    settings = DETECTION.read(_file(tmp_path, "[high_amount]\nlimit = 500\n"))
    assert settings.high_amount.limit == 500
    assert settings.geo_velocity == DetectionSettings().geo_velocity


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("[high_amount]\nlimmit = 500\n", "limmit"),
        ("[high_amount]\nlimit = -1\n", "high_amount.limit"),
        ("[state]\nmax_events = 'many'\n", "state.max_events"),
        ("this is no TOML", "given.toml"),
    ],
)
def test_mistakes_name_the_file_and_the_field(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(SettingsFileError) as caught:
        DETECTION.read(_file(tmp_path, text))
    assert hint in str(caught.value)
    assert "given.toml" in str(caught.value)


def test_a_given_file_is_remembered_with_its_comments(tmp_path: Path) -> None:
    paths = StackPaths(tmp_path / "data")
    paths.data_dir.mkdir()
    assert DETECTION.holding(paths, None) == DetectionSettings()
    given = _file(tmp_path, "# why\n[high_amount]\nlimit = 500\n")
    DETECTION.remember(paths, given)
    assert DETECTION.holding(paths, None).high_amount.limit == 500
    assert "# why" in (paths.data_dir / "settings.toml").read_text()


def test_a_given_file_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsFileError, match="absent"):
        DETECTION.holding(StackPaths(tmp_path), tmp_path / "absent.toml")


BATCH_FILE = """
interval_minutes = 15
[features]
profile_days = 30
verdict_delay_seconds = 3600
[search]
look_back_hours = 12
[patterns.frequency]
count = 30
[patterns.coordinated]
severity = "high"
[care]
retention_days = 30.5
sort = false
"""


def test_the_cold_path_has_a_file_of_its_own(tmp_path: Path) -> None:
    settings = BATCH.read(_file(tmp_path, BATCH_FILE))
    assert settings.interval_minutes == 15
    assert (settings.features.profile_days, settings.features.verdict_delay_seconds) == (30, 3600)
    assert (settings.search.look_back_hours, settings.search.max_rows) == (12, 2_000_000)
    assert (settings.patterns.frequency.count, settings.patterns.frequency.small_count) == (30, 10)
    assert settings.patterns.coordinated.severity is Severity.HIGH
    assert (settings.care.retention_days, settings.care.sort, settings.care.interval_hours) == (
        30.5,
        False,
        24,
    )


@pytest.mark.parametrize(
    ("text", "hints"),
    [
        ("interval_minutes = 0", ["interval_minutes = 0: ", ">= 0.1"]),
        ("intervall = 5", ["intervall"]),
        ("[features]\nprofile_days = 0", ["features.profile_days = 0: ", ">= 1"]),
        ("[features]\nprofile_days = 2.5", ["features.profile_days = 2.5: ", "int"]),
        ("[features]\nverdict_delay_seconds = -1", ["features.verdict_delay_seconds = -1: ", ">= 0"]),
        ("[features]\nverdict_delay_seconds = nan", ["features.verdict_delay_seconds = nan: ", "finite"]),
        ("[search]\nlook_back_hours = inf", ["search.look_back_hours = inf: ", "finite"]),
        ("[search]\nmax_rows = 20_000_000", ["search.max_rows = 20000000: ", "<= 10000000"]),
        ("[patterns.robot]\ncount = 3", ["patterns", "robot"]),
        ("[patterns.frequency]\ncount = 1", ["patterns.frequency.count = 1: ", ">= 2"]),
        ("[patterns.temporal]\nseverity = 'awful'", ["patterns.temporal.severity = 'awful': "]),
        ("[care]\nretention_days = 0.5", ["care.retention_days = 0.5: ", ">= 1"]),
        ("[care]\nsort = 'yes'", ["care.sort = 'yes': ", "bool"]),
        ("[search]\nlook_back_hours = 0.25", ["look_back_hours = 0.25", "windows × window_minutes"]),
        ("[patterns.geographic]\nwindows = 100", ["geographic", "= 25 hours", "look_back_hours = 6"]),
    ],
)
def test_mistakes_name_file_field_value_and_rule(tmp_path: Path, text: str, hints: list[str]) -> None:
    with pytest.raises(SettingsFileError) as caught:
        BATCH.read(_file(tmp_path, text))
    for hint in ("given.toml", *hints):
        assert hint in str(caught.value)


def test_each_file_is_remembered_by_itself(tmp_path: Path) -> None:
    paths = StackPaths(tmp_path / "data")
    paths.data_dir.mkdir()
    assert BATCH.holding(paths, None) == BatchSettings()
    BATCH.remember(paths, _file(tmp_path, BATCH_FILE))
    assert BATCH.holding(paths, None).features.profile_days == 30
    assert DETECTION.holding(paths, None) == DetectionSettings()
    assert BATCH.holding(paths, _file(tmp_path, "")) == BatchSettings()


def _shown(settings: BatchSettings) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(Group(*settings_view(msgspec.to_builtins(settings))))
    return capture.get()


def test_the_operator_is_shown_what_differs_from_the_defaults(tmp_path: Path) -> None:
    assert "the defaults" in _shown(BatchSettings())
    shown = _shown(BATCH.read(_file(tmp_path, BATCH_FILE)))
    assert "features.profile_days = 30 (default 90)" in shown
    assert "patterns.coordinated.severity = high (default critical)" in shown
    assert "max_rows" not in shown
