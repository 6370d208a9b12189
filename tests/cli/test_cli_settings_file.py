"""`settings.toml`: read, refused by field, remembered."""

from pathlib import Path

import pytest

from cluster.local.paths import StackPaths
from ray_fraud.cli.settings_file import SettingsFileError, read_settings, remember_settings, settings_of
from ray_fraud.domain.settings import DetectionSettings


def _file(folder: Path, text: str) -> Path:
    file = folder / "given.toml"
    file.write_text(text)
    return file


def test_named_fields_change_and_the_others_keep_their_defaults(tmp_path: Path) -> None:
    settings = read_settings(_file(tmp_path, "[high_amount]\nlimit = 500\n"))
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
        read_settings(_file(tmp_path, text))
    assert hint in str(caught.value)
    assert "given.toml" in str(caught.value)


def test_a_given_file_is_remembered_with_its_comments(tmp_path: Path) -> None:
    paths = StackPaths(tmp_path / "data")
    paths.data_dir.mkdir()
    assert settings_of(paths, None) == DetectionSettings()
    given = _file(tmp_path, "# why\n[high_amount]\nlimit = 500\n")
    remember_settings(paths, given)
    assert settings_of(paths, None).high_amount.limit == 500
    assert "# why" in (paths.data_dir / "settings.toml").read_text()


def test_a_given_file_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsFileError, match="absent"):
        settings_of(StackPaths(tmp_path), tmp_path / "absent.toml")
