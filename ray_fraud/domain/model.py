"""A model's manifest: everything about a model except its trees.

The manifest's SHA-256 is the model's digest, and the manifest names the ONNX file by its own
SHA-256, so the digest in a split's arm fixes every bit of what scores – and of what explains, if there is
such a file.

Never: loading or running a model (see `ray_fraud.scoring`), reading a file.
"""

import math
from itertools import pairwise
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ray_fraud.domain.canonical import canonical_json, content_digest
from ray_fraud.domain.drift import Reference

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class ModelRefused(Exception):
    """A model file that must not be used. It never will work: train or copy the model again.

    `model` is a digest or label, `rule` says what the file breaks.
    """

    def __init__(self, model: str, rule: str) -> None:
        super().__init__(model, rule)
        self.model = model
        self.rule = rule

    def __str__(self) -> str:
        return f"model {self.model} refused: {self.rule}"


class ModelFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input of a model, in the order of the model's columns."""

    name: str
    """A name of the feature catalogue."""
    fill: float
    """What a missing value (NaN) becomes, in the feature's unit."""


class IsolationLink(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="isolation"
):
    """Score = 2^(−E/c) of the mean path length E over the trees (Liu, Ting & Zhou 2008, eq. 2)."""

    mean_path_length: Annotated[float, Meta(gt=0)]
    """c: mean path length of an unsuccessful search in a binary tree of the sub-sample's size."""


class IdentityLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="identity"):
    """Score = the sum over the trees, already a probability."""


class LogisticLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="logistic"):
    """Score = 1 / (1 + e^−(base + sum over the trees)): boosted log-odds as a probability."""

    base: float
    """Log-odds before the first tree."""


Link = IsolationLink | IdentityLink | LogisticLink


EARLIER_GENERATED_PERIOD = (1_767_225_600.0, 1_769_817_600.0)
"""What manifests of first models carried as the period of their generated rows: January 2026."""


class Training(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the model was made; nothing here takes part in scoring."""

    rows: Count
    trees: Count
    seed: int
    max_samples: int | None = None
    """Rows per tree of an Isolation Forest."""
    contamination: float | None = None
    """Shapes scikit-learn's training only; what alerts is the manifest's threshold."""
    alert_share: float | None = None
    """Share of the training rows that lie above the threshold."""
    period: tuple[float, float] | None = None
    """Event time of the first and the last row, unix seconds."""
    parameters: dict[str, float] = {}
    """Of the algorithm, as the search chose them."""
    lake_version: int | None = None
    """Version of the lake's table of features that the rows were read from."""
    labels_until: float | None = None
    """Verdicts that were known by then took part, unix seconds."""
    libraries: dict[str, str] = {}
    """Versions of the libraries that trained and exported."""
    generated: bool | UnsetType = UNSET
    """The rows were made up: no transaction that happens later or earlier was among them. Unset: they were
    not, or the manifest is of an earlier release."""

    @property
    def saw_transactions(self) -> bool:
        """Whether a transaction that really happened may have been among the rows."""
        return self.generated is not True and self.period != EARLIER_GENERATED_PERIOD


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `models/<digest>/manifest.json` holds."""

    model_name: str
    version: Annotated[int, Meta(ge=1)]
    algorithm: str
    features: Annotated[tuple[ModelFeature, ...], Meta(min_length=1)]
    onnx_sha256: Sha256
    link: Link
    threshold: float
    """A score above it is an alert."""
    training: Training
    calibration: tuple[tuple[float, float], ...] = ()
    """(link's score, probability), both strictly ascending: scores are read off between the points, and held
    at the ends' slope beyond them. Empty: the link's score is the score."""
    score_quantiles: tuple[tuple[float, float], ...] = ()
    """(probability, score) of the training rows, ascending; tells drift of scores apart."""
    schema_version: int = 1
    explain_sha256: Sha256 | UnsetType = UNSET
    """Of the trees with their covers; without it the model's alerts carry no explanation. Left out of the
    canonical bytes when unset, so older models keep their digest."""
    references: dict[str, Reference] | UnsetType = UNSET
    """How each feature was distributed in training, by name; what drift is told by. Unset as above."""
    score_reference: Reference | UnsetType = UNSET
    """How the calibrated scores of the training rows were distributed; unset as above."""

    def __post_init__(self) -> None:
        names = self.feature_names
        if len(set(names)) != len(names):
            raise ValueError(f"features: {names} names a feature twice")
        if not all(math.isfinite(feature.fill) for feature in self.features):
            raise ValueError("features: a fill value is not finite")
        if not math.isfinite(self.threshold):
            raise ValueError(f"threshold: {self.threshold} is not finite")
        if len(self.calibration) == 1:
            raise ValueError("calibration: one point is no line; give none or two")
        if self.references is not UNSET and (unknown := self.references.keys() - set(names)):
            raise ValueError(f"references: {sorted(unknown)} are no features of the model")
        for (x0, y0), (x1, y1) in pairwise(self.calibration):
            if not (x0 < x1 and y0 < y1):
                raise ValueError(f"calibration: ({x1}, {y1}) after ({x0}, {y0}) does not ascend")

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @property
    def label(self) -> str:
        """`name:version`, as alerts name the model."""
        return f"{self.model_name}:{self.version}"

    def canonical(self) -> bytes:
        return canonical_json(self)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical bytes: the model's identity."""
        return content_digest(self.canonical())


def decode_manifest(content: bytes, *, digest: str) -> Manifest:
    """The manifest whose canonical bytes are `content`.

    Raises:
        ModelRefused: the bytes have another SHA-256 than `digest`, or break the schema.
    """
    found = content_digest(content)
    if found != digest:
        raise ModelRefused(digest, f"manifest has SHA-256 {found}; restore the file or train again")
    try:
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.ValidationError as error:
        raise ModelRefused(digest, f"manifest breaks its schema: {error}") from error
    except msgspec.DecodeError as error:
        raise ModelRefused(digest, f"manifest is no JSON: {error}") from error


def verify_onnx(manifest: Manifest, onnx: bytes) -> None:
    """Check the ONNX bytes against the manifest.

    Raises:
        ModelRefused: the bytes have another SHA-256 than the manifest says.
    """
    found = content_digest(onnx)
    if found != manifest.onnx_sha256:
        raise ModelRefused(
            manifest.label, f"model.onnx has SHA-256 {found}, the manifest says {manifest.onnx_sha256}"
        )


def verify_explain(manifest: Manifest, explain: bytes | None) -> None:
    """Check the bytes that explanations come from against the manifest.

    Raises:
        ModelRefused: other bytes than the manifest says, or bytes where it says none, or none where it does.
    """
    expected = None if manifest.explain_sha256 is UNSET else manifest.explain_sha256
    found = None if explain is None else content_digest(explain)
    if found != expected:
        raise ModelRefused(
            manifest.label,
            f"explain.bin {_has(found)}, the manifest says that it {_has(expected)}",
        )


def _has(digest: str | None) -> str:
    return "is not there" if digest is None else f"has SHA-256 {digest}"
