"""`settings.toml`: the operator's detection settings, given once and remembered in the data folder.

Never: a value that no field of `DetectionSettings` takes.
"""

from pathlib import Path

import msgspec

from cluster.local.paths import StackPaths
from cluster.local.secret_files import write_private
from ray_fraud.domain.settings import DetectionSettings


class SettingsFileError(ValueError):
    """The file is no `settings.toml`; the message names the file and the field."""


def read_settings(file: Path) -> DetectionSettings:
    """The settings in a TOML file; fields that it leaves out have their defaults.

    Raises:
        SettingsFileError: it cannot be read, is no TOML, or names an unknown field or a bad value.
    """
    try:
        return msgspec.toml.decode(file.read_bytes(), type=DetectionSettings)
    except OSError as error:
        raise SettingsFileError(f"{file}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsFileError(f"{file}: {error}") from error


def settings_of(paths: StackPaths, given: Path | None) -> DetectionSettings:
    """The settings of the given file, else the remembered ones, else the defaults.

    Raises:
        SettingsFileError: see `read_settings`.
    """
    file = given or remembered_file(paths)
    return read_settings(file) if file.exists() or given else DetectionSettings()


def remember_settings(paths: StackPaths, given: Path) -> None:
    """Makes the file's content, comments included, what the next start of this stack reads."""
    if given.resolve() != remembered_file(paths).resolve():
        write_private(remembered_file(paths), given.read_text(encoding="utf-8"))


def remembered_file(paths: StackPaths) -> Path:
    """Where the settings of a stack are remembered."""
    return paths.data_dir / "settings.toml"
