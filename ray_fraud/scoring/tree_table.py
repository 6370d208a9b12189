"""The trees of a model with their covers, as one Arrow file: what explanations are computed from.

ONNX keeps no covers (how much training weight went through each node), so a model that explains itself has
this file beside its ONNX one. One row per node; node ids are row numbers, a tree's root comes before its
other nodes, and a child after its parent. Thresholds and leaf values are those of the ONNX file, bit for bit.

Never: unpickling; a table that no forest can be.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_fraud.domain.model import ModelRefused

FORMAT = b"ray_fraud.trees"
COLUMNS = b"ray_fraud.columns"
VERSION = b"1"
MAX_BYTES = 64 << 20
MAX_NODES = 4_000_000
_SCHEMA = pa.schema(
    [
        pa.field("left", pa.int32(), nullable=False),
        pa.field("right", pa.int32(), nullable=False),
        pa.field("feature", pa.int32(), nullable=False),
        pa.field("threshold", pa.float32(), nullable=False),
        pa.field("value", pa.float32(), nullable=False),
        pa.field("cover", pa.float64(), nullable=False),
    ]
)


class TreeTable(NamedTuple):
    """All nodes of all trees, as parallel arrays of shape (nodes,)."""

    columns: int
    """Number of the model's inputs."""
    left: NDArray[np.int32]
    """Row of the child taken when `feature <= threshold`; -1 in a leaf."""
    right: NDArray[np.int32]
    feature: NDArray[np.int32]
    """Column of the model's input, in inner nodes."""
    threshold: NDArray[np.float32]
    value: NDArray[np.float32]
    """What the tree adds to the sum, in leaves; of either sign."""
    cover: NDArray[np.float64]
    """Training weight (or number of rows) that came through the node; above 0."""


def encode_trees(table: TreeTable) -> bytes:
    """The content of a file."""
    schema = _SCHEMA.with_metadata({FORMAT: VERSION, COLUMNS: str(table.columns).encode()})
    rows = pa.table({name: getattr(table, name) for name in _SCHEMA.names}, schema=schema)
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, schema, options=options) as writer:
        writer.write_table(rows.combine_chunks())
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_trees(content: bytes, *, model: str) -> TreeTable:
    """The trees of a file's content.

    Raises:
        ModelRefused: it is not one, or its rows are no forest; `model` names whose it is.
    """
    if len(content) > MAX_BYTES:
        raise ModelRefused(model, f"trees have {len(content)} bytes, limit {MAX_BYTES}")
    try:
        with pa.ipc.open_file(pa.BufferReader(content)) as reader:
            facts = reader.schema.metadata or {}
            if facts.get(FORMAT) != VERSION:
                raise ModelRefused(model, f"trees are of format {facts.get(FORMAT)!r}, must be {VERSION!r}")
            if reader.schema.remove_metadata() != _SCHEMA:
                raise ModelRefused(model, f"trees have the columns {reader.schema.names}")
            rows = reader.read_all().combine_chunks()
        table = TreeTable(int(facts[COLUMNS]), *(rows[name].to_numpy() for name in _SCHEMA.names))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ModelRefused(model, f"trees not understood: {error}") from error
    for broken, rule in _rules(table):
        if broken:
            raise ModelRefused(model, f"trees {rule}; train the model again")
    return table


def is_leaf(table: TreeTable) -> NDArray[np.bool_]:
    """Shape (nodes,)."""
    return table.left < 0


def _rules(table: TreeTable) -> list[tuple[bool, str]]:
    """(broken, what is wrong) of each rule."""
    count = len(table.left)
    leaf = is_leaf(table)
    parents = np.flatnonzero(~leaf)
    children = np.concatenate([table.left[parents], table.right[parents]]).astype(np.int64)
    late = children > np.concatenate([parents, parents])
    sane = bool((late & (children < count)).all()) and len(np.unique(children)) == len(children)
    feature = table.feature[parents]
    return [
        (not 0 < count <= MAX_NODES, f"have {count} nodes, must be 1 to {MAX_NODES}"),
        (not sane, "have a node that is not the child of one parent before it"),
        (
            bool((feature < 0).any() or (feature >= table.columns).any()),
            "split on a column that is not there",
        ),
        (not np.isfinite(table.threshold[parents]).all(), "have a threshold that is not finite"),
        (not np.isfinite(table.value[leaf]).all(), "have a leaf value that is not finite"),
        (not (np.isfinite(table.cover) & (table.cover > 0)).all(), "have a cover that is not above 0"),
    ]
