"""A lake for the tests of its care: some ingests of a few users, in a folder or anywhere else."""

import atexit
import shutil
import tempfile
import uuid
from datetime import date
from functools import cache
from pathlib import Path

import pyarrow as pa

from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.tables.delta import DeltaTransactions
from ray_fraud.stores.tables.lake_tables import open_table
from ray_fraud.stores.tables.port import Append
from tests.stores.table_samples import FIRST, read_range, rows

USERS = (7, 8, 9)
DAYS = (date(2026, 11, 24), date(2026, 11, 25))


class CareLake:
    """`transactions` with six ingests of three rows; each has one row of every user, half of them a day
    ago."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(_made_once(), folder, dirs_exist_ok=True)
        self.folder = folder
        self._open(LakeLocation(folder.as_uri()))

    @classmethod
    def make(cls, location: LakeLocation) -> "CareLake":
        """Makes the tables, commit by commit."""
        made = cls.__new__(cls)
        made._open(location)
        for begin in range(0, 18, 3):
            made.ingest(begin, DAYS[begin // 9])
        return made

    def _open(self, location: LakeLocation) -> None:
        self.location = location
        self.table = DeltaTransactions(self.location)
        self.table.create()

    def ingest(self, begin: int, day: date = DAYS[-1]) -> None:
        """Three rows."""
        part = rows(FIRST, begin, begin + 3, day)
        place = part.schema.get_field_index("user_id")
        part = part.set_column(place, part.schema.field("user_id"), pa.array(USERS))
        files = self.table.write_files(part)
        self.table.append(Append(uuid.uuid4().hex, [read_range(FIRST, begin, begin + 3)], files))

    def rows(self, name: str = "transactions") -> list[dict[str, object]]:
        return list(open_table(self.location, name).to_pyarrow_table().to_pylist())

    def offsets(self) -> list[int]:
        return sorted(int(str(row["offset"])) for row in self.rows())

    def users(self, name: str = "transactions") -> set[object]:
        return {row["user_id"] for row in self.rows(name)}


@cache
def _made_once() -> Path:
    """A folder with the tables, for all tests of the process: names in a Delta table are relative to it."""
    folder = Path(tempfile.mkdtemp(prefix="ray-fraud-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    CareLake.make(LakeLocation(folder.as_uri()))
    return folder
