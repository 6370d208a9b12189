"""What a release leaves behind in Redis and in the lake: its states of the fixed log, drained at `CUT_AT`.

`python -m tests.golden.package` writes the present release's package. It is done once per fold version, by
the last commit that has it, and stays: later releases are tested with it.

Never: a package made anew by another release.
"""

import gzip
import tempfile
from pathlib import Path

import msgspec

from ray_fraud.domain.fold_version import FOLD_DIGESTS, FOLD_VERSION
from ray_fraud.domain.partition import PartitionState
from ray_fraud.domain.record import PartitionId
from ray_fraud.domain.timeline import ControlEvent
from ray_fraud.domain.user_state import users_digest
from ray_fraud.stores.connections import LakeLocation
from ray_fraud.stores.cuts.encoding import decode_header, header_arguments
from ray_fraud.stores.cuts.port import Cut, CutHeader
from ray_fraud.stores.lake import lake_filesystem
from ray_fraud.stores.snapshots.lake import LakeSnapshotStore
from ray_fraud.stores.snapshots.port import SnapshotHeader
from tests.golden.golden import CUT_AT, FOLDER, fold_log, fresh_state, log, timeline

PARTITION = PartitionId("golden-cluster", "golden-topic", 0)
EPOCH, TOKEN = 4, "golden-owner"


class Package(msgspec.Struct, frozen=True, kw_only=True):
    fold_version: int
    digests: dict[str, str]
    """`FOLD_DIGESTS` of that version."""
    cut: dict[bytes, bytes]
    """Fields of the cut's hash in Redis, as its owner closed it."""
    users: dict[int, bytes]
    """Packed states in Redis by user."""
    lake: dict[str, bytes]
    """Files of a snapshot of the same moment, by their path in the lake."""

    def header(self) -> CutHeader:
        header = decode_header(self.cut)
        assert header is not None
        return header

    def timeline(self) -> list[ControlEvent]:
        """All that the release had recorded until then."""
        return list(self.header().events)

    def snapshot_into(self, folder: Path) -> LakeSnapshotStore:
        """A lake in `folder` that has the snapshot."""
        for path, content in self.lake.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return _snapshots(folder)


def file_of(fold_version: int) -> Path:
    return FOLDER / f"fold_{fold_version}.msgpack.gz"


def packages() -> list[int]:
    """The fold versions of which there is a package."""
    return sorted(int(file.name.split(".")[0].removeprefix("fold_")) for file in FOLDER.glob("fold_*.gz"))


def package_of(fold_version: int) -> Package:
    """What the last release with this fold version left behind."""
    return msgspec.msgpack.decode(gzip.decompress(file_of(fold_version).read_bytes()), type=Package)


def _snapshots(folder: Path) -> LakeSnapshotStore:
    return LakeSnapshotStore(*lake_filesystem(LakeLocation(folder.as_uri())))


def drained_state() -> PartitionState:
    """The present fold's state at `CUT_AT`."""
    state = fresh_state()
    fold_log(state, [record for record in log() if record.offset < CUT_AT])
    return state


def _cut(state: PartitionState, events: tuple[ControlEvent, ...]) -> CutHeader:
    cut = Cut(
        epoch=EPOCH,
        token=TOKEN,
        previous_offset=0,
        next_offset=state.next_offset,
        drained=True,
        watermark_ms=state.watermark_ms,
        votes=state.votes,
        base_offset=0,
        events=events,
        user_count=len(state.users),
        digest=users_digest(state.users.items()),
        fold_version=FOLD_VERSION,
    )
    return cut.header(f"{EPOCH}.0")


def _snapshot_header(cut: CutHeader) -> SnapshotHeader:
    return SnapshotHeader(
        partition=PARTITION,
        next_offset=cut.next_offset,
        epoch=cut.epoch,
        token=cut.token,
        watermark_ms=cut.watermark_ms,
        votes=cut.votes,
        base_offset=cut.next_offset,
        events=cut.events,
        user_count=cut.user_count,
        digest=cut.digest,
        fold_version=cut.fold_version,
    )


def present_package() -> Package:
    """The present release's package."""
    state = drained_state()
    events = tuple(event for event in timeline() if event.from_offset <= state.next_offset)
    header = _cut(state, events)
    arguments = header_arguments(header)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _snapshots(folder).write(PARTITION, _snapshot_header(header), state.users.items())
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        lake = {str(file.relative_to(folder)): file.read_bytes() for file in files}
    return Package(
        fold_version=FOLD_VERSION,
        digests=dict(FOLD_DIGESTS),
        cut=dict(zip(arguments[::2], arguments[1::2], strict=True)),
        users=dict(sorted(state.users.items())),
        lake=lake,
    )


def main() -> None:
    """Writes it, unless it is there."""
    with file_of(FOLD_VERSION).open("xb") as file:
        file.write(gzip.compress(msgspec.msgpack.encode(present_package()), mtime=0))


if __name__ == "__main__":
    main()
