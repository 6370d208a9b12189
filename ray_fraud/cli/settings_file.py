"""The operator's settings: `settings.toml` for detection, `batch-settings.toml` for the cold path.

Each is given once and remembered in the data folder.

Never: a value that no field takes.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from cluster.local.paths import StackPaths
from cluster.local.secret_files import write_private
from ray_fraud.domain.batch_settings import BatchSettings
from ray_fraud.domain.settings import DetectionSettings

Settings = TypeVar("Settings", bound=msgspec.Struct)
_PLACE = re.compile(r"(?P<rule>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?", re.DOTALL)


class SettingsFileError(ValueError):
    """The file is no such file; the message names the file, the field, its value and the rule."""


@dataclass(frozen=True, slots=True)
class SettingsFile(Generic[Settings]):
    """One kind of settings file."""

    kind: type[Settings]
    name: str
    """Under which it is remembered in the data folder."""

    def read(self, file: Path) -> Settings:
        """The settings in a TOML file; fields that it leaves out have their defaults.

        Raises:
            SettingsFileError: it cannot be read, is no TOML, or names an unknown field or a bad value.
        """
        try:
            values = msgspec.toml.decode(file.read_bytes())
        except OSError as error:
            raise SettingsFileError(f"{file}: {error.strerror or error}") from error
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SettingsFileError(f"{file}: {error}") from error
        for path, value in leaves(values):
            if isinstance(value, float) and not math.isfinite(value):
                raise SettingsFileError(f"{file}: {path} = {value}: must be a finite number")
        try:
            return msgspec.convert(values, type=self.kind)
        except msgspec.ValidationError as error:
            raise SettingsFileError(f"{file}: {_explained(str(error), values)}") from error

    def holding(self, paths: StackPaths, given: Path | None) -> Settings:
        """The settings of the given file, else the remembered ones, else the defaults.

        Raises:
            SettingsFileError: see `read`.
        """
        file = given or self.remembered(paths)
        return self.read(file) if file.exists() or given else self.kind()

    def remember(self, paths: StackPaths, given: Path) -> None:
        """Makes the file's content, comments included, what the next start of this stack reads."""
        if given.resolve() != self.remembered(paths).resolve():
            write_private(self.remembered(paths), given.read_text(encoding="utf-8"))

    def remembered(self, paths: StackPaths) -> Path:
        """Where the settings of a stack are remembered."""
        return paths.data_dir / self.name


DETECTION = SettingsFile(DetectionSettings, "settings.toml")
BATCH = SettingsFile(BatchSettings, "batch-settings.toml")


def leaves(values: Any, path: str = "") -> list[tuple[str, Any]]:
    """Every value of nested tables under its path, `table.field`."""
    if isinstance(values, dict):
        deeper = (leaves(value, f"{path}.{name}".lstrip(".")) for name, value in values.items())
        return [leaf for leaves in deeper for leaf in leaves]
    return [(path, values)]


def _explained(message: str, values: Any) -> str:
    """`field = value: rule` of what the decoder said."""
    found = _PLACE.fullmatch(message)
    path = found["path"] if found else None
    if found is None or not path:
        return message
    value = dict(leaves(values)).get(path)
    return f"{path}: {found['rule']}" if value is None else f"{path} = {value!r}: {found['rule']}"
