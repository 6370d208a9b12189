"""One loaded model: the score of a row depends on that row alone, and a doubtful file is refused."""

import pickle
from collections.abc import Callable, MutableSequence

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.features import FEATURE_COUNT, FEATURE_NAMES
from ray_fraud.domain.model import ModelFeature, ModelRefused
from ray_fraud.scoring.model import Model
from tests.scoring.sample_models import loaded, rows, trained

ROWS = rows(5_000, 11)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(ROWS) - 1), st.integers(2, 5_000), st.data())
def test_a_row_scores_the_same_alone_and_anywhere_in_a_batch(
    row: int, size: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, size - 1), label="place in the batch")
    start = data.draw(st.integers(0, len(ROWS) - size), label="start of the others")
    batch = ROWS[start : start + size].copy()
    batch[place] = ROWS[row]
    alone = loaded(2).score(ROWS[row : row + 1])
    assert loaded(2).score(batch)[place : place + 1].tobytes() == alone.tobytes()


def test_every_size_around_the_runtime_block_limits_gives_equal_bits() -> None:
    whole = loaded().score(ROWS)
    for size in (1, 2, 3, 31, 32, 33, 49, 50, 51, 127, 128, 129, 999, 2_500):
        parts = [loaded().score(ROWS[start : start + size]) for start in range(0, 2_500, size)]
        assert np.concatenate(parts)[:2_500].tobytes() == whole[:2_500].tobytes()


def test_missing_values_score_as_the_fill_value() -> None:
    manifest = trained().manifest
    filled = ROWS.copy()
    for feature in manifest.features:
        column = filled[:, FEATURE_NAMES.index(feature.name)]
        column[np.isnan(column)] = feature.fill
    assert np.isnan(ROWS[:, 1]).any()
    assert loaded().score(ROWS).tobytes() == loaded().score(filled).tobytes()


def test_scoring_leaves_the_rows_untouched_and_takes_read_only_ones() -> None:
    before = ROWS[:50].copy()
    frozen = np.frombuffer(before.tobytes(), np.float32).reshape(-1, FEATURE_COUNT)
    assert loaded().score(frozen).tobytes() == loaded().score(before).tobytes()
    assert before.tobytes() == ROWS[:50].tobytes()


def test_no_rows_give_no_scores() -> None:
    assert loaded().score(ROWS[:0]).shape == (0,)


def test_rows_of_another_width_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"shape \(5, 3\)"):
        loaded().score(ROWS[:5, :3])


def test_another_sha256_is_refused() -> None:
    manifest, content, explain = trained()
    with pytest.raises(ModelRefused, match=r"model\.onnx has SHA-256"):
        Model(manifest, content + b"\0", explain)


def test_a_feature_outside_the_catalogue_is_refused() -> None:
    manifest, content, explain = trained()
    other = msgspec.structs.replace(
        manifest, features=(ModelFeature("shoe_size", 42.0), *manifest.features[1:]), references=UNSET
    )
    with pytest.raises(ModelRefused, match="shoe_size"):
        Model(other, content, explain)


def test_another_number_of_features_is_refused() -> None:
    manifest, content, explain = trained()
    fewer = msgspec.structs.replace(manifest, features=manifest.features[:2], references=UNSET)
    with pytest.raises(ModelRefused, match="takes 3 columns, the manifest names 2"):
        Model(fewer, content, explain)


def _second_node(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("Identity", ["raw"], ["again"]))


def _other_operator(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "LinearRegressor"


def _other_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(onnx.helper.make_opsetid("com.example.run", 1))


def _function(model: onnx.ModelProto) -> None:
    node = onnx.helper.make_node("Identity", ["a"], ["b"])
    model.functions.append(
        onnx.helper.make_function("", "f", ["a"], ["b"], [node], [onnx.helper.make_opsetid("", 21)])
    )


def _initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(1, np.float32), "extra"))


def _sub_graph(model: onnx.ModelProto) -> None:
    model.graph.node[0].attribute.append(onnx.helper.make_attribute("body", onnx.GraphProto(name="inner")))


def _external_data(model: onnx.ModelProto) -> None:
    weights = next(each for each in model.graph.node[0].attribute if each.name == "leaf_weights")
    weights.t.data_location = onnx.TensorProto.EXTERNAL
    entry = weights.t.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _double_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE


def _numbers(model: onnx.ModelProto, attribute: str) -> MutableSequence[int]:
    return next(each.ints for each in model.graph.node[0].attribute if each.name == attribute)


def _root_out_of_range(model: onnx.ModelProto) -> None:
    _numbers(model, "tree_roots")[0] = 10**9


def _endless_tree(model: onnx.ModelProto) -> None:
    _numbers(model, "nodes_truenodeids")[0] = _numbers(model, "nodes_trueleafs")[0] = 0


def _column_out_of_range(model: onnx.ModelProto) -> None:
    _numbers(model, "nodes_featureids")[0] = 1_000


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (_second_node, "has 2 nodes"),
        (_other_operator, "node is ai.onnx.ml:LinearRegressor"),
        (_other_domain, "com.example.run"),
        (_function, "defines functions"),
        (_initializer, "holds initializers"),
        (_sub_graph, "holds a sub-graph"),
        (_external_data, "outside of the file"),
        (_double_input, "must be float32"),
        (_root_out_of_range, "cannot run it"),
        (_endless_tree, "cannot run it"),
        (_column_out_of_range, "cannot run it"),
    ],
)
def test_a_graph_that_is_more_than_trees_is_refused(
    damage: Callable[[onnx.ModelProto], None], rule: str
) -> None:
    manifest, content, explain = trained()
    model = onnx.load_model_from_string(content)
    damage(model)
    damaged = model.SerializeToString()
    honest = msgspec.structs.replace(manifest, onnx_sha256=content_digest(damaged))
    with pytest.raises(ModelRefused, match=rule):
        Model(honest, damaged, explain)


class _Canary:
    """Fails the test if unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (pytest.fail, ("a model file was unpickled",))


@pytest.mark.parametrize("content", [pickle.dumps(_Canary()), b"", b"not a model"])
def test_what_is_no_onnx_is_refused_and_never_unpickled(content: bytes) -> None:
    manifest = msgspec.structs.replace(trained().manifest, onnx_sha256=content_digest(content))
    with pytest.raises(ModelRefused):
        Model(manifest, content, trained().explain)


def test_the_refusal_survives_pickling() -> None:
    refused = pickle.loads(pickle.dumps(ModelRefused("a:1", "broken")))  # noqa: S301 - our own bytes
    assert (refused.model, refused.rule, str(refused)) == ("a:1", "broken", "model a:1 refused: broken")
