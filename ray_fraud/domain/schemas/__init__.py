"""The published contract: one JSON Schema (draft 2020-12) per topic and version.

A published version never changes. A change is a new file `<topic>-v<n+1>.schema.json` that still accepts what
version n described.

Never: a schema built in code; readers in other languages use the files.
"""

from importlib.resources import files
from typing import Any, NamedTuple

import msgspec

_SUFFIX = ".schema.json"


class SchemaName(NamedTuple):
    """A topic's contract in one version, e.g. ("transactions", 1)."""

    topic: str
    version: int

    @property
    def file_name(self) -> str:
        return f"{self.topic}-v{self.version}{_SUFFIX}"


def schema_names() -> list[SchemaName]:
    """Every schema of the package, by topic and version in ascending order."""
    names: list[SchemaName] = []
    for file in files(__package__).iterdir():
        if file.name.endswith(_SUFFIX):
            topic, _, version = file.name.removesuffix(_SUFFIX).rpartition("-v")
            names.append(SchemaName(topic, int(version)))
    return sorted(names)


def schema_text(name: SchemaName) -> str:
    """The file as published. Raises KeyError, which lists the known names, for an unknown one."""
    if name not in schema_names():
        known = ", ".join(known.file_name for known in schema_names())
        raise KeyError(f"no schema {name.file_name}; there are {known}")
    return files(__package__).joinpath(name.file_name).read_text(encoding="utf-8")


def schema(name: SchemaName) -> dict[str, Any]:
    """The parsed schema. Raises KeyError as `schema_text` does."""
    parsed: dict[str, Any] = msgspec.json.decode(schema_text(name))
    return parsed
