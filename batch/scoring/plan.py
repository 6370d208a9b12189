"""What one job scores: the versions, the period, and the files in pieces.

Never: I/O; a version that the registry does not have.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from ray_fraud.domain.canonical import canonical_json, content_digest
from ray_fraud.stores.ledger.registry import LIVE, ModelVersion
from ray_fraud.stores.tables.period import StoredFile

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PIECE_ROWS = 100_000
"""Rows of the files of one task, unless a single file has more."""
FINGERPRINT_DIGITS = 15
"""Of a SHA-256, hex: 60 bits, which a position holds as a number."""


class ScoreRefused(Exception):
    """The job cannot be done as it was asked for; the message says why."""


class ScoredVersion(msgspec.Struct, frozen=True):
    """A registered version that scores every row."""

    label: str
    digest: str
    threshold: float


class ScoreRequest(msgspec.Struct, frozen=True):
    """One job."""

    job: str
    since_ms: int
    until_ms: int
    """Event times `[since_ms, until_ms)`, unix milliseconds."""
    versions: tuple[ScoredVersion, ...]
    """By label, each once."""

    @property
    def position(self) -> str:
        """Name of the position that says that the job is done."""
        return f"score:{self.job}"

    @property
    def parameters(self) -> str:
        """All that a repetition must have in common, JSON."""
        return canonical_json(
            {"since_ms": self.since_ms, "until_ms": self.until_ms, "versions": self.versions}
        ).decode()

    @property
    def fingerprint(self) -> int:
        """Of the parameters: where the position then stands, so that it outlives the commit's metadata."""
        return int(content_digest(self.parameters.encode())[:FINGERPRINT_DIGITS], 16)


def described(parameters: str) -> str:
    """A request's parameters, for people."""
    known = msgspec.json.decode(parameters)
    ends = [
        (EPOCH + timedelta(milliseconds=known[name])).isoformat(sep=" ") for name in ("since_ms", "until_ms")
    ]
    versions = ", ".join(
        f"{each['label']} ({each['digest'][:8]}, threshold {each['threshold']:.6g})"
        for each in known["versions"]
    )
    return f"[events from {ends[0]} before {ends[1]} by {versions}]"


class Piece(msgspec.Struct, frozen=True):
    """What one task scores."""

    paths: tuple[str, ...]
    rows: int
    """Of the files, also those outside of the period."""


def resolve(known: Sequence[ModelVersion], labels: Sequence[str], *, live: bool) -> tuple[ScoredVersion, ...]:
    """The versions named by `name:version`, and those that are live if so asked for; by label, each once.

    Raises:
        ScoreRefused: the registry does not have one, or none is left.
    """
    by_label = {version.label: version for version in known}
    there = ", ".join(f"{label} ({version.status})" for label, version in sorted(by_label.items()))
    unknown = sorted(set(labels) - by_label.keys())
    if unknown:
        raise ScoreRefused(
            f"no version {', '.join(unknown)} in the model registry; there are: {there or 'none'}"
        )
    wanted = set(labels)
    if live:
        wanted |= {version.label for version in known if version.status in LIVE}
    if not wanted:
        raise ScoreRefused(f"no version is live; name one by --model: {there or 'none is registered'}")
    return tuple(
        ScoredVersion(label, by_label[label].model_digest, by_label[label].threshold)
        for label in sorted(wanted)
    )


def pieces_of(files: Sequence[StoredFile], piece_rows: int) -> list[Piece]:
    """The files in their order, as many in a piece as stay below the limit, and at least one."""
    pieces: list[Piece] = []
    paths: list[str] = []
    rows = 0
    for file in files:
        if paths and rows + file.rows > piece_rows:
            pieces.append(Piece(tuple(paths), rows))
            paths, rows = [], 0
        paths.append(file.path)
        rows += file.rows
    if paths:
        pieces.append(Piece(tuple(paths), rows))
    return pieces
