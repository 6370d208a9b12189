"""What an ONNX file may contain to be run here: exactly one tree ensemble.

Never: unpickling, following a path that the file names, running the graph.
"""

from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types

from ray_fraud.domain.model import ModelRefused

INPUT = "features"
OUTPUT = "raw"
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
NODES = frozenset({"TreeEnsembleRegressor", "TreeEnsemble"})
MAX_BYTES = 64 << 20
"""A forest of 100 deep trees is some megabytes."""


class TreeGraph(NamedTuple):
    """The outside of an accepted graph."""

    input_name: str
    output_name: str
    columns: int


def check_tree_graph(content: bytes, *, model: str) -> TreeGraph:
    """Accept ONNX bytes that hold one tree-ensemble node and nothing else.

    Raises:
        ModelRefused: anything else, with the rule that is broken.
    """
    if len(content) > MAX_BYTES:
        raise ModelRefused(model, f"model.onnx has {len(content)} bytes, limit {MAX_BYTES}")
    try:
        proto = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelRefused(model, f"model.onnx cannot be parsed: {error}") from error
    for broken, rule in _rules(proto):
        if broken:
            raise ModelRefused(model, f"model.onnx {rule}; export the trees with batch.training.onnx_trees")
    shape = proto.graph.input[0].type.tensor_type.shape.dim
    return TreeGraph(proto.graph.input[0].name, proto.graph.output[0].name, shape[1].dim_value)


def _rules(proto: onnx.ModelProto) -> list[tuple[bool, str]]:
    """(broken, what is wrong) of each rule."""
    graph = proto.graph
    node = graph.node[0] if graph.node else onnx.NodeProto()
    domains = {opset.domain for opset in proto.opset_import}
    plain = {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS}
    tensors = [*graph.initializer, *(attribute.t for attribute in node.attribute if attribute.HasField("t"))]
    return [
        (len(graph.node) != 1, f"has {len(graph.node)} nodes, must have 1"),
        (node.op_type not in NODES or node.domain != "ai.onnx.ml", f"node is {node.domain}:{node.op_type}"),
        (not domains <= DOMAINS, f"imports the domains {sorted(domains - DOMAINS)}"),
        (bool(proto.functions), "defines functions"),
        (bool(proto.training_info), "holds training information"),
        (bool(graph.initializer or graph.sparse_initializer), "holds initializers"),
        (any(attribute.type in plain for attribute in node.attribute), "holds a sub-graph"),
        (any(_is_external(tensor) for tensor in tensors), "keeps data outside of the file"),
        (len(graph.input) != 1 or len(graph.output) != 1, "must have one input and one output"),
        (
            not graph.input or not _is_float_matrix(graph.input[0]),
            "input must be float32 of shape (n, columns)",
        ),
    ]


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL or bool(tensor.external_data)


def _is_float_matrix(value: onnx.ValueInfoProto) -> bool:
    tensor = value.type.tensor_type
    dims = tensor.shape.dim
    return tensor.elem_type == onnx.TensorProto.FLOAT and len(dims) == 2 and dims[1].dim_value > 0
