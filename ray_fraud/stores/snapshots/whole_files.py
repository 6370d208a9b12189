"""Files that appear whole or not at all.

Never: a file under its final name that is still being written, or that a power cut could empty.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pyarrow import fs


@contextmanager
def whole_file(filesystem: fs.FileSystem, path: str) -> Iterator[IO[bytes]]:
    """A stream to write; the file has its name when the block has ended well.

    A local folder gets it by rename, after file and folder are on the disk. An object store shows an object
    only when its upload is complete; a block that raises may leave a part of it under its name, so the caller
    names complete files elsewhere (in a manifest written last).
    """
    if filesystem.type_name != "local":
        with filesystem.open_output_stream(path) as stream:
            yield stream
        return
    temporary = Path(f"{path}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(temporary.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
