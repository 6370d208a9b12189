"""The file that explanations come from: read back bit for bit, and refused if it is no forest."""

import pickle
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from batch.training.explain_file import export_covers
from batch.training.onnx_trees import Tree, export_trees
from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.model import IdentityLink, ModelRefused
from ray_fraud.scoring.model import Model
from ray_fraud.scoring.tree_table import TreeTable, decode_trees, encode_trees
from tests.oracle.shapley import Leaf, Node, Split
from tests.scoring.sample_models import rows, trained
from tests.scoring.sample_trees import forests, table_of

STUMP = table_of([Split(0, 1.0, Leaf(2.0, 3.0), Leaf(4.0, 5.0))])


@given(forests)
@settings(deadline=None)
def test_what_was_written_is_read(forest: list[Node]) -> None:
    table = table_of(forest)
    read = decode_trees(encode_trees(table), model="m")
    assert read.columns == table.columns
    for name in TreeTable._fields[1:]:
        assert getattr(read, name).tobytes() == getattr(table, name).tobytes()


def test_equal_trees_have_equal_bytes() -> None:
    assert encode_trees(STUMP) == encode_trees(table_of([Split(0, 1.0, Leaf(2.0, 3.0), Leaf(4.0, 5.0))]))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"left": [0, -1, -1]}, "child of one parent"),
        ({"left": [3, -1, -1]}, "child of one parent"),
        ({"right": [1, -1, -1]}, "child of one parent"),
        ({"feature": [4, 0, 0]}, "column"),
        ({"feature": [-1, 0, 0]}, "column"),
        ({"threshold": [np.nan, 0, 0]}, "threshold"),
        ({"value": [0, np.inf, 0]}, "leaf value"),
        ({"cover": [8, 0, 8]}, "cover"),
        ({"cover": [8, np.nan, 8]}, "cover"),
        ({name: [] for name in TreeTable._fields[1:]}, "0 nodes"),
    ],
    ids=str,
)
def test_what_is_no_forest_is_refused(change: dict[str, Any], rule: str) -> None:
    arrays: dict[str, Any] = {
        name: np.array(value, getattr(STUMP, name).dtype) for name, value in change.items()
    }
    with pytest.raises(ModelRefused, match=rule):
        decode_trees(encode_trees(STUMP._replace(**arrays)), model="m")


def _file(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"", "not understood"),
        (pickle.dumps({"left": 1}), "not understood"),
        (encode_trees(STUMP)[:-9], "not understood"),
        (_file(pa.table({"left": [1]})), "format None"),
        (_file(pa.table({"left": [1]}).replace_schema_metadata({"ray_fraud.trees": "2"})), "format b'2'"),
        (_file(pa.table({"left": [1]}).replace_schema_metadata({"ray_fraud.trees": "1"})), "columns"),
    ],
)
def test_what_is_no_such_file_is_refused(content: bytes, rule: str) -> None:
    with pytest.raises(ModelRefused, match=rule):
        decode_trees(content, model="m")


def _honest(explain: bytes, **changes: Any) -> Model:
    manifest, onnx, _ = trained()
    changed = msgspec.structs.replace(manifest, explain_sha256=content_digest(explain), **changes)
    return Model(changed, onnx, explain)


def test_a_model_refuses_trees_of_another_width_and_other_bytes() -> None:
    with pytest.raises(ModelRefused, match=r"explain\.bin takes 4 columns, the manifest names 3"):
        _honest(encode_trees(STUMP))
    with pytest.raises(ModelRefused, match=r"explain\.bin has SHA-256"):
        Model(trained().manifest, trained().onnx, b"other")


def test_a_model_from_before_explanations_scores_and_says_nothing() -> None:
    manifest, onnx, _ = trained()
    old = Model(msgspec.structs.replace(manifest, explain_sha256=msgspec.UNSET), onnx)
    features = rows(5, 1)
    assert old.score(features).tobytes() == Model(*trained()).score(features).tobytes()
    assert old.explain(features[0]) is None
    assert np.isnan(old.mean_raw)


def test_the_file_has_the_numbers_of_the_onnx_file() -> None:
    """With thresholds and leaf values that need rounding: what is explained is what was scored."""
    third = 1 / 3
    tree = Tree(
        np.array([1, -1, -1]),
        np.array([2, -1, -1]),
        np.array([0, -2, -2]),
        np.array([third, 0, 0]),
        np.array([0, third, 1000 / 7]),
        np.array([5.0, 2.0, 3.0]),
    )
    manifest = msgspec.structs.replace(
        trained().manifest,
        onnx_sha256=content_digest(export_trees([tree] * 3, 3)),
        explain_sha256=content_digest(export_covers([tree] * 3, 3)),
        link=IdentityLink(),
    )
    model = Model(manifest, export_trees([tree] * 3, 3), export_covers([tree] * 3, 3))
    for value in (np.nextafter(np.float32(third), np.float32(0)), np.float32(third)):
        row = np.zeros((1, len(rows(1, 1)[0])), np.float32)
        row[0, 0] = value
        pushes = model.explain(row[0])
        assert pushes is not None
        assert model.mean_raw + pushes.sum() == pytest.approx(model.score(row)[0], abs=1e-12)
