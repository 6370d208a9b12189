"""The manifest: its bytes are its identity, and it refuses what a model cannot be."""

import math
from typing import Any

import msgspec
import pytest

from ray_fraud.domain.canonical import content_digest
from ray_fraud.domain.drift import Reference
from ray_fraud.domain.model import (
    IdentityLink,
    IsolationLink,
    Link,
    Manifest,
    ModelFeature,
    ModelRefused,
    Training,
    decode_manifest,
    verify_explain,
    verify_onnx,
)


def manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "model_name": "isolation_forest",
        "version": 3,
        "algorithm": "isolation_forest",
        "features": (ModelFeature("amount", 1.5), ModelFeature("lat", 0.1)),
        "onnx_sha256": content_digest(b"trees"),
        "link": IsolationLink(10.25),
        "threshold": 0.6,
        "training": Training(rows=100, trees=10, seed=1, period=(1.5, 2.5), libraries={"numpy": "2"}),
        "score_quantiles": ((0.5, 0.4), (1.0, 0.7)),
    }
    return Manifest(**(values | changes))


@pytest.mark.parametrize("link", [IsolationLink(10.25), IdentityLink()])
def test_its_bytes_give_it_back(link: Link) -> None:
    original = manifest(link=link)
    assert decode_manifest(original.canonical(), digest=original.digest) == original
    assert content_digest(original.canonical()) == original.digest


def test_a_manifest_from_before_explanations_keeps_its_bytes() -> None:
    content = manifest().canonical()
    assert b"explain" not in content
    assert decode_manifest(content, digest=content_digest(content)).digest == content_digest(content)
    explaining = manifest(explain_sha256=content_digest(b"covers"))
    assert decode_manifest(explaining.canonical(), digest=explaining.digest) == explaining
    assert explaining.digest != manifest().digest


def test_a_manifest_from_before_references_keeps_its_bytes() -> None:
    content = manifest().canonical()
    assert b"reference" not in content
    knowing = manifest(references={"lat": Reference((1.5,), (0.5, 0.25), 0.25)})
    scored = manifest(score_reference=Reference((0.5,), (0.5, 0.5), 0.0))
    for each in (knowing, scored):
        assert decode_manifest(each.canonical(), digest=each.digest) == each
    assert len({manifest().digest, knowing.digest, scored.digest}) == 3


@pytest.mark.parametrize("explain", [b"other covers", None])
def test_other_covers_are_refused(explain: bytes | None) -> None:
    verify_explain(manifest(), None)
    explaining = manifest(explain_sha256=content_digest(b"covers"))
    verify_explain(explaining, b"covers")
    with pytest.raises(ModelRefused, match=r"explain\.bin"):
        verify_explain(explaining, explain)
    with pytest.raises(ModelRefused, match=r"explain\.bin has SHA-256"):
        verify_explain(manifest(), b"covers")


def test_its_label_names_the_version() -> None:
    assert manifest().label == "isolation_forest:3"
    assert manifest().feature_names == ("amount", "lat")


def test_the_link_is_told_by_its_kind() -> None:
    assert msgspec.json.decode(manifest().canonical())["link"] == {
        "kind": "isolation",
        "mean_path_length": 10.25,
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": (ModelFeature("amount", 1.0), ModelFeature("amount", 2.0))}, "twice"),
        ({"features": (ModelFeature("amount", math.nan),)}, "fill"),
        ({"threshold": math.inf}, "threshold"),
        ({"references": {"lon": Reference((), (1.0,), 0.0)}}, "lon"),
    ],
)
def test_what_no_model_can_be_is_an_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        manifest(**changes)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version":3', b'"version":0'),
        (b'"kind":"isolation"', b'"kind":"softmax"'),
        (b'"algorithm":', b'"unknown":1,"algorithm":'),
        (b'"mean_path_length":10.25', b'"mean_path_length":0'),
        (b'"threshold":0.6', b'"threshold":"0.6"'),
        (
            b'"version":3',
            b'"version":3,"score_reference":{"edges":[2,1],"missing":0,"shares":[0.5,0.25,0.25]}',
        ),
    ],
)
def test_bytes_that_break_the_schema_are_refused(old: bytes, new: bytes) -> None:
    content = manifest().canonical().replace(old, new)
    assert content != manifest().canonical()
    with pytest.raises(ModelRefused, match="breaks its schema"):
        decode_manifest(content, digest=content_digest(content))


def test_another_digest_is_refused() -> None:
    with pytest.raises(ModelRefused, match="manifest has SHA-256"):
        decode_manifest(manifest().canonical(), digest="0" * 64)


def test_other_trees_are_refused() -> None:
    verify_onnx(manifest(), b"trees")
    with pytest.raises(ModelRefused, match=r"model\.onnx has SHA-256"):
        verify_onnx(manifest(), b"trees!")
