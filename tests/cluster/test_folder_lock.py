"""One command at a time changes a stack."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from cluster.local.failures import StackBusyError
from cluster.local.folder_lock import FolderLock

IMPATIENT = timedelta(0)
HOLD = (
    "import sys, time; from pathlib import Path; from cluster.local.folder_lock import FolderLock\n"
    "with FolderLock(Path(sys.argv[1])).held():\n"
    "    print('held', flush=True); time.sleep(60)\n"
)


def test_holders_within_one_command_share_it(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "lock", IMPATIENT)
    with lock.held(), lock.held():
        pass
    with FolderLock(tmp_path / "lock", IMPATIENT).held():
        pass


def test_another_command_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StackBusyError, match=f"pid {holder.pid}"),
            FolderLock(tmp_path / "lock", IMPATIENT).held(),
        ):
            pass
        holder.kill()
        holder.wait()
    with FolderLock(tmp_path / "lock", IMPATIENT).held():
        pass
