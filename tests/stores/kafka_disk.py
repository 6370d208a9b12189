"""What a broker finds on its disk when it comes back: a log without its newest records.

With one broker there is no unclean election; to clients it looks the same: the log is shorter, its end is
given to other records, and the leader epoch is a newer one.

Never: a file of a broker that runs.
"""

from pathlib import Path

HEADER_BYTES = 12
"""Of a batch: its first offset (8 bytes), then the length of what follows (4)."""
REBUILT = ("*.index", "*.timeindex", "*.snapshot", "*.txnindex")


def cut_off(data_folder: Path, topic: str, partition: int, offset: int) -> None:
    """Takes the batches from `offset` on out of a log of one segment; they must begin at that offset."""
    (log,) = data_folder.glob(f"**/{topic}-{partition}/*.log")
    content = log.read_bytes()
    log.write_bytes(content[: _position(content, offset)])
    for pattern in REBUILT:
        for file in log.parent.glob(pattern):
            file.unlink()
    for name in (".kafka_cleanshutdown", "recovery-point-offset-checkpoint"):
        for file in data_folder.glob(f"**/{name}"):
            file.unlink()


def _position(content: bytes, offset: int) -> int:
    at = 0
    while at < len(content):
        if int.from_bytes(content[at : at + 8], "big") == offset:
            return at
        at += HEADER_BYTES + int.from_bytes(content[at + 8 : at + HEADER_BYTES], "big")
    raise AssertionError(f"no batch begins at offset {offset}")
