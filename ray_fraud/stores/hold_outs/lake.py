"""Hold-outs in the lake: `hold_outs/<candidate>/<production>.parquet`.

Never: a file that is read while it is written (object stores replace at once, folders by a rename).
"""

import secrets

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ray_fraud.domain.promotion import HoldOut
from ray_fraud.stores.errors import StoreRefused, StoreUnavailable
from ray_fraud.stores.hold_outs.port import check_digest

STORE = "lake"
_PERIOD = b"ray_fraud.mature_hold_out_period"
_EARLIER_PERIOD = b"ray_fraud.hold_out_period"
"""Of releases whose hold-outs also had rows whose labels had not matured: nothing is decided by them."""
_SCHEMA = pa.schema(
    [
        pa.field("label", pa.bool_(), nullable=False),
        pa.field("card", pa.int64(), nullable=False),
        pa.field("day", pa.int64(), nullable=False),
        pa.field("candidate", pa.float64(), nullable=False),
        pa.field("production", pa.float64(), nullable=False),
    ]
)


class LakeHoldOuts:
    """`HoldOuts` on any file system of pyarrow (local folder, S3)."""

    def __init__(self, filesystem: fs.FileSystem, root: str) -> None:
        """`root`: the lake's folder or bucket and prefix, as `filesystem` names it."""
        self._filesystem = filesystem
        self._root = root.rstrip("/")

    def put(self, candidate: str, production: str, hold_out: HoldOut) -> None:
        columns = [
            hold_out.labels,
            hold_out.cards,
            hold_out.days,
            hold_out.candidate,
            hold_out.production,
        ]
        period = msgspec.json.encode((hold_out.begins, hold_out.ends))
        table = pa.table(columns, schema=_SCHEMA.with_metadata({_PERIOD: period}))
        path = self._path(candidate, production)
        local = self._filesystem.type_name == "local"
        target = f"{path}.{secrets.token_hex(8)}.part" if local else path
        try:
            self._filesystem.create_dir(path.rpartition("/")[0], recursive=True)
            with self._filesystem.open_output_stream(target) as stream:
                pq.write_table(table, stream)
            if local:
                self._filesystem.move(target, path)
        except OSError as error:
            raise StoreUnavailable(STORE, f"hold-outs: {error}") from error

    def load(self, candidate: str, production: str) -> HoldOut | None:
        path = self._path(candidate, production)
        try:
            with self._filesystem.open_input_file(path) as stream:
                table = pq.read_table(stream)
        except FileNotFoundError:
            return None
        except pa.ArrowInvalid as error:
            raise StoreRefused(STORE, f"{path} is damaged ({error}); write the hold-out again") from error
        except OSError as error:
            raise StoreUnavailable(STORE, f"hold-outs: {error}") from error
        if _EARLIER_PERIOD in (table.schema.metadata or {}):
            return None
        try:
            begins, ends = msgspec.json.decode(table.schema.metadata[_PERIOD], type=tuple[float, float])
            columns = [table.cast(_SCHEMA)[name].to_numpy() for name in _SCHEMA.names]
            labels, cards, days, candidate_scores, production_scores = columns
            return HoldOut(labels, cards, days, candidate_scores, production_scores, begins, ends)
        except (KeyError, TypeError, ValueError, msgspec.MsgspecError) as error:
            raise StoreRefused(STORE, f"{path} is no hold-out ({error}); write it again") from error

    def _path(self, candidate: str, production: str) -> str:
        return f"{self._root}/hold_outs/{check_digest(candidate)}/{check_digest(production)}.parquet"
