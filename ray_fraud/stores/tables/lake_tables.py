"""The tables of the lake: their names, and opening one of them, now or as of an earlier version.

Never: a table's content; that is its own module's.
"""

from datetime import UTC, datetime
from pathlib import PurePosixPath

import msgspec
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow import fs

from ray_fraud.domain.metrics import LAKE_TABLES
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.delta_errors import delta_errors
from ray_fraud.stores.delta_location import delta_location
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.tables.columns import TRANSACTIONS

__all__ = [
    "CARE",
    "DELETIONS",
    "LAKE_TABLES",
    "AsOf",
    "commit_time",
    "existing_lake",
    "open_table",
    "present_tables",
]

CARE, DELETIONS = "lake_care", "lake_deletions"

AsOf = int | datetime
"""A version, or a moment: the newest version that was there then."""


def present_tables(location: LakeLocation) -> list[str]:
    """Those of `LAKE_TABLES` that exist.

    Raises:
        StoreUnavailable: the lake does not answer.
    """
    filesystem, root = lake_filesystem(location)
    with delta_errors("look for the tables"):
        logs = [str(PurePosixPath(root) / name / "_delta_log") for name in LAKE_TABLES]
        kinds = [info.type for info in filesystem.get_file_info(logs)]
    return [name for name, kind in zip(LAKE_TABLES, kinds, strict=True) if kind is fs.FileType.Directory]


def existing_lake(location: LakeLocation) -> LakeLocation:
    """The location, if a lake is there.

    Raises:
        StoreRefused: there is none; most likely the address is mistyped.
        StoreUnavailable: it does not answer.
    """
    if TRANSACTIONS not in present_tables(location):
        raise StoreRefused(
            "lake",
            f"{location.url} is no lake: it has no table {TRANSACTIONS}; check the address. A lake is made "
            "by `ray-fraud up` and its first batch, or by `ray-fraud lake import`",
        )
    return location


def open_table(location: LakeLocation, name: str, as_of: AsOf | None = None) -> DeltaTable:
    """A handle of the newest version, or of the one that `as_of` names.

    Raises:
        StoreRefused: no such table or version, or nothing of it was there at that time.
        StoreUnavailable: the lake does not answer.
    """
    address, options = delta_location(location, name)
    with delta_errors(f"open {name}"):
        try:
            if as_of is None:
                return DeltaTable(address, storage_options=options)
            if isinstance(as_of, int):
                return _at_version(address, options, name, as_of)
            return _at_time(location, name, DeltaTable(address, storage_options=options), as_of)
        except TableNotFoundError as error:
            raise StoreRefused("lake", f"there is no table {name} in {location.url}") from error


def _at_version(address: str, options: dict[str, str], name: str, version: int) -> DeltaTable:
    table = DeltaTable(address, storage_options=options)
    newest = table.version()
    if version > newest:
        raise StoreRefused("lake", f"{name} has no version {version}; the newest is {newest}")
    try:
        table.load_as_version(version)
    except DeltaError as error:
        kept = f"; the oldest that is still known is {_oldest(address, options)}"
        raise StoreRefused("lake", f"{name} has no version {version} any more{kept}") from error
    return table


def _at_time(location: LakeLocation, name: str, table: DeltaTable, moment: datetime) -> DeltaTable:
    """The newest version whose commit says that it was there then.

    delta-rs goes by the files' times, which are a little later, and gives the first version for a moment
    before it; so the commits around its answer are looked at.
    """
    filesystem, root = lake_filesystem(location)

    def committed(version: int) -> datetime | None:
        path = f"{root}/{name}/_delta_log/{version:020}.json"
        return _commit_time_in(filesystem, path) if version >= 0 else None

    table.load_as_version(moment)
    version = table.version()
    while (later := committed(version + 1)) is not None and later <= moment:
        version += 1
    while (began := committed(version)) is not None and began > moment:
        version -= 1
        if committed(version) is None:
            shown = f"{moment.isoformat()}; its history begins {began.isoformat()}"
            raise StoreRefused("lake", f"{name}: nothing is known of {shown}")
    table.load_as_version(version)
    return table


def _commit_time_in(filesystem: fs.FileSystem, path: str) -> datetime | None:
    """What a commit says of its time; None if it is not there (any more)."""
    try:
        with filesystem.open_input_stream(path) as stream:
            lines = stream.read().splitlines()
    except FileNotFoundError:
        return None
    actions = (msgspec.json.decode(line) for line in lines if line.strip())
    said: dict[str, int] = next((action["commitInfo"] for action in actions if "commitInfo" in action), {})
    return commit_time(said["timestamp"]) if "timestamp" in said else None


def _oldest(address: str, options: dict[str, str]) -> int:
    return min(int(commit["version"]) for commit in DeltaTable(address, storage_options=options).history())


def commit_time(timestamp_ms: int) -> datetime:
    """Of a commit's own time stamp."""
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)
