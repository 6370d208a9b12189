"""Settings as an event of a control timeline keeps them: complete, and read back without any default.

An event says with which version of the rules it was written. What this release has beyond that version was
decided by nobody then: a rule that came later is off, a field that came later has the value that the older
code had in its place. Both are declared (`DetectionSettings.added`); the defaults of today are for files of
operators only.

Never: a default of today in a decision of the past; a field that is passed over.
"""

from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, get_args

import msgspec

from ray_fraud.domain.settings import Added, DetectionSettings

S = TypeVar("S", bound=DetectionSettings)

VERSION_FIELD = "rules_version"
FIRST_VERSION = 1
"""Events of this version did not say so."""


class RecordedSettingsError(ValueError):
    """The content is not what any release that this one knows has written."""


def decode_recorded(content: bytes, kind: type[S]) -> S:
    """The settings that the content says.

    Raises:
        RecordedSettingsError: it is no such content, lacks a field, has an unknown one, or is of a newer
            release.
    """
    try:
        values = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RecordedSettingsError(f"no JSON: {error}") from error
    if not isinstance(values, dict):
        raise RecordedSettingsError("no object")
    version = values.pop(VERSION_FIELD, FIRST_VERSION)
    if not isinstance(version, int) or isinstance(version, bool) or version < FIRST_VERSION:
        raise RecordedSettingsError(
            f"{VERSION_FIELD} = {version!r}: must be an integer from {FIRST_VERSION} on"
        )
    if version > kind.rules_version:
        raise RecordedSettingsError(
            f"written with version {version} of the rules, this release has version {kind.rules_version}; "
            f"start the release that wrote it, or a newer one"
        )
    try:
        return msgspec.convert(_completed(kind, values, "", version, kind.added), type=kind)
    except msgspec.ValidationError as error:
        raise RecordedSettingsError(str(error)) from error


def _completed(
    kind: type[msgspec.Struct], values: dict[str, Any], above: str, version: int, added: Mapping[str, Added]
) -> dict[str, Any]:
    """The values with what came after their version; every field of `kind` is there."""
    complete: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        path = above + field.name
        since = added.get(path)
        is_later = since is not None and since.version > version
        if is_later == (field.name in values):
            fault = f"came with version {since.version}" if is_later and since else "is missing"
            raise RecordedSettingsError(f"{path} {fault}, the event is of version {version} of the rules")
        if is_later and since:
            complete[field.name] = since.before
            continue
        value, table = values[field.name], _table(field.type)
        if table is not None and isinstance(value, dict):
            value = _completed(table, value, f"{path}.", version, added)
        complete[field.name] = value
    unknown = sorted(values.keys() - complete.keys())
    if unknown:
        names = ", ".join(above + name for name in unknown)
        raise RecordedSettingsError(f"{names}: this release knows no such field")
    return complete


def _table(kind: Any) -> type[msgspec.Struct] | None:
    """The settings of a rule, be it one that may be off; None for a plain value."""
    choices = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return next((one for one in choices if isinstance(one, type) and issubclass(one, msgspec.Struct)), None)
