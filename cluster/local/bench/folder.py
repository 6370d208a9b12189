"""Where a benchmark's stack lives: in a temporary folder, or in one that is left for a look afterwards.

Never: a folder that holds anything already, another stack's least of all.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.local.failures import DataDirError


@contextmanager
def bench_folder(data_dir: Path | None) -> Iterator[Path]:
    """A folder for one run: `data_dir`, which keeps data and logs, or one that is removed at the end.

    Raises:
        DataDirError: `data_dir` holds something already, or cannot be read.
    """
    if data_dir is not None:
        _refuse_used(data_dir.expanduser())
        yield data_dir
        return
    folder = Path(tempfile.mkdtemp(prefix="ray-fraud-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _refuse_used(data_dir: Path) -> None:
    """What an earlier run left in topics and tables would be measured with the new one."""
    advice = "name an empty or a new folder with --data-dir, or leave it out for a temporary one"
    try:
        used = data_dir.exists() and any(data_dir.iterdir())
    except OSError as error:
        raise DataDirError(f"{data_dir}: {error.strerror or error}; {advice}") from error
    if used:
        raise DataDirError(f"{data_dir}: not empty, and bench makes a stack of its own; {advice}")
